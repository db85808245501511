//! Messages and their parts.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::base::error::Error;

use super::{invalid, missing, read, required, text, unsupported, whole};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// `system` and `developer`.
    System,
    User,
    Assistant,
    Tool,
}

/// A message. Its place in the request is its index.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) role: Role,
    /// A plain text is one part.
    pub(crate) content: Vec<Part<'a>>,
    pub(crate) tool_calls: Vec<ToolCall<'a>>,
    /// Of a tool's message; empty elsewhere.
    pub(crate) tool_call_id: Cow<'a, str>,
    pub(crate) reasoning_content: Option<Cow<'a, str>>,
    /// Blocks of thinking with their signatures, in the vendor's shape.
    pub(crate) thinking_blocks: Vec<&'a RawValue>,
    /// A vendor's own.
    pub(crate) cache_control: Option<&'a RawValue>,
}

/// A part of a message's content.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    pub(crate) kind: PartKind<'a>,
    /// A vendor's own.
    pub(crate) cache_control: Option<&'a RawValue>,
}

#[derive(Debug)]
pub(crate) enum PartKind<'a> {
    /// Also an assistant's refusal.
    Text(Cow<'a, str>),
    Image {
        url: Cow<'a, str>,
    },
    Audio {
        data: Cow<'a, str>,
        format: Cow<'a, str>,
    },
    File {
        /// A `data:` URL, or the https URL of a file.
        data: Cow<'a, str>,
        filename: Option<Cow<'a, str>>,
    },
}

/// A call that the assistant made.
#[derive(Debug)]
pub(crate) struct ToolCall<'a> {
    pub(crate) id: Cow<'a, str>,
    pub(crate) name: Cow<'a, str>,
    /// JSON text, as the caller wrote it.
    pub(crate) arguments: Cow<'a, str>,
    /// A vendor's own.
    pub(crate) extra_content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct MessageFields<'a> {
    #[serde(borrow)]
    role: Option<&'a RawValue>,
    content: Option<&'a RawValue>,
    tool_calls: Option<&'a RawValue>,
    tool_call_id: Option<&'a RawValue>,
    refusal: Option<&'a RawValue>,
    function_call: Option<&'a RawValue>,
    reasoning_content: Option<&'a RawValue>,
    thinking_blocks: Option<&'a RawValue>,
    cache_control: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct PartFields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    text: Option<&'a RawValue>,
    refusal: Option<&'a RawValue>,
    image_url: Option<&'a RawValue>,
    input_audio: Option<&'a RawValue>,
    file: Option<&'a RawValue>,
    cache_control: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct CallFields<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    function: Option<&'a RawValue>,
    extra_content: Option<&'a RawValue>,
}

/// What stands inside a part or a call.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Inner<'a> {
    #[serde(borrow)]
    url: Option<&'a RawValue>,
    data: Option<&'a RawValue>,
    format: Option<&'a RawValue>,
    file_data: Option<&'a RawValue>,
    file_id: Option<&'a RawValue>,
    filename: Option<&'a RawValue>,
    name: Option<&'a RawValue>,
    arguments: Option<&'a RawValue>,
}

pub(super) fn messages<'a>(raw: Option<&'a RawValue>) -> Result<Vec<Message<'a>>, Error> {
    let raw = read::<Vec<&'a RawValue>>(raw, "messages")?.ok_or_else(|| missing("messages"))?;
    if raw.is_empty() {
        return Err(invalid("messages", "it is empty; give at least one message"));
    }
    raw.into_iter().enumerate().map(|(index, raw)| message(raw, &format!("messages[{index}]"))).collect()
}

fn message<'a>(raw: &'a RawValue, place: &str) -> Result<Message<'a>, Error> {
    let f: MessageFields<'a> = whole(raw, place)?;
    let role = match required(f.role, format_args!("{place}.role"))?.as_ref() {
        "system" | "developer" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "tool" => Role::Tool,
        "function" => {
            return Err(unsupported(format_args!("{place}.role"), "functions are replaced by tools: use \"tool\""));
        }
        other => {
            let why = format!("{other:?} is none of system, developer, user, assistant and tool");
            return Err(invalid(format_args!("{place}.role"), why));
        }
    };
    if f.function_call.is_some() {
        return Err(unsupported(format_args!("{place}.function_call"), "use \"tool_calls\""));
    }
    let mut content = content(f.content, place)?;
    if let Some(refusal) = text(f.refusal, format_args!("{place}.refusal"))? {
        content.push(Part { kind: PartKind::Text(refusal), cache_control: None });
    }
    let tool_call_id = match role {
        Role::Tool => required(f.tool_call_id, format_args!("{place}.tool_call_id"))?,
        _ => Cow::Borrowed(""),
    };
    Ok(Message {
        role,
        content,
        tool_calls: calls(f.tool_calls, place)?,
        tool_call_id,
        reasoning_content: text(f.reasoning_content, format_args!("{place}.reasoning_content"))?,
        thinking_blocks: read(f.thinking_blocks, format_args!("{place}.thinking_blocks"))?.unwrap_or_default(),
        cache_control: f.cache_control,
    })
}

fn content<'a>(raw: Option<&'a RawValue>, place: &str) -> Result<Vec<Part<'a>>, Error> {
    match raw {
        Some(raw) if raw.get().starts_with('[') => whole::<Vec<&'a RawValue>>(raw, format_args!("{place}.content"))?
            .into_iter()
            .enumerate()
            .map(|(index, raw)| part(raw, &format!("{place}.content[{index}]")))
            .collect(),
        _ => {
            let text = text(raw, format_args!("{place}.content"))?;
            Ok(text.map(|text| Part { kind: PartKind::Text(text), cache_control: None }).into_iter().collect())
        }
    }
}

fn part<'a>(raw: &'a RawValue, place: &str) -> Result<Part<'a>, Error> {
    let f: PartFields<'a> = whole(raw, place)?;
    let inner = |raw: Option<&'a RawValue>, name: &str| -> Result<Inner<'a>, Error> {
        let raw = raw.ok_or_else(|| missing(format_args!("{place}.{name}")))?;
        whole(raw, format_args!("{place}.{name}"))
    };
    let kind = match required(f.kind, format_args!("{place}.type"))?.as_ref() {
        "text" => PartKind::Text(required(f.text, format_args!("{place}.text"))?),
        "refusal" => PartKind::Text(required(f.refusal, format_args!("{place}.refusal"))?),
        "image_url" => {
            let image = inner(f.image_url, "image_url")?;
            PartKind::Image { url: required(image.url, format_args!("{place}.image_url.url"))? }
        }
        "input_audio" => {
            let audio = inner(f.input_audio, "input_audio")?;
            PartKind::Audio {
                data: required(audio.data, format_args!("{place}.input_audio.data"))?,
                format: required(audio.format, format_args!("{place}.input_audio.format"))?,
            }
        }
        "file" => {
            let file = inner(f.file, "file")?;
            if file.file_id.is_some() {
                let why = "files uploaded to OpenAI cannot be seen by this model's vendor; send \"file_data\"";
                return Err(unsupported(format_args!("{place}.file.file_id"), why));
            }
            PartKind::File {
                data: required(file.file_data, format_args!("{place}.file.file_data"))?,
                filename: text(file.filename, format_args!("{place}.file.filename"))?,
            }
        }
        other => {
            let why = format!("{other:?} is none of text, image_url, input_audio and file");
            return Err(invalid(format_args!("{place}.type"), why));
        }
    };
    Ok(Part { kind, cache_control: f.cache_control })
}

fn calls<'a>(raw: Option<&'a RawValue>, place: &str) -> Result<Vec<ToolCall<'a>>, Error> {
    let raw: Vec<&'a RawValue> = read(raw, format_args!("{place}.tool_calls"))?.unwrap_or_default();
    raw.into_iter().enumerate().map(|(index, raw)| call(raw, &format!("{place}.tool_calls[{index}]"))).collect()
}

fn call<'a>(raw: &'a RawValue, place: &str) -> Result<ToolCall<'a>, Error> {
    let f: CallFields<'a> = whole(raw, place)?;
    let function = f.function.ok_or_else(|| missing(format_args!("{place}.function")))?;
    let function: Inner<'a> = whole(function, format_args!("{place}.function"))?;
    Ok(ToolCall {
        id: required(f.id, format_args!("{place}.id"))?,
        name: required(function.name, format_args!("{place}.function.name"))?,
        arguments: text(function.arguments, format_args!("{place}.function.arguments"))?.unwrap_or_default(),
        extra_content: f.extra_content,
    })
}

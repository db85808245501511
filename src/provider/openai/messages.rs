//! What some vendors cannot read of a conversation, mended message by message.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::request::Edit;

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(default, borrow)]
    role: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    content: Option<&'a RawValue>,
    #[serde(default)]
    tool_calls: Option<IgnoredAny>,
    #[serde(default, borrow)]
    reasoning_content: Option<&'a RawValue>,
}

/// A part that is nothing but a text: one that says more has to stay as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextPart<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    text: Cow<'a, str>,
}

/// Makes one text of each content that is a list of texts, for models that read no lists. `messages` begins at `at` in the
/// body, as in all that follows.
pub(super) fn flatten(messages: &[u8], at: usize) -> Vec<Edit> {
    let flat = |(_, message): (usize, Message<'_>)| {
        let content = message.content?;
        let parts: Vec<TextPart<'_>> = serde_json::from_str(content.get()).ok()?;
        if parts.is_empty() || parts.iter().any(|part| part.kind != "text") {
            return None;
        }
        let text: Vec<_> = parts.iter().map(|part| &*part.text).collect();
        let from = at + place(messages, content);
        Some((from..from + content.get().len(), Bytes::from(Value::from(text.join("\n")).to_string())))
    };
    each(messages).filter_map(flat).collect()
}

/// A model that thinks wants its thoughts back with its tool calls, which most clients have not kept: a blank will do.
pub(super) fn with_thoughts(messages: &[u8], at: usize) -> Vec<Edit> {
    let blank = |(begins, message): (usize, Message<'_>)| {
        let is_call = message.role.as_deref() == Some("assistant") && message.tool_calls.is_some();
        let from = at + begins + 1;
        (is_call && message.reasoning_content.is_none())
            .then(|| (from..from, Bytes::from_static(b"\"reasoning_content\":\" \",")))
    };
    each(messages).filter_map(blank).collect()
}

/// A format without the `$schema` that its schema names: the value of `response_format`.
pub(super) fn without_dialect(format: &[u8]) -> Option<Bytes> {
    let mut format: Value = serde_json::from_slice(format).ok()?;
    format.pointer_mut("/json_schema/schema")?.as_object_mut()?.shift_remove("$schema")?;
    Some(Bytes::from(format.to_string()))
}

/// The messages that are objects, and where each begins.
fn each(messages: &[u8]) -> impl Iterator<Item = (usize, Message<'_>)> {
    let all: Vec<&RawValue> = serde_json::from_slice(messages).unwrap_or_default();
    all.into_iter().filter_map(move |raw| {
        // A message that is written as a list is the vendor's to refuse.
        let message = raw.get().starts_with('{').then(|| serde_json::from_str(raw.get()).ok())??;
        Some((place(messages, raw), message))
    })
}

/// Where a value that was read from `messages` stands in them.
fn place(messages: &[u8], value: &RawValue) -> usize {
    value.get().as_ptr().addr() - messages.as_ptr().addr()
}

//! A chat request in OpenAI's shape, read into borrowed structs for the vendors that it is translated for.
//!
//! Every value is read on its own, so that an error names it: `messages[2].content[1].image_url.url`. A JSON `null` is the
//! same as nothing. Fields that are not here are named in `foreign`.

mod message;
mod tool;

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::base::error::{Code, Error};
use crate::wire::dropped::Dropped;
use crate::wire::fields::Fields;
use crate::wire::text::Text;

pub(crate) use message::{Message, Part, PartKind, Role, ToolCall};
pub(crate) use tool::{ResponseFormat, Tool, ToolChoice};

/// A chat request.
#[derive(Debug)]
pub(crate) struct ChatRequest<'a> {
    pub(crate) messages: Vec<Message<'a>>,
    pub(crate) tools: Vec<Tool<'a>>,
    pub(crate) tool_choice: Option<ToolChoice<'a>>,
    pub(crate) parallel_tool_calls: Option<bool>,
    pub(crate) response_format: ResponseFormat<'a>,
    pub(crate) reasoning_effort: Option<Cow<'a, str>>,
    /// `max_completion_tokens`, or `max_tokens`.
    pub(crate) max_tokens: Option<u64>,
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) top_k: Option<u64>,
    pub(crate) stop: Vec<Cow<'a, str>>,
    pub(crate) n: Option<u64>,
    pub(crate) seed: Option<i64>,
    pub(crate) presence_penalty: Option<f64>,
    pub(crate) frequency_penalty: Option<f64>,
    pub(crate) logprobs: Option<bool>,
    pub(crate) top_logprobs: Option<u64>,
    pub(crate) service_tier: Option<Cow<'a, str>>,
    pub(crate) modalities: Vec<Cow<'a, str>>,
    /// Whether any of these was sent; codecs that cannot honour them need no more.
    pub(crate) audio: bool,
    pub(crate) web_search_options: bool,
    pub(crate) legacy_functions: bool,
    /// `safety_identifier`, or `user`.
    pub(crate) user: Option<Cow<'a, str>>,
    /// Vendors' own, for the whole request.
    pub(crate) cache_control: Option<&'a RawValue>,
    /// Fields that were sent and mean nothing outside OpenAI (`store`, `metadata`, …), and those that nobody knows.
    pub(crate) foreign: Dropped,
}

/// Fields that mean nothing outside OpenAI.
const OPENAI_ONLY: [&str; 9] = [
    "store",
    "metadata",
    "logit_bias",
    "prediction",
    "verbosity",
    "moderation",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
];

impl<'a> ChatRequest<'a> {
    /// Reads `body`; an error names the field at fault.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Error> {
        let mut f: Fields<'a> = serde_json::from_slice(body).map_err(|e| {
            Error::new(Code::InvalidJson, format!("The body is no JSON object of a chat request: {e}."))
        })?;
        // The codec reads them from the call.
        for elsewhere in ["model", "stream", "stream_options"] {
            f.take(elsewhere);
        }
        let (user, safety_identifier) = (text(f.take("user"), "user")?, f.take("safety_identifier"));
        let (bound, old_bound) = (f.take("max_completion_tokens"), read(f.take("max_tokens"), "max_tokens")?);
        Ok(Self {
            messages: message::messages(f.take("messages"))?,
            tools: tool::tools(f.take("tools"))?,
            tool_choice: tool::choice(f.take("tool_choice"))?,
            parallel_tool_calls: read(f.take("parallel_tool_calls"), "parallel_tool_calls")?,
            response_format: tool::response_format(f.take("response_format"))?,
            reasoning_effort: text(f.take("reasoning_effort"), "reasoning_effort")?,
            max_tokens: read(bound, "max_completion_tokens")?.or(old_bound),
            temperature: within(f.take("temperature"), "temperature", 0.0..=2.0)?,
            top_p: within(f.take("top_p"), "top_p", 0.0..=1.0)?,
            top_k: read(f.take("top_k"), "top_k")?,
            stop: one_or_many(f.take("stop"), "stop")?,
            n: read(f.take("n"), "n")?,
            seed: read(f.take("seed"), "seed")?,
            presence_penalty: within(f.take("presence_penalty"), "presence_penalty", -2.0..=2.0)?,
            frequency_penalty: within(f.take("frequency_penalty"), "frequency_penalty", -2.0..=2.0)?,
            logprobs: read(f.take("logprobs"), "logprobs")?,
            top_logprobs: read(f.take("top_logprobs"), "top_logprobs")?,
            service_tier: text(f.take("service_tier"), "service_tier")?,
            modalities: one_or_many(f.take("modalities"), "modalities")?,
            audio: f.has("audio"),
            web_search_options: f.has("web_search_options"),
            legacy_functions: f.has("functions") | f.has("function_call"),
            user: text(safety_identifier, "safety_identifier")?.or(user),
            cache_control: f.take("cache_control"),
            foreign: foreign(&mut f),
        })
    }
}

/// What the vendors have nothing for; whatever else is read has been taken.
fn foreign(fields: &mut Fields<'_>) -> Dropped {
    let mut foreign: Dropped = OPENAI_ONLY.into_iter().filter(|name| fields.has(name)).collect();
    fields.left().for_each(|name| foreign.push_unknown(name));
    foreign
}

/// The value at `place`, when there is one.
fn read<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>, place: impl Display) -> Result<Option<T>, Error> {
    raw.map(|raw| whole(raw, place)).transpose()
}

/// The value at `place`.
fn whole<'a, T: Deserialize<'a>>(raw: &'a RawValue, place: impl Display) -> Result<T, Error> {
    serde_json::from_str(raw.get()).map_err(|e| {
        let why = e.to_string();
        // The position is that within the value: of no use to a caller.
        let why = why.split(" at line ").next().unwrap_or_default();
        invalid(place, why)
    })
}

fn within(raw: Option<&RawValue>, place: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, Error> {
    match read::<f64>(raw, place)? {
        Some(number) if !range.contains(&number) => {
            Err(invalid(place, format!("it must be from {} to {}", range.start(), range.end())))
        }
        number => Ok(number),
    }
}

fn text<'a>(raw: Option<&'a RawValue>, place: impl Display) -> Result<Option<Cow<'a, str>>, Error> {
    Ok(read::<Text<'a>>(raw, place)?.map(|t| t.0))
}

fn required<'a>(raw: Option<&'a RawValue>, place: impl Display) -> Result<Cow<'a, str>, Error> {
    match raw {
        Some(_) => Ok(text(raw, place)?.unwrap_or_default()),
        None => Err(missing(place)),
    }
}

fn one_or_many<'a>(raw: Option<&'a RawValue>, place: &str) -> Result<Vec<Cow<'a, str>>, Error> {
    match raw {
        Some(raw) if raw.get().starts_with('[') => {
            Ok(whole::<Vec<Text<'a>>>(raw, place)?.into_iter().map(|t| t.0).collect())
        }
        _ => Ok(text(raw, place)?.into_iter().collect()),
    }
}

/// A refusal that names the field at fault.
pub(crate) fn invalid(place: impl Display, why: impl Display) -> Error {
    let place = place.to_string();
    Error::new(Code::InvalidParameter, format!("\"{place}\" cannot be used: {why}.")).param(place)
}

/// A refusal of a field that is not there.
pub(crate) fn missing(place: impl Display) -> Error {
    let place = place.to_string();
    Error::new(Code::MissingParameter, format!("\"{place}\" is missing.")).param(place)
}

/// A refusal of what the model's vendor does not have.
pub(crate) fn unsupported(place: impl Display, why: impl Display) -> Error {
    let place = place.to_string();
    Error::new(Code::UnsupportedParameter, format!("\"{place}\" is not supported here: {why}.")).param(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_field() {
        let place = |body: &str| ChatRequest::parse(body.as_bytes()).unwrap_err().param_name().unwrap().to_owned();
        for (want, body) in [
            ("messages", r#"{}"#),
            ("messages", r#"{"messages":[]}"#),
            ("messages[0].role", r#"{"messages":[{"content":"x"}]}"#),
            ("messages[0].role", r#"{"messages":[{"role":"robot","content":"x"}]}"#),
            ("messages[1].content", r#"{"messages":[{"role":"user","content":"x"},{"role":"user","content":5}]}"#),
            (
                "messages[0].content[1].text",
                r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text"}]}]}"#,
            ),
            (
                "messages[0].content[0].image_url.url",
                r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]}"#,
            ),
            ("messages[0].content[0].type", r#"{"messages":[{"role":"user","content":[{"type":"hologram"}]}]}"#),
            ("messages[0].tool_call_id", r#"{"messages":[{"role":"tool","content":"x"}]}"#),
            ("messages[0].tool_calls[0].function", r#"{"messages":[{"role":"assistant","tool_calls":[{"id":"a"}]}]}"#),
            ("temperature", r#"{"messages":[{"role":"user","content":"x"}],"temperature":"hot"}"#),
            ("temperature", r#"{"messages":[{"role":"user","content":"x"}],"temperature":2.1}"#),
            ("max_tokens", r#"{"messages":[{"role":"user","content":"x"}],"max_tokens":1.5}"#),
            (
                "tools[0].function.name",
                r#"{"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{}}]}"#,
            ),
            ("tools[0].type", r#"{"messages":[{"role":"user","content":"x"}],"tools":[{"type":"web_search"}]}"#),
            ("tool_choice", r#"{"messages":[{"role":"user","content":"x"}],"tool_choice":"maybe"}"#),
            (
                "response_format.type",
                r#"{"messages":[{"role":"user","content":"x"}],"response_format":{"type":"xml"}}"#,
            ),
        ] {
            assert_eq!(place(body), want, "{body}");
        }
    }

    #[test]
    fn null_is_nothing_and_text_is_borrowed() {
        let body =
            br#"{"messages":[{"role":"developer","content":"S"},{"role":"assistant","content":null,"tool_calls":null}],
            "stop":"x","temperature":null,"tools":null,"store":true,"top_a":1,"top_b":null,"max_tokens":5,"max_completion_tokens":6}"#;
        let request = ChatRequest::parse(body).unwrap();
        assert_eq!((request.temperature, request.max_tokens), (None, Some(6)));
        assert_eq!(request.stop, [Cow::Borrowed("x")]);
        assert_eq!(request.foreign, ["store", "top_a"]);
        assert_eq!(request.messages[0].role, Role::System);
        assert!(matches!(request.messages[0].content[0].kind, PartKind::Text(Cow::Borrowed("S"))));
        assert!(request.messages[1].content.is_empty());
    }
}

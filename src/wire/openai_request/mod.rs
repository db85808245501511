//! A chat request in OpenAI's shape, read into borrowed structs for the vendors that it is translated for.
//!
//! Every value is read on its own, so that an error names it: `messages[2].content[1].image_url.url`. A JSON `null` is the
//! same as nothing. Fields that are not here are left to the vendor's codec as unknown.

mod message;
mod tool;

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::base::error::{Code, Error};
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
    /// Fields that mean nothing outside OpenAI and that were sent: `store`, `metadata`, …
    pub(crate) openai_only: Vec<&'static str>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    tools: Option<&'a RawValue>,
    tool_choice: Option<&'a RawValue>,
    parallel_tool_calls: Option<&'a RawValue>,
    response_format: Option<&'a RawValue>,
    reasoning_effort: Option<&'a RawValue>,
    max_completion_tokens: Option<&'a RawValue>,
    max_tokens: Option<&'a RawValue>,
    temperature: Option<&'a RawValue>,
    top_p: Option<&'a RawValue>,
    top_k: Option<&'a RawValue>,
    stop: Option<&'a RawValue>,
    n: Option<&'a RawValue>,
    seed: Option<&'a RawValue>,
    presence_penalty: Option<&'a RawValue>,
    frequency_penalty: Option<&'a RawValue>,
    logprobs: Option<&'a RawValue>,
    top_logprobs: Option<&'a RawValue>,
    service_tier: Option<&'a RawValue>,
    modalities: Option<&'a RawValue>,
    audio: Option<&'a RawValue>,
    web_search_options: Option<&'a RawValue>,
    functions: Option<&'a RawValue>,
    function_call: Option<&'a RawValue>,
    user: Option<&'a RawValue>,
    safety_identifier: Option<&'a RawValue>,
    cache_control: Option<&'a RawValue>,
    store: Option<&'a RawValue>,
    metadata: Option<&'a RawValue>,
    logit_bias: Option<&'a RawValue>,
    prediction: Option<&'a RawValue>,
    verbosity: Option<&'a RawValue>,
    moderation: Option<&'a RawValue>,
    prompt_cache_key: Option<&'a RawValue>,
    prompt_cache_options: Option<&'a RawValue>,
    prompt_cache_retention: Option<&'a RawValue>,
}

impl<'a> ChatRequest<'a> {
    /// Reads `body`; an error names the field at fault.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Error> {
        let fields: Fields<'a> = serde_json::from_slice(body).map_err(|e| {
            Error::new(Code::InvalidJson, format!("The body is no JSON object of a chat request: {e}."))
        })?;
        let f = &fields;
        Ok(Self {
            messages: message::messages(f.messages)?,
            tools: tool::tools(f.tools)?,
            tool_choice: tool::choice(f.tool_choice)?,
            parallel_tool_calls: read(f.parallel_tool_calls, "parallel_tool_calls")?,
            response_format: tool::response_format(f.response_format)?,
            reasoning_effort: text(f.reasoning_effort, "reasoning_effort")?,
            max_tokens: read(f.max_completion_tokens, "max_completion_tokens")?.or(read(f.max_tokens, "max_tokens")?),
            temperature: within(f.temperature, "temperature", 0.0..=2.0)?,
            top_p: within(f.top_p, "top_p", 0.0..=1.0)?,
            top_k: read(f.top_k, "top_k")?,
            stop: one_or_many(f.stop, "stop")?,
            n: read(f.n, "n")?,
            seed: read(f.seed, "seed")?,
            presence_penalty: within(f.presence_penalty, "presence_penalty", -2.0..=2.0)?,
            frequency_penalty: within(f.frequency_penalty, "frequency_penalty", -2.0..=2.0)?,
            logprobs: read(f.logprobs, "logprobs")?,
            top_logprobs: read(f.top_logprobs, "top_logprobs")?,
            service_tier: text(f.service_tier, "service_tier")?,
            modalities: one_or_many(f.modalities, "modalities")?,
            audio: f.audio.is_some(),
            web_search_options: f.web_search_options.is_some(),
            legacy_functions: f.functions.is_some() || f.function_call.is_some(),
            user: text(f.safety_identifier, "safety_identifier")?.or(text(f.user, "user")?),
            cache_control: f.cache_control,
            openai_only: f.openai_only(),
        })
    }
}

impl Fields<'_> {
    fn openai_only(&self) -> Vec<&'static str> {
        let all = [
            ("store", self.store),
            ("metadata", self.metadata),
            ("logit_bias", self.logit_bias),
            ("prediction", self.prediction),
            ("verbosity", self.verbosity),
            ("moderation", self.moderation),
            ("prompt_cache_key", self.prompt_cache_key),
            ("prompt_cache_options", self.prompt_cache_options),
            ("prompt_cache_retention", self.prompt_cache_retention),
        ];
        all.into_iter().filter(|(_, value)| value.is_some()).map(|(name, _)| name).collect()
    }
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
            "stop":"x","temperature":null,"tools":null,"store":true,"max_tokens":5,"max_completion_tokens":6}"#;
        let request = ChatRequest::parse(body).unwrap();
        assert_eq!((request.temperature, request.max_tokens), (None, Some(6)));
        assert_eq!((request.stop, request.openai_only), (vec![Cow::Borrowed("x")], vec!["store"]));
        assert_eq!(request.messages[0].role, Role::System);
        assert!(matches!(request.messages[0].content[0].kind, PartKind::Text(Cow::Borrowed("S"))));
        assert!(request.messages[1].content.is_empty());
    }
}

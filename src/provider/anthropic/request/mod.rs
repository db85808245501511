//! The vendor's request: OpenAI's fields in Anthropic's words.

mod blocks;
mod effort;
mod output;
mod schema;
mod tools;
mod turns;

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::base::error::Error;
use crate::http::call::Call;
use crate::provider::traits::Target;
use crate::wire::dropped::Dropped;
use crate::wire::openai_request::{ChatRequest, invalid, unsupported};

use super::capability::{Capability, Sampling};
use blocks::Block;
use effort::{OutputConfig, Thinking};
use tools::{Choice, Tool};
use turns::Turn;

pub(super) use output::JSON_TOOL;

/// The body of `POST /v1/messages`. The vendor refuses any field that it does not know, so nothing else is ever passed on.
#[derive(Debug, Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    max_tokens: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'a>>,
    messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<&'a RawValue>,
}

#[derive(Debug, Serialize)]
struct Metadata {
    user_id: String,
}

/// A request in the vendor's words, and what it cost to say it so.
#[derive(Debug)]
pub(super) struct Translated<'a> {
    pub(super) body: Body<'a>,
    pub(super) dropped: Dropped,
    /// The answer comes as the input of [`JSON_TOOL`] and is to be shown as content.
    pub(super) json_tool: bool,
}

/// Translates what the caller sent. An error names the field at fault.
pub(super) fn translate<'a>(
    request: ChatRequest<'a>,
    call: &Call,
    target: &'a Target,
) -> Result<Translated<'a>, Error> {
    let able = Capability::of(&target.upstream);
    refuse(&request)?;
    let mut dropped = drops(&request);
    let mut system = Vec::new();
    let conversation = turns::turns(request.messages, &able, &mut system)?;
    let (mut tools, mut choice) = tools::tools(request.tools, request.tool_choice, &able, &mut dropped)?;
    if tools.is_empty() && !conversation.called.is_empty() {
        // A history with calls needs declarations; the caller that sent none wants no further call.
        tools = conversation.called.iter().cloned().map(Tool::bare).collect();
        choice = Some(Choice::None);
    }
    let format = output::hold(&request.response_format, &able, &mut tools, &mut choice, &mut system)?;
    if request.parallel_tool_calls == Some(false) && !tools.is_empty() {
        choice.get_or_insert_with(Choice::auto).one_at_a_time();
    }
    let bound = bound(request.max_tokens, call, target, &able)?;
    let forced = choice.as_ref().is_some_and(Choice::is_forced);
    let effort = effort::think(request.reasoning_effort.as_deref(), bound, forced, &conversation, &able, &mut dropped)?;
    let sampling = sample(request.temperature, request.top_p, request.top_k, able.sampling, effort.thinks());
    dropped.extend(sampling.dropped);
    let output_config = OutputConfig::of(effort.effort, format.schema);
    let body = Body {
        model: &target.upstream,
        max_tokens: effort.max_tokens,
        system,
        messages: conversation.turns,
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        top_k: sampling.top_k,
        // The vendor refuses sequences of white space.
        stop_sequences: request.stop.into_iter().filter(|s| !s.trim().is_empty()).collect(),
        stream: call.streams(),
        tools,
        tool_choice: choice,
        thinking: effort.thinking,
        output_config,
        metadata: request.user.filter(|u| !u.is_empty()).map(|user| Metadata { user_id: digest(&user) }),
        service_tier: request.service_tier.as_deref().and_then(service_tier),
        cache_control: request.cache_control,
    };
    Ok(Translated { body, dropped, json_tool: format.json_tool })
}

/// What would change the answer's shape if it were left out.
fn refuse(request: &ChatRequest<'_>) -> Result<(), Error> {
    if request.n.is_some_and(|n| n != 1) {
        return Err(unsupported("n", "this model's vendor gives one choice a request; send n = 1"));
    }
    if request.logprobs == Some(true) || request.top_logprobs.is_some_and(|n| n > 0) {
        return Err(unsupported("logprobs", "this model's vendor does not tell log probabilities"));
    }
    if request.audio || request.modalities.iter().any(|m| m != "text") {
        return Err(unsupported("modalities", "this model answers in text alone"));
    }
    if request.web_search_options {
        return Err(unsupported("web_search_options", "this model is not offered with a search"));
    }
    if request.legacy_functions {
        return Err(unsupported("functions", "they are replaced by \"tools\" and \"tool_choice\""));
    }
    Ok(())
}

/// What is left out because the vendor has nothing like it, and the answer keeps its shape.
fn drops(request: &ChatRequest<'_>) -> Dropped {
    let mut dropped = request.foreign.clone();
    let numbers = [
        ("seed", request.seed.is_some()),
        ("presence_penalty", request.presence_penalty.is_some_and(|p| p != 0.0)),
        ("frequency_penalty", request.frequency_penalty.is_some_and(|p| p != 0.0)),
        ("service_tier", request.service_tier.as_deref().is_some_and(|tier| service_tier(tier).is_none())),
    ];
    dropped.extend(numbers.into_iter().filter(|(_, sent)| *sent).map(|(name, _)| name));
    dropped
}

fn service_tier(tier: &str) -> Option<&'static str> {
    match tier {
        "auto" => Some("auto"),
        "default" => Some("standard_only"),
        _ => None,
    }
}

/// The vendor wants an id that tells nothing of the person.
fn digest(user: &str) -> String {
    Sha256::digest(user.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How many tokens the answer may have.
#[derive(Clone, Copy, Debug)]
struct Bound {
    tokens: u64,
    ceiling: u64,
    /// Somebody named it: it must not be raised.
    fixed: bool,
}

fn bound(wanted: Option<u64>, call: &Call, target: &Target, able: &Capability) -> Result<Bound, Error> {
    let ceiling = target.terms.max_output_tokens.or(able.max_output);
    let named = call.output_bound().or(wanted);
    if named == Some(0) {
        return Err(invalid("max_tokens", "it must be at least 1"));
    }
    let default = match ceiling {
        // A long answer in one piece risks a cut connection; the first families get their whole ceiling only when asked.
        Some(ceiling) if call.streams() && able.default_output > 4_096 => ceiling,
        _ => able.default_output,
    };
    let ceiling = ceiling.unwrap_or(u64::MAX);
    Ok(Bound { tokens: named.unwrap_or(default).min(ceiling), ceiling, fixed: named.is_some() })
}

struct Sampled {
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<u64>,
    dropped: Vec<&'static str>,
}

/// The sampling that the model takes; a thinking one takes none.
fn sample(t: Option<f64>, p: Option<f64>, k: Option<u64>, able: Sampling, thinks: bool) -> Sampled {
    let (mut temperature, mut top_p, mut top_k) = (t.map(|t| t.clamp(0.0, 1.0)), p, k);
    if able == Sampling::None || thinks {
        (temperature, top_p, top_k) = (None, None, None);
    }
    if able == Sampling::NotBoth && temperature.is_some() {
        top_p = None;
    }
    let gone = [
        ("temperature", t.is_some() && temperature.is_none()),
        ("top_p", p.is_some() && top_p.is_none()),
        ("top_k", k.is_some() && top_k.is_none()),
    ];
    let dropped = gone.into_iter().filter(|(_, gone)| *gone).map(|(name, _)| name).collect();
    Sampled { temperature, top_p, top_k, dropped }
}

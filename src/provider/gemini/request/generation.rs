//! `generationConfig`: how the answer is made.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

use crate::base::error::Error;
use crate::provider::gemini::capability::{Capability, Dialect, Effort, Thinking};
use crate::provider::gemini::schema;
use crate::wire::dropped::Dropped;
use crate::wire::openai_request::{ChatRequest, ResponseFormat, invalid, unsupported};

/// The most stop sequences that Google takes.
const MAX_STOPS: usize = 5;

#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Generation<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stop_sequences: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_schema: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<ThinkingConfig>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ThinkingConfig {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    include_thoughts: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_budget: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_level: Option<&'static str>,
}

/// All but the output bound.
pub(super) fn encode<'a>(
    request: &'a ChatRequest<'a>,
    capability: &Capability,
    has_tools: bool,
    dropped: &mut Dropped,
) -> Result<Generation<'a>, Error> {
    let mut drop_unless = |able: bool, name: &'static str, given: Option<f64>| {
        if !able && given.is_some() {
            dropped.push(name);
        }
        given.filter(|_| able)
    };
    let penalty = |given: Option<f64>| given.filter(|p| p.abs() > f64::EPSILON);
    let mut generation = Generation {
        temperature: drop_unless(capability.sampling, "temperature", request.temperature),
        top_p: drop_unless(capability.sampling, "top_p", request.top_p),
        presence_penalty: drop_unless(capability.penalties, "presence_penalty", penalty(request.presence_penalty)),
        frequency_penalty: drop_unless(capability.penalties, "frequency_penalty", penalty(request.frequency_penalty)),
        top_k: request.top_k.filter(|_| capability.sampling),
        candidate_count: candidates(request.n, capability)?,
        max_output_tokens: request.max_tokens,
        stop_sequences: stops(&request.stop)?,
        // Google's is of 32 bits; any cut that is the same each time keeps what a seed is for.
        seed: request.seed.map(|seed| seed as i32),
        ..Generation::default()
    };
    if request.top_k.is_some() && !capability.sampling {
        dropped.push("top_k");
    }
    generation.logprobs(request, capability)?;
    generation.format(&request.response_format, capability, has_tools)?;
    generation.thinking_config = thinking(request.reasoning_effort.as_deref(), capability, dropped)?;
    Ok(generation)
}

fn candidates(n: Option<u64>, capability: &Capability) -> Result<Option<u64>, Error> {
    match n {
        None | Some(1) => Ok(None),
        Some(0) => Err(invalid("n", "ask for at least 1")),
        Some(n) if n <= capability.candidates => Ok(Some(n)),
        Some(_) => Err(unsupported("n", format_args!("this model answers at most {} at once", capability.candidates))),
    }
}

fn stops<'a>(given: &'a [Cow<'a, str>]) -> Result<Vec<&'a str>, Error> {
    let stops: Vec<&str> = given.iter().map(|s| &**s).filter(|s| !s.is_empty()).collect();
    if stops.len() > MAX_STOPS {
        return Err(invalid("stop", format_args!("give at most {MAX_STOPS} sequences")));
    }
    Ok(stops)
}

fn thinking(
    effort: Option<&str>,
    capability: &Capability,
    dropped: &mut Dropped,
) -> Result<Option<ThinkingConfig>, Error> {
    let Some(text) = effort else { return Ok(None) };
    let effort = Effort::parse(text).ok_or_else(|| {
        invalid("reasoning_effort", format_args!("{text:?} is none of none, minimal, low, medium, high, xhigh and max"))
    })?;
    let mut config =
        ThinkingConfig { include_thoughts: effort != Effort::None, thinking_budget: None, thinking_level: None };
    match capability.thinking {
        Thinking::Never => {
            if effort != Effort::None {
                dropped.push("reasoning_effort");
            }
            return Ok(None);
        }
        Thinking::Budget { least, most, off } => config.thinking_budget = Some(effort.budget(least, most, off)),
        Thinking::Levels(levels) => config.thinking_level = effort.level(levels).map(|level| level.as_str()),
    }
    Ok(Some(config))
}

impl Generation<'_> {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The hold's bound wins over the caller's; neither goes over the model's ceiling, which is also the default where the
    /// model's terms name it. `table` is the family's ceiling, for a model whose terms name none.
    pub(super) fn bound_output(&mut self, held: Option<u64>, ceiling: Option<u64>, table: Option<u64>) {
        let asked = held.or(self.max_output_tokens);
        self.max_output_tokens = match (asked, ceiling.or(table)) {
            (Some(asked), Some(most)) => Some(asked.min(most)),
            (Some(asked), None) => Some(asked),
            (None, _) => ceiling,
        };
    }

    fn logprobs(&mut self, request: &ChatRequest<'_>, capability: &Capability) -> Result<(), Error> {
        let wanted = request.logprobs == Some(true);
        if !wanted && request.top_logprobs.is_some_and(|n| n > 0) {
            return Err(invalid("top_logprobs", "it needs \"logprobs\": true"));
        }
        if wanted && !capability.logprobs {
            return Err(unsupported("logprobs", "this model does not tell them"));
        }
        if request.top_logprobs.is_some_and(|n| n > 20) {
            return Err(invalid("top_logprobs", "give 0 to 20"));
        }
        if wanted {
            self.response_logprobs = Some(true);
            self.logprobs = request.top_logprobs.filter(|n| *n > 0);
        }
        Ok(())
    }

    fn format(&mut self, format: &ResponseFormat<'_>, capability: &Capability, has_tools: bool) -> Result<(), Error> {
        if matches!(format, ResponseFormat::Text) {
            return Ok(());
        }
        if has_tools && !capability.json_with_tools {
            return Err(unsupported("response_format", "this model takes JSON output or tools, not both at once"));
        }
        self.response_mime_type = Some("application/json");
        if let ResponseFormat::JsonSchema { schema, .. } = format {
            let place = "response_format.json_schema.schema";
            let schema: Value = serde_json::from_str(schema.get()).map_err(|e| invalid(place, e))?;
            let converted = schema::convert(&schema, capability.dialect, place)?;
            match capability.dialect {
                Dialect::OpenApi => self.response_schema = Some(converted),
                Dialect::JsonSchema => self.response_json_schema = Some(converted),
            }
        }
        Ok(())
    }
}

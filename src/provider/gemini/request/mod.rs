//! A chat request of OpenAI's as the body of `generateContent`.
//!
//! What becomes of each field stands in the table of the module above. What is refused is a 400 that names the field,
//! before the vendor is called.

mod contents;
mod generation;
mod names;
mod parts;
mod tools;

pub(super) use parts::type_by_path;

use bytes::Bytes;
use serde::Serialize;

use crate::base::error::{Code, Error};
use crate::http::call::Call;
use crate::wire::dropped::Dropped;
use crate::wire::openai_request::{ChatRequest, unsupported};

use super::super::traits::Target;
use super::capability::Capability;
use generation::Generation;
use parts::Content;
use tools::{Declarations, ToolConfig};

pub(super) use names::Names;

/// The body of `generateContent`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Content<'a>>,
    contents: Vec<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<[Declarations<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolConfig<'a>>,
    #[serde(skip_serializing_if = "Generation::is_default")]
    generation_config: Generation<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
}

/// What a chat request has become.
pub(super) struct Encoded {
    pub(super) body: Bytes,
    pub(super) names: Names,
    pub(super) dropped: Dropped,
}

/// Translates the call's body for the target's model.
pub(super) fn encode(call: &Call, target: &Target) -> Result<Encoded, Error> {
    let capability = Capability::of(&target.upstream);
    let given = call.body();
    let request = ChatRequest::parse(&given)?;
    refuse(&request)?;
    let mut dropped = request.foreign.clone();
    if request.user.is_some() {
        dropped.push("user");
    }
    if request.parallel_tool_calls == Some(false) {
        dropped.push("parallel_tool_calls");
    }
    let called = request.messages.iter().flat_map(|m| &m.tool_calls).map(|c| &*c.name);
    let names = Names::of(request.tools.iter().map(|t| &*t.name).chain(called));
    let (system_instruction, contents) = contents::conversation(&request.messages, capability, &names)?;
    let (tools, tool_config) = tools::encode(&request, capability, &names)?;
    let service_tier = match request.service_tier.as_deref() {
        None | Some("auto" | "default") => None,
        Some("flex") => Some("flex"),
        Some("priority") => Some("priority"),
        Some(_) => {
            dropped.push("service_tier");
            None
        }
    };
    let mut generation_config = generation::encode(&request, capability, tools.is_some(), &mut dropped)?;
    let ceiling = target.terms.max_output_tokens;
    generation_config.bound_output(call.output_bound(), ceiling, capability.max_output);
    let body =
        Body { system_instruction, contents, tools: tools.map(|t| [t]), tool_config, generation_config, service_tier };
    let body = serde_json::to_vec(&body)
        .map_err(|e| Error::new(Code::InternalError, "The request could not be written.").cause(e.to_string()))?;
    Ok(Encoded { body: body.into(), names, dropped })
}

/// What has no counterpart and would change the answer's form or its cost.
fn refuse(request: &ChatRequest<'_>) -> Result<(), Error> {
    if request.legacy_functions {
        return Err(unsupported("functions", "functions are replaced by \"tools\""));
    }
    if request.web_search_options {
        return Err(unsupported("web_search_options", "a translated model does not search"));
    }
    if request.audio || request.modalities.iter().any(|m| m != "text") {
        return Err(unsupported("modalities", "a chat with Gemini answers in text"));
    }
    Ok(())
}

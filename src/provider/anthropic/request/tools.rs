//! Tools, and the choice among them.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::base::error::Error;
use crate::wire::dropped::Dropped;
use crate::wire::openai_request::{self as openai, ToolChoice, invalid};

use super::super::capability::Capability;
use super::schema;

/// A tool's declaration.
#[derive(Debug, Serialize)]
pub(super) struct Tool<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<Cow<'a, str>>,
    input_schema: Value,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    strict: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<&'a RawValue>,
}

impl<'a> Tool<'a> {
    pub(super) fn new(name: impl Into<Cow<'a, str>>, input_schema: Value) -> Self {
        Self { name: name.into(), description: None, input_schema, strict: false, cache_control: None }
    }

    /// One of which no more is known than its name.
    pub(super) fn bare(name: Cow<'a, str>) -> Self {
        Self::new(name, json!({"type": "object", "properties": {}}))
    }
}

/// Which tools the model may or must call.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Choice<'a> {
    Auto {
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        disable_parallel_tool_use: bool,
    },
    Any {
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        disable_parallel_tool_use: bool,
    },
    Tool {
        name: Cow<'a, str>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        disable_parallel_tool_use: bool,
    },
    None,
}

impl<'a> Choice<'a> {
    pub(super) fn auto() -> Self {
        Self::Auto { disable_parallel_tool_use: false }
    }

    pub(super) fn any() -> Self {
        Self::Any { disable_parallel_tool_use: false }
    }

    pub(super) fn tool(name: impl Into<Cow<'a, str>>) -> Self {
        Self::Tool { name: name.into(), disable_parallel_tool_use: false }
    }

    /// Whether the model must call.
    pub(super) fn is_forced(&self) -> bool {
        matches!(self, Self::Any { .. } | Self::Tool { .. })
    }

    /// At most one call an answer.
    pub(super) fn one_at_a_time(&mut self) {
        match self {
            Self::Auto { disable_parallel_tool_use }
            | Self::Any { disable_parallel_tool_use }
            | Self::Tool { disable_parallel_tool_use, .. } => *disable_parallel_tool_use = true,
            Self::None => {}
        }
    }
}

type Declared<'a> = (Vec<Tool<'a>>, Option<Choice<'a>>);

/// The declarations and the choice. A choice without tools means nothing and is left out, as OpenAI does.
pub(super) fn tools<'a>(
    mut tools: Vec<openai::Tool<'a>>,
    choice: Option<ToolChoice<'a>>,
    able: &Capability,
    dropped: &mut Dropped,
) -> Result<Declared<'a>, Error> {
    let named = |tools: &[openai::Tool<'a>], name: &str| tools.iter().any(|tool| tool.name == name);
    let choice = match choice {
        None => None,
        Some(_) if tools.is_empty() => None,
        Some(ToolChoice::Auto) => Some(Choice::auto()),
        Some(ToolChoice::None) => Some(Choice::None),
        Some(ToolChoice::Required) => Some(Choice::any()),
        Some(ToolChoice::Named(name)) if named(&tools, &name) => Some(Choice::tool(name)),
        Some(ToolChoice::Named(name)) => {
            return Err(invalid("tool_choice.function.name", format!("{name:?} is none of the request's tools")));
        }
        Some(ToolChoice::Allowed { names, required }) => {
            let names: HashSet<_> = names.into_iter().collect();
            tools.retain(|tool| names.contains(&tool.name));
            if tools.is_empty() {
                return Err(invalid("tool_choice.allowed_tools.tools", "it allows none of the request's tools"));
            }
            Some(if required { Choice::any() } else { Choice::auto() })
        }
    };
    // Some models refuse a forced call: left to choose, they still answer, and the caller is told.
    let unforced = choice.as_ref().is_some_and(|choice| choice.is_forced() && !able.forced_tools);
    let choice = if unforced { Some(Choice::auto()) } else { choice };
    if unforced {
        dropped.push("tool_choice");
    }
    let mut strictness = schema::Strictness::default();
    let declared = tools.into_iter().enumerate().map(|(index, tool)| declare(tool, index, able, &mut strictness));
    let declared = declared.collect::<Result<Vec<_>, _>>()?;
    if strictness.was_dropped() {
        dropped.push("strict");
    }
    Ok((declared, choice))
}

fn declare<'a>(
    tool: openai::Tool<'a>,
    index: usize,
    able: &Capability,
    strictness: &mut schema::Strictness,
) -> Result<Tool<'a>, Error> {
    let place = format!("tools[{index}].function.parameters");
    let mut input = match tool.parameters {
        None => json!({}),
        Some(raw) => serde_json::from_str(raw.get()).map_err(|_| invalid(&place, "it is no JSON Schema"))?,
    };
    schema::make_object(&mut input).map_err(|why| invalid(&place, why))?;
    let strict = tool.strict && strictness.admit(&input, able.schema);
    Ok(Tool {
        name: tool.name,
        description: tool.description.filter(|text| !text.is_empty()),
        input_schema: input,
        strict,
        cache_control: tool.cache_control,
    })
}

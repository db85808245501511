//! `response_format`: held to a schema by the vendor where it can, by a tool that must be called where it cannot.

use serde_json::Value;

use crate::base::error::Error;
use crate::wire::openai_request::{ResponseFormat, invalid};

use super::super::capability::Capability;
use super::blocks::Block;
use super::schema;
use super::tools::{Choice, Tool};

/// The tool whose input is the answer.
pub(in super::super) const JSON_TOOL: &str = "json_tool_call";

/// How the answer is held to its form.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// The schema for the vendor's own means.
    pub(super) schema: Option<Value>,
    /// The answer comes as the input of [`JSON_TOOL`].
    pub(super) json_tool: bool,
}

const PLACE: &str = "response_format.json_schema.schema";

pub(super) fn hold<'a>(
    format: &ResponseFormat<'a>,
    able: &Capability,
    tools: &mut Vec<Tool<'a>>,
    choice: &mut Option<Choice<'a>>,
    system: &mut Vec<Block<'a>>,
) -> Result<Held, Error> {
    let schema = match format {
        ResponseFormat::Text => return Ok(Held::default()),
        // A free-form object cannot be put as a schema: the vendor wants every object closed.
        ResponseFormat::JsonObject => {
            system.push(Block::text("Respond only with one JSON object."));
            return Ok(Held::default());
        }
        ResponseFormat::JsonSchema { schema } => schema,
    };
    let mut schema: Value = serde_json::from_str(schema.get()).map_err(|_| invalid(PLACE, "it is no JSON Schema"))?;
    let closed = if able.schema { schema::close(&schema) } else { None };
    if let Some(closed) = closed {
        return Ok(Held { schema: Some(closed), json_tool: false });
    }
    if !able.forced_tools {
        return Err(invalid(PLACE, "this model takes closed objects alone; list their \"properties\""));
    }
    schema::make_object(&mut schema).map_err(|why| invalid(PLACE, why))?;
    *choice = Some(match choice.take() {
        // The caller's tools may be called as well, so the model chooses between them and the answer.
        Some(Choice::Auto { .. } | Choice::Any { .. }) => Choice::any(),
        None if !tools.is_empty() => Choice::any(),
        Some(named @ Choice::Tool { .. }) => named,
        Some(Choice::None) | None => Choice::tool(JSON_TOOL),
    });
    tools.push(Tool::new(JSON_TOOL, schema));
    Ok(Held { schema: None, json_tool: true })
}

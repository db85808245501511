//! Functions and the choice among them.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

use crate::base::error::Error;
use crate::provider::gemini::capability::{Capability, Dialect};
use crate::provider::gemini::schema;
use crate::wire::openai_request::{ChatRequest, Tool, ToolChoice, invalid};

use super::names::Names;

/// All functions of a request, in the one tool that Gemini wants them in.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Declarations<'a> {
    function_declarations: Vec<Declaration<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Declaration<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters_json_schema: Option<Value>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolConfig<'a> {
    function_calling_config: Calling<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Calling<'a> {
    mode: Mode,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allowed_function_names: Vec<Cow<'a, str>>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Mode {
    Any,
    None,
    /// The model is free to call, and a call keeps to its schema.
    Validated,
}

/// The declarations and their configuration; neither where there is no function.
pub(super) fn encode<'a>(
    request: &'a ChatRequest<'a>,
    capability: &Capability,
    names: &Names,
) -> Result<(Option<Declarations<'a>>, Option<ToolConfig<'a>>), Error> {
    if request.tools.is_empty() {
        return Ok((None, None));
    }
    let known = |name: &str| request.tools.iter().any(|t| t.name == name);
    let mut offered: Vec<(usize, &Tool<'a>)> = request.tools.iter().enumerate().collect();
    let calling = |mode, allowed_function_names| Some(Calling { mode, allowed_function_names });
    let calling = match &request.tool_choice {
        None | Some(ToolChoice::Auto) => None,
        Some(ToolChoice::None) => calling(Mode::None, Vec::new()),
        Some(ToolChoice::Required) => calling(Mode::Any, Vec::new()),
        Some(ToolChoice::Named(name)) if known(name) => calling(Mode::Any, vec![names.sent(name)]),
        Some(ToolChoice::Named(name)) => {
            return Err(invalid("tool_choice", format_args!("{name:?} is none of the tools")));
        }
        Some(ToolChoice::Allowed { names: allowed, required }) => {
            if let Some(strange) = allowed.iter().find(|name| !known(name)) {
                return Err(invalid("tool_choice", format_args!("{strange:?} is none of the tools")));
            }
            offered.retain(|(_, tool)| allowed.contains(&tool.name));
            if *required { calling(Mode::Any, Vec::new()) } else { None }
        }
    };
    if offered.is_empty() {
        return Ok((None, None));
    }
    let strict = capability.validates_calls && offered.iter().any(|(_, tool)| tool.strict);
    let calling =
        calling.or_else(|| strict.then_some(Calling { mode: Mode::Validated, allowed_function_names: Vec::new() }));
    let function_declarations =
        offered.into_iter().map(|(at, tool)| declare(at, tool, capability, names)).collect::<Result<_, _>>()?;
    let config = calling.map(|function_calling_config| ToolConfig { function_calling_config });
    Ok((Some(Declarations { function_declarations }), config))
}

fn declare<'a>(
    at: usize,
    tool: &'a Tool<'a>,
    capability: &Capability,
    names: &Names,
) -> Result<Declaration<'a>, Error> {
    let place = format!("tools[{at}].function.parameters");
    let schema = tool.parameters.map(|p| serde_json::from_str::<Value>(p.get())).transpose();
    let schema = schema.map_err(|e| invalid(&place, e))?;
    let converted = match &schema {
        Some(schema) => schema::parameters(schema, capability.dialect, &place)?,
        None => None,
    };
    let (parameters, parameters_json_schema) = match capability.dialect {
        Dialect::OpenApi => (converted, None),
        Dialect::JsonSchema => (None, converted),
    };
    Ok(Declaration {
        name: names.sent(&tool.name),
        description: tool.description.as_deref(),
        parameters,
        parameters_json_schema,
    })
}

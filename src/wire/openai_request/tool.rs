//! Tools, the choice among them, and the form of the answer.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::base::error::Error;

use super::{invalid, missing, read, required, text, unsupported, whole};

/// A function that the model may call.
#[derive(Clone, Debug)]
pub(crate) struct Tool<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) description: Option<Cow<'a, str>>,
    /// A JSON Schema; `None` = the function takes nothing.
    pub(crate) parameters: Option<&'a RawValue>,
    pub(crate) strict: bool,
    /// A vendor's own.
    pub(crate) cache_control: Option<&'a RawValue>,
}

/// Which tools the model may or must call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ToolChoice<'a> {
    Auto,
    None,
    Required,
    Named(Cow<'a, str>),
    /// Only these: `required` whether one must be called.
    Allowed {
        names: Vec<Cow<'a, str>>,
        required: bool,
    },
}

/// The form of the answer.
#[derive(Debug)]
pub(crate) enum ResponseFormat<'a> {
    Text,
    JsonObject,
    JsonSchema { schema: &'a RawValue },
}

#[derive(Deserialize)]
struct ToolFields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    function: Option<&'a RawValue>,
    cache_control: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct FunctionFields<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    description: Option<&'a RawValue>,
    parameters: Option<&'a RawValue>,
    strict: Option<&'a RawValue>,
    cache_control: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ChoiceFields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    function: Option<&'a RawValue>,
    allowed_tools: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct AllowedFields<'a> {
    #[serde(borrow)]
    mode: Option<&'a RawValue>,
    tools: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct FormatFields<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    json_schema: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct SchemaFields<'a> {
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
}

pub(super) fn tools<'a>(raw: Option<&'a RawValue>) -> Result<Vec<Tool<'a>>, Error> {
    let raw: Vec<&'a RawValue> = read(raw, "tools")?.unwrap_or_default();
    raw.into_iter().enumerate().map(|(index, raw)| tool(raw, &format!("tools[{index}]"))).collect()
}

fn tool<'a>(raw: &'a RawValue, place: &str) -> Result<Tool<'a>, Error> {
    let f: ToolFields<'a> = whole(raw, place)?;
    let kind = required(f.kind, format_args!("{place}.type"))?;
    if kind != "function" {
        let why = "this model's vendor takes tools of type \"function\" alone";
        return Err(unsupported(format_args!("{place}.type"), why));
    }
    let place = format!("{place}.function");
    let function: FunctionFields<'a> = whole(f.function.ok_or_else(|| missing(&place))?, &place)?;
    let name = required(function.name, format_args!("{place}.name"))?;
    let fits = (1..=128).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    if !fits {
        return Err(invalid(format_args!("{place}.name"), "use 1 to 64 of A-Z a-z 0-9 _ -"));
    }
    if function.parameters.is_some_and(|p| !p.get().starts_with('{')) {
        return Err(invalid(format_args!("{place}.parameters"), "it is no JSON object with a schema"));
    }
    Ok(Tool {
        name,
        description: text(function.description, format_args!("{place}.description"))?,
        parameters: function.parameters,
        strict: read(function.strict, format_args!("{place}.strict"))?.unwrap_or_default(),
        cache_control: f.cache_control.or(function.cache_control),
    })
}

pub(super) fn choice<'a>(raw: Option<&'a RawValue>) -> Result<Option<ToolChoice<'a>>, Error> {
    let Some(raw) = raw else { return Ok(None) };
    if raw.get().starts_with('{') {
        return chosen(raw).map(Some);
    }
    Ok(Some(match required(Some(raw), "tool_choice")?.as_ref() {
        "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "required" => ToolChoice::Required,
        _ => return Err(invalid("tool_choice", "give \"auto\", \"none\", \"required\" or the function to call")),
    }))
}

fn chosen<'a>(raw: &'a RawValue) -> Result<ToolChoice<'a>, Error> {
    let f: ChoiceFields<'a> = whole(raw, "tool_choice")?;
    match required(f.kind, "tool_choice.type")?.as_ref() {
        "function" => name(f.function, "tool_choice.function").map(ToolChoice::Named),
        "allowed_tools" => {
            let place = "tool_choice.allowed_tools";
            let allowed: AllowedFields<'a> = whole(f.allowed_tools.ok_or_else(|| missing(place))?, place)?;
            let required = match required(allowed.mode, "tool_choice.allowed_tools.mode")?.as_ref() {
                "auto" => false,
                "required" => true,
                _ => return Err(invalid("tool_choice.allowed_tools.mode", "give \"auto\" or \"required\"")),
            };
            let tools: Vec<&'a RawValue> = read(allowed.tools, "tool_choice.allowed_tools.tools")?.unwrap_or_default();
            let names = tools.into_iter().enumerate().map(|(index, raw)| {
                let place = format!("tool_choice.allowed_tools.tools[{index}]");
                let tool: ToolFields<'a> = whole(raw, &place)?;
                name(tool.function, &format!("{place}.function"))
            });
            Ok(ToolChoice::Allowed { names: names.collect::<Result<_, _>>()?, required })
        }
        _ => Err(unsupported("tool_choice.type", "this model's vendor takes \"function\" and \"allowed_tools\" alone")),
    }
}

fn name<'a>(function: Option<&'a RawValue>, place: &str) -> Result<Cow<'a, str>, Error> {
    let function: FunctionFields<'a> = whole(function.ok_or_else(|| missing(place))?, place)?;
    required(function.name, format_args!("{place}.name"))
}

pub(super) fn response_format<'a>(raw: Option<&'a RawValue>) -> Result<ResponseFormat<'a>, Error> {
    let Some(raw) = raw else { return Ok(ResponseFormat::Text) };
    let f: FormatFields<'a> = whole(raw, "response_format")?;
    match required(f.kind, "response_format.type")?.as_ref() {
        "text" => Ok(ResponseFormat::Text),
        "json_object" => Ok(ResponseFormat::JsonObject),
        "json_schema" => {
            let place = "response_format.json_schema";
            let inner: SchemaFields<'a> = whole(f.json_schema.ok_or_else(|| missing(place))?, place)?;
            match inner.schema {
                Some(schema) if schema.get().starts_with('{') => Ok(ResponseFormat::JsonSchema { schema }),
                Some(_) => Err(invalid("response_format.json_schema.schema", "it is no JSON object with a schema")),
                None => Ok(ResponseFormat::JsonObject),
            }
        }
        _ => Err(invalid("response_format.type", "give \"text\", \"json_object\" or \"json_schema\"")),
    }
}

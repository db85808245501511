//! JSON Schema, as callers write it, in the words that Gemini reads.
//!
//! A keyword that Google does not know is a 400 of the whole request, so nothing may pass unread. What has an equivalent
//! is converted (`const` to `enum`, `oneOf` to `anyOf`, `allOf` merged, `["string", "null"]` to `nullable`); references
//! are put in place, and where one is recursive it stays a reference in the dialect that has them and is refused in the
//! one that has not; what Gemini cannot enforce is told to the model in the `description`.

mod combine;
mod reference;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::base::error::{Code, Error};

use super::capability::Dialect;
use reference::Definition;

/// References put in place multiply: a schema that grows beyond this is refused. A node weighs 1, and its text 1 for
/// every 32 bytes.
const MAX_WEIGHT: usize = 50_000;
/// How deep nodes may lie in each other, references put in place.
const MAX_DEPTH: usize = 128;

/// Keywords that mean the same on both sides.
const KEPT: &[&str] = &[
    "title",
    "description",
    "default",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "minProperties",
    "maxProperties",
    "pattern",
    "nullable",
    "propertyOrdering",
];

/// Keywords that say what a value may be and that Gemini does not have: the model is told of them.
const TOLD: &[&str] = &[
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "uniqueItems",
    "contains",
    "patternProperties",
    "propertyNames",
    "dependentRequired",
    "not",
    "if",
    "then",
    "else",
];

/// `schema` in `dialect`; an error names `param`.
pub(super) fn convert(schema: &Value, dialect: Dialect, param: &str) -> Result<Value, Error> {
    let mut converter =
        Converter { root: schema, dialect, param, weight: 0, depth: 0, open: vec!["#"], kept: BTreeMap::new() };
    let mut converted = converter.node(schema)?;
    converter.keep_definitions()?;
    if let (Some(object), false) = (converted.as_object_mut(), converter.kept.is_empty()) {
        let definitions =
            converter.kept.into_values().map(|d| (d.name, d.schema.unwrap_or(Value::Bool(true)))).collect();
        object.insert("$defs".to_owned(), Value::Object(definitions));
    }
    Ok(converted)
}

/// A function's parameters; `None` for one that takes none, which Google wants left out altogether.
pub(super) fn parameters(schema: &Value, dialect: Dialect, param: &str) -> Result<Option<Value>, Error> {
    let object =
        schema.as_object().ok_or_else(|| invalid(param, "a function's parameters are a JSON Schema object"))?;
    let takes_none = object.get("properties").is_none_or(|p| p.as_object().is_some_and(Map::is_empty))
        && !["$ref", "anyOf", "oneOf", "allOf"].iter().any(|word| object.contains_key(*word))
        && (dialect == Dialect::OpenApi || !matches!(object.get("additionalProperties"), Some(Value::Object(_))));
    if takes_none { Ok(None) } else { convert(schema, dialect, param).map(Some) }
}

fn invalid(param: &str, what: impl std::fmt::Display) -> Error {
    Error::new(Code::InvalidParameter, format!("The schema does not do for this model: {what}."))
        .param(param.to_owned())
}

struct Converter<'a> {
    root: &'a Value,
    dialect: Dialect,
    param: &'a str,
    weight: usize,
    depth: usize,
    /// The references being put in place just now.
    open: Vec<&'a str>,
    /// Recursive definitions, by the reference that named them.
    kept: BTreeMap<&'a str, Definition>,
}

impl<'a> Converter<'a> {
    fn node(&mut self, schema: &'a Value) -> Result<Value, Error> {
        self.weight += own_weight(schema);
        self.depth += 1;
        if self.weight > MAX_WEIGHT || self.depth > MAX_DEPTH {
            return Err(invalid(self.param, "it is too large or too deep once its $refs are in place"));
        }
        let converted = self.convert(schema);
        self.depth -= 1;
        converted
    }

    fn convert(&mut self, schema: &'a Value) -> Result<Value, Error> {
        let object = match schema {
            Value::Object(object) => object,
            Value::Bool(true) => return Ok(self.anything()),
            other => return Err(invalid(self.param, format_args!("{other} stands where a schema should"))),
        };
        if let Some(reference) = object.get("$ref") {
            return self.reference(reference, object);
        }
        let mut out = Map::new();
        let mut told = Vec::new();
        self.types(object, &mut out);
        for word in KEPT {
            if let Some(value) = object.get(*word).filter(|v| !v.is_null()) {
                out.insert((*word).to_owned(), value.clone());
            }
        }
        self.format(object, &mut out, &mut told);
        self.values(object, &mut out, &mut told);
        self.members(object, &mut out, &mut told)?;
        self.items(object, &mut out)?;
        self.alternatives(object, &mut out)?;
        self.all_of(object, &mut out)?;
        for word in TOLD {
            told.extend(object.get(*word).map(|value| format!("{word}: {value}")));
        }
        tell(&mut out, &told);
        if out.is_empty() {
            return Ok(self.anything());
        }
        Ok(Value::Object(out))
    }

    /// The schema of any value. The OpenAPI subset cannot say it; text holds whatever the model means.
    fn anything(&self) -> Value {
        match self.dialect {
            Dialect::OpenApi => json!({ "type": "string" }),
            Dialect::JsonSchema => json!({}),
        }
    }

    fn types(&self, object: &Map<String, Value>, out: &mut Map<String, Value>) {
        match (object.get("type"), self.dialect) {
            (Some(Value::Array(types)), Dialect::OpenApi) => {
                let named: Vec<&Value> = types.iter().filter(|t| *t != "null").collect();
                if named.len() < types.len() {
                    out.insert("nullable".to_owned(), Value::Bool(true));
                }
                match named[..] {
                    [] => {}
                    [only] => drop(out.insert("type".to_owned(), only.clone())),
                    _ => {
                        let any = named.into_iter().map(|t| json!({ "type": t })).collect();
                        out.insert("anyOf".to_owned(), Value::Array(any));
                    }
                }
            }
            (Some(given), _) => drop(out.insert("type".to_owned(), given.clone())),
            (None, _) => drop(implied_type(object).map(|implied| out.insert("type".to_owned(), implied.into()))),
        }
    }

    /// Of a string's formats Google takes `date-time` alone.
    fn format(&self, object: &Map<String, Value>, out: &mut Map<String, Value>, told: &mut Vec<String>) {
        let Some(format) = object.get("format").and_then(Value::as_str) else { return };
        if matches!(format, "date-time" | "int32" | "int64" | "float" | "double") {
            out.insert("format".to_owned(), format.into());
        } else {
            told.push(format!("Format: {format}"));
        }
    }

    /// `enum` and `const`. The OpenAPI subset lists strings alone.
    fn values(&self, object: &Map<String, Value>, out: &mut Map<String, Value>, told: &mut Vec<String>) {
        let only = object.get("const").map(std::slice::from_ref);
        let Some(values) = only.or_else(|| object.get("enum").and_then(Value::as_array).map(Vec::as_slice)) else {
            return;
        };
        if self.dialect == Dialect::JsonSchema {
            out.insert("enum".to_owned(), values.into());
            return;
        }
        if values.iter().any(Value::is_null) {
            out.insert("nullable".to_owned(), Value::Bool(true));
        }
        let named: Vec<&Value> = values.iter().filter(|v| !v.is_null() && *v != "").collect();
        if !named.is_empty() && named.iter().all(|v| v.is_string()) {
            out.insert("type".to_owned(), "string".into());
            out.insert("enum".to_owned(), named.into_iter().cloned().collect());
        } else if !named.is_empty() {
            let list: Vec<String> = named.iter().map(ToString::to_string).collect();
            told.push(format!("Allowed values: {}", list.join(", ")));
        }
    }

    fn members(
        &mut self,
        object: &'a Map<String, Value>,
        out: &mut Map<String, Value>,
        told: &mut Vec<String>,
    ) -> Result<(), Error> {
        if let Some(members) = object.get("properties").and_then(Value::as_object).filter(|m| !m.is_empty()) {
            let mut converted = Map::with_capacity(members.len());
            for (name, schema) in members {
                converted.insert(name.clone(), self.node(schema)?);
            }
            out.insert("properties".to_owned(), Value::Object(converted));
            if let Some(required) = object.get("required").and_then(Value::as_array) {
                let known = |name: &&Value| name.as_str().is_some_and(|n| members.contains_key(n));
                let required: Vec<Value> = required.iter().filter(known).cloned().collect();
                if !required.is_empty() {
                    out.insert("required".to_owned(), Value::Array(required));
                }
            }
        }
        match (object.get("additionalProperties"), self.dialect) {
            (Some(schema @ Value::Object(_)), Dialect::OpenApi) => told.push(format!("additionalProperties: {schema}")),
            (Some(schema @ Value::Object(_)), Dialect::JsonSchema) => {
                let converted = self.node(schema)?;
                out.insert("additionalProperties".to_owned(), converted);
            }
            (Some(Value::Bool(open)), Dialect::JsonSchema) => {
                out.insert("additionalProperties".to_owned(), Value::Bool(*open));
            }
            _ => {}
        }
        Ok(())
    }

    fn items(&mut self, object: &'a Map<String, Value>, out: &mut Map<String, Value>) -> Result<(), Error> {
        let tuple = object.get("prefixItems").or_else(|| object.get("items").filter(|i| i.is_array()));
        let items = match (tuple.and_then(Value::as_array), object.get("items").filter(|i| i.is_object())) {
            (Some(tuple), _) => {
                let converted = tuple.iter().map(|s| self.node(s)).collect::<Result<Vec<_>, _>>()?;
                json!({ "anyOf": converted })
            }
            (None, Some(items)) => self.node(items)?,
            (None, None) if out.get("type").is_some_and(|t| t == "array") => json!({ "type": "string" }),
            (None, None) => return Ok(()),
        };
        out.insert("items".to_owned(), items);
        Ok(())
    }
}

/// The type of a schema that leaves it out, where its other words leave no doubt.
fn implied_type(object: &Map<String, Value>) -> Option<&'static str> {
    let values = object.get("const").map(std::slice::from_ref);
    let values = values.or_else(|| object.get("enum").and_then(Value::as_array).map(Vec::as_slice)).unwrap_or_default();
    match values.first() {
        _ if object.contains_key("properties") || object.contains_key("additionalProperties") => Some("object"),
        _ if object.contains_key("items") || object.contains_key("prefixItems") => Some("array"),
        Some(Value::String(_)) if values.iter().all(Value::is_string) => Some("string"),
        Some(Value::Bool(_)) if values.iter().all(Value::is_boolean) => Some("boolean"),
        Some(Value::Number(_)) if values.iter().all(|v| v.is_i64() || v.is_u64()) => Some("integer"),
        Some(Value::Number(_)) if values.iter().all(Value::is_number) => Some("number"),
        _ => None,
    }
}

/// What a node adds to the schema, without the nodes in it.
fn own_weight(schema: &Value) -> usize {
    let text = |text: &str| text.len() / 32;
    let members = schema.as_object().into_iter().flatten().map(|(word, value)| match (word.as_str(), value) {
        ("properties", Value::Object(members)) => members.keys().map(|name| text(name)).sum(),
        ("items" | "prefixItems" | "anyOf" | "oneOf" | "allOf" | "$defs" | "definitions", _) => 0,
        (_, value) => whole_weight(value),
    });
    1 + members.sum::<usize>()
}

fn whole_weight(value: &Value) -> usize {
    1 + match value {
        Value::String(text) => text.len() / 32,
        Value::Array(items) => items.iter().map(whole_weight).sum(),
        Value::Object(members) => members.iter().map(|(name, value)| name.len() / 32 + whole_weight(value)).sum(),
        _ => 0,
    }
}

/// Puts `told` at the end of the description.
fn tell(out: &mut Map<String, Value>, told: &[String]) {
    if told.is_empty() {
        return;
    }
    let note = told.join("; ");
    let text = match out.get("description").and_then(Value::as_str).filter(|d| !d.is_empty()) {
        Some(description) => format!("{description} ({note})"),
        None => note,
    };
    out.insert("description".to_owned(), text.into());
}

//! JSON Schema, as callers write it, in the words that Gemini reads.
//!
//! A keyword that Google does not know is a 400 of the whole request, so nothing may pass unread. What has an equivalent
//! is converted (`const` to `enum`, `oneOf` to `anyOf`, `allOf` merged, `["string", "null"]` to `nullable`); references
//! are put in place, and where one is recursive it stays a reference in the dialect that has them and is refused in the
//! one that has not; what Gemini cannot enforce is told to the model in the `description`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::base::error::{Code, Error};

use super::capability::Dialect;

/// More nodes than this, references put in place, are no schema that Google would take.
const MAX_NODES: usize = 10_000;
/// How deep references may lead into each other.
const MAX_REFERENCES: usize = 48;

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
    let mut converter = Converter { root: schema, dialect, param, nodes: 0, open: vec!["#"], kept: BTreeMap::new() };
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
    nodes: usize,
    /// The references being put in place just now.
    open: Vec<&'a str>,
    /// Recursive definitions, by the reference that named them.
    kept: BTreeMap<&'a str, Definition>,
}

struct Definition {
    name: String,
    schema: Option<Value>,
}

impl<'a> Converter<'a> {
    fn node(&mut self, schema: &'a Value) -> Result<Value, Error> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(invalid(
                self.param,
                format_args!("it has more than {MAX_NODES} nodes once its $refs are in place"),
            ));
        }
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

    fn reference(&mut self, reference: &'a Value, beside: &'a Map<String, Value>) -> Result<Value, Error> {
        let text = reference.as_str().ok_or_else(|| invalid(self.param, "a $ref is no string"))?;
        let path = text.strip_prefix('#').ok_or_else(|| {
            invalid(self.param, format_args!("$ref {text:?} leads out of it; put the definition under $defs"))
        })?;
        let found = self.root.pointer(path);
        let target = found.ok_or_else(|| invalid(self.param, format_args!("$ref {text:?} leads nowhere")))?;
        if self.open.contains(&text) {
            return self.recursive(text);
        }
        if self.open.len() > MAX_REFERENCES {
            return Err(invalid(self.param, format_args!("more than {MAX_REFERENCES} $refs lead into each other")));
        }
        self.open.push(text);
        let mut inlined = self.node(target);
        self.open.pop();
        if let (Ok(Value::Object(out)), Some(description)) = (&mut inlined, beside.get("description")) {
            out.insert("description".to_owned(), description.clone());
        }
        inlined
    }

    fn recursive(&mut self, text: &'a str) -> Result<Value, Error> {
        if self.dialect == Dialect::OpenApi {
            return Err(invalid(self.param, format_args!("$ref {text:?} is recursive, which this model cannot read")));
        }
        if text == "#" {
            return Ok(json!({ "$ref": "#" }));
        }
        let name = text.trim_start_matches("#/").replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let kept = self.kept.entry(text).or_insert(Definition { name, schema: None });
        Ok(json!({ "$ref": format!("#/$defs/{}", kept.name) }))
    }

    /// Converts the recursive definitions; doing so may find more of them.
    fn keep_definitions(&mut self) -> Result<(), Error> {
        while let Some(text) = self.kept.iter().find(|(_, d)| d.schema.is_none()).map(|(text, _)| *text) {
            self.open = vec!["#", text];
            let target = self.root.pointer(&text[1..]).unwrap_or(&Value::Bool(true));
            let converted = self.node(target)?;
            if let Some(kept) = self.kept.get_mut(text) {
                kept.schema = Some(converted);
            }
        }
        Ok(())
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

    /// `anyOf` and `oneOf`. In the OpenAPI subset a `null` among them is `nullable`, and beside `anyOf` nothing may stand.
    fn alternatives(&mut self, object: &'a Map<String, Value>, out: &mut Map<String, Value>) -> Result<(), Error> {
        let Some(given) = object.get("anyOf").or_else(|| object.get("oneOf")).and_then(Value::as_array) else {
            return Ok(());
        };
        let mut any = given.iter().map(|s| self.node(s)).collect::<Result<Vec<_>, _>>()?;
        if self.dialect == Dialect::JsonSchema {
            out.insert("anyOf".to_owned(), Value::Array(any));
            return Ok(());
        }
        let before = any.len();
        any.retain(|s| s.get("type").is_none_or(|t| t != "null"));
        if any.len() < before {
            out.insert("nullable".to_owned(), Value::Bool(true));
        }
        // Alternatives of an object that has its own members only narrow it down.
        if out.contains_key("properties") || any.is_empty() {
            return Ok(());
        }
        if let [Value::Object(only)] = &any[..] {
            for (word, value) in only {
                out.entry(word.clone()).or_insert_with(|| value.clone());
            }
            return Ok(());
        }
        out.retain(|word, _| matches!(word.as_str(), "title" | "description" | "nullable"));
        out.insert("anyOf".to_owned(), Value::Array(any));
        Ok(())
    }

    fn all_of(&mut self, object: &'a Map<String, Value>, out: &mut Map<String, Value>) -> Result<(), Error> {
        for schema in object.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            let Value::Object(part) = self.node(schema)? else { continue };
            for (word, value) in part {
                match (out.get_mut(&word), value) {
                    (Some(Value::Object(have)), Value::Object(more)) if word == "properties" => have.extend(more),
                    (Some(Value::Array(have)), Value::Array(more)) if word == "required" => have.extend(more),
                    (Some(_), _) => {}
                    (None, value) => drop(out.insert(word, value)),
                }
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn open_api(schema: Value) -> Value {
        convert(&schema, Dialect::OpenApi, "tools[0].function.parameters").unwrap()
    }

    fn json_schema(schema: Value) -> Value {
        convert(&schema, Dialect::JsonSchema, "response_format.json_schema.schema").unwrap()
    }

    #[test]
    fn the_wire_pages_vector_g9_is_converted() {
        let schema = json!({"type": "object", "properties": {
            "a": {"type": ["string", "null"], "format": "uuid"},
            "b": {"enum": [1, 2], "type": "integer"},
            "c": {"const": "x"},
        }, "additionalProperties": false, "required": ["a"], "$schema": "https://json-schema.org/draft/2020-12/schema"});
        let want = json!({"type": "object", "properties": {
            "a": {"type": "string", "nullable": true, "description": "Format: uuid"},
            "b": {"type": "integer", "description": "Allowed values: 1, 2"},
            "c": {"type": "string", "enum": ["x"]},
        }, "required": ["a"]});
        assert_eq!(open_api(schema), want);
    }

    #[test]
    fn references_are_put_in_place_and_keep_their_own_description() {
        let schema = json!({"type": "object", "properties": {"p": {"$ref": "#/$defs/P", "description": "mine"}},
            "$defs": {"P": {"type": "object", "description": "theirs", "properties": {"q": {"$ref": "#/$defs/Q"}}}, "Q": {"type": "number"}}});
        let want = json!({"type": "object", "properties": {
            "p": {"type": "object", "description": "mine", "properties": {"q": {"type": "number"}}}}});
        assert_eq!(open_api(schema.clone()), want);
        assert_eq!(json_schema(schema), want);
    }

    #[test]
    fn a_recursive_reference_stays_where_the_dialect_has_references() {
        let tree = json!({"$ref": "#/$defs/Node", "$defs": {"Node": {"type": "object", "properties": {
            "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}}}}});
        let node = json!({"type": "object", "properties": {
            "next": {"anyOf": [{"$ref": "#/$defs/_defs_Node"}, {"type": "null"}]}}});
        let mut want = node.clone();
        want["$defs"] = json!({"_defs_Node": node});
        assert_eq!(json_schema(tree.clone()), want);
        let error = convert(&tree, Dialect::OpenApi, "tools[0].function.parameters").unwrap_err();
        assert!(error.message().contains("recursive"), "{error}");
        assert_eq!(error.param_name(), Some("tools[0].function.parameters"));
    }

    #[test]
    fn null_among_alternatives_is_nullable_and_one_that_is_left_stands_alone() {
        let schema = json!({"description": "d", "oneOf": [{"type": "null"}, {"type": "integer", "minimum": 1}]});
        assert_eq!(open_api(schema), json!({"description": "d", "nullable": true, "type": "integer", "minimum": 1}));
        let schema = json!({"type": "object", "anyOf": [{"type": "null"}, {"type": "string"}, {"type": "integer"}]});
        assert_eq!(open_api(schema), json!({"nullable": true, "anyOf": [{"type": "string"}, {"type": "integer"}]}));
    }

    #[test]
    fn all_of_is_merged() {
        let schema = json!({"allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"properties": {"b": {"type": "string"}}, "required": ["b"]}]});
        let want = json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": ["a", "b"]});
        assert_eq!(open_api(schema), want);
    }

    #[test]
    fn what_cannot_be_enforced_is_told() {
        let schema = json!({"type": "integer", "description": "Even.", "multipleOf": 2, "exclusiveMinimum": 0});
        assert_eq!(json_schema(schema)["description"], "Even. (exclusiveMinimum: 0; multipleOf: 2)");
        let map = json!({"type": "object", "additionalProperties": {"type": "integer", "const": 3}});
        assert_eq!(json_schema(map.clone())["additionalProperties"], json!({"type": "integer", "enum": [3]}));
        assert_eq!(open_api(map)["description"], r#"additionalProperties: {"type":"integer","const":3}"#);
    }

    #[test]
    fn arrays_always_say_what_is_in_them() {
        assert_eq!(open_api(json!({"type": "array"})), json!({"type": "array", "items": {"type": "string"}}));
        let tuple = json!({"prefixItems": [{"type": "string"}, {"type": "integer"}]});
        let want = json!({"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}});
        assert_eq!(open_api(tuple), want);
    }

    #[test]
    fn references_that_multiply_are_refused_before_they_fill_the_memory() {
        let mut definitions = Map::new();
        for n in 0..40 {
            let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
            definitions.insert(format!("d{n}"), json!({"properties": {"a": next, "b": next}}));
        }
        definitions.insert("d40".to_owned(), json!({"type": "string"}));
        let bomb = json!({"$ref": "#/$defs/d0", "$defs": definitions});
        for dialect in [Dialect::OpenApi, Dialect::JsonSchema] {
            assert!(convert(&bomb, dialect, "p").unwrap_err().message().contains("10000 nodes"));
        }
        for bad in [
            json!({"$ref": "https://example.com/x"}),
            json!({"$ref": "#/$defs/none"}),
            json!([1]),
            json!({"not": 1, "items": {"anyOf": [7]}}),
        ] {
            assert_eq!(convert(&bad, Dialect::JsonSchema, "p").unwrap_err().code(), Code::InvalidParameter, "{bad}");
        }
    }

    #[test]
    fn a_function_without_parameters_has_none() {
        for empty in [
            json!({}),
            json!({"type": "object"}),
            json!({"type": "object", "properties": {}, "additionalProperties": false}),
        ] {
            assert_eq!(parameters(&empty, Dialect::JsonSchema, "p").unwrap(), None);
        }
        assert!(
            parameters(&json!({"additionalProperties": {"type": "string"}}), Dialect::JsonSchema, "p")
                .unwrap()
                .is_some()
        );
        assert!(parameters(&json!("x"), Dialect::JsonSchema, "p").is_err());
    }
}

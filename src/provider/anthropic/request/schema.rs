//! JSON Schemas in the part of the language that the vendor can hold an answer to.

use serde_json::{Map, Value, json};

/// Words that the vendor's grammar does not know. They are told to the model in the description instead.
const TOLD: &[&str] = &[
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "contains",
    "minContains",
    "maxContains",
    "prefixItems",
    "minProperties",
    "maxProperties",
    "patternProperties",
    "propertyNames",
    "dependentRequired",
    "dependentSchemas",
    "unevaluatedProperties",
    "if",
    "then",
    "else",
    "not",
];

const FORMATS: &[&str] = &["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];

/// Makes `schema` that of an object, as the vendor wants of every tool's input.
pub(super) fn make_object(schema: &mut Value) -> Result<(), &'static str> {
    let Value::Object(map) = schema else { return Err("it is no JSON object with a schema") };
    if map.contains_key("anyOf") || map.contains_key("oneOf") || map.contains_key("allOf") {
        return Err("its root must be an object; put anyOf, oneOf and allOf inside a property");
    }
    match map.get("type").and_then(Value::as_str) {
        Some("object") => {}
        None if !map.contains_key("type") => {
            map.insert("type".to_owned(), json!("object"));
        }
        _ => return Err("its root must be of type \"object\""),
    }
    if !map.contains_key("properties") {
        map.insert("properties".to_owned(), json!({}));
    }
    Ok(())
}

/// The schema with every object closed and with what the grammar lacks moved into descriptions; `None` where an object
/// must stay open.
pub(super) fn close(schema: &Value) -> Option<Value> {
    let Value::Object(map) = schema else { return schema.is_boolean().then(|| schema.clone()) };
    let mut closed = Map::new();
    let mut told = Vec::new();
    for (word, value) in map {
        match word.as_str() {
            "properties" | "$defs" | "definitions" => {
                let members = value.as_object()?.iter().map(|(name, inner)| Some((name.clone(), close(inner)?)));
                closed.insert(word.clone(), Value::Object(members.collect::<Option<_>>()?));
            }
            "items" => drop(closed.insert(word.clone(), close(value)?)),
            "anyOf" | "oneOf" | "allOf" => {
                let members = value.as_array()?.iter().map(close).collect::<Option<_>>()?;
                let word = if word == "oneOf" { "anyOf" } else { word };
                closed.insert(word.to_owned(), Value::Array(members));
            }
            "additionalProperties" if *value != json!(false) => return None,
            "minItems" if value.as_u64().is_none_or(|n| n > 1) => told.push(format!("{word}: {value}")),
            "format" if !value.as_str().is_some_and(|f| FORMATS.contains(&f)) => told.push(format!("{word}: {value}")),
            word if TOLD.contains(&word) => told.push(format!("{word}: {value}")),
            _ => drop(closed.insert(word.clone(), value.clone())),
        }
    }
    if is_object(&closed) {
        closed.get("properties")?;
        closed.insert("additionalProperties".to_owned(), json!(false));
    }
    if !told.is_empty() {
        let note = format!("Note: {}.", told.join(", "));
        let text = match closed.get("description").and_then(Value::as_str) {
            Some(text) => format!("{text} {note}"),
            None => note,
        };
        closed.insert("description".to_owned(), Value::String(text));
    }
    Some(Value::Object(closed))
}

fn is_object(map: &Map<String, Value>) -> bool {
    match map.get("type") {
        Some(Value::String(kind)) => kind == "object",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        _ => map.contains_key("properties"),
    }
}

/// What the strict tools of a request come to: the vendor refuses a request whose grammar would be too large.
#[derive(Debug, Default)]
pub(super) struct Strictness {
    tools: usize,
    optional: usize,
    unions: usize,
    dropped: bool,
}

impl Strictness {
    /// Whether a tool with this schema can be strict beside those before it.
    pub(super) fn admit(&mut self, schema: &Value, able: bool) -> bool {
        let (mut optional, mut unions) = (self.optional, self.unions);
        let fits = able
            && close(schema).as_ref() == Some(schema)
            && weigh(schema, &mut optional, &mut unions)
            && self.tools < 20
            && optional <= 24
            && unions <= 16;
        if fits {
            (self.tools, self.optional, self.unions) = (self.tools + 1, optional, unions);
        }
        self.dropped |= !fits;
        fits
    }

    /// Whether a tool had to go without.
    pub(super) fn was_dropped(&self) -> bool {
        self.dropped
    }
}

/// Counts optional properties and unions; `false` at a reference, which may recurse.
fn weigh(schema: &Value, optional: &mut usize, unions: &mut usize) -> bool {
    match schema {
        Value::Array(all) => all.iter().all(|inner| weigh(inner, optional, unions)),
        Value::Object(map) => {
            if let Some(properties) = map.get("properties").and_then(Value::as_object) {
                let required = map.get("required").and_then(Value::as_array).map_or(0, Vec::len);
                *optional += properties.len().saturating_sub(required);
            }
            *unions += usize::from(map.contains_key("anyOf") || map.get("type").is_some_and(Value::is_array));
            !map.contains_key("$ref") && map.values().all(|inner| weigh(inner, optional, unions))
        }
        _ => true,
    }
}

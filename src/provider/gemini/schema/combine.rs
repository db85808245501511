//! `anyOf`, `oneOf` and `allOf`.

use serde_json::{Map, Value};

use crate::base::error::Error;
use crate::provider::gemini::capability::Dialect;

use super::Converter;

impl<'a> Converter<'a> {
    /// `anyOf` and `oneOf`. In the OpenAPI subset a `null` among them is `nullable`, and beside `anyOf` nothing may stand.
    pub(super) fn alternatives(
        &mut self,
        object: &'a Map<String, Value>,
        out: &mut Map<String, Value>,
    ) -> Result<(), Error> {
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

    pub(super) fn all_of(&mut self, object: &'a Map<String, Value>, out: &mut Map<String, Value>) -> Result<(), Error> {
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

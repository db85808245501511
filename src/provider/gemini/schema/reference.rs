//! `$ref`: definitions are put in place; recursive ones are kept aside, where the dialect can name them.

use serde_json::{Map, Value, json};

use crate::base::error::Error;
use crate::provider::gemini::capability::Dialect;

use super::{Converter, invalid};

/// A recursive definition, under the name that it is given in `$defs`.
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) schema: Option<Value>,
}

impl<'a> Converter<'a> {
    pub(super) fn reference(&mut self, reference: &'a Value, beside: &'a Map<String, Value>) -> Result<Value, Error> {
        let text = reference.as_str().ok_or_else(|| invalid(self.param, "a $ref is no string"))?;
        let path = text.strip_prefix('#').ok_or_else(|| {
            invalid(self.param, format_args!("$ref {text:?} leads out of it; put the definition under $defs"))
        })?;
        let found = self.root.pointer(path);
        let target = found.ok_or_else(|| invalid(self.param, format_args!("$ref {text:?} leads nowhere")))?;
        if self.open.contains(&text) {
            return self.recursive(text);
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
    pub(super) fn keep_definitions(&mut self) -> Result<(), Error> {
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
}

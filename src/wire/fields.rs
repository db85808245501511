//! The members of a JSON object by name, each to be read on its own; those that nobody asks for are left over.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::text::Text;

/// The members of an object that are not null, in the order in which they were sent.
#[derive(Debug, Default)]
pub(crate) struct Fields<'a>(Vec<(Text<'a>, Option<&'a RawValue>)>);

impl<'a> Fields<'a> {
    /// The value of `name`. Gives it once.
    pub(crate) fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        self.0.iter_mut().find(|(there, _)| **there == *name)?.1.take()
    }

    /// Whether `name` is there, and is taken.
    pub(crate) fn has(&mut self, name: &str) -> bool {
        self.take(name).is_some()
    }

    /// The names of what was not taken.
    pub(crate) fn left(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, value)| value.is_some()).map(|(name, _)| &**name)
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object)
    }
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key::<Text<'de>>()? {
            if fields.0.iter().any(|(there, _)| *there == name) {
                return Err(A::Error::custom(format_args!("duplicate field `{}`", &*name)));
            }
            let value: &RawValue = map.next_value()?;
            fields.0.push((name, Some(value).filter(|value| value.get() != "null")));
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_taken_is_left_and_null_is_nothing() {
        let mut fields: Fields<'_> = serde_json::from_str(r#"{"a":[1, 2],"b":null,"c\u0064":"x","e":1}"#).unwrap();
        assert_eq!(fields.take("a").unwrap().get(), "[1, 2]");
        assert!(!fields.has("a") && !fields.has("b") && fields.has("cd"));
        assert_eq!(fields.left().collect::<Vec<_>>(), ["e"]);
        let twice = serde_json::from_str::<Fields<'_>>(r#"{"a":1,"\u0061":2}"#).unwrap_err();
        assert!(twice.to_string().starts_with("duplicate field `a`"), "{twice}");
        assert!(serde_json::from_str::<Fields<'_>>("[]").is_err());
    }
}

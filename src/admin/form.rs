//! JSON bodies: collected up to a bound, then read field by field, so that a refusal names the field.

use std::future::poll_fn;
use std::pin::pin;

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::base::error::{Code, Error};
use crate::wire::unique::Unique;

/// The longest body of the admin API, in bytes.
const MAX_BODY: usize = 1 << 20;

/// The body's bytes.
pub(super) async fn collect<B: Body>(body: B) -> Result<Bytes, Error> {
    let too_large = || Error::new(Code::RequestTooLarge, "The body is larger than the 1 MiB that this API takes.");
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    let mut body = pin!(body);
    let mut whole = BytesMut::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(frame) = frame else {
            return Err(Error::new(Code::InvalidJson, "The body broke off before its end: send it again."));
        };
        let Ok(mut data) = frame.into_data() else { continue };
        if whole.len() + data.remaining() > MAX_BODY {
            return Err(too_large());
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            whole.extend_from_slice(chunk);
            let read = chunk.len();
            data.advance(read);
        }
    }
    Ok(whole.freeze())
}

/// A JSON object that knows where it stands in the body.
#[derive(Debug)]
pub(super) struct Form {
    /// `limits[2].`, or nothing.
    prefix: String,
    fields: Map<String, Value>,
}

impl Form {
    /// The body's object, with these fields at most. An empty body is an empty object.
    pub(super) fn parse(body: &[u8], known: &[&str]) -> Result<Self, Error> {
        if body.is_empty() {
            return Ok(Self { prefix: String::new(), fields: Map::new() });
        }
        let Unique(value) = serde_json::from_slice(body)
            .map_err(|why| Error::new(Code::InvalidJson, format!("The body is not JSON: {why}.")))?;
        Self::of(value, None, known)
    }

    /// The object at `path` of the body.
    pub(super) fn of(value: Value, path: Option<String>, known: &[&str]) -> Result<Self, Error> {
        let Value::Object(fields) = value else {
            let place = path.as_deref().unwrap_or("The body");
            let error = Error::new(Code::InvalidParameter, format!("{place} must be a JSON object."));
            return Err(match path {
                Some(path) => error.param(path),
                None => error,
            });
        };
        let form = Self { prefix: path.map_or_else(String::new, |path| path + "."), fields };
        match form.fields.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(form.invalid(key, &format!("is no field here. Known ones: {}", known.join(", ")))),
            None => Ok(form),
        }
    }

    /// The path of a field.
    pub(super) fn path(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// A field whose value will not do.
    pub(super) fn invalid(&self, key: &str, reason: &str) -> Error {
        super::query::invalid(&self.path(key), reason)
    }

    /// A field that may be absent or null.
    pub(super) fn optional<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, Error> {
        match self.fields.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                T::deserialize(value).map(Some).map_err(|why| self.invalid(key, &format!("does not fit: {why}")))
            }
        }
    }

    /// A field that must be there.
    pub(super) fn required<T: DeserializeOwned>(&mut self, key: &str) -> Result<T, Error> {
        self.optional(key)?.ok_or_else(|| {
            let path = self.path(key);
            Error::new(Code::MissingParameter, format!("The field {path:?} is missing.")).param(path)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_field() {
        let form = |body: &str| Form::parse(body.as_bytes(), &["a"]);
        let refused = |error: Error| (error.code().as_str(), error.param_name().map(str::to_owned));
        assert_eq!(refused(form("{").unwrap_err()), ("invalid_json", None));
        assert_eq!(refused(form(r#"{"a":1,"a":1}"#).unwrap_err()), ("invalid_json", None));
        assert_eq!(refused(form("[]").unwrap_err()), ("invalid_parameter", None));
        assert_eq!(refused(form(r#"{"b":1}"#).unwrap_err()), ("invalid_parameter", Some("b".to_owned())));
        let wrong = form(r#"{"a":"x"}"#).unwrap().required::<u64>("a").unwrap_err();
        assert_eq!(refused(wrong), ("invalid_parameter", Some("a".to_owned())));
        let missing = form(r#"{"a":null}"#).unwrap().required::<u64>("a").unwrap_err();
        assert_eq!(refused(missing), ("missing_parameter", Some("a".to_owned())));
    }
}

//! The fields of a request by name, whether it is JSON or a form.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::base::error::{Code, Error};
use crate::wire::facts::{Multipart, Part};
use crate::wire::openai_request::invalid;

use super::picture::{Picture, each, linked, uploaded};
use super::request::SOFT;

/// The fields that are read, beside those of [`SOFT`].
const READ: [&str; 9] = ["model", "prompt", "n", "size", "response_format", "image", "images", "mask", "stream"];

/// More reference pictures than any vendor takes.
const MAX_PICTURES: usize = 16;

/// The fields, before anything is known of them.
pub(super) enum Fields<'a> {
    Json(HashMap<String, &'a RawValue>),
    Form(&'a [Bytes], Vec<Part>),
}

impl<'a> Fields<'a> {
    pub(super) fn of_json(body: &'a [u8]) -> Result<Self, Error> {
        let fields: HashMap<String, &'a RawValue> = serde_json::from_slice(body).map_err(|e| {
            Error::new(Code::InvalidJson, format!("The body is no JSON object of an image request: {e}."))
        })?;
        Ok(Self::Json(fields))
    }

    pub(super) fn of_form(pieces: &'a [Bytes], form: &Multipart) -> Self {
        Self::Form(pieces, form.parts.clone())
    }

    /// The fields that are there and that nobody knows, by name.
    pub(super) fn unknown(&self) -> Vec<String> {
        let names: BTreeSet<&str> = match self {
            Self::Json(fields) => fields.keys().map(String::as_str).filter(|name| self.json(name).is_some()).collect(),
            Self::Form(_, parts) => parts.iter().map(Part::bare_name).collect(),
        };
        let is_known = |name: &str| READ.contains(&name) || SOFT.contains(&name);
        names.into_iter().filter(|name| !is_known(name)).map(str::to_owned).collect()
    }

    /// The JSON value of a field that is there and not null.
    fn json(&self, name: &str) -> Option<&'a str> {
        match self {
            Self::Json(fields) => fields.get(name).map(|raw| raw.get()).filter(|raw| *raw != "null"),
            Self::Form(..) => None,
        }
    }

    fn form_text(&self, name: &'static str) -> Result<Option<String>, Error> {
        let Self::Form(pieces, parts) = self else { return Ok(None) };
        let mut found = parts.iter().filter(|part| part.bare_name() == name && part.filename.is_none());
        let Some(part) = found.next() else { return Ok(None) };
        if found.next().is_some() {
            return Err(invalid(name, "the form field stands twice: send it once"));
        }
        let text = String::from_utf8(content(pieces, part)).map_err(|_| invalid(name, "it is no UTF-8 text"))?;
        Ok(Some(text).filter(|text| !text.is_empty() || name == "prompt"))
    }

    pub(super) fn text(&self, name: &'static str) -> Result<Option<String>, Error> {
        match self.json(name) {
            Some(raw) => serde_json::from_str(raw).map(Some).map_err(|_| invalid(name, "give a text")),
            None => self.form_text(name),
        }
    }

    pub(super) fn flag(&self, name: &'static str) -> Result<Option<bool>, Error> {
        let text = match self.json(name) {
            Some(raw) => Some(raw.to_owned()),
            None => self.form_text(name)?,
        };
        text.map(|text| text.parse()).transpose().map_err(|_| invalid(name, "give true or false"))
    }

    pub(super) fn whole(&self, name: &'static str) -> Result<Option<i64>, Error> {
        let text = match self.json(name) {
            Some(raw) => Some(raw.to_owned()),
            None => self.form_text(name)?,
        };
        text.map(|text| text.parse()).transpose().map_err(|_| invalid(name, "give a whole number"))
    }

    /// Whether a field says something that is not what would be done anyhow.
    pub(super) fn asks(&self, name: &str) -> bool {
        match self {
            Self::Json(_) => self.json(name).is_some_and(|raw| !matches!(raw, "\"auto\"" | "\"\"" | "false")),
            Self::Form(pieces, parts) => parts.iter().filter(|part| part.bare_name() == name).any(|part| {
                part.filename.is_some() || !matches!(content(pieces, part).as_slice(), b"auto" | b"" | b"false")
            }),
        }
    }

    pub(super) fn pictures(&self) -> Result<Vec<Picture<'a>>, Error> {
        let mut found = Vec::new();
        for name in ["image", "images"] {
            match self {
                Self::Form(pieces, parts) => {
                    for part in parts.iter().filter(|part| part.bare_name() == name) {
                        found.push(uploaded(pieces, part)?);
                    }
                }
                Self::Json(_) => {
                    let Some(raw) = self.json(name) else { continue };
                    if raw.starts_with('[') {
                        let list: Vec<&RawValue> = serde_json::from_str(raw).map_err(|e| invalid(name, e))?;
                        for (at, one) in list.iter().enumerate() {
                            found.push(linked(one.get(), &format!("{name}[{at}]"))?);
                        }
                    } else {
                        found.push(linked(raw, name)?);
                    }
                }
            }
        }
        if found.len() > MAX_PICTURES {
            return Err(invalid("image", format_args!("give at most {MAX_PICTURES} pictures")));
        }
        Ok(found)
    }
}

/// A part's bytes.
fn content(pieces: &[Bytes], part: &Part) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(part.content.len());
    each(pieces, part, |run| bytes.extend_from_slice(run));
    bytes
}

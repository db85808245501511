//! What is particular to a voice request: the limits of a text to speak, and a form that goes on as it came.

use bytes::Bytes;
use http::HeaderValue;

use crate::base::error::{Code, Error};
use crate::http::call::{Call, Facts, Multipart};

use super::dialect::Dialect;
use super::request::Edit;

/// What OpenAI speaks at a time, in characters.
const MAX_INPUT: u64 = 4_096;

/// Refuses a text that the vendor would not speak.
pub(super) fn check_speech(dialect: Dialect, facts: &Facts) -> Result<(), Error> {
    let invalid = |message: String| Err(Error::new(Code::InvalidParameter, message).param("input"));
    match facts.input_chars {
        None => {
            Err(Error::new(Code::MissingParameter, "Send the text to speak in \"input\", as one string.")
                .param("input"))
        }
        Some(0) => invalid("\"input\" is empty: send the text to speak.".to_owned()),
        Some(length) if dialect == Dialect::OpenAi && length > MAX_INPUT => invalid(format!(
            "\"input\" has {length} characters, and at most {MAX_INPUT} are spoken at a time: send it in parts."
        )),
        Some(_) => Ok(()),
    }
}

/// Puts the vendor's id of the model into the form.
pub(super) fn model_edit(form: &Multipart, upstream: &str) -> Option<Edit> {
    let part = form.parts.iter().find(|part| part.filename.is_none() && part.bare_name() == "model")?;
    Some((part.content.clone(), Bytes::copy_from_slice(upstream.as_bytes())))
}

/// The content type of the form: the boundary is the caller's, as its body goes on.
pub(super) fn content_type(form: &Multipart) -> Result<HeaderValue, Error> {
    let is_token = form.boundary.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"'+_-.".contains(&byte));
    let quote = if is_token { "" } else { "\"" };
    HeaderValue::from_str(&format!("multipart/form-data; boundary={quote}{}{quote}", form.boundary)).map_err(|_| {
        Error::new(Code::InvalidParameter, "The content-type names a boundary that cannot stand in a header.")
    })
}

/// The content type of sound in this format, for a vendor that does not say it.
pub(super) fn sound(call: &Call) -> &'static str {
    match call.facts().response_format.as_deref() {
        Some("opus") => "audio/opus",
        Some("aac") => "audio/aac",
        Some("flac") => "audio/flac",
        Some("wav") => "audio/wav",
        Some("pcm") => "audio/pcm",
        _ => "audio/mpeg",
    }
}

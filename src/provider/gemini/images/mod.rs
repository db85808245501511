//! `/v1/images/generations` and `/v1/images/edits`: Gemini's image models by `generateContent`, Imagen by `predict`.

mod generate;
mod imagen;

#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::base::error::Error;
use crate::http::call::Call;
use crate::provider::gallery::{Plan, Taken};
use crate::provider::traits::{Exchange, Target};
use crate::wire::dropped::Dropped;
use crate::wire::images::{Form, ImageRequest};
use crate::wire::openai_request::unsupported;
use crate::wire::outline::Outline;

use super::post;

/// Google gives the pictures themselves, never a URL: nothing is fetched.
const HOSTS: &[&str] = &[];

/// A request in Google's words.
struct Encoded {
    method: &'static str,
    body: Bytes,
    /// How often it is sent: most models make one picture a call.
    calls: u64,
    warnings: Vec<String>,
    dropped: Dropped,
    read: fn(&Outline) -> Result<Taken, Error>,
    is_final: bool,
}

/// Translates the call; the upstream id tells which way the model goes.
pub(super) fn encode(call: &Call, target: &Target) -> Result<Exchange, Error> {
    if call.streams() {
        return Err(unsupported("stream", "this model's pictures come in one answer"));
    }
    let given = if call.facts().multipart.is_some() { Bytes::new() } else { call.body() };
    let request = ImageRequest::read(call.segments().pieces(), &given, call.facts())?;
    request.no_mask()?;
    let upstream = target.upstream.strip_prefix("models/").unwrap_or(&target.upstream);
    let encoded = if upstream.starts_with("imagen") {
        imagen::encode(call.endpoint(), &request)?
    } else {
        generate::encode(call.endpoint(), &request, upstream)?
    };
    let plan = Plan {
        request: post(target, encoded.method, encoded.body.into())?,
        calls: encoded.calls,
        // Google's own form is base64; a caller who names none gets that.
        form: request.form.or(Some(Form::Base64)),
        size: None,
        quality: None,
        warnings: encoded.warnings,
        dropped: encoded.dropped,
        hosts: HOSTS,
        read: encoded.read,
        is_final: encoded.is_final,
    };
    Ok(plan.into_exchange(target))
}

//! What a request must be like to pass.

use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Method, request};

use crate::base::error::{Code, Error};
use crate::domain::caller::Caller;
use crate::domain::endpoint::Endpoint;
use crate::domain::modality::Modality;
use crate::domain::model::{Catalog, ModelTerms};
use crate::http::body::Segments;
use crate::http::call::{Call, Facts};
use crate::http::meter::Meter;
use crate::wire::json::shown;
use crate::wire::{multipart, peek};

/// The layer's settings.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) catalog: Option<Arc<dyn Catalog>>,
    pub(super) max_body_bytes: usize,
    pub(super) max_upload_bytes: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self { catalog: None, max_body_bytes: 32 << 20, max_upload_bytes: 25 << 20 }
    }
}

/// What a request's head says of its body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// The most bytes that are collected.
    pub(super) max_bytes: usize,
    /// The model route and how its body is written; `None` for a request that is not inspected.
    route: Option<(Endpoint, Format)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Json,
    Multipart,
}

impl Rules {
    /// Looks at the head, before any byte of the body.
    pub(super) fn plan(&self, head: &request::Parts) -> Result<Plan, Error> {
        let endpoint = Endpoint::of(head.uri.path()).filter(|_| head.method == Method::POST);
        let max_bytes = match endpoint {
            Some(Endpoint::Transcriptions | Endpoint::Translations) => self.max_upload_bytes,
            _ => self.max_body_bytes,
        };
        let route = match endpoint {
            Some(endpoint) => Some((endpoint, format(endpoint, &head.headers)?)),
            None => None,
        };
        match head.headers.get(CONTENT_LENGTH).map(|length| length.to_str().unwrap_or_default().parse::<u64>()) {
            Some(Ok(length)) if length > max_bytes as u64 => Err(too_large(max_bytes)),
            _ => Ok(Plan { max_bytes, route }),
        }
    }

    /// Reads the collected body and puts the `Call` into the extensions.
    pub(super) fn inspect(&self, plan: Plan, head: &mut request::Parts, segments: &Segments) -> Result<(), Error> {
        let Some((endpoint, format)) = plan.route else { return Ok(()) };
        let facts = match format {
            Format::Json => peek::peek(segments.pieces())?,
            Format::Multipart => multipart::read(segments.pieces(), content_type(&head.headers))?,
        };
        let terms = match (&self.catalog, &facts.model) {
            (Some(catalog), Some(model)) => catalog.terms(&model.value),
            _ => None,
        };
        let call = Call::new(endpoint, facts, segments.clone(), terms);
        if let Some(meter) = head.extensions.get::<Meter>() {
            meter.identify(&call);
        }
        if self.catalog.is_some() {
            admit(&call, head.extensions.get::<Caller>())?;
        }
        if endpoint == Endpoint::ChatCompletions {
            call.facts().require_messages()?;
        }
        head.extensions.insert(call);
        Ok(())
    }
}

/// Whether the model is there, is allowed to the caller, and fits the route.
fn admit(call: &Call, caller: Option<&Caller>) -> Result<(), Error> {
    let Facts { model: Some(model), .. } = call.facts() else {
        let message = "Name the model: the field `model` is missing. GET /v1/models lists what this key may use.";
        return Err(Error::new(Code::MissingParameter, message).param("model"));
    };
    let id = shown(&model.value);
    let Some(terms) = call.terms() else {
        let message = format!("The model `{id}` does not exist. GET /v1/models lists what this key may use.");
        return Err(Error::new(Code::ModelNotFound, message).param("model"));
    };
    if caller.is_some_and(|caller| !caller.may_use(&terms.id, terms.modality)) {
        let message = format!(
            "This key may not use the model `{id}`. GET /v1/models lists what it may use; ask for a wider key."
        );
        return Err(Error::new(Code::InsufficientPermissions, message).param("model"));
    }
    if terms.modality != call.endpoint().modality() {
        return Err(misrouted(&id, terms));
    }
    Ok(())
}

fn misrouted(id: &str, terms: &ModelTerms) -> Error {
    let routes: Vec<_> =
        Endpoint::ALL.into_iter().filter(|e| e.modality() == terms.modality).map(Endpoint::path).collect();
    let modality = terms.modality;
    let article = if matches!(modality, Modality::Image | Modality::Embedding) { "an" } else { "a" };
    let message = format!("The model `{id}` is {article} {modality} model: use POST {}.", routes.join(" or "));
    Error::new(Code::InvalidParameter, message).param("model")
}

/// How the route's body is written, if the headers say that it is written in a way that the route takes.
fn format(endpoint: Endpoint, headers: &HeaderMap) -> Result<Format, Error> {
    let plain = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(CONTENT_ENCODING).iter().all(plain) {
        return Err(Error::new(Code::InvalidParameter, "Compressed requests are not read: send the body as it is."));
    }
    let media_type = content_type(headers).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let format = match media_type.as_str() {
        "" | "application/json" => Some(Format::Json),
        "multipart/form-data" => Some(Format::Multipart),
        other => other.ends_with("+json").then_some(Format::Json),
    };
    let taken: &[Format] = match endpoint {
        Endpoint::Transcriptions | Endpoint::Translations => &[Format::Multipart],
        Endpoint::ImageEdits | Endpoint::Videos => &[Format::Json, Format::Multipart],
        _ => &[Format::Json],
    };
    format.filter(|format| taken.contains(format)).ok_or_else(|| {
        let names: Vec<_> = taken.iter().map(|format| format.media_type()).collect();
        let message = format!("This content-type is not taken here: send `{}`.", names.join("` or `"));
        Error::new(Code::InvalidParameter, message)
    })
}

impl Format {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Multipart => "multipart/form-data",
        }
    }
}

/// The content type; text that is no ASCII is none that is known.
fn content_type(headers: &HeaderMap) -> &str {
    headers.get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or("?"))
}

pub(super) fn too_large(max_bytes: usize) -> Error {
    let message = format!("The body is larger than {max_bytes} bytes: shorten it, or give media by URL.");
    Error::new(Code::RequestTooLarge, message)
}

//! Veo: long-running operations of the Gemini API, whose videos need the API key to be fetched. Its successors are
//! spoken to by interactions.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::base::clock::Timestamp;
use crate::base::error::{Code, Error};
use crate::domain::abilities::{Abilities, Sound};
use crate::domain::job::Video;
use crate::domain::usage::Usage;
use crate::domain::video::Order;
use crate::http::body::CallBody;
use crate::provider::traits::{Credential, Target};
use crate::provider::video::{
    Answer, Cancel, Content, Link, NewVideo, Seen, VideoProvider, has_error, number, path_safe, picture, request,
    secret_header, text, unreadable,
};
use crate::wire::scrub::scrub;

use super::{fault, interactions};

/// The codec of Google's videos.
#[derive(Clone, Copy, Debug, Default)]
pub struct VeoVideo;

/// How long a video is kept.
pub(super) const KEPT: Duration = Duration::from_secs(2 * 24 * 3_600);

/// The vendor's own host of files.
const HOST: &str = "generativelanguage.googleapis.com";

impl VideoProvider for VeoVideo {
    fn abilities(&self, upstream: &str) -> Abilities {
        // A seed is for Vertex alone, and an error here.
        let veo = Abilities {
            durations: &[4, 6, 8],
            default_duration: 8,
            ratios: &["16:9", "9:16"],
            ratio_with_image: true,
            resolutions: &["720p", "1080p", "4k"],
            limited: &[("1080p", &[8]), ("4k", &[8])],
            guided: &[8],
            last_frame: true,
            references: 3,
            negative_prompt: true,
            sound: Sound::BuiltIn,
            ..Abilities::NONE
        };
        let up_to_1080 = Abilities { resolutions: &["720p", "1080p"], ..veo };
        match upstream {
            u if interactions::speaks(u) => interactions::ABILITIES,
            u if u.starts_with("veo-2") => Abilities {
                durations: &[5, 6, 7, 8],
                resolutions: &["720p"],
                limited: &[],
                references: 0,
                sound: Sound::Silent,
                ..veo
            },
            u if u.starts_with("veo-3.0") => Abilities { last_frame: false, references: 0, ..up_to_1080 },
            u if u.starts_with("veo-3.1-lite") => up_to_1080,
            _ => veo,
        }
    }

    fn create(&self, new: &NewVideo<'_>, target: &Target) -> Result<Option<Request<CallBody>>, Error> {
        if interactions::speaks(&target.upstream) {
            return interactions::create(new, target).map(Some);
        }
        let (asked, order) = (new.request, new.order);
        let mut instance = json!({ "prompt": asked.prompt });
        for (name, image, field) in [("image", &asked.image, "image"), ("lastFrame", &asked.last_frame, "last_frame")] {
            if let Some(image) = image {
                instance[name] = inline(image, field)?;
            }
        }
        if !asked.reference_images.is_empty() {
            let made = asked.reference_images.iter().map(|image| {
                inline(image, "reference_images").map(|image| json!({ "image": image, "referenceType": "ASSET" }))
            });
            instance["referenceImages"] = Value::Array(made.collect::<Result<_, _>>()?);
        }
        let mut parameters = json!({ "durationSeconds": order.duration, "resolution": order.resolution });
        let optional = [
            ("aspectRatio", order.aspect_ratio.as_ref().map(|ratio| json!(ratio))),
            ("negativePrompt", asked.negative_prompt.as_ref().map(|text| json!(text))),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                parameters[name] = value;
            }
        }
        let body = json!({ "instances": [instance], "parameters": parameters });
        let model = path_safe(&target.upstream)?;
        let url = target.url(&format!("/v1beta/models/{model}:predictLongRunning"))?;
        Ok(Some(request(Method::POST, url, key(target)?, &body)))
    }

    fn created(&self, new: &NewVideo<'_>, answer: &Answer) -> Result<Option<Arc<str>>, Error> {
        let value = answer.json();
        if !answer.status.is_success() || has_error(&value) {
            return Err(refused(answer, &value));
        }
        if interactions::speaks(new.upstream) {
            let id = text(&value, "/id");
            return Ok(path_safe(&id).ok().map(|id| format!("{}{id}", interactions::PATH).into()));
        }
        let name = text(&value, "/name");
        // A path, as it goes into the URL of each poll.
        let is_path = name.split('/').all(|segment| path_safe(segment).is_ok());
        Ok(is_path.then(|| name.into()))
    }

    fn recover(&self, _: &str, _: &Order) -> Option<Arc<str>> {
        None
    }

    fn poll(&self, handle: &str, target: &Target, _: Timestamp) -> Result<Option<Request<CallBody>>, Error> {
        Ok(Some(request(Method::GET, target.url(&format!("/v1beta/{handle}"))?, key(target)?, &Value::Null)))
    }

    fn polled(&self, _: u32, answer: &Answer, now: Timestamp) -> Result<Seen, Error> {
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Seen::Gone);
        }
        let value = answer.json();
        let is_named = value.get("name").is_some() || is_done(&value);
        let is_interaction = !is_named && value.get("status").is_some_and(Value::is_string);
        // An error of the question, and not of an operation or an interaction, has neither a name nor a state.
        if !answer.status.is_success() || has_error(&value) && !is_named && !is_interaction {
            return Err(refused(answer, &value));
        }
        match is_interaction {
            true => Ok(interactions::seen(&value, now)),
            false => Ok(seen(&value, now)),
        }
    }

    fn content(&self, video: &Video, target: &Target, _: Timestamp) -> Result<Content, Error> {
        let url: http::Uri = video.source.parse().map_err(|_| unreadable())?;
        // The key goes to the vendor itself and to nobody else.
        let own = url.host() == Some(HOST) || url.authority() == target.base_url.authority();
        let header = if own { Some(key(target)?) } else { None };
        Ok(Content::At(Link { url, header }))
    }

    fn link(&self, _: &Answer) -> Result<Link, Error> {
        Err(unreadable())
    }

    fn cancel(&self, _: &str, _: &Target, _: Timestamp) -> Result<Cancel, Error> {
        Ok(Cancel::Impossible)
    }

    fn content_hosts(&self) -> &'static [&'static str] {
        &[HOST, "*.googleusercontent.com", "storage.googleapis.com"]
    }

    fn pace(&self) -> Duration {
        Duration::from_secs(10)
    }
}

/// What an operation says of itself. While it runs it says next to nothing.
fn seen(operation: &Value, now: Timestamp) -> Seen {
    if let Some(error) = operation.get("error").filter(|_| has_error(operation)) {
        return Seen::Failed(of_operation(error));
    }
    if !is_done(operation) {
        let progress = number(operation, "/metadata/progressPercent");
        return match operation.is_object() {
            true => Seen::Running(progress.and_then(|percent| u8::try_from(percent).ok())),
            false => Seen::Unclear,
        };
    }
    let made = operation.pointer("/response/generateVideoResponse").unwrap_or(&Value::Null);
    let samples = made.get("generatedSamples").and_then(Value::as_array).into_iter().flatten();
    let urls = samples.map(|sample| text(sample, "/video/uri")).filter(|url| !url.is_empty());
    let expires_at = Some(now.plus(KEPT));
    let videos: Vec<_> = urls.map(|url| Video { source: url.into(), width: None, height: None, expires_at }).collect();
    match videos.is_empty() {
        true => Seen::Failed(nothing_made(made)),
        false => Seen::Completed(videos, Usage { videos: 1, ..Usage::NONE }),
    }
}

fn is_done(operation: &Value) -> bool {
    match operation.get("done") {
        Some(Value::Bool(done)) => *done,
        Some(Value::String(done)) => done.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

/// Why there is no video in a response.
fn nothing_made(response: &Value) -> Error {
    let reason = text(response, "/raiMediaFilteredReasons/0");
    if reason.is_empty() && number(response, "/raiMediaFilteredCount").unwrap_or(0) == 0 {
        return unreadable();
    }
    let message = match scrub(&reason) {
        said if said.is_empty() => "The provider's safety filter held this video back.".to_owned(),
        said => said,
    };
    Error::provider(Code::ContentPolicyViolation, message)
}

/// An answer that is an error, by its own status or inside of a success.
fn refused(answer: &Answer, value: &Value) -> Error {
    match value.get("error") {
        Some(error) if answer.status.is_success() => of_operation(error),
        _ => fault::answered(answer.status, &answer.headers, &answer.body),
    }
}

/// Why an operation failed; a `google.rpc` code, whose number is not HTTP's.
pub(super) fn of_operation(error: &Value) -> Error {
    let message = text(error, "/message");
    let lower = message.to_ascii_lowercase();
    if ["safety", "policy", "violat", "sensitive", "usage guidelines"].iter().any(|word| lower.contains(word)) {
        return Error::provider(Code::ContentPolicyViolation, scrub(&message));
    }
    let status = match number(error, "/code") {
        Some(status @ 400..=599) => status,
        Some(3 | 9 | 11) => 400,
        Some(5) => 404,
        Some(7 | 16) => 403,
        Some(4) => 504,
        Some(8) => 429,
        Some(14) => 503,
        _ => 500,
    };
    let status = json!({ "code": status, "message": message, "status": text(error, "/status") });
    fault::Status::deserialize(&status).map_or_else(|_| unreadable(), |status| fault::inside(&status))
}

/// Google takes bytes, not links.
pub(super) fn bytes_of<'a>(image: &'a str, field: &'static str) -> Result<(String, &'a str), Error> {
    picture(image, field)?.ok_or_else(|| {
        let message = "This model takes a picture's bytes: send it as a data: URL with base64.";
        Error::new(Code::InvalidParameter, message).param(field)
    })
}

fn inline(image: &str, field: &'static str) -> Result<Value, Error> {
    let (media, payload) = bytes_of(image, field)?;
    Ok(json!({ "bytesBase64Encoded": payload, "mimeType": media }))
}

pub(super) fn key(target: &Target) -> Result<(HeaderName, HeaderValue), Error> {
    match target.credential.credential() {
        Credential::ApiKey(key) => secret_header(HeaderName::from_static("x-goog-api-key"), key.expose()),
        _ => {
            Err(Error::new(Code::ProviderAuthError, "This provider needs an API key; the gateway's operator sets it."))
        }
    }
}

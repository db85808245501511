//! Veo: long-running operations of the Gemini API, whose videos need the API key to be fetched.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::base::clock::Timestamp;
use crate::base::error::{Code, Error};
use crate::domain::job::Video;
use crate::domain::usage::Usage;
use crate::domain::video::Abilities;
use crate::http::body::CallBody;
use crate::provider::traits::{Credential, Target};
use crate::provider::video::{
    Answer, Cancel, Content, Link, NewVideo, Seen, VideoProvider, data_url, path_safe, request, secret_header, text,
    unreadable,
};

use super::fault;

/// The codec of Veo's operations.
#[derive(Clone, Copy, Debug, Default)]
pub struct VeoVideo;

/// How long a video is kept.
const KEPT: Duration = Duration::from_secs(2 * 24 * 3_600);

/// The vendor's own host of files.
const HOST: &str = "generativelanguage.googleapis.com";

impl VideoProvider for VeoVideo {
    fn abilities(&self, upstream: &str) -> Abilities {
        let veo = Abilities {
            durations: &[4, 6, 8],
            default_duration: 8,
            ratios: &["16:9", "9:16"],
            resolutions: &["720p", "1080p", "4k"],
            limited: &[("1080p", &[8]), ("4k", &[8])],
            last_frame: true,
            seed: true,
            negative_prompt: true,
            ..Abilities::NONE
        };
        match upstream {
            u if u.starts_with("veo-2") => {
                Abilities { durations: &[5, 6, 7, 8], resolutions: &["720p"], limited: &[], ..veo }
            }
            u if u.starts_with("veo-3.0") => Abilities { resolutions: &["720p", "1080p"], last_frame: false, ..veo },
            _ => veo,
        }
    }

    fn create(&self, new: &NewVideo<'_>, target: &Target) -> Result<Option<Request<CallBody>>, Error> {
        let (asked, order) = (new.request, new.order);
        let mut instance = json!({ "prompt": asked.prompt });
        for (name, image) in [("image", &asked.image), ("lastFrame", &asked.last_frame)] {
            if let Some(image) = image {
                instance[name] = inline(image, name)?;
            }
        }
        let mut parameters = json!({ "durationSeconds": order.duration, "resolution": order.resolution });
        let optional = [
            ("aspectRatio", order.aspect_ratio.as_ref().map(|ratio| json!(ratio))),
            ("negativePrompt", asked.negative_prompt.as_ref().map(|text| json!(text))),
            ("seed", order.seed.map(|seed| json!(seed))),
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

    fn created(&self, _: &NewVideo<'_>, answer: &Answer) -> Result<Arc<str>, Error> {
        if !answer.status.is_success() {
            return Err(fault::answered(answer.status, &answer.headers, &answer.body));
        }
        let name = text(&answer.json(), "/name");
        // A path, as it goes into the URL of each poll.
        name.split('/').try_for_each(|segment| path_safe(segment).map(drop))?;
        Ok(name.into())
    }

    fn recover(&self, _: &str) -> Option<Arc<str>> {
        None
    }

    fn poll(&self, handle: &str, target: &Target, _: Timestamp) -> Result<Option<Request<CallBody>>, Error> {
        Ok(Some(request(Method::GET, target.url(&format!("/v1beta/{handle}"))?, key(target)?, &Value::Null)))
    }

    fn polled(&self, _: u32, answer: &Answer, now: Timestamp) -> Result<Seen, Error> {
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Seen::Gone);
        }
        if !answer.status.is_success() {
            return Err(fault::answered(answer.status, &answer.headers, &answer.body));
        }
        let value = answer.json();
        if value.get("done").and_then(Value::as_bool) != Some(true) {
            let progress = value.pointer("/metadata/progressPercent").and_then(Value::as_u64);
            return Ok(match value.is_object() {
                true => Seen::Running(progress.and_then(|percent| u8::try_from(percent).ok())),
                false => Seen::Unclear,
            });
        }
        if let Some(error) = value.get("error") {
            return Ok(Seen::Failed(of_operation(error)));
        }
        let made = value.pointer("/response/generateVideoResponse").unwrap_or(&Value::Null);
        let url = text(made, "/generatedSamples/0/video/uri");
        if url.is_empty() {
            let filtered = made.get("raiMediaFilteredCount").and_then(Value::as_u64).unwrap_or(0) > 0;
            return Ok(Seen::Failed(match filtered || made.get("raiMediaFilteredReasons").is_some() {
                true => {
                    Error::provider(Code::ContentPolicyViolation, "The provider's safety filter held this video back.")
                }
                false => unreadable(),
            }));
        }
        let expires_at = Some(now.plus(KEPT));
        let video = Video { source: url.into(), width: None, height: None, expires_at };
        Ok(Seen::Completed(vec![video], Usage { videos: 1, ..Usage::NONE }))
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

/// Why an operation failed; a `google.rpc` code, whose number is not HTTP's.
fn of_operation(error: &Value) -> Error {
    let message = text(error, "/message");
    let lower = message.to_ascii_lowercase();
    if ["safety", "policy", "violat", "sensitive", "usage guidelines"].iter().any(|word| lower.contains(word)) {
        return Error::provider(Code::ContentPolicyViolation, crate::wire::scrub::scrub(&message));
    }
    let status = match error.get("code").and_then(Value::as_u64) {
        Some(3 | 9 | 11) => 400,
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
fn inline(image: &str, field: &'static str) -> Result<Value, Error> {
    match data_url(image) {
        Some((media, payload)) => Ok(json!({ "bytesBase64Encoded": payload, "mimeType": media })),
        None => {
            let message = "This model takes a picture's bytes: send it as a data: URL with base64.";
            Err(Error::new(Code::InvalidParameter, message).param(if field == "image" {
                "image"
            } else {
                "last_frame"
            }))
        }
    }
}

fn key(target: &Target) -> Result<(HeaderName, HeaderValue), Error> {
    match target.credential.credential() {
        Credential::ApiKey(key) => secret_header(HeaderName::from_static("x-goog-api-key"), key.expose()),
        _ => {
            Err(Error::new(Code::ProviderAuthError, "This provider needs an API key; the gateway's operator sets it."))
        }
    }
}

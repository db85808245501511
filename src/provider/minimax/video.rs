//! Hailuo: three calls (create, query, retrieve the file), and errors that HTTP calls a success.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::base::clock::Timestamp;
use crate::base::error::{Code, Error};
use crate::domain::abilities::Abilities;
use crate::domain::job::Video;
use crate::domain::usage::Usage;
use crate::domain::video::Order;
use crate::http::body::CallBody;
use crate::provider::traits::Target;
use crate::provider::video::{
    Answer, Cancel, Content, Link, NewVideo, Seen, VideoProvider, bearer, has_error, number, path_safe, request, text,
};

use super::{video_fault, video2};

/// The codec of MiniMax's video jobs: the first API for Hailuo models, the second for H3.
#[derive(Clone, Copy, Debug, Default)]
pub struct MiniMaxVideo;

/// Before a handle of the second API, so that it is asked for where it was made.
pub(super) const SECOND: &str = "v2:";

const HAILUO: Abilities = Abilities {
    durations: &[6, 10],
    default_duration: 6,
    resolutions: &["768p", "1080p"],
    default_resolution: "768p",
    limited: &[("1080p", &[6])],
    watermark: true,
    ..Abilities::NONE
};

/// The smallest is for pictures that move, and not for a last frame.
const HAILUO_02: Abilities = Abilities {
    resolutions: &["512p", "768p", "1080p"],
    animated: &["512p"],
    last_frame: true,
    last_frame_at: Some("768p"),
    ..HAILUO
};

const FIRST_GENERATION: Abilities =
    Abilities { durations: &[6], resolutions: &["720p"], default_resolution: "720p", limited: &[], ..HAILUO };

/// Makes its video of a person in a picture, and takes neither a duration nor a resolution.
const SUBJECT: &str = "S2V-01";

impl VideoProvider for MiniMaxVideo {
    fn abilities(&self, upstream: &str) -> Abilities {
        match upstream {
            "MiniMax-Hailuo-02" => HAILUO_02,
            "MiniMax-Hailuo-2.3-Fast" => Abilities { needs_image: true, ..HAILUO },
            "T2V-01" | "T2V-01-Director" => Abilities { text_only: true, ..FIRST_GENERATION },
            "I2V-01" | "I2V-01-Director" | "I2V-01-live" => Abilities { needs_image: true, ..FIRST_GENERATION },
            SUBJECT => Abilities { text_only: true, references: 1, ..FIRST_GENERATION },
            h3 if video2::is_second(h3) => video2::abilities(h3),
            _ => HAILUO,
        }
    }

    fn create(&self, new: &NewVideo<'_>, target: &Target) -> Result<Option<Request<CallBody>>, Error> {
        if video2::is_second(&target.upstream) {
            return video2::create(new, target).map(Some);
        }
        let (asked, order) = (new.request, new.order);
        let mut body = json!({ "model": &*target.upstream, "prompt": asked.prompt });
        if &*target.upstream != SUBJECT {
            body["duration"] = json!(order.duration);
            body["resolution"] = json!(order.resolution.to_ascii_uppercase());
        }
        let subject = asked.reference_images.first();
        let optional = [
            ("subject_reference", subject.map(|url| json!([{ "type": "character", "image": [url] }]))),
            ("first_frame_image", asked.image.clone().map(Value::from)),
            ("last_frame_image", asked.last_frame.clone().map(Value::from)),
            ("aigc_watermark", asked.watermark.map(Value::from)),
            ("callback_url", new.callback.map(Value::from)),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        Ok(Some(request(Method::POST, target.url("/v1/video_generation")?, bearer(target)?, &body)))
    }

    fn created(&self, new: &NewVideo<'_>, answer: &Answer) -> Result<Option<Arc<str>>, Error> {
        video_fault::of(answer)?;
        let id = text(&answer.json(), "/task_id");
        let mark = if video2::is_second(new.upstream) { SECOND } else { "" };
        Ok(path_safe(&id).ok().map(|id| format!("{mark}{id}").into()))
    }

    fn recover(&self, _: &str, _: &Order) -> Option<Arc<str>> {
        None
    }

    fn poll(&self, handle: &str, target: &Target, _: Timestamp) -> Result<Option<Request<CallBody>>, Error> {
        let url = match handle.strip_prefix(SECOND) {
            Some(id) => target.url(&format!("/v2/query/video_generation/{id}"))?,
            None => target.url(&format!("/v1/query/video_generation?task_id={handle}"))?,
        };
        Ok(Some(request(Method::GET, url, bearer(target)?, &Value::Null)))
    }

    fn polled(&self, _: u32, answer: &Answer, _: Timestamp) -> Result<Seen, Error> {
        let value = answer.json();
        if value.get("task").is_some_and(Value::is_object) || has_error(&value) {
            return video2::polled(answer);
        }
        let seen = match text(&value, "/status").to_ascii_lowercase().as_str() {
            "preparing" | "queueing" | "queued" => Seen::Queued,
            "processing" => Seen::Running(None),
            "fail" | "failed" => return Ok(Seen::Failed(video_fault::of_job(answer))),
            "success" => match path_safe(&text(&value, "/file_id")) {
                Err(error) => return Ok(Seen::Failed(error)),
                Ok(file) => {
                    let side = |name: &str| number(&value, name).filter(|n| *n > 0);
                    let (width, height) = (side("/video_width"), side("/video_height"));
                    let video = Video { source: file.into(), width, height, expires_at: None };
                    // Billed by the piece: how long it is, is what was ordered.
                    Seen::Completed(vec![video], Usage { videos: 1, ..Usage::NONE })
                }
            },
            _ => Seen::Unclear,
        };
        match video_fault::of(answer) {
            Ok(()) => Ok(seen),
            // A code of the job and not of the query, without a state beside it.
            Err(error) if error.code() == Code::ContentPolicyViolation => Ok(Seen::Failed(error)),
            Err(error) => Err(error),
        }
    }

    fn content(&self, video: &Video, target: &Target, _: Timestamp) -> Result<Content, Error> {
        // A link lives for an hour or so: a new one is asked for each time.
        let url = match video.source.strip_prefix(SECOND) {
            Some(id) => target.url(&format!("/v2/query/video_generation/{}", path_safe(id)?))?,
            None => target.url(&format!("/v1/files/retrieve?file_id={}", path_safe(&video.source)?))?,
        };
        Ok(Content::Ask(request(Method::GET, url, bearer(target)?, &Value::Null)))
    }

    fn link(&self, answer: &Answer) -> Result<Link, Error> {
        let gone = || Error::provider(Code::VideoExpired, "The provider has dropped this video.");
        if video2::is_unknown(answer) {
            return Err(gone());
        }
        video_fault::of(answer)?;
        let told = answer.json();
        let links = ["/file/download_url", "/file/backup_download_url", "/task/content/url"];
        let found = links.into_iter().map(|place| text(&told, place)).find(|url| !url.is_empty());
        let url = found.and_then(|url| url.parse().ok()).ok_or_else(gone)?;
        Ok(Link { url, header: None })
    }

    fn cancel(&self, handle: &str, target: &Target, _: Timestamp) -> Result<Cancel, Error> {
        let Some(id) = handle.strip_prefix(SECOND) else { return Ok(Cancel::Impossible) };
        let url = target.url(&format!("/v2/video_generation/{id}"))?;
        Ok(Cancel::Ask(Box::new(request(Method::DELETE, url, bearer(target)?, &Value::Null))))
    }

    fn cancelled(&self, answer: &Answer) -> bool {
        let status = text(&answer.json(), "/status").to_ascii_lowercase();
        // What has ended is deleted instead, and says so.
        video_fault::of(answer).is_ok() && matches!(status.as_str(), "" | "cancelled" | "canceled")
    }

    fn challenge(&self, callback: &[u8]) -> Option<Bytes> {
        let sent: Value = serde_json::from_slice(callback).ok()?;
        let challenge = sent.get("challenge")?.as_str()?;
        Some(json!({ "challenge": challenge }).to_string().into())
    }

    fn content_hosts(&self) -> &'static [&'static str] {
        &[
            "*.minimax.io",
            "*.minimaxi.com",
            "*.hailuoai.com",
            "*.hailuoai.video",
            "*.bcebos.com",
            "*.aliyuncs.com",
            "filecdn.minimax.chat",
        ]
    }

    fn pace(&self) -> Duration {
        Duration::from_secs(10)
    }
}

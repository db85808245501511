//! Hailuo: three calls (create, query, retrieve the file), and errors that HTTP calls a success.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};

use crate::base::clock::Timestamp;
use crate::base::error::{Code, Error};
use crate::domain::job::Video;
use crate::domain::usage::Usage;
use crate::domain::video::Abilities;
use crate::http::body::CallBody;
use crate::provider::traits::Target;
use crate::provider::video::{
    Answer, Cancel, Content, Link, NewVideo, Seen, VideoProvider, bearer, path_safe, request, text, unreadable,
};

use super::{video_fault, video2};

/// The codec of MiniMax's video jobs: the first API for Hailuo models, the second for H3.
#[derive(Clone, Copy, Debug, Default)]
pub struct MiniMaxVideo;

/// Before a handle of the second API, so that a poll asks where the job was made.
const SECOND: &str = "v2:";

const HAILUO: Abilities = Abilities {
    durations: &[6, 10],
    default_duration: 6,
    resolutions: &["768p", "1080p"],
    default_resolution: "768p",
    limited: &[("1080p", &[6])],
    watermark: true,
    ..Abilities::NONE
};

const FIRST_GENERATION: Abilities =
    Abilities { durations: &[6], resolutions: &["720p"], default_resolution: "720p", limited: &[], ..HAILUO };

impl VideoProvider for MiniMaxVideo {
    fn abilities(&self, upstream: &str) -> Abilities {
        match upstream {
            "MiniMax-Hailuo-02" => Abilities { last_frame: true, ..HAILUO },
            "MiniMax-Hailuo-2.3-Fast" => Abilities { needs_image: true, ..HAILUO },
            "T2V-01" | "T2V-01-Director" => Abilities { text_only: true, ..FIRST_GENERATION },
            "I2V-01" | "I2V-01-Director" | "I2V-01-live" => Abilities { needs_image: true, ..FIRST_GENERATION },
            h3 if video2::is_second(h3) => video2::abilities(h3),
            _ => HAILUO,
        }
    }

    fn create(&self, new: &NewVideo<'_>, target: &Target) -> Result<Option<Request<CallBody>>, Error> {
        if video2::is_second(&target.upstream) {
            return video2::create(new, target).map(Some);
        }
        let (asked, order) = (new.request, new.order);
        let mut body = json!({
            "model": &*target.upstream,
            "prompt": asked.prompt,
            "duration": order.duration,
            "resolution": order.resolution.to_ascii_uppercase(),
        });
        let optional = [
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

    fn created(&self, _: &NewVideo<'_>, answer: &Answer) -> Result<Arc<str>, Error> {
        video_fault::of(answer)?;
        let value = answer.json();
        let id = text(&value, "/task_id");
        // Only the first API wraps its answer.
        let mark = if value.get("base_resp").is_some() { "" } else { SECOND };
        path_safe(&id).map(|id| format!("{mark}{id}").into())
    }

    fn recover(&self, _: &str) -> Option<Arc<str>> {
        None
    }

    fn poll(&self, handle: &str, target: &Target, _: Timestamp) -> Result<Option<Request<CallBody>>, Error> {
        let url = match handle.strip_prefix(SECOND) {
            Some(id) => target.url(&format!("/v2/query/video_generation/{id}"))?,
            None => target.url(&format!("/v1/query/video_generation?task_id={handle}"))?,
        };
        Ok(Some(request(Method::GET, url, bearer(target)?, &Value::Null)))
    }

    fn polled(&self, _: u32, answer: &Answer, now: Timestamp) -> Result<Seen, Error> {
        let value = answer.json();
        if value.get("task").is_some() || value.get("error").is_some() {
            return video2::polled(answer, now);
        }
        let seen = match text(&value, "/status").to_ascii_lowercase().as_str() {
            "preparing" | "queueing" => Seen::Queued,
            "processing" => Seen::Running(None),
            "fail" | "failed" => return Ok(Seen::Failed(video_fault::of_job(answer))),
            "success" => {
                let file = text(&value, "/file_id");
                let side = |name: &str| value.get(name).and_then(Value::as_u64).filter(|n| *n > 0);
                let video = Video {
                    source: path_safe(&file).unwrap_or_default().into(),
                    width: side("video_width"),
                    height: side("video_height"),
                    expires_at: None,
                };
                if video.source.is_empty() {
                    return Ok(Seen::Failed(unreadable()));
                }
                // Billed by the piece: how long it is, is what was ordered.
                Seen::Completed(vec![video], Usage { videos: 1, ..Usage::NONE })
            }
            _ => Seen::Unclear,
        };
        video_fault::of(answer).map(|()| seen)
    }

    fn content(&self, video: &Video, target: &Target, _: Timestamp) -> Result<Content, Error> {
        // The second API tells the link itself.
        if let Some(url) = video.source.parse::<http::Uri>().ok().filter(|url| url.scheme().is_some()) {
            return Ok(Content::At(Link { url, header: None }));
        }
        // A file's link lives for an hour: a new one is asked for each time.
        let url = target.url(&format!("/v1/files/retrieve?file_id={}", path_safe(&video.source)?))?;
        Ok(Content::Ask(request(Method::GET, url, bearer(target)?, &Value::Null)))
    }

    fn link(&self, answer: &Answer) -> Result<Link, Error> {
        video_fault::of(answer)?;
        let url = text(&answer.json(), "/file/download_url");
        let url =
            url.parse().map_err(|_| Error::provider(Code::VideoExpired, "The provider has dropped this video."))?;
        Ok(Link { url, header: None })
    }

    fn cancel(&self, handle: &str, target: &Target, _: Timestamp) -> Result<Cancel, Error> {
        let Some(id) = handle.strip_prefix(SECOND) else { return Ok(Cancel::Impossible) };
        let url = target.url(&format!("/v2/video_generation/{id}"))?;
        Ok(Cancel::Ask(Box::new(request(Method::DELETE, url, bearer(target)?, &Value::Null))))
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

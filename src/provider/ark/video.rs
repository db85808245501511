//! Seedance: content generation tasks.

use std::sync::Arc;
use std::time::Duration;

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

use super::fault;
use super::prompt::without_commands;

/// The codec of Ark's video tasks.
#[derive(Clone, Copy, Debug, Default)]
pub struct ArkVideo;

/// How long a video's link lives; Ark does not refresh it.
const LINK_LIVES: Duration = Duration::from_secs(24 * 3_600);

/// The shortest expiry that a task may be given, in seconds.
const SHORTEST_EXPIRY: u64 = 3_600;

const SEEDANCE_1_5: Abilities = Abilities {
    durations: &[4, 5, 6, 7, 8, 9, 10, 11, 12],
    ratios: &["16:9", "4:3", "1:1", "3:4", "9:16", "21:9", "adaptive"],
    resolutions: &["480p", "720p", "1080p"],
    last_frame: true,
    seed: true,
    audio: true,
    watermark: true,
    ..Abilities::NONE
};

impl VideoProvider for ArkVideo {
    fn abilities(&self, upstream: &str) -> Abilities {
        let first = Abilities {
            durations: &[2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
            ratios: &["16:9", "4:3", "1:1", "3:4", "9:16", "21:9"],
            audio: false,
            ..SEEDANCE_1_5
        };
        let second = Abilities {
            durations: &[4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
            resolutions: &["480p", "720p", "1080p", "4k"],
            references: 9,
            ..SEEDANCE_1_5
        };
        match upstream {
            u if u.contains("seedance-1-0-lite-i2v") => Abilities { needs_image: true, references: 4, ..first },
            u if u.contains("seedance-1-0-lite-t2v") => Abilities { text_only: true, ..first },
            u if u.contains("seedance-1-0") => first,
            u if u.contains("seedance-2-0-fast") || u.contains("seedance-2-0-mini") => {
                Abilities { resolutions: &["480p", "720p"], ..second }
            }
            u if u.contains("seedance-2") => second,
            _ => SEEDANCE_1_5,
        }
    }

    fn create(&self, new: &NewVideo<'_>, target: &Target) -> Result<Option<Request<CallBody>>, Error> {
        let (asked, order) = (new.request, new.order);
        let (prompt, _) = without_commands(&asked.prompt);
        if prompt.trim().is_empty() {
            let message = "The prompt holds commands alone: say what the video shows.";
            return Err(Error::new(Code::InvalidParameter, message).param("prompt"));
        }
        let picture = |url: &String, role: &str| json!({"type": "image_url", "image_url": {"url": url}, "role": role});
        let mut content = vec![json!({ "type": "text", "text": prompt })];
        content.extend(asked.image.iter().map(|url| picture(url, "first_frame")));
        content.extend(asked.last_frame.iter().map(|url| picture(url, "last_frame")));
        content.extend(asked.reference_images.iter().map(|url| picture(url, "reference_image")));
        let left = new.deadline.since(new.now).as_secs();
        let mut body = json!({
            "model": &*target.upstream,
            "content": content,
            "resolution": order.resolution,
            "duration": order.duration,
            "ratio": order.aspect_ratio.as_deref().unwrap_or("adaptive"),
            "watermark": asked.watermark.unwrap_or(false),
            "execution_expires_after": left.max(SHORTEST_EXPIRY),
        });
        // The vendor's own default has changed between models: say it outright where there is a choice.
        if self.abilities(&target.upstream).audio {
            body["generate_audio"] = json!(order.audio.unwrap_or(true));
        }
        if let Some(seed) = order.seed {
            body["seed"] = json!(seed);
        }
        if let Some(callback) = new.callback {
            body["callback_url"] = json!(callback);
        }
        let url = target.url("/contents/generations/tasks")?;
        Ok(Some(request(Method::POST, url, bearer(target)?, &body)))
    }

    fn created(&self, _: &NewVideo<'_>, answer: &Answer) -> Result<Arc<str>, Error> {
        if !answer.status.is_success() {
            return Err(fault::of(answer));
        }
        path_safe(&text(&answer.json(), "/id")).map(Into::into)
    }

    fn recover(&self, _: &str) -> Option<Arc<str>> {
        None
    }

    fn poll(&self, handle: &str, target: &Target, _: Timestamp) -> Result<Option<Request<CallBody>>, Error> {
        let url = target.url(&format!("/contents/generations/tasks/{handle}"))?;
        Ok(Some(request(Method::GET, url, bearer(target)?, &Value::Null)))
    }

    fn polled(&self, _: u32, answer: &Answer, now: Timestamp) -> Result<Seen, Error> {
        if answer.status.as_u16() == 404 {
            return Ok(Seen::Gone);
        }
        if !answer.status.is_success() {
            return Err(fault::of(answer));
        }
        let task = answer.json();
        Ok(match text(&task, "/status").to_ascii_lowercase().as_str() {
            "queued" => Seen::Queued,
            "running" => Seen::Running(None),
            "failed" => Seen::Failed(fault::of_task(&task)),
            "cancelled" => Seen::Cancelled,
            "expired" => Seen::Expired,
            "succeeded" => match text(&task, "/content/video_url") {
                url if url.is_empty() => Seen::Failed(unreadable()),
                url => {
                    let count = |pointer: &str| task.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
                    let usage = Usage {
                        videos: 1,
                        video_seconds: count("/duration"),
                        output_tokens: count("/usage/completion_tokens"),
                        ..Usage::NONE
                    };
                    let expires_at = Some(now.plus(LINK_LIVES));
                    Seen::Completed(vec![Video { source: url.into(), width: None, height: None, expires_at }], usage)
                }
            },
            _ => Seen::Unclear,
        })
    }

    fn content(&self, video: &Video, _: &Target, _: Timestamp) -> Result<Content, Error> {
        let url = video.source.parse().map_err(|_| unreadable())?;
        Ok(Content::At(Link { url, header: None }))
    }

    fn link(&self, _: &Answer) -> Result<Link, Error> {
        Err(unreadable())
    }

    /// Ark cancels what is still queued and refuses what runs.
    fn cancel(&self, handle: &str, target: &Target, _: Timestamp) -> Result<Cancel, Error> {
        let url = target.url(&format!("/contents/generations/tasks/{handle}"))?;
        Ok(Cancel::Ask(Box::new(request(Method::DELETE, url, bearer(target)?, &Value::Null))))
    }

    fn content_hosts(&self) -> &'static [&'static str] {
        &["*.volces.com", "*.bytepluses.com", "*.byteplus.com"]
    }

    fn pace(&self) -> Duration {
        Duration::from_secs(10)
    }
}

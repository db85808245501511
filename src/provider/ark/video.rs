//! Seedance: content generation tasks.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::base::clock::Timestamp;
use crate::base::error::{Code, Error};
use crate::base::id::base62;
use crate::domain::abilities::{Abilities, Sound};
use crate::domain::job::Video;
use crate::domain::usage::Usage;
use crate::domain::video::{Order, VideoRequest};
use crate::http::body::CallBody;
use crate::provider::traits::Target;
use crate::provider::video::{
    Answer, Batch, Cancel, Content, Link, NewVideo, Seen, VideoProvider, bearer, has_error, number, path_safe, request,
    text, unreadable,
};

use super::fault;
use super::prompt::without_commands;

/// The codec of Ark's video tasks.
#[derive(Clone, Copy, Debug, Default)]
pub struct ArkVideo;

/// How long a video's link lives; Ark does not refresh it.
const LINK_LIVES: Duration = Duration::from_secs(24 * 3_600);

/// The shortest and the longest expiry that a task may be given, in seconds.
const EXPIRY: (u64, u64) = (3_600, 259_200);

const SEEDANCE_1_5: Abilities = Abilities {
    durations: &[4, 5, 6, 7, 8, 9, 10, 11, 12],
    ratios: &["16:9", "4:3", "1:1", "3:4", "9:16", "21:9", "adaptive"],
    resolutions: &["480p", "720p", "1080p"],
    ratio_with_image: true,
    // The dearest ratio of each; a little more than the resolution itself.
    pixels: &[("480p", 428_544), ("720p", 962_560), ("1080p", 2_088_960), ("4k", 8_400_000)],
    last_frame: true,
    seed: true,
    sound: Sound::Switched(true),
    watermark: true,
    ..Abilities::NONE
};

const UP_TO_30: &[u64] =
    &[4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30];

/// How many tasks one list shows.
const PAGE: usize = 50;

impl VideoProvider for ArkVideo {
    fn abilities(&self, upstream: &str) -> Abilities {
        let first = Abilities {
            durations: &[2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
            ratios: &["16:9", "4:3", "1:1", "3:4", "9:16", "21:9"],
            sound: Sound::Silent,
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
            u if u.contains("seedance-2-5") => Abilities { durations: UP_TO_30, references: 30, ..second },
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
            "execution_expires_after": left.clamp(EXPIRY.0, EXPIRY.1),
        });
        let optional = [
            // The vendor's own default has changed between models: said outright where there is a choice.
            ("generate_audio", order.audio.map(Value::from)),
            ("seed", order.seed.map(Value::from)),
            ("safety_identifier", asked.user.as_deref().map(|user| json!(pseudonym(user)))),
            ("callback_url", new.callback.map(Value::from)),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        let url = target.url("/contents/generations/tasks")?;
        Ok(Some(request(Method::POST, url, bearer(target)?, &body)))
    }

    fn created(&self, _: &NewVideo<'_>, answer: &Answer) -> Result<Option<Arc<str>>, Error> {
        let value = answer.json();
        if !answer.status.is_success() || has_error(&value) {
            return Err(fault::of(answer));
        }
        Ok(path_safe(&text(&value, "/id")).ok().map(Into::into))
    }

    fn warnings(&self, request: &VideoRequest) -> Vec<String> {
        let told = "Commands such as `--dur 12` were taken out of the prompt: use the request's fields.";
        without_commands(&request.prompt).1.then(|| told.to_owned()).into_iter().collect()
    }

    fn recover(&self, _: &str, _: &Order) -> Option<Arc<str>> {
        None
    }

    fn poll(&self, handle: &str, target: &Target, _: Timestamp) -> Result<Option<Request<CallBody>>, Error> {
        let url = target.url(&format!("/contents/generations/tasks/{handle}"))?;
        Ok(Some(request(Method::GET, url, bearer(target)?, &Value::Null)))
    }

    fn batch(&self) -> Option<&dyn Batch> {
        Some(self)
    }

    fn polled(&self, _: u32, answer: &Answer, now: Timestamp) -> Result<Seen, Error> {
        if answer.status.as_u16() == 404 {
            return Ok(Seen::Gone);
        }
        let task = answer.json();
        if !answer.status.is_success() || has_error(&task) && text(&task, "/status").is_empty() {
            return Err(fault::of(answer));
        }
        Ok(seen(&task, now))
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

impl Batch for ArkVideo {
    fn most(&self) -> usize {
        PAGE
    }

    fn ask(&self, handles: &[&str], target: &Target) -> Result<Request<CallBody>, Error> {
        let mut url = format!("/contents/generations/tasks?page_num=1&page_size={}", handles.len());
        for handle in handles {
            url.push_str("&filter.task_ids=");
            url.push_str(handle);
        }
        Ok(request(Method::GET, target.url(&url)?, bearer(target)?, &Value::Null))
    }

    fn read(&self, handles: &[&str], answer: &Answer, now: Timestamp) -> Result<Vec<Option<Seen>>, Error> {
        let list = answer.json();
        let none = Vec::new();
        let tasks = match list.get("items").and_then(Value::as_array) {
            Some(tasks) if answer.status.is_success() => tasks,
            // A list that is not there, or cannot be read, leaves each to be asked for alone.
            _ if answer.status.is_success() || matches!(answer.status.as_u16(), 400 | 404 | 405) => &none,
            _ => return Err(fault::of(answer)),
        };
        let find = |handle: &&str| tasks.iter().find(|task| text(task, "/id") == **handle).map(|task| seen(task, now));
        Ok(handles.iter().map(find).collect())
    }
}

/// What a task says of itself.
fn seen(task: &Value, now: Timestamp) -> Seen {
    match text(task, "/status").to_ascii_lowercase().as_str() {
        "queued" => Seen::Queued,
        "running" => Seen::Running(None),
        "failed" => Seen::Failed(fault::of_task(task)),
        "cancelled" | "canceled" => Seen::Cancelled,
        "expired" => Seen::Expired,
        "succeeded" => match text(task, "/content/video_url") {
            url if url.is_empty() => Seen::Failed(unreadable()),
            url => {
                let count = |pointer: &str| number(task, pointer).unwrap_or(0);
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
    }
}

/// The vendor wants to tell callers apart, and need not know who they are.
fn pseudonym(user: &str) -> String {
    base62(&Sha256::digest(user.as_bytes()), 43)
}

//! Kling's video tasks, made and polled on the path of their kind.

use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Method, Request};
use serde_json::{Value, json};

use crate::base::clock::Timestamp;
use crate::base::error::Error;
use crate::domain::abilities::{Abilities, Sound};
use crate::domain::job::Video;
use crate::domain::usage::Usage;
use crate::domain::video::Order;
use crate::http::body::CallBody;
use crate::provider::traits::{Credential, Target};
use crate::provider::video::{
    Answer, Cancel, Content, Link, NewVideo, Seen, VideoProvider, bearer, path_safe, picture, request, secret_header,
    text, unreadable,
};

use super::{fault, jwt};

/// The codec of Kling's video tasks.
#[derive(Clone, Copy, Debug, Default)]
pub struct KlingVideo;

const FROM_TEXT: &str = "text2video";
const FROM_IMAGE: &str = "image2video";

/// How long a video is kept.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);

const UP_TO_2_5: Abilities = Abilities {
    durations: &[5, 10],
    ratios: &["16:9", "9:16", "1:1"],
    resolutions: &["720p", "1080p"],
    last_frame: true,
    last_frame_at: Some("1080p"),
    modes: &[("720p", "std"), ("1080p", "pro"), ("4k", "4k")],
    negative_prompt: true,
    watermark: true,
    max_prompt: 2_500,
    ..Abilities::NONE
};

impl VideoProvider for KlingVideo {
    fn abilities(&self, upstream: &str) -> Abilities {
        match upstream {
            "kling-v3" => Abilities {
                durations: &[3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
                resolutions: &["720p", "1080p", "4k"],
                sound: Sound::Switched(false),
                ..UP_TO_2_5
            },
            "kling-v2-6" => Abilities { sound: Sound::Switched(false), sound_at: Some("1080p"), ..UP_TO_2_5 },
            "kling-v1" => Abilities { last_frame_at: None, guided: &[5], ..UP_TO_2_5 },
            "kling-v1-5" | "kling-v2-1" => Abilities { needs_image: true, ..UP_TO_2_5 },
            // The masters take no mode: one resolution, and no last frame.
            "kling-v2-master" | "kling-v2-1-master" => Abilities {
                resolutions: &["1080p"],
                default_resolution: "1080p",
                modes: &[],
                last_frame: false,
                ..UP_TO_2_5
            },
            _ => UP_TO_2_5,
        }
    }

    fn create(&self, new: &NewVideo<'_>, target: &Target) -> Result<Option<Request<CallBody>>, Error> {
        let (asked, order) = (new.request, new.order);
        let mut body = json!({
            "model_name": &*target.upstream,
            "prompt": asked.prompt,
            "duration": order.duration.to_string(),
            // Unique in the account: the way back to a task whose making was lost.
            "external_task_id": new.job_id,
        });
        let optional = [
            ("mode", order.mode.as_ref().map(|mode| json!(mode))),
            ("aspect_ratio", order.aspect_ratio.as_ref().map(|ratio| json!(ratio))),
            ("negative_prompt", asked.negative_prompt.as_ref().map(|text| json!(text))),
            ("image", bare(&asked.image, "image")?),
            ("image_tail", bare(&asked.last_frame, "last_frame")?),
            ("sound", order.audio.map(|on| json!(if on { "on" } else { "off" }))),
            ("watermark_info", asked.watermark.map(|on| json!({ "enabled": on }))),
            ("callback_url", new.callback.map(|url| json!(url))),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        let url = target.url(&format!("/v1/videos/{}", family(order)))?;
        Ok(Some(request(Method::POST, url, authorization(target, new.now)?, &body)))
    }

    fn created(&self, new: &NewVideo<'_>, answer: &Answer) -> Result<Option<Arc<str>>, Error> {
        fault::of(answer)?;
        let id = text(&answer.json(), "/data/task_id");
        Ok(path_safe(&id).ok().map(|id| format!("{}/{id}", family(new.order)).into()))
    }

    fn recover(&self, job_id: &str, order: &Order) -> Option<Arc<str>> {
        Some(format!("{}/{job_id}", family(order)).into())
    }

    fn poll(&self, handle: &str, target: &Target, now: Timestamp) -> Result<Option<Request<CallBody>>, Error> {
        let url = target.url(&format!("/v1/videos/{handle}"))?;
        Ok(Some(request(Method::GET, url, authorization(target, now)?, &Value::Null)))
    }

    fn polled(&self, _: u32, answer: &Answer, now: Timestamp) -> Result<Seen, Error> {
        let value = answer.json();
        if answer.status.as_u16() == 404 || fault::number(&value) == 1203 {
            return Ok(Seen::Gone);
        }
        fault::of(answer)?;
        Ok(match text(&value, "/data/task_status").to_ascii_lowercase().as_str() {
            "submitted" => Seen::Queued,
            "processing" => Seen::Running(None),
            "failed" => Seen::Failed(fault::of_task(&text(&value, "/data/task_status_msg"))),
            "succeed" | "succeeded" => completed(&value, now),
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

    fn cancel(&self, _: &str, _: &Target, _: Timestamp) -> Result<Cancel, Error> {
        Ok(Cancel::Impossible)
    }

    fn content_hosts(&self) -> &'static [&'static str] {
        &["*.klingai.com", "*.kling.ai", "*.kwaicdn.com", "*.kuaishou.com", "*.inkwai.com"]
    }

    fn pace(&self) -> Duration {
        Duration::from_secs(5)
    }
}

fn completed(value: &Value, now: Timestamp) -> Seen {
    let made = value.pointer("/data/task_result/videos").and_then(Value::as_array);
    let urls = made.into_iter().flatten().map(|video| text(video, "/url")).filter(|url| !url.is_empty());
    let expires_at = Some(now.plus(KEPT));
    let videos: Vec<_> = urls.map(|url| Video { source: url.into(), width: None, height: None, expires_at }).collect();
    match videos.is_empty() {
        true => Seen::Failed(unreadable()),
        // Kling tells "5.1" for what it sells as 5 seconds: the order says what is billed.
        false => Seen::Completed(videos, Usage { videos: 1, ..Usage::NONE }),
    }
}

/// A task is asked for where it was made; with a picture no ratio is ordered.
fn family(order: &Order) -> &'static str {
    if order.aspect_ratio.is_none() { FROM_IMAGE } else { FROM_TEXT }
}

/// Kling takes a link, or base64 without what stands before it in a `data:` URL.
fn bare(image: &Option<String>, field: &'static str) -> Result<Option<Value>, Error> {
    let Some(image) = image else { return Ok(None) };
    Ok(Some(picture(image, field)?.map_or_else(|| json!(image), |(_, payload)| json!(payload))))
}

fn authorization(target: &Target, now: Timestamp) -> Result<(HeaderName, HeaderValue), Error> {
    match target.credential.credential() {
        Credential::AccessKey { access, secret } => {
            secret_header(AUTHORIZATION, &format!("Bearer {}", jwt::sign(&access, &secret, now)))
        }
        _ => bearer(target),
    }
}

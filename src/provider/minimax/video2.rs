//! H3: MiniMax's second video API, with HTTP's own statuses and a task object.

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
use crate::provider::video::{Answer, NewVideo, Seen, bearer, request, text, unreadable};
use crate::wire::vendor_error::VendorError;

use super::fault::meaning;
use super::video_fault;

/// How long a link is taken to live where the vendor does not say.
const LINK_LIVES: Duration = Duration::from_secs(24 * 3_600);

pub(super) fn is_second(upstream: &str) -> bool {
    upstream.starts_with("MiniMax-H3")
}

pub(super) fn abilities(upstream: &str) -> Abilities {
    let h3 = Abilities {
        durations: &[4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        ratios: &["16:9", "21:9", "4:3", "1:1", "3:4", "9:16"],
        resolutions: &["768p", "2k"],
        default_resolution: "768p",
        last_frame: true,
        references: 9,
        watermark: true,
        ..Abilities::NONE
    };
    if upstream == "MiniMax-H3-Max" { Abilities { resolutions: &["480p", "768p"], ..h3 } } else { h3 }
}

pub(super) fn create(new: &NewVideo<'_>, target: &Target) -> Result<Request<CallBody>, Error> {
    let asked = new.request;
    let picture = |url: &String, role: &str| json!({"type": "image_url", "image_url": {"url": url}, "role": role});
    let mut content = vec![json!({ "type": "text", "text": asked.prompt })];
    content.extend(asked.image.iter().map(|url| picture(url, "first_frame")));
    content.extend(asked.last_frame.iter().map(|url| picture(url, "last_frame")));
    content.extend(asked.reference_images.iter().map(|url| picture(url, "reference_image")));
    let mut body = json!({
        "model": &*target.upstream,
        "content": content,
        "resolution": new.order.resolution.to_ascii_uppercase(),
        "duration": new.order.duration,
    });
    if let Some(ratio) = &new.order.aspect_ratio {
        body["ratio"] = json!(ratio);
    }
    if let Some(watermark) = asked.watermark {
        body["aigc_watermark"] = json!(watermark);
    }
    if let Some(callback) = new.callback {
        body["callback_url"] = json!(callback);
    }
    Ok(request(Method::POST, target.url("/v2/video_generation")?, bearer(target)?, &body))
}

pub(super) fn polled(answer: &Answer, now: Timestamp) -> Result<Seen, Error> {
    let value = answer.json();
    // An id that it does not know is a 500 here.
    if !answer.status.is_success() && text(&value, "/error/message").contains("record not found") {
        return Ok(Seen::Gone);
    }
    let task = value.get("task").unwrap_or(&Value::Null);
    let seen = match text(task, "/status").as_str() {
        "queued" => Seen::Queued,
        "running" => Seen::Running(None),
        "failed" => {
            let vendor = VendorError::of_value(task);
            let code = vendor.code.parse().map_or(Code::ProviderError, meaning);
            return Ok(Seen::Failed(vendor.into_error(code)));
        }
        "cancelled" => Seen::Cancelled,
        "expired" => Seen::Expired,
        "succeeded" => match text(task, "/content/url") {
            url if url.is_empty() => return Ok(Seen::Failed(unreadable())),
            url => {
                let seconds = |name: &str| task.pointer(name).and_then(Value::as_u64);
                let used = seconds("/usage/total_seconds").or_else(|| seconds("/duration")).unwrap_or(0);
                let video =
                    Video { source: url.into(), width: None, height: None, expires_at: Some(now.plus(LINK_LIVES)) };
                Seen::Completed(vec![video], Usage { videos: 1, video_seconds: used, ..Usage::NONE })
            }
        },
        _ => Seen::Unclear,
    };
    video_fault::of(answer).map(|()| seen)
}

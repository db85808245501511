//! H3: MiniMax's second video API, with HTTP's own statuses and a task object.

use http::{Method, Request};
use serde_json::{Value, json};

use crate::base::error::{Code, Error};
use crate::domain::abilities::{Abilities, Sound};
use crate::domain::job::Video;
use crate::domain::usage::Usage;
use crate::http::body::CallBody;
use crate::provider::traits::Target;
use crate::provider::video::{Answer, NewVideo, Seen, bearer, number, path_safe, request, text, unreadable};
use crate::wire::vendor_error::VendorError;

use super::fault::meaning;
use super::video::SECOND;
use super::video_fault;

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
        sound: Sound::BuiltIn,
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

/// An id that it does not know is a 500 here.
pub(super) fn is_unknown(answer: &Answer) -> bool {
    !answer.status.is_success() && text(&answer.json(), "/error/message").contains("record not found")
}

pub(super) fn polled(answer: &Answer) -> Result<Seen, Error> {
    if is_unknown(answer) {
        return Ok(Seen::Gone);
    }
    let value = answer.json();
    let task = value.get("task").unwrap_or(&Value::Null);
    let seen = match text(task, "/status").to_ascii_lowercase().as_str() {
        "queued" => Seen::Queued,
        "running" | "processing" => Seen::Running(None),
        "failed" => {
            let vendor = VendorError::of_value(task);
            let code = vendor.code.parse().map_or(Code::ProviderError, meaning);
            return Ok(Seen::Failed(vendor.into_error(code)));
        }
        "cancelled" | "canceled" => Seen::Cancelled,
        "expired" => Seen::Expired,
        "succeeded" => completed(task),
        _ => Seen::Unclear,
    };
    video_fault::of(answer).map(|()| seen)
}

fn completed(task: &Value) -> Seen {
    if text(task, "/content/url").is_empty() {
        return Seen::Failed(unreadable());
    }
    let id = text(task, "/id");
    let Ok(id) = path_safe(&id) else { return Seen::Failed(unreadable()) };
    // Input seconds are billed as well, and are in the total.
    let used = number(task, "/usage/total_seconds").or_else(|| number(task, "/duration")).unwrap_or(0);
    let video = Video { source: format!("{SECOND}{id}").into(), width: None, height: None, expires_at: None };
    Seen::Completed(vec![video], Usage { videos: 1, video_seconds: used, ..Usage::NONE })
}

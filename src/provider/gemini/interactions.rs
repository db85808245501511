//! The Interactions API, on which the Gemini API makes videos since Veo went: `gemini-omni-…`.

use http::{Method, Request};
use serde_json::{Value, json};

use crate::base::clock::Timestamp;
use crate::base::error::{Code, Error};
use crate::domain::abilities::{Abilities, Sound};
use crate::domain::job::Video;
use crate::domain::usage::Usage;
use crate::http::body::CallBody;
use crate::provider::traits::Target;
use crate::provider::video::{NewVideo, Seen, number, request, text, unreadable};

use super::video::{KEPT, bytes_of, key, of_operation};

/// Before an interaction's id: the path at which it is asked for.
pub(super) const PATH: &str = "interactions/";

/// Whether a model is spoken to in this way.
pub(super) fn speaks(upstream: &str) -> bool {
    upstream.starts_with("gemini-")
}

pub(super) const ABILITIES: Abilities = Abilities {
    durations: &[3, 4, 5, 6, 7, 8, 9, 10],
    default_duration: 8,
    ratios: &["16:9", "9:16"],
    ratio_with_image: true,
    resolutions: &["360p", "720p", "1080p", "4k"],
    references: 3,
    sound: Sound::BuiltIn,
    ..Abilities::NONE
};

pub(super) fn create(new: &NewVideo<'_>, target: &Target) -> Result<Request<CallBody>, Error> {
    let (asked, order) = (new.request, new.order);
    let mut input = vec![json!({ "type": "text", "text": asked.prompt })];
    for (url, field) in asked.image.iter().map(|url| (url, "image")).chain(references(asked)) {
        let (media, payload) = bytes_of(url, field)?;
        input.push(json!({ "type": "image", "data": payload, "mime_type": media }));
    }
    let task = match (asked.image.is_some(), asked.reference_images.is_empty()) {
        (true, _) => "image_to_video",
        (false, false) => "reference_to_video",
        (false, true) => "text_to_video",
    };
    let mut format = json!({
        "type": "video",
        "resolution": order.resolution,
        "duration": format!("{}s", order.duration),
        // Never the film itself in an answer that is asked for again and again.
        "delivery": "uri",
    });
    if let Some(ratio) = &order.aspect_ratio {
        format["aspect_ratio"] = json!(ratio);
    }
    let body = json!({
        "model": &*target.upstream,
        "input": if input.len() == 1 { json!(asked.prompt) } else { Value::from(input) },
        // Both, or there is nothing to ask for later.
        "background": true,
        "store": true,
        "response_format": format,
        "generation_config": { "video_config": { "task": task } },
    });
    Ok(request(Method::POST, target.url("/v1beta/interactions")?, key(target)?, &body))
}

fn references(asked: &crate::domain::video::VideoRequest) -> impl Iterator<Item = (&String, &'static str)> {
    asked.reference_images.iter().map(|url| (url, "reference_images"))
}

/// How an interaction stands.
pub(super) fn seen(told: &Value, now: Timestamp) -> Seen {
    match text(told, "/status").to_ascii_lowercase().as_str() {
        "queued" => Seen::Queued,
        "in_progress" => Seen::Running(None),
        "completed" => completed(told, now),
        "cancelled" | "canceled" => Seen::Cancelled,
        "failed" | "incomplete" | "requires_action" | "budget_exceeded" | "requires_continuation" => {
            Seen::Failed(failure(told))
        }
        _ => Seen::Unclear,
    }
}

fn completed(told: &Value, now: Timestamp) -> Seen {
    let steps = told.get("steps").and_then(Value::as_array).into_iter().flatten();
    let contents = steps.filter_map(|step| step.get("content")?.as_array()).flatten();
    let made = contents.filter(|content| text(content, "/type") == "video").chain(told.get("output_video"));
    let mut urls: Vec<_> = made.map(|video| text(video, "/uri")).filter(|url| !url.is_empty()).collect();
    urls.dedup();
    let Some(url) = urls.into_iter().next() else { return Seen::Failed(failure(told)) };
    let count = |place: &str| number(told, place).unwrap_or(0);
    let (output, thoughts) = (count("/usage/total_output_tokens"), count("/usage/total_thought_tokens"));
    let usage = Usage {
        videos: 1,
        input_tokens: count("/usage/total_input_tokens"),
        output_tokens: output.saturating_add(thoughts),
        reasoning_tokens: thoughts,
        ..Usage::NONE
    };
    let video = Video { source: url.into(), width: None, height: None, expires_at: Some(now.plus(KEPT)) };
    Seen::Completed(vec![video], usage)
}

fn failure(told: &Value) -> Error {
    match told.pointer("/errors/0").or_else(|| told.get("error")).filter(|error| error.is_object()) {
        Some(error) => of_operation(error),
        None if text(told, "/status") == "budget_exceeded" => {
            Error::provider(Code::ProviderQuotaExhausted, "The provider's budget for this video was exceeded.")
        }
        None => unreadable(),
    }
}

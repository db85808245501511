//! Reading a create request: JSON, or the form that OpenAI's SDKs send.

use serde_json::Value;

use crate::base::error::{Code, Error};
use crate::domain::video::VideoRequest;
use crate::http::body::Segments;
use crate::http::call::{Call, Part};
use crate::wire::base64;

/// What the caller asks for.
pub(super) fn read(call: &Call) -> Result<VideoRequest, Error> {
    match &call.facts().multipart {
        Some(form) => form.parts.iter().try_fold(VideoRequest::default(), |asked, part| field(call, asked, part)),
        None => json(call),
    }
}

fn json(call: &Call) -> Result<VideoRequest, Error> {
    let body = call.body();
    let mut value: Value =
        serde_json::from_slice(&body).map_err(|_| Error::new(Code::InvalidJson, "The body is not valid JSON."))?;
    if let Some(members) = value.as_object_mut() {
        // A `null` is as good as nothing.
        members.retain(|_, value| !value.is_null());
        if let Some(reference) = members.remove("input_reference") {
            let url = reference.get("image_url").cloned().unwrap_or(reference);
            members.entry("image").or_insert(url);
        }
    }
    let named: Vec<String> = value.as_object().map(|m| m.keys().cloned().collect()).unwrap_or_default();
    serde_json::from_value(value.clone()).map_err(|_| {
        // serde does not say which member it was: each alone is tried.
        let wrong = named.iter().find(|name| {
            let alone = serde_json::json!({ name.as_str(): value[name.as_str()] });
            serde_json::from_value::<VideoRequest>(alone).is_err()
        });
        let name = wrong.map_or("duration", String::as_str).to_owned();
        Error::new(Code::InvalidParameter, format!("The field `{name}` is not of the kind that it has to be."))
            .param(name)
    })
}

fn field(call: &Call, mut asked: VideoRequest, part: &Part) -> Result<VideoRequest, Error> {
    let content = Segments::new(call.segments().slice(part.content.clone())).joined();
    let text = || String::from_utf8_lossy(&content).into_owned();
    match part.name.as_str() {
        "prompt" => asked.prompt = text(),
        "size" => asked.size = Some(text()),
        "resolution" => asked.resolution = Some(text()),
        "aspect_ratio" => asked.aspect_ratio = Some(text()),
        "negative_prompt" => asked.negative_prompt = Some(text()),
        "webhook_url" => asked.webhook_url = Some(text()),
        "seconds" | "duration" => {
            let seconds = text().trim().parse();
            asked.duration = Some(seconds.map_err(|_| {
                let message = format!("The field `{}` has to be a whole number of seconds.", part.name);
                Error::new(Code::InvalidParameter, message).param(part.name.clone())
            })?);
        }
        "input_reference" | "image" => {
            let kind = part.content_type.as_deref().unwrap_or("image/png");
            asked.image = Some(match part.filename {
                Some(_) => format!("data:{kind};base64,{}", base64::encode(&content)),
                None => text(),
            });
        }
        _ => {}
    }
    Ok(asked)
}

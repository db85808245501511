//! Reading a create request: JSON, or the form that OpenAI's SDKs send.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::base::error::{Code, Error};
use crate::domain::video::VideoRequest;
use crate::http::body::Segments;
use crate::http::call::{Call, Part};
use crate::wire::base64;
use crate::wire::data_url::DataUrl;
use crate::wire::json::shown;

/// What the caller asks for.
pub(super) fn read(call: &Call) -> Result<VideoRequest, Error> {
    let value = match &call.facts().multipart {
        Some(form) => form.parts.iter().fold(Map::new(), |asked, part| field(call, asked, part)).into(),
        None => serde_json::from_slice(&call.body())
            .map_err(|_| Error::new(Code::InvalidJson, "The body is not valid JSON."))?,
    };
    members(value)
}

/// The members of a create request.
const KNOWN: [&str; 20] = [
    "model",
    "prompt",
    "duration",
    "seconds",
    "aspect_ratio",
    "resolution",
    "size",
    "image",
    "last_frame",
    "reference_images",
    "seed",
    "negative_prompt",
    "audio",
    "fps",
    "watermark",
    "n",
    "user",
    "webhook_url",
    "metadata",
    "input_reference",
];

/// So many fields that nobody knows are told of.
const MOST_UNKNOWN: usize = 16;

fn members(mut value: Value) -> Result<VideoRequest, Error> {
    let mut unknown = Vec::new();
    if let Some(members) = value.as_object_mut() {
        // A `null` is as good as nothing.
        members.retain(|_, value| !value.is_null());
        let strange = members.keys().filter(|name| !KNOWN.contains(&name.as_str()));
        unknown.extend(strange.take(MOST_UNKNOWN).map(|name| shown(name)));
        if let Some(reference) = members.remove("input_reference") {
            let url = reference.get("image_url").cloned().unwrap_or(reference);
            members.entry("image").or_insert(url);
        }
    }
    let named: Vec<String> = value.as_object().map(|m| m.keys().cloned().collect()).unwrap_or_default();
    let read = VideoRequest::deserialize(&value).map_err(|_| {
        // serde does not say which member it was: each alone is tried.
        let wrong = named.iter().find(|name| {
            let alone = serde_json::json!({ name.as_str(): value[name.as_str()] });
            serde_json::from_value::<VideoRequest>(alone).is_err()
        });
        let name = wrong.map_or("duration", String::as_str).to_owned();
        Error::new(Code::InvalidParameter, format!("The field `{name}` is not of the kind that it has to be."))
            .param(name)
    })?;
    bounded(VideoRequest { unknown, ..read })
}

/// What is kept of a request must be small: OpenAI's own bounds of metadata, and a URL's usual one.
fn bounded(asked: VideoRequest) -> Result<VideoRequest, Error> {
    let refuse =
        |field: &'static str, message: &'static str| Err(Error::new(Code::InvalidParameter, message).param(field));
    let fits = |name: &String, value: &Value| name.chars().count() <= 64 && value.to_string().chars().count() <= 514;
    if asked.metadata.iter().any(|all| all.len() > 16 || !all.iter().all(|(name, value)| fits(name, value))) {
        return refuse("metadata", "The field `metadata` takes 16 members, names of 64 and values of 512 characters.");
    }
    if asked.webhook_url.as_ref().is_some_and(|url| url.len() > 2_048) {
        return refuse("webhook_url", "The field `webhook_url` takes a URL of at most 2,048 bytes.");
    }
    Ok(asked)
}

/// Adds a form's part to what is asked, as JSON would say it.
fn field(call: &Call, mut asked: Map<String, Value>, part: &Part) -> Map<String, Value> {
    let content = Segments::new(call.segments().slice(part.content.clone())).joined();
    let value = match (&part.filename, part.name.as_str()) {
        (Some(_), _) => data_url(&content, part.content_type.as_deref()).into(),
        (None, "seed" | "n" | "fps") => {
            serde_json::from_slice(&content).unwrap_or_else(|_| String::from_utf8_lossy(&content).into())
        }
        (None, _) => String::from_utf8_lossy(&content).into(),
    };
    let name = match part.bare_name() {
        // An SDK's way to write an object.
        "input_reference[image_url]" => "input_reference",
        name => name,
    };
    match (name, asked.get_mut(name)) {
        ("reference_images", Some(Value::Array(images))) => images.push(value),
        ("reference_images", _) => drop(asked.insert(name.to_owned(), Value::from(vec![value]))),
        // Sound decides on the price, which is reckoned before a form's fields are read.
        ("audio" | "metadata", _) => drop(asked.insert(format!("{name} in a form"), value)),
        _ => drop(asked.insert(name.to_owned(), value)),
    }
    asked
}

/// A picture as a `data:` URL of the type that its own first bytes tell.
fn data_url(content: &[u8], told: Option<&str>) -> String {
    let told = told.and_then(|told| told.split(';').next()).map(str::trim).filter(|told| told.starts_with("image/"));
    let (told, data) = (told.unwrap_or("image/png"), base64::encode(content));
    let url = format!("data:{told};base64,{data}");
    let kind = DataUrl::parse(&url).map(|url| url.sniffed().to_owned());
    format!("data:{};base64,{data}", kind.as_deref().unwrap_or(told))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_null_is_nothing_and_what_nobody_knows_is_noted() {
        let asked = members(json!({ "model": "m", "prompt": "p", "seconds": "6", "size": null, "camera_fixed": true }));
        let asked = asked.unwrap();
        assert_eq!((asked.duration, asked.size, asked.unknown), (Some(6), None, vec!["camera_fixed".to_owned()]));
        let many: Map<_, _> = (0..99).map(|n| (format!("x{n}"), json!(n))).collect();
        assert_eq!(members(many.into()).unwrap().unknown.len(), MOST_UNKNOWN);
    }

    #[test]
    fn what_is_of_the_wrong_kind_or_too_much_is_refused_by_name() {
        let long: Map<_, _> = (0..17).map(|n| (n.to_string(), json!("v"))).collect();
        for (field, value) in [
            ("duration", json!(6.5)),
            ("duration", json!([6])),
            ("reference_images", json!("https://x")),
            ("image", json!({ "file_id": "f" })),
            ("audio", json!("yes")),
            ("metadata", Value::from(long)),
            ("metadata", json!({ "k": "v".repeat(513) })),
            ("webhook_url", json!(format!("https://x/{}", "a".repeat(2_048)))),
        ] {
            let error = members(json!({ "prompt": "p", field: value })).unwrap_err();
            assert_eq!((error.code(), error.param_name()), (Code::InvalidParameter, Some(field)));
        }
    }

    #[test]
    fn a_picture_is_what_its_own_bytes_say() {
        assert_eq!(data_url(b"\xff\xd8\xff", Some("application/octet-stream")), "data:image/jpeg;base64,/9j/");
        assert!(data_url(b"RIFF....WEBP", None).starts_with("data:image/webp;"));
        assert!(data_url(b"pixels", Some("image/gif; x=y")).starts_with("data:image/gif;"));
        assert!(data_url(b"pixels", None).starts_with("data:image/png;"));
    }
}

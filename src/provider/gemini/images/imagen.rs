//! Imagen: `predict`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::base::error::{Code, Error};
use crate::domain::endpoint::Endpoint;
use crate::provider::gallery::Taken;
use crate::provider::gemini::fault::{self, Status};
use crate::provider::gemini::whole::unreadable;
use crate::wire::images::{ImageRequest, Made, Size, left_out, nearest};
use crate::wire::openai_request::unsupported;
use crate::wire::outline::Outline;
use crate::wire::text::Text;

use super::Encoded;

/// Pictures at once.
const MAX_N: u64 = 4;

const RATIOS: &[(&str, Size)] = &[
    ("1:1", Size::new(1, 1)),
    ("3:4", Size::new(3, 4)),
    ("4:3", Size::new(4, 3)),
    ("9:16", Size::new(9, 16)),
    ("16:9", Size::new(16, 9)),
];

#[derive(Serialize)]
struct Body<'a> {
    instances: [Instance<'a>; 1],
    parameters: Parameters,
}

#[derive(Serialize)]
struct Instance<'a> {
    prompt: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    /// Always sent: the vendor's default is four.
    sample_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    aspect_ratio: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample_image_size: Option<&'static str>,
    /// So that a picture that was filtered out says why.
    include_rai_reason: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_options: Option<OutputOptions>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutputOptions {
    mime_type: &'static str,
}

pub(super) fn encode(endpoint: Endpoint, request: &ImageRequest<'_>) -> Result<Encoded, Error> {
    if endpoint == Endpoint::ImageEdits {
        return Err(unsupported("image", "Imagen makes pictures from text alone; Gemini's image models edit"));
    }
    request.n_at_most(MAX_N)?;
    request.pictures_at_most(0)?;
    let output_options = match request.output_format.as_deref() {
        Some("png") => Some(OutputOptions { mime_type: "image/png" }),
        Some("jpeg") => Some(OutputOptions { mime_type: "image/jpeg" }),
        _ => None,
    };
    let honoured: &[&str] = if output_options.is_some() { &["output_format"] } else { &[] };
    let ignored = request.ignored(honoured);
    let mut warnings: Vec<_> = ignored.iter().filter_map(|field| left_out(field)).collect();
    let found = request.size.and_then(|size| nearest(size, RATIOS, |(_, shape)| *shape));
    if let (Some(size), Some((ratio, shape))) = (request.size, found)
        && !shape.is_like(size)
    {
        warnings.push(format!("\"size\" {size} was made as {ratio}, the nearest that this model has."));
    }
    let body = Body {
        instances: [Instance { prompt: &request.prompt }],
        parameters: Parameters {
            sample_count: request.n,
            aspect_ratio: found.map(|(ratio, _)| *ratio),
            sample_image_size: request.size.filter(|size| size.pixels() > 1536 * 1536).map(|_| "2K"),
            include_rai_reason: true,
            output_options,
        },
    };
    let dropped = request.dropped(ignored);
    Ok(Encoded { method: "predict", body: request.written(&body)?, calls: 1, warnings, dropped, read, is_final: true })
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    predictions: Option<Vec<Prediction<'a>>>,
    #[serde(borrow, default)]
    error: Option<Status<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Prediction<'a> {
    #[serde(borrow)]
    mime_type: Option<Text<'a>>,
    #[serde(borrow)]
    bytes_base64_encoded: Option<&'a RawValue>,
    #[serde(borrow)]
    rai_filtered_reason: Option<Text<'a>>,
}

/// Reads an answer. A picture that was filtered out is an entry with a reason alone, or no entry at all.
fn read(outline: &Outline) -> Result<Taken, Error> {
    let answer: Answer<'_> = serde_json::from_slice(outline.rest()).map_err(unreadable)?;
    if let Some(error) = &answer.error {
        return Err(fault::inside(error));
    }
    let (mut made, mut missing, mut strange) = (Vec::new(), Vec::new(), false);
    for prediction in answer.predictions.unwrap_or_default() {
        let drawn = prediction.bytes_base64_encoded.and_then(|data| outline.text(data));
        match (drawn, prediction.rai_filtered_reason) {
            (Some(text), _) => made.push(Made::Base64 {
                media_type: prediction.mime_type.map_or("image/png".to_owned(), |kind| kind.0.into_owned()),
                text,
            }),
            (_, Some(_)) => missing.push("A picture was taken out by the vendor's safety check.".to_owned()),
            // One that lies in the operator's own storage, say.
            _ => strange = true,
        }
    }
    if made.is_empty() && missing.is_empty() && strange {
        return Err(Error::provider(Code::ProviderError, "The vendor's answer holds no picture."));
    }
    if made.is_empty() {
        return Err(Error::provider(
            Code::ContentPolicyViolation,
            "The vendor's safety check took out every picture. Change the prompt.",
        ));
    }
    Ok(Taken { made, missing, ..Taken::default() })
}

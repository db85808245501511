//! `image_generation`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::base::error::{Code, Error};
use crate::domain::endpoint::Endpoint;
use crate::domain::usage::Usage;
use crate::http::call::Call;
use crate::provider::gallery::{Plan, Taken};
use crate::provider::traits::{Exchange, Target};
use crate::wire::images::{Form, ImageRequest, Made, Picture, Size, left_out, nearest};
use crate::wire::openai_request::unsupported;
use crate::wire::outline::Outline;

use super::fault::BaseResp;
use super::post;

/// The most characters of a prompt.
const MAX_PROMPT: usize = 1_500;
/// The most pictures at once.
const MAX_N: u64 = 9;

/// Where MiniMax keeps results.
const HOSTS: &[&str] = &[
    "*.minimax.io",
    "*.minimaxi.com",
    "*.hailuoai.com",
    "*.hailuoai.video",
    "filecdn.minimax.chat",
    "*.bcebos.com",
    "*.aliyuncs.com",
];

/// The aspect ratios that it has, and the size that each is made at.
const RATIOS: &[(&str, Size)] = &[
    ("1:1", Size::new(1024, 1024)),
    ("16:9", Size::new(1280, 720)),
    ("4:3", Size::new(1152, 864)),
    ("3:2", Size::new(1248, 832)),
    ("2:3", Size::new(832, 1248)),
    ("3:4", Size::new(864, 1152)),
    ("9:16", Size::new(720, 1280)),
    ("21:9", Size::new(1344, 576)),
];

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    prompt: &'a str,
    n: u64,
    response_format: &'static str,
    prompt_optimizer: bool,
    aigc_watermark: bool,
    #[serde(flatten)]
    shape: Shape,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subject_reference: Vec<Subject<'a>>,
}

/// Only one of the two is sent: which one wins is not told alike everywhere.
#[derive(Serialize)]
#[serde(untagged)]
enum Shape {
    Exact { width: u32, height: u32 },
    Ratio { aspect_ratio: &'static str },
}

#[derive(Serialize)]
struct Subject<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    image_file: &'a Picture<'a>,
}

/// Translates the call.
pub(super) fn encode(call: &Call, target: &Target) -> Result<Exchange, Error> {
    if call.endpoint() == Endpoint::ImageEdits {
        let why = "MiniMax edits no pictures. POST /v1/images/generations takes one as a reference, in \"image\"";
        return Err(unsupported("image", why));
    }
    if call.streams() {
        return Err(unsupported("stream", "this model's pictures come in one answer"));
    }
    let given = call.body();
    let request = ImageRequest::read(call.segments().pieces(), &given, call.facts())?;
    request.prompt_at_most(MAX_PROMPT)?;
    request.n_at_most(MAX_N)?;
    request.pictures_at_most(1)?;
    request.no_mask()?;
    let ignored = request.ignored(&["seed", "watermark"]);
    let mut warnings: Vec<_> = ignored.iter().filter_map(|field| left_out(field)).collect();
    let (shape, size) = shape(request.size, &target.upstream, &mut warnings);
    let body = Body {
        model: &target.upstream,
        prompt: &request.prompt,
        n: request.n,
        response_format: if request.form == Some(Form::Base64) { "base64" } else { "url" },
        prompt_optimizer: false,
        aigc_watermark: request.watermark,
        shape,
        seed: request.seed,
        subject_reference: (request.pictures.iter())
            .map(|picture| Subject { kind: "character", image_file: picture })
            .collect(),
    };
    let body = request.written(&body)?;
    let plan = Plan {
        request: post(target, "/v1/image_generation", body.into())?,
        calls: 1,
        form: request.form,
        size: Some(size.to_string()),
        quality: None,
        warnings,
        dropped: request.dropped(ignored),
        hosts: HOSTS,
        read,
        is_final: false,
    };
    Ok(plan.into_exchange(target))
}

fn shape(wanted: Option<Size>, upstream: &str, warnings: &mut Vec<String>) -> (Shape, Size) {
    let Some(wanted) = wanted else { return (Shape::Ratio { aspect_ratio: RATIOS[0].0 }, RATIOS[0].1) };
    let side = |side: u32| (512..=2048).contains(&side) && side.is_multiple_of(8);
    // The live model takes neither exact sizes nor the widest ratio.
    let is_live = upstream.contains("live");
    if side(wanted.width) && side(wanted.height) && !is_live {
        return (Shape::Exact { width: wanted.width, height: wanted.height }, wanted);
    }
    let ratios = if is_live { &RATIOS[..RATIOS.len() - 1] } else { RATIOS };
    let (aspect_ratio, size) = nearest(wanted, ratios, |(_, size)| *size).copied().unwrap_or(RATIOS[0]);
    if size != wanted {
        warnings.push(format!("\"size\" {wanted} was made as {size}, the nearest that this model has."));
    }
    (Shape::Ratio { aspect_ratio }, size)
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    data: Option<Data<'a>>,
    #[serde(borrow, default)]
    metadata: Option<Metadata<'a>>,
    #[serde(default)]
    base_resp: Option<BaseResp>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data<'a> {
    #[serde(borrow)]
    image_urls: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    image_base64: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    failed_count: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata<'a> {
    #[serde(borrow)]
    failed_count: Option<&'a RawValue>,
}

/// A number, or a text of one.
fn count(raw: Option<&RawValue>) -> u64 {
    raw.and_then(|raw| raw.get().trim_matches('"').parse().ok()).unwrap_or(0)
}

/// Reads an answer. Pictures that the safety check took out are counted, not shown.
fn read(outline: &Outline) -> Result<Taken, Error> {
    let unreadable = |e: serde_json::Error| {
        Error::provider(Code::ProviderError, "MiniMax's answer cannot be read.").cause(e.to_string())
    };
    let answer: Answer<'_> = serde_json::from_slice(outline.rest()).map_err(unreadable)?;
    answer.base_resp.unwrap_or_default().check()?;
    let data = answer.data.unwrap_or_default();
    let inline = data.image_base64.into_iter().flatten().filter_map(|raw| outline.text(raw));
    let inline = inline.map(|text| Made::Base64 { media_type: "image/jpeg".to_owned(), text });
    let urls = data.image_urls.into_iter().flatten().filter_map(|raw| outline.text(raw)).map(Made::Url);
    let made: Vec<_> = inline.chain(urls).collect();
    // It stands in either place.
    let failed = count(data.failed_count).max(answer.metadata.map_or(0, |m| count(m.failed_count)));
    match (made.is_empty(), failed) {
        (true, 1..) => Err(Error::provider(
            Code::ContentPolicyViolation,
            "The vendor's safety check took out every picture. Change the prompt.",
        )),
        (true, 0) => Err(Error::provider(Code::ProviderError, "MiniMax's answer holds no picture.")),
        (false, failed) => {
            let missing = (failed > 0).then(|| format!("The vendor's safety check took out {failed} of the pictures."));
            Ok(Taken { made, usage: Usage::NONE, missing: missing.into_iter().collect(), is_answer: false })
        }
    }
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;

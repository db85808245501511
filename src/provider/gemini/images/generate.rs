//! Gemini's image models: `generateContent` that answers with pictures among its parts.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::base::error::{Code, Error};
use crate::domain::endpoint::Endpoint;
use crate::provider::gallery::Taken;
use crate::provider::gemini::answer::Word;
use crate::provider::gemini::counts::Counts;
use crate::provider::gemini::fault::{self, Status};
use crate::provider::gemini::request::type_by_path;
use crate::provider::gemini::whole::unreadable;
use crate::wire::images::{ImageRequest, Made, Picture, Size, left_out, nearest};
use crate::wire::openai_request::missing;
use crate::wire::outline::Outline;
use crate::wire::text::Text;

use super::Encoded;

/// Pictures at once: a call each.
const MAX_N: u64 = 10;
/// Pictures to work from.
const MAX_PICTURES: usize = 14;

/// The shapes that every image model has.
const RATIOS: &[(&str, Size)] = &[
    ("1:1", Size::new(1, 1)),
    ("2:3", Size::new(2, 3)),
    ("3:2", Size::new(3, 2)),
    ("3:4", Size::new(3, 4)),
    ("4:3", Size::new(4, 3)),
    ("4:5", Size::new(4, 5)),
    ("5:4", Size::new(5, 4)),
    ("9:16", Size::new(9, 16)),
    ("16:9", Size::new(16, 9)),
    ("21:9", Size::new(21, 9)),
    // The model's own, from here on.
    ("1:4", Size::new(1, 4)),
    ("4:1", Size::new(4, 1)),
    ("1:8", Size::new(1, 8)),
    ("8:1", Size::new(8, 1)),
];
const COMMON_RATIOS: usize = 10;

/// A family of models, by the start of its upstream ids.
struct Family {
    prefix: &'static str,
    /// The levels of resolution, each with the side of a square of it; none where the model takes no level.
    levels: &'static [(&'static str, u32)],
    ratios: usize,
}

const LEVELS: &[(&str, u32)] = &[("512", 512), ("1K", 1024), ("2K", 2048), ("4K", 4096)];

const FAMILIES: &[Family] = &[
    Family { prefix: "gemini-3.1-flash-lite-image", levels: &[], ratios: COMMON_RATIOS },
    Family { prefix: "gemini-3.1-flash-image", levels: LEVELS, ratios: RATIOS.len() },
    Family { prefix: "gemini-3-pro-image", levels: LEVELS.split_at(1).1, ratios: COMMON_RATIOS },
    Family { prefix: "", levels: &[], ratios: COMMON_RATIOS },
];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    contents: [Content<'a>; 1],
    generation_config: Config,
}

#[derive(Serialize)]
struct Content<'a> {
    role: &'static str,
    parts: Vec<Part<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Part<'a> {
    #[serde(rename_all = "camelCase")]
    InlineData {
        mime_type: &'a str,
        data: &'a str,
    },
    #[serde(rename_all = "camelCase")]
    FileData {
        #[serde(skip_serializing_if = "Option::is_none")]
        mime_type: Option<&'static str>,
        file_uri: &'a str,
    },
    Text(&'a str),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    response_modalities: [&'static str; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    image_config: Option<ImageConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageConfig {
    aspect_ratio: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_size: Option<&'static str>,
}

pub(super) fn encode(endpoint: Endpoint, request: &ImageRequest<'_>, upstream: &str) -> Result<Encoded, Error> {
    request.n_at_most(MAX_N)?;
    request.pictures_at_most(MAX_PICTURES)?;
    if endpoint == Endpoint::ImageEdits && request.pictures.is_empty() {
        return Err(missing("image"));
    }
    let ignored = request.ignored(&["seed"]);
    let mut warnings: Vec<_> = ignored.iter().filter_map(|field| left_out(field)).collect();
    let mut parts: Vec<_> = request.pictures.iter().map(Part::of).collect();
    parts.push(Part::Text(&request.prompt));
    let body = Body {
        contents: [Content { role: "user", parts }],
        generation_config: Config {
            response_modalities: ["TEXT", "IMAGE"],
            image_config: request.size.map(|size| config(size, upstream, &mut warnings)),
            // Google takes 32 bits.
            seed: request.seed.map(|seed| seed as i32),
        },
    };
    let dropped = request.dropped(ignored);
    Ok(Encoded {
        method: "generateContent",
        body: request.written(&body)?,
        calls: request.n,
        warnings,
        dropped,
        read,
        // The later ones think, and say behind a picture that it was but a thought.
        is_final: upstream.starts_with("gemini-2."),
    })
}

impl<'a> Part<'a> {
    fn of(picture: &'a Picture<'a>) -> Self {
        match picture {
            Picture::Inline { media_type, base64 } => Self::InlineData { mime_type: media_type, data: base64 },
            Picture::Url(url) => Self::FileData { mime_type: type_by_path(url), file_uri: url },
        }
    }
}

/// The nearest shape and level. Google chooses the pixels; the caller is told where they cannot come near.
fn config(size: Size, upstream: &str, warnings: &mut Vec<String>) -> ImageConfig {
    let family = FAMILIES.iter().find(|family| upstream.starts_with(family.prefix));
    let (levels, ratios) = family.map_or((&[][..], COMMON_RATIOS), |family| (family.levels, family.ratios));
    let (aspect_ratio, shape) = nearest(size, &RATIOS[..ratios], |(_, shape)| *shape).copied().unwrap_or(RATIOS[0]);
    let side = (size.pixels() as f64).sqrt();
    // Up to halfway between a level and the next, in sides.
    let level = levels.iter().find(|(_, level)| side < f64::from(*level) * 1.5).or(levels.last());
    let made = f64::from(level.map_or(1024, |(_, level)| *level));
    if !shape.is_like(size) || !(0.6..1.6).contains(&(side / made)) {
        let at = level.map_or("1K", |(name, _)| *name);
        warnings.push(format!("\"size\" {size} was made as {aspect_ratio} at {at}, the nearest that this model has."));
    }
    ImageConfig { aspect_ratio, image_size: level.map(|(name, _)| *name) }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow, default)]
    candidates: Option<Vec<Candidate<'a>>>,
    #[serde(borrow, default)]
    prompt_feedback: Option<Feedback<'a>>,
    #[serde(default)]
    usage_metadata: Option<Counts>,
    #[serde(borrow, default)]
    error: Option<Status<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Feedback<'a> {
    #[serde(borrow)]
    block_reason: Option<Word<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(borrow)]
    content: Option<Drawn<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Word<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Drawn<'a> {
    #[serde(borrow)]
    parts: Option<Vec<DrawnPart<'a>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct DrawnPart<'a> {
    #[serde(borrow, alias = "inline_data")]
    inline_data: Option<Inline<'a>>,
    thought: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inline<'a> {
    #[serde(borrow, default, alias = "mime_type")]
    mime_type: Option<Text<'a>>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

impl Inline<'_> {
    /// The picture, unless it is something else. One that does not say what it is, is what was asked for.
    fn picture(&self, outline: &Outline) -> Option<Made> {
        let media_type = self.mime_type.as_deref().unwrap_or("image/png");
        let text = outline.text(self.data?)?;
        media_type.starts_with("image/").then(|| Made::Base64 { media_type: media_type.to_owned(), text })
    }
}

/// Reads an answer. Pictures among the model's thoughts are drafts.
fn read(outline: &Outline) -> Result<Taken, Error> {
    let answer: Answer<'_> = serde_json::from_slice(outline.rest()).map_err(unreadable)?;
    if let Some(error) = &answer.error {
        return Err(fault::inside(error));
    }
    let candidates = answer.candidates.unwrap_or_default();
    let parts = candidates.iter().filter_map(|c| c.content.as_ref()?.parts.as_ref()).flatten();
    let drawn = parts.filter(|part| part.thought != Some(true)).filter_map(|part| part.inline_data.as_ref());
    let made: Vec<_> = drawn.filter_map(|inline| inline.picture(outline)).collect();
    if made.is_empty() {
        let ending = candidates.into_iter().find_map(|c| c.finish_reason);
        let blocked = answer.prompt_feedback.and_then(|feedback| feedback.block_reason);
        return Err(nothing_made(blocked.map(|word| word.to_string()), ending.map(|word| word.to_string())));
    }
    let usage = answer.usage_metadata.map(|counts| counts.usage()).unwrap_or_default();
    Ok(Taken { made, usage, ..Taken::default() })
}

/// Why there is no picture. A blocked prompt is said outright; otherwise the ending tells.
fn nothing_made(blocked: Option<String>, ending: Option<String>) -> Error {
    const REFUSALS: [&str; 12] = [
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "LANGUAGE",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
        "ESCALATION",
        "PUP_LIMITED_DISABLED",
    ];
    let refused = ending.as_deref().filter(|word| REFUSALS.contains(word));
    match (blocked.as_deref().or(refused), ending.as_deref()) {
        (Some(why), _) => Error::provider(
            Code::ContentPolicyViolation,
            format!("The vendor made no picture of this prompt ({why}). Change the prompt."),
        ),
        (None, why) => Error::provider(
            Code::ProviderError,
            format!(
                "The vendor made no picture ({}). Try again, or change the prompt.",
                why.unwrap_or("no reason given")
            ),
        ),
    }
}

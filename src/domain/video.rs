//! What a video request asks for, and what of it a model has.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::base::error::{Code, Error};

use super::model::OptionPolicy;

/// A video request as the caller wrote it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields of `POST /v1/videos/generations`")]
pub struct VideoRequest {
    pub prompt: String,
    /// Seconds; the OpenAI SDK writes `seconds`, as a string.
    #[serde(alias = "seconds", deserialize_with = "whole")]
    pub duration: Option<u64>,
    pub aspect_ratio: Option<String>,
    pub resolution: Option<String>,
    /// `1280x720`: stands for a ratio and a resolution.
    pub size: Option<String>,
    /// The first frame: a URL, or a `data:` URL.
    pub image: Option<String>,
    pub last_frame: Option<String>,
    pub reference_images: Vec<String>,
    pub seed: Option<i64>,
    pub negative_prompt: Option<String>,
    pub audio: Option<bool>,
    pub fps: Option<u64>,
    pub watermark: Option<bool>,
    pub webhook_url: Option<String>,
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

/// A whole number, or a string of one.
fn whole<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u64),
        Text(String),
    }
    match Option::<Written>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Written::Number(number)) => Ok(Some(number)),
        Some(Written::Text(text)) => text.parse().map(Some).map_err(|_| serde::de::Error::custom("duration")),
    }
}

/// What is asked of the vendor, after the model's table was consulted: every value is one that the model has.
///
/// This much is kept in the job; prompt and pictures are not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the settled options")]
pub struct Order {
    /// Seconds.
    pub duration: u64,
    /// `None` where it follows the picture.
    pub aspect_ratio: Option<String>,
    pub resolution: String,
    /// As the caller wrote it.
    pub size: Option<String>,
    pub seed: Option<i64>,
    pub audio: Option<bool>,
}

/// What a model can do with video: a row of its vendor's table.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the columns of the table")]
pub struct Abilities {
    /// Seconds, ascending.
    pub durations: &'static [u64],
    pub default_duration: u64,
    /// The first is the default.
    pub ratios: &'static [&'static str],
    /// Ascending.
    pub resolutions: &'static [&'static str],
    pub default_resolution: &'static str,
    /// What must not come together: (resolution, the durations that it has).
    pub limited: &'static [(&'static str, &'static [u64])],
    pub needs_image: bool,
    pub text_only: bool,
    pub last_frame: bool,
    pub references: usize,
    pub seed: bool,
    pub negative_prompt: bool,
    /// Whether sound can be switched.
    pub audio: bool,
    pub watermark: bool,
    /// The longest prompt, in characters.
    pub max_prompt: usize,
}

impl Abilities {
    /// A model with nothing but a prompt of 2,000 characters; rows are written from it.
    pub const NONE: Self = Self {
        durations: &[],
        default_duration: 5,
        ratios: &["16:9"],
        resolutions: &["720p"],
        default_resolution: "720p",
        limited: &[],
        needs_image: false,
        text_only: false,
        last_frame: false,
        references: 0,
        seed: false,
        negative_prompt: false,
        audio: false,
        watermark: false,
        max_prompt: 2_000,
    };

    /// Settles `request` against this row. Hard options that the model has not are refused with what it has (or moved to
    /// the next it has, by policy); soft ones become warnings.
    pub fn settle(&self, request: &VideoRequest, policy: OptionPolicy) -> Result<(Order, Vec<String>), Error> {
        let mut warnings = Vec::new();
        self.check_inputs(request)?;
        let pixels = request.size.as_deref().map(Pixels::parse).transpose()?;
        let resolution = self.resolution(request, pixels, policy, &mut warnings)?;
        let duration = self.duration(request, &resolution, policy, &mut warnings)?;
        let aspect_ratio = self.ratio(request, pixels, policy, &mut warnings)?;
        let mut soft = |given: bool, has: bool, name: &str| {
            if given && !has {
                warnings.push(format!("`{name}` was ignored: the model does not have it."));
            }
            given && has
        };
        let seed = request.seed.filter(|_| soft(request.seed.is_some(), self.seed, "seed"));
        let audio = request.audio.filter(|_| soft(request.audio.is_some(), self.audio, "audio"));
        soft(request.negative_prompt.is_some(), self.negative_prompt, "negative_prompt");
        soft(request.watermark.is_some(), self.watermark, "watermark");
        soft(request.fps.is_some(), false, "fps");
        Ok((Order { duration, aspect_ratio, resolution, size: request.size.clone(), seed, audio }, warnings))
    }

    fn check_inputs(&self, request: &VideoRequest) -> Result<(), Error> {
        let refuse =
            |field: &'static str, message: String| Err(Error::new(Code::InvalidParameter, message).param(field));
        if request.prompt.trim().is_empty() {
            let message = "Say what the video shows: the field `prompt` is missing.";
            return Err(Error::new(Code::MissingParameter, message).param("prompt"));
        }
        if request.prompt.chars().count() > self.max_prompt {
            return refuse(
                "prompt",
                format!("The prompt is too long: this model takes {} characters.", self.max_prompt),
            );
        }
        let has_image = request.image.is_some();
        if self.needs_image && !has_image {
            return refuse("image", "This model animates a picture: send its first frame in `image`.".into());
        }
        if self.text_only && has_image {
            return refuse("image", "This model takes no picture: leave `image` out.".into());
        }
        if request.last_frame.is_some() && !(self.last_frame && has_image) {
            let message = if self.last_frame {
                "`last_frame` needs `image`, the first frame."
            } else {
                "This model takes no `last_frame`."
            };
            return refuse("last_frame", message.into());
        }
        if request.reference_images.len() > self.references {
            return refuse("reference_images", format!("This model takes {} reference images.", self.references));
        }
        if !request.reference_images.is_empty() && has_image {
            return refuse("reference_images", "Send either `image` or `reference_images`.".into());
        }
        Ok(())
    }

    fn resolution(
        &self,
        request: &VideoRequest,
        pixels: Option<Pixels>,
        policy: OptionPolicy,
        warnings: &mut Vec<String>,
    ) -> Result<String, Error> {
        let asked = match (&request.resolution, pixels) {
            (Some(asked), _) => asked.to_ascii_lowercase(),
            // A size names pixels that hardly any model has exactly: the nearest resolution is meant.
            (None, Some(pixels)) => {
                let nearest = self.resolutions.iter().min_by_key(|r| lines(r).abs_diff(pixels.short()));
                return Ok(nearest.copied().unwrap_or(self.default_resolution).to_owned());
            }
            (None, None) => return Ok(self.default_resolution.to_owned()),
        };
        if self.resolutions.contains(&asked.as_str()) {
            return Ok(asked);
        }
        let next = self.resolutions.iter().find(|r| lines(&asked) > 0 && lines(r) >= lines(&asked));
        match (policy, next) {
            (OptionPolicy::Nearest, Some(next)) => {
                warnings.push(format!("`resolution` {asked} became {next}."));
                Ok((*next).to_owned())
            }
            _ => Err(unavailable("resolution", &asked, self.resolutions)),
        }
    }

    fn duration(
        &self,
        request: &VideoRequest,
        resolution: &str,
        policy: OptionPolicy,
        warnings: &mut Vec<String>,
    ) -> Result<u64, Error> {
        let allowed = self.limited.iter().find(|(of, _)| *of == resolution).map_or(self.durations, |(_, few)| few);
        let Some(asked) = request.duration else {
            let fits = allowed.contains(&self.default_duration);
            return Ok(if fits {
                self.default_duration
            } else {
                allowed.first().copied().unwrap_or(self.default_duration)
            });
        };
        if allowed.contains(&asked) {
            return Ok(asked);
        }
        match (policy, allowed.iter().find(|has| **has >= asked)) {
            (OptionPolicy::Nearest, Some(next)) => {
                warnings.push(format!("`duration` {asked} became {next}."));
                Ok(*next)
            }
            _ => {
                let shown: Vec<_> = allowed.iter().map(ToString::to_string).collect();
                let shown: Vec<_> = shown.iter().map(String::as_str).collect();
                Err(unavailable("duration", &asked.to_string(), &shown))
            }
        }
    }

    /// With a picture the frame follows that, and no ratio is sent.
    fn ratio(
        &self,
        request: &VideoRequest,
        pixels: Option<Pixels>,
        policy: OptionPolicy,
        warnings: &mut Vec<String>,
    ) -> Result<Option<String>, Error> {
        let nearest = |wanted: f64| {
            let far = |ratio: &str| Pixels::ratio(ratio).map_or(f64::MAX, |r| (r.shape() / wanted).ln().abs());
            let near = self.ratios.iter().min_by(|a, b| far(a).total_cmp(&far(b)));
            near.map(|ratio| (*ratio).to_owned())
        };
        if request.image.is_some() {
            if request.aspect_ratio.is_some() {
                warnings.push("`aspect_ratio` was ignored: the video follows its first frame.".to_owned());
            }
            return Ok(None);
        }
        let Some(asked) = &request.aspect_ratio else {
            return Ok(match pixels {
                Some(pixels) => nearest(pixels.shape()),
                None => self.ratios.first().map(|ratio| (*ratio).to_owned()),
            });
        };
        if self.ratios.contains(&asked.as_str()) {
            return Ok(Some(asked.clone()));
        }
        match (policy, Pixels::ratio(asked)) {
            (OptionPolicy::Nearest, Some(wanted)) => {
                let found = nearest(wanted.shape());
                warnings
                    .push(format!("`aspect_ratio` {asked} became {}.", found.as_deref().unwrap_or("the model's own")));
                Ok(found)
            }
            _ => Err(unavailable("aspect_ratio", asked, self.ratios)),
        }
    }
}

fn unavailable(field: &'static str, asked: &str, has: &[&str]) -> Error {
    let mut message = format!("This model has no `{field}` {}: use ", plain(asked));
    for (index, value) in has.iter().enumerate() {
        let join = match index {
            0 => "",
            _ if index + 1 == has.len() => " or ",
            _ => ", ",
        };
        // Writing to a string cannot fail.
        let _ = write!(message, "{join}{value}");
    }
    message.push('.');
    Error::new(Code::InvalidParameter, message).param(field)
}

/// What a caller wrote, as a message may show it.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

/// The lines of a resolution: `720p` has 720, `2k` 1440, `4k` 2160. 0 where it is none.
pub fn lines(resolution: &str) -> u64 {
    match resolution {
        "2k" => 1_440,
        "4k" => 2_160,
        other => other.strip_suffix('p').and_then(|n| n.parse().ok()).unwrap_or(0),
    }
}

/// A width and a height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pixels(u64, u64);

impl Pixels {
    fn parse(size: &str) -> Result<Self, Error> {
        Self::split(size, 'x').ok_or_else(|| {
            let message = "The field `size` must be width x height in pixels, such as \"1280x720\".";
            Error::new(Code::InvalidParameter, message).param("size")
        })
    }

    fn ratio(ratio: &str) -> Option<Self> {
        Self::split(ratio, ':')
    }

    fn split(text: &str, by: char) -> Option<Self> {
        let (wide, high) = text.split_once(by)?;
        let side = |text: &str| text.parse::<u64>().ok().filter(|n| (1..=16_384).contains(n));
        Some(Self(side(wide)?, side(high)?))
    }

    fn short(self) -> u64 {
        self.0.min(self.1)
    }

    #[allow(clippy::cast_precision_loss, reason = "sides are at most 16,384")]
    fn shape(self) -> f64 {
        self.0 as f64 / self.1 as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Abilities = Abilities {
        durations: &[4, 6, 10],
        default_duration: 6,
        ratios: &["16:9", "9:16", "1:1"],
        resolutions: &["720p", "1080p"],
        limited: &[("1080p", &[4, 6])],
        ..Abilities::NONE
    };

    fn ask(json: serde_json::Value) -> VideoRequest {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_the_model_has_not_is_refused_with_what_it_has() {
        let refused = |json| {
            let error = ROW.settle(&ask(json), OptionPolicy::Strict).unwrap_err();
            (error.param_name().map(str::to_owned), error.message().to_owned())
        };
        assert_eq!(
            refused(serde_json::json!({"prompt": "p", "duration": 7})),
            (Some("duration".into()), "This model has no `duration` 7: use 4, 6 or 10.".into())
        );
        let (_, message) = refused(serde_json::json!({"prompt": "p", "duration": 10, "resolution": "1080p"}));
        assert!(message.ends_with("use 4 or 6."), "{message}");
        assert_eq!(
            refused(serde_json::json!({"prompt": "p", "aspect_ratio": "2:1"})).0.as_deref(),
            Some("aspect_ratio")
        );
        assert_eq!(refused(serde_json::json!({"prompt": " "})).0.as_deref(), Some("prompt"));
        assert_eq!(
            refused(serde_json::json!({"prompt": "p", "last_frame": "https://x/y"})).0.as_deref(),
            Some("last_frame")
        );
    }

    #[test]
    fn by_the_nearest_policy_the_next_value_up_is_taken_and_told() {
        let asked =
            ask(serde_json::json!({"prompt": "p", "duration": 7, "aspect_ratio": "21:9", "resolution": "480p"}));
        let (order, warnings) = ROW.settle(&asked, OptionPolicy::Nearest).unwrap();
        assert_eq!(
            (order.duration, order.aspect_ratio.as_deref(), order.resolution.as_str()),
            (10, Some("16:9"), "720p")
        );
        assert_eq!(warnings.len(), 3);
    }

    #[test]
    fn a_size_stands_for_a_ratio_and_a_resolution() {
        let (order, _) = ROW
            .settle(&ask(serde_json::json!({"prompt": "p", "seconds": "4", "size": "1024x1792"})), OptionPolicy::Strict)
            .unwrap();
        assert_eq!(
            (order.duration, order.aspect_ratio.as_deref(), order.resolution.as_str()),
            (4, Some("9:16"), "1080p")
        );
    }

    #[test]
    fn soft_options_are_dropped_and_told() {
        let (order, warnings) =
            ROW.settle(&ask(serde_json::json!({"prompt": "p", "seed": 1, "fps": 30})), OptionPolicy::Strict).unwrap();
        assert_eq!(order.seed, None);
        assert_eq!(warnings.len(), 2);
    }
}

//! What a video request asks for, and what is ordered by it.

use serde::{Deserialize, Serialize};

use crate::base::error::{Code, Error};

use super::price::Options;

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
    pub n: Option<u64>,
    /// Who asks, in the caller's own terms.
    pub user: Option<String>,
    pub webhook_url: Option<String>,
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
    /// Names of fields that no video request has.
    #[serde(skip)]
    pub unknown: Vec<String>,
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
    /// As the caller asked for it.
    pub size: Option<String>,
    pub seed: Option<i64>,
    /// Whether it will have sound, where the model has any.
    #[serde(default)]
    pub audio: Option<bool>,
    /// The vendor's own name of the resolution, where it bills by that.
    #[serde(default)]
    pub mode: Option<String>,
    /// The most output tokens that it comes to, where the vendor bills by tokens.
    #[serde(default)]
    pub tokens: u64,
}

impl Order {
    /// Width and height as OpenAI writes them: as asked for, else what ratio and resolution come to; where the ratio is a
    /// picture's, the resolution alone.
    pub fn pixels(&self) -> String {
        let (short, ratio) = (lines(&self.resolution), self.aspect_ratio.as_deref().and_then(Pixels::ratio));
        match (&self.size, ratio) {
            (Some(size), _) => size.clone(),
            (None, Some(Pixels(wide, high))) if short > 0 => {
                // Encoders want even sides.
                let long = |more: u64, less: u64| (short * more / less).next_multiple_of(2);
                match wide >= high {
                    true => format!("{}x{short}", long(wide, high)),
                    false => format!("{short}x{}", long(high, wide)),
                }
            }
            _ => self.resolution.clone(),
        }
    }

    /// What of the order decides on its price: what was ordered, and not what else a request may have said.
    pub fn price_options(&self) -> Options {
        Options {
            resolution: Some(self.resolution.clone()),
            audio: self.audio,
            mode: self.mode.clone(),
            size: self.size.clone(),
            quality: None,
        }
    }
}

/// The lines of a resolution: `720p` has 720, `2k` 1440, `4k` 2160. 0 where it is none.
pub fn lines(resolution: &str) -> u64 {
    match resolution {
        "2k" => 1_440,
        "4k" => 2_160,
        other => other.strip_suffix('p').and_then(|n| n.parse().ok()).unwrap_or(0),
    }
}

/// `16384x16384`.
const LONGEST_SIZE: usize = 11;

/// A width and a height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pixels(u64, u64);

impl Pixels {
    pub(super) fn parse(size: &str) -> Result<Self, Error> {
        Some(size).filter(|size| size.len() <= LONGEST_SIZE).and_then(|size| Self::split(size, 'x')).ok_or_else(|| {
            let message = "The field `size` must be width x height in pixels, such as \"1280x720\".";
            Error::new(Code::InvalidParameter, message).param("size")
        })
    }

    pub(super) fn ratio(ratio: &str) -> Option<Self> {
        Self::split(ratio, ':')
    }

    fn split(text: &str, by: char) -> Option<Self> {
        let (wide, high) = text.split_once(by)?;
        let side = |text: &str| text.parse::<u64>().ok().filter(|n| (1..=16_384).contains(n));
        Some(Self(side(wide)?, side(high)?))
    }

    pub(super) fn short(self) -> u64 {
        self.0.min(self.1)
    }

    #[allow(clippy::cast_precision_loss, reason = "sides are at most 16,384")]
    pub(super) fn shape(self) -> f64 {
        self.0 as f64 / self.1 as f64
    }
}

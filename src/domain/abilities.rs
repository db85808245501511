//! What a model has of video: a row of its vendor's table.

use crate::base::error::Error;

use super::model::OptionPolicy;
use super::settling;
use super::video::{Order, Pixels, VideoRequest, lines};

/// Whether a model's videos have sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sound {
    /// Never.
    Silent,
    /// Always.
    BuiltIn,
    /// As asked; this where nothing is said.
    Switched(bool),
}

/// What a model can do with video: a row of its vendor's table.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the columns of the table")]
pub struct Abilities {
    /// Seconds, ascending.
    pub durations: &'static [u64],
    pub default_duration: u64,
    /// The first is the default.
    pub ratios: &'static [&'static str],
    /// Whether a ratio may be asked for beside a picture; else the video follows that.
    pub ratio_with_image: bool,
    /// Ascending.
    pub resolutions: &'static [&'static str],
    pub default_resolution: &'static str,
    /// What must not come together: (resolution, the durations that it has).
    pub limited: &'static [(&'static str, &'static [u64])],
    /// The durations that it has with a last frame or with reference images; empty = all.
    pub guided: &'static [u64],
    /// Of the resolutions, those that need a picture.
    pub animated: &'static [&'static str],
    /// The resolution that a last frame needs.
    pub last_frame_at: Option<&'static str>,
    /// The resolution that sound needs.
    pub sound_at: Option<&'static str>,
    /// The vendor's own name of a resolution, by which it bills.
    pub modes: &'static [(&'static str, &'static str)],
    /// Billed by tokens of 1,024 pixels: the most pixels that a frame of a resolution has. A second is 24 frames.
    pub pixels: &'static [(&'static str, u64)],
    pub needs_image: bool,
    pub text_only: bool,
    pub last_frame: bool,
    pub references: usize,
    pub seed: bool,
    pub negative_prompt: bool,
    pub sound: Sound,
    pub watermark: bool,
    /// The longest prompt, in characters.
    pub max_prompt: usize,
}

/// What of a request decides how long, how large and how dear the video becomes.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs, reason = "the fields of the request")]
pub struct Asked<'a> {
    pub duration: Option<u64>,
    pub resolution: Option<&'a str>,
    pub size: Option<&'a str>,
    pub audio: Option<bool>,
}

impl Abilities {
    /// A model with nothing but a prompt of 2,000 characters; rows are written from it.
    pub const NONE: Self = Self {
        durations: &[],
        default_duration: 5,
        ratios: &["16:9"],
        ratio_with_image: false,
        resolutions: &["720p"],
        default_resolution: "720p",
        limited: &[],
        guided: &[],
        animated: &[],
        last_frame_at: None,
        sound_at: None,
        modes: &[],
        pixels: &[],
        needs_image: false,
        text_only: false,
        last_frame: false,
        references: 0,
        seed: false,
        negative_prompt: false,
        sound: Sound::Silent,
        watermark: false,
        max_prompt: 2_000,
    };

    /// Settles `request` against this row. Hard options that the model has not are refused with what it has (or moved to
    /// the next it has, by policy); soft ones become warnings.
    pub fn settle(&self, request: &VideoRequest, policy: OptionPolicy) -> Result<(Order, Vec<String>), Error> {
        settling::settle(self, request, policy)
    }

    /// Every order that [`settle`](Self::settle) may make of a request that asks for this, whatever else it says: what
    /// a hold has to reckon with.
    pub fn may_become(&self, asked: Asked<'_>, policy: OptionPolicy) -> Vec<Order> {
        let lower = asked.resolution.map(str::to_ascii_lowercase);
        let pixels = asked.size.and_then(|size| Pixels::parse(size).ok());
        let wanted = match (&lower, pixels) {
            (Some(lower), _) if self.resolutions.contains(&lower.as_str()) => lower.clone(),
            (Some(lower), _) => self.next_resolution(lower).unwrap_or(self.default_resolution).to_owned(),
            (None, Some(pixels)) => self.nearest_resolution(pixels).to_owned(),
            (None, None) => self.default_resolution.to_owned(),
        };
        let audio = self.sound.heard(asked.audio);
        let raised = [self.last_frame_at, self.sound_at.filter(|_| audio == Some(true))];
        // Who names a resolution gets that one, or a refusal.
        let is_fixed = asked.resolution.is_some() && policy == OptionPolicy::Strict;
        let raised = raised.into_iter().flatten().filter(|_| !is_fixed);
        let resolutions = raised.map(str::to_owned).chain([wanted]);
        let durations = |resolution: &str| {
            let lists = [self.limits(resolution, false), self.limits(resolution, true)];
            let settled = lists.map(|list| match (asked.duration, policy) {
                (Some(asked), OptionPolicy::Nearest) => list.iter().copied().find(|has| *has >= asked).unwrap_or(asked),
                (Some(asked), OptionPolicy::Strict) => asked,
                (None, _) => self.usual(&list),
            });
            settled.into_iter().max().unwrap_or_default()
        };
        let size = asked.size.map(str::to_owned);
        let order = |resolution: String| self.order(durations(&resolution), resolution, audio);
        resolutions.map(|resolution| Order { size: size.clone(), ..order(resolution) }).collect()
    }

    pub(super) fn order(&self, duration: u64, resolution: String, audio: Option<bool>) -> Order {
        let of = |table: &'static [(&'static str, &'static str)]| {
            table.iter().find(|(of, _)| *of == resolution).map(|(_, name)| (*name).to_owned())
        };
        let frame = self.pixels.iter().find(|(of, _)| *of == resolution).map_or(0, |(_, pixels)| *pixels);
        let tokens = frame.saturating_mul(duration.saturating_mul(24).saturating_add(1)).div_ceil(1_024);
        Order { duration, mode: of(self.modes), tokens, resolution, audio, ..Order::default() }
    }

    /// The durations that there are at `resolution`; `guided`: with a last frame or reference images.
    pub(super) fn limits(&self, resolution: &str, guided: bool) -> Vec<u64> {
        let of_resolution =
            self.limited.iter().find(|(of, _)| *of == resolution).map_or(self.durations, |(_, few)| few);
        let fits = |seconds: &u64| !guided || self.guided.is_empty() || self.guided.contains(seconds);
        of_resolution.iter().copied().filter(fits).collect()
    }

    /// What a request without a duration gets.
    pub(super) fn usual(&self, allowed: &[u64]) -> u64 {
        match allowed.contains(&self.default_duration) {
            true => self.default_duration,
            false => allowed.first().copied().unwrap_or(self.default_duration),
        }
    }

    pub(super) fn next_resolution(&self, asked: &str) -> Option<&'static str> {
        self.resolutions.iter().find(|r| lines(asked) > 0 && lines(r) >= lines(asked)).copied()
    }

    /// A size names pixels that hardly any model has exactly: the nearest resolution is meant.
    pub(super) fn nearest_resolution(&self, pixels: Pixels) -> &'static str {
        let nearest = self.resolutions.iter().min_by_key(|r| lines(r).abs_diff(pixels.short()));
        nearest.copied().unwrap_or(self.default_resolution)
    }
}

impl Sound {
    pub(super) fn heard(self, asked: Option<bool>) -> Option<bool> {
        match self {
            Self::Silent => None,
            Self::BuiltIn => Some(true),
            Self::Switched(usual) => Some(asked.unwrap_or(usual)),
        }
    }
}

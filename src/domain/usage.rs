//! What a request used, in the units that vendors bill by.

use serde::{Deserialize, Serialize};

/// Units used, as the vendor reports them.
///
/// Token counts nest: `input_tokens` includes cached, cache-write, image and audio input; `output_tokens` includes
/// reasoning, image and audio output. Seconds are whole, rounded up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the units of CONTRACT section 6; parts are documented on the type")]
pub struct Usage {
    pub input_tokens: u64,
    pub cached_input_tokens: u64,
    pub cache_write_tokens: u64,
    pub output_tokens: u64,
    pub reasoning_tokens: u64,
    pub images: u64,
    pub video_seconds: u64,
    pub audio_seconds: u64,
    pub characters: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub image_input_tokens: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub image_output_tokens: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub audio_input_tokens: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub audio_output_tokens: u64,
    /// Whole videos, for models billed by the piece.
    #[serde(skip_serializing_if = "is_zero")]
    pub videos: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Usage {
    /// Nothing used.
    pub const NONE: Self = Self {
        input_tokens: 0,
        cached_input_tokens: 0,
        cache_write_tokens: 0,
        output_tokens: 0,
        reasoning_tokens: 0,
        images: 0,
        video_seconds: 0,
        audio_seconds: 0,
        characters: 0,
        image_input_tokens: 0,
        image_output_tokens: 0,
        audio_input_tokens: 0,
        audio_output_tokens: 0,
        videos: 0,
    };

    /// Whether one request can have used this: a billion of a unit is more than any vendor serves at once. What is
    /// more is a vendor's mistake, and would spend a limit for good.
    pub fn is_plausible(&self) -> bool {
        const MOST: u64 = 1_000_000_000;
        let most = Self::NONE.zip(self, |_, _| MOST);
        self.min(&most) == *self
    }

    /// The sum, unit by unit; saturates.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    /// The larger of each unit.
    #[must_use]
    pub fn max(&self, other: &Self) -> Self {
        self.zip(other, u64::max)
    }

    /// The smaller of each unit.
    #[must_use]
    pub fn min(&self, other: &Self) -> Self {
        self.zip(other, u64::min)
    }

    fn zip(&self, other: &Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            input_tokens: f(self.input_tokens, other.input_tokens),
            cached_input_tokens: f(self.cached_input_tokens, other.cached_input_tokens),
            cache_write_tokens: f(self.cache_write_tokens, other.cache_write_tokens),
            output_tokens: f(self.output_tokens, other.output_tokens),
            reasoning_tokens: f(self.reasoning_tokens, other.reasoning_tokens),
            images: f(self.images, other.images),
            video_seconds: f(self.video_seconds, other.video_seconds),
            audio_seconds: f(self.audio_seconds, other.audio_seconds),
            characters: f(self.characters, other.characters),
            image_input_tokens: f(self.image_input_tokens, other.image_input_tokens),
            image_output_tokens: f(self.image_output_tokens, other.image_output_tokens),
            audio_input_tokens: f(self.audio_input_tokens, other.audio_input_tokens),
            audio_output_tokens: f(self.audio_output_tokens, other.audio_output_tokens),
            videos: f(self.videos, other.videos),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendors_slip_by_powers_of_ten_is_not_plausible() {
        assert!(Usage { input_tokens: 2_000_000, output_tokens: 400_000, ..Usage::NONE }.is_plausible());
        assert!(!Usage { output_tokens: 10_u64.pow(18), ..Usage::NONE }.is_plausible());
    }
}

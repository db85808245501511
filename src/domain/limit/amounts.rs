//! So much of each measure.

use serde::{Deserialize, Serialize};

use crate::base::money::Money;
use crate::domain::usage::Usage;

use super::Measure;

/// Amounts by measure: what a request holds, or what it used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the measures")]
pub struct Amounts {
    pub requests: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub spend: Money,
    pub images: u64,
    pub video_seconds: u64,
    pub audio_seconds: u64,
    pub characters: u64,
}

impl Amounts {
    /// One request and nothing else.
    pub const ONE_REQUEST: Self = Self {
        requests: 1,
        input_tokens: 0,
        output_tokens: 0,
        spend: Money::ZERO,
        images: 0,
        video_seconds: 0,
        audio_seconds: 0,
        characters: 0,
    };

    /// One request that used `usage` and cost `spend`.
    pub fn of_request(usage: &Usage, spend: Money) -> Self {
        Self {
            requests: 1,
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            spend,
            images: usage.images,
            video_seconds: usage.video_seconds,
            audio_seconds: usage.audio_seconds,
            characters: usage.characters,
        }
    }

    /// The amount in the unit of `measure`. Concurrency is one lease for each request.
    pub fn of(&self, measure: Measure) -> u64 {
        match measure {
            Measure::Requests | Measure::Concurrency => self.requests,
            Measure::Tokens => self.input_tokens.saturating_add(self.output_tokens),
            Measure::InputTokens => self.input_tokens,
            Measure::OutputTokens => self.output_tokens,
            Measure::Spend => self.spend.as_nanos(),
            Measure::Images => self.images,
            Measure::VideoSeconds => self.video_seconds,
            Measure::AudioSeconds => self.audio_seconds,
            Measure::Characters => self.characters,
        }
    }

    /// The sum, measure by measure; saturates.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            spend: self.spend.plus(other.spend),
            images: self.images.saturating_add(other.images),
            video_seconds: self.video_seconds.saturating_add(other.video_seconds),
            audio_seconds: self.audio_seconds.saturating_add(other.audio_seconds),
            characters: self.characters.saturating_add(other.characters),
        }
    }
}

//! What a limit counts.

use serde::{Deserialize, Serialize};

use crate::base::money::Money;

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the words of CONTRACT section 2")]
pub enum Measure {
    Requests,
    Tokens,
    InputTokens,
    OutputTokens,
    /// Nano-dollars inside; decimal strings of US dollars outside.
    Spend,
    Images,
    VideoSeconds,
    AudioSeconds,
    Characters,
    Concurrency,
}

impl Measure {
    /// Every measure.
    pub const ALL: [Self; 10] = [
        Self::Requests,
        Self::Tokens,
        Self::InputTokens,
        Self::OutputTokens,
        Self::Spend,
        Self::Images,
        Self::VideoSeconds,
        Self::AudioSeconds,
        Self::Characters,
        Self::Concurrency,
    ];

    /// The word for it in configuration and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::Spend => "spend",
            Self::Images => "images",
            Self::VideoSeconds => "video_seconds",
            Self::AudioSeconds => "audio_seconds",
            Self::Characters => "characters",
            Self::Concurrency => "concurrency",
        }
    }

    /// Whether it counts tokens of some direction.
    pub const fn is_tokens(self) -> bool {
        matches!(self, Self::Tokens | Self::InputTokens | Self::OutputTokens)
    }

    /// `amount` of this measure as JSON: a decimal string for spend, else an integer.
    pub fn json(self, amount: u64) -> serde_json::Value {
        match self {
            Self::Spend => Money::from_nanos(amount).to_string().into(),
            _ => amount.into(),
        }
    }
}

//! What an answer is billed by: what it tells, beside what the request itself tells.

use serde_json::Value;

use crate::domain::endpoint::Endpoint;
use crate::domain::price::Price;
use crate::domain::usage::Usage;
use crate::http::call::{AudioLength, Call};
use crate::provider::traits::Target;
use crate::wire::lenient::Lenient;

use super::usage::{self, Reported};

/// A second of a recording is some ten tokens.
const TOKENS_A_SECOND: u64 = 10;

#[derive(Clone, Copy, Debug)]
pub(super) struct Billing {
    /// The units that the request tells: characters to speak, seconds to write down.
    asked: Usage,
    /// Whether `asked` is the truth, and no bound.
    is_exact: bool,
    /// Whether tokens are what has a price.
    by_token: bool,
    /// Whether tokens count. Where only other units have a price, tokens beside them must not make a model unpriced.
    counts_tokens: bool,
    /// Tokens beside those that can be counted on the way, where they are what is billed.
    estimate: Usage,
    /// Whether what goes out is output tokens.
    counts_output: bool,
    /// Whether there are two sides to bill.
    is_chat: bool,
}

impl Billing {
    pub(super) fn of(call: &Call, target: &Target) -> Self {
        let by_token = target.terms.price.prices_tokens();
        let counts_tokens = by_token || !matches!(target.terms.price, Price::Rates { .. });
        let facts = call.facts();
        let voice = |asked, estimate: Usage, is_exact: bool| Self {
            asked,
            is_exact,
            by_token,
            counts_tokens,
            estimate: if by_token { estimate } else { Usage::NONE },
            counts_output: by_token,
            is_chat: false,
        };
        match call.endpoint() {
            Endpoint::Speech => {
                let characters = facts.input_chars.unwrap_or(0);
                let tokens = Usage { input_tokens: characters.div_ceil(4), output_tokens: characters, ..Usage::NONE };
                Self { counts_output: false, ..voice(Usage { characters, ..Usage::NONE }, tokens, true) }
            }
            Endpoint::Transcriptions | Endpoint::Translations => {
                let seconds = facts.recording.map_or(0, AudioLength::seconds);
                let tokens = seconds.saturating_mul(TOKENS_A_SECOND);
                let tokens = Usage { input_tokens: tokens, audio_input_tokens: tokens, ..Usage::NONE };
                let is_exact = matches!(facts.recording, Some(AudioLength::Told(_)));
                voice(Usage { audio_seconds: seconds, ..Usage::NONE }, tokens, is_exact)
            }
            endpoint => {
                let is_chat = matches!(endpoint, Endpoint::ChatCompletions | Endpoint::Responses);
                Self {
                    asked: Usage::NONE,
                    is_exact: false,
                    by_token: true,
                    counts_tokens: true,
                    estimate: Usage::NONE,
                    counts_output: is_chat,
                    is_chat,
                }
            }
        }
    }

    /// What a `usage` object comes to; `None` where it is none.
    pub(super) fn told(&self, said: &Lenient<Reported>) -> Option<Usage> {
        self.reported(said.object()?)
    }

    /// The same of one that was read.
    pub(super) fn reported(&self, said: &Reported) -> Option<Usage> {
        match if self.is_chat { usage::reported_chat(said) } else { usage::reported(said) } {
            Some(tokens) if self.counts_tokens => Some(self.asked.plus(&tokens)),
            Some(_) => Some(self.asked),
            None => self.seconds(&said.seconds),
        }
    }

    /// What a recording that lasted so long comes to, where that is all that counts.
    pub(super) fn lasted(&self, seconds: &Value) -> Option<Usage> {
        self.seconds(seconds).filter(|_| !self.by_token)
    }

    fn seconds(&self, seconds: &Value) -> Option<Usage> {
        let seconds = seconds.as_f64().filter(|seconds| *seconds > 0.0 && self.asked.audio_seconds > 0)?;
        Some(Usage { audio_seconds: seconds.ceil() as u64, ..self.asked })
    }

    /// What an answer that tells nothing comes to, where that is known.
    pub(super) fn silent(&self) -> Option<Usage> {
        (self.is_exact && !self.by_token).then_some(self.asked)
    }

    /// What is taken to be used once so many output tokens have gone out, by our own count.
    pub(super) fn delivered(&self, output_tokens: u64) -> Usage {
        let counted = if self.counts_output { output_tokens } else { 0 };
        self.asked.plus(&self.estimate).plus(&Usage { output_tokens: counted, ..Usage::NONE })
    }
}

//! The vendor's answers as they come: messages, the events of a stream, usage.
//!
//! All of them grow over time, so unknown fields, events and blocks are skipped; a known one that cannot be read is an
//! error, as leaving it out would falsify the answer.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::base::error::{Code, Error};
use crate::domain::usage::Usage;
use crate::wire::openai_chat::FinishReason;
use crate::wire::text::Text;

/// A message, whole or at its start.
#[derive(Debug, Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<Text<'a>>,
    #[serde(default)]
    pub(super) content: Option<Vec<&'a RawValue>>,
    pub(super) stop_reason: Option<Text<'a>>,
    pub(super) stop_details: Option<StopDetails<'a>>,
    pub(super) usage: Option<Reported>,
    /// An error under status 200, as some gateways before the vendor send it.
    pub(super) error: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct StopDetails<'a> {
    #[serde(borrow)]
    pub(super) explanation: Option<Text<'a>>,
}

/// An event of a stream.
#[derive(Debug, Deserialize)]
pub(super) struct Event<'a> {
    #[serde(borrow, rename = "type", default)]
    pub(super) kind: Text<'a>,
    #[serde(default)]
    pub(super) index: u64,
    pub(super) message: Option<Message<'a>>,
    pub(super) content_block: Option<Block<'a>>,
    pub(super) delta: Option<Delta<'a>>,
    pub(super) usage: Option<Reported>,
}

/// A block of content, whole or at its start.
#[derive(Debug, Deserialize)]
pub(super) struct Block<'a> {
    #[serde(borrow, rename = "type", default)]
    pub(super) kind: Text<'a>,
    pub(super) text: Option<Text<'a>>,
    pub(super) thinking: Option<Text<'a>>,
    pub(super) data: Option<Text<'a>>,
    pub(super) id: Option<Text<'a>>,
    pub(super) name: Option<Text<'a>>,
    pub(super) input: Option<&'a RawValue>,
}

/// A step of a block, or of the message itself.
#[derive(Debug, Deserialize)]
pub(super) struct Delta<'a> {
    #[serde(borrow, rename = "type", default)]
    pub(super) kind: Text<'a>,
    pub(super) text: Option<Text<'a>>,
    pub(super) partial_json: Option<Text<'a>>,
    pub(super) thinking: Option<Text<'a>>,
    pub(super) signature: Option<Text<'a>>,
    pub(super) stop_reason: Option<Text<'a>>,
    pub(super) stop_details: Option<StopDetails<'a>>,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
}

impl<'a> Event<'a> {
    /// Reads an event; `None` for one that is skipped.
    pub(super) fn read(data: &'a [u8]) -> Result<Option<Self>, Error> {
        const KNOWN: &[&str] = &[
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
            "error",
        ];
        read(data, KNOWN)
    }
}

impl<'a> Block<'a> {
    /// Reads a block of a whole message; `None` for one that is skipped.
    pub(super) fn read(raw: &'a RawValue) -> Result<Option<Self>, Error> {
        read(raw.get().as_bytes(), &["text", "thinking", "redacted_thinking", "tool_use"])
    }
}

fn read<'a, T: Deserialize<'a>>(data: &'a [u8], known: &[&str]) -> Result<Option<T>, Error> {
    serde_json::from_slice(data).map(Some).or_else(|error| match serde_json::from_slice::<Kind<'a>>(data) {
        Ok(Kind { kind }) if !kind.as_deref().is_some_and(|kind| known.contains(&kind)) => Ok(None),
        _ => Err(unreadable(&error.to_string())),
    })
}

/// What the vendor sent is not what it says it sends.
pub(super) fn unreadable(why: &str) -> Error {
    Error::provider(Code::ProviderError, "The model's vendor gave an answer that cannot be read.").cause(why)
}

/// A report of usage: counts that are there replace earlier ones, as each is the sum so far.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Reported {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

impl Reported {
    /// The later report upon this one.
    pub(super) fn update(&mut self, later: Self) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.cache_creation_input_tokens = later.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens = later.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
        self.output_tokens_details = later.output_tokens_details.or(self.output_tokens_details);
    }

    /// In our units; `None` where the vendor did not tell both sides.
    pub(super) fn known(&self) -> Option<Usage> {
        (self.input_tokens.is_some() && self.output_tokens.is_some()).then(|| self.usage())
    }

    /// In our units: the vendor counts cached tokens beside the input and thinking within the output.
    pub(super) fn usage(&self) -> Usage {
        let cached = self.cache_read_input_tokens.unwrap_or(0);
        let written = self.cache_creation_input_tokens.unwrap_or(0);
        let output = self.output_tokens.unwrap_or(0);
        let thinking = self.output_tokens_details.and_then(|d| d.thinking_tokens).unwrap_or(0);
        Usage {
            input_tokens: self.input_tokens.unwrap_or(0).saturating_add(cached).saturating_add(written),
            cached_input_tokens: cached,
            cache_write_tokens: written,
            output_tokens: output,
            reasoning_tokens: thinking.min(output),
            ..Usage::NONE
        }
    }
}

/// OpenAI's word for a stop reason.
pub(super) fn finish_reason(stop: &str) -> FinishReason {
    match stop {
        "max_tokens" | "model_context_window_exceeded" | "pause_turn" | "compaction" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::ContentFilter,
        // `end_turn`, `stop_sequence`, and whatever comes to be.
        _ => FinishReason::Stop,
    }
}

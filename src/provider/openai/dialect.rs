//! What sets the OpenAI-shaped vendors apart: one row a vendor.

use crate::domain::endpoint::Endpoint;

/// A vendor that speaks OpenAI's wire format in a way of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI itself.
    OpenAi,
    /// Any server of the same shape: nothing of a request is left out or renamed.
    Compatible,
    /// Alibaba's DashScope (Qwen) in compatible mode.
    DashScope,
    /// Moonshot (Kimi).
    Moonshot,
    /// Volcengine Ark (Doubao).
    Ark,
}

/// How a number that the vendor would refuse is mended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clamp {
    pub(super) field: &'static str,
    pub(super) accepts: fn(f64) -> bool,
    /// The nearest value that is accepted, as JSON.
    pub(super) nearest: &'static str,
}

/// OpenAI's own fields that no other vendor has.
const FOREIGN: &[&str] = &[
    "store",
    "metadata",
    "user",
    "service_tier",
    "prediction",
    "web_search_options",
    "verbosity",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "moderation",
];

/// What Moonshot refuses or ignores beside those.
const MOONSHOT_LACKS: &[&str] = &[
    "modalities",
    "audio",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "seed",
    "parallel_tool_calls",
    "functions",
    "function_call",
];

/// What of DashScope's models the Qwen-Omni alone have.
const SOUND: &[&str] = &["modalities", "audio"];

/// Ark has a `service_tier` of its own.
const ARK_LACKS: &[&str] = &[
    "store",
    "metadata",
    "user",
    "prediction",
    "modalities",
    "web_search_options",
    "verbosity",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "audio",
    "moderation",
    "seed",
];

/// Kimi models whose sampling is fixed refuse any other value than their own.
const FIXED_SAMPLING: &[&str] = &["temperature", "top_p", "presence_penalty", "frequency_penalty"];

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 5] = [Self::OpenAi, Self::Compatible, Self::DashScope, Self::Moonshot, Self::Ark];

    /// The kind's name in configuration.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Compatible => "openai-compatible",
            Self::DashScope => "dashscope",
            Self::Moonshot => "moonshot",
            Self::Ark => "ark",
        }
    }

    /// The vendor's path for a route; `None` where this codec does not serve it.
    pub(super) const fn path(self, endpoint: Endpoint) -> Option<&'static str> {
        match (endpoint, self) {
            (Endpoint::ChatCompletions, _) => Some("/chat/completions"),
            (Endpoint::Embeddings, Self::Moonshot) => None,
            (Endpoint::Embeddings, _) => Some("/embeddings"),
            // Ark edits and makes pictures by one route.
            (Endpoint::ImageGenerations, Self::OpenAi | Self::Compatible | Self::Ark)
            | (Endpoint::ImageEdits, Self::Ark) => Some("/images/generations"),
            (Endpoint::ImageEdits, Self::OpenAi | Self::Compatible) => Some("/images/edits"),
            (Endpoint::Responses, Self::OpenAi | Self::Compatible) => Some("/responses"),
            (Endpoint::Speech, Self::OpenAi | Self::Compatible) => Some("/audio/speech"),
            (Endpoint::Transcriptions, Self::OpenAi | Self::Compatible) => Some("/audio/transcriptions"),
            (Endpoint::Translations, Self::OpenAi | Self::Compatible) => Some("/audio/translations"),
            _ => None,
        }
    }

    /// Whether chat requests need a look at more than the facts.
    pub(super) const fn has_quirks(self) -> bool {
        !matches!(self, Self::OpenAi | Self::Compatible)
    }

    /// Whether `max_completion_tokens` has to be called `max_tokens`.
    pub(super) const fn renames_bound(self) -> bool {
        matches!(self, Self::DashScope | Self::Moonshot)
    }

    /// The field for an output bound that the caller did not name. Only the oldest one is known to every compatible server.
    pub(super) const fn bound_field(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Ark => "max_completion_tokens",
            Self::Compatible | Self::DashScope | Self::Moonshot => "max_tokens",
        }
    }

    /// Whether the vendor's own default bound is too small to leave an answer whole.
    pub(super) const fn needs_bound(self) -> bool {
        matches!(self, Self::Moonshot)
    }

    /// Whether the role `developer` is unknown and has to be `system`.
    pub(super) const fn lacks_developer(self) -> bool {
        self.has_quirks()
    }

    /// The top-level fields to leave out for this upstream model.
    pub(super) fn dropped(self, upstream: &str) -> impl Iterator<Item = &'static str> {
        let (vendors, models): (&[&[_]], &[_]) = match self {
            Self::OpenAi | Self::Compatible => (&[], &[]),
            Self::DashScope => (&[FOREIGN], if upstream.contains("omni") { &[] } else { SOUND }),
            Self::Moonshot => {
                (&[FOREIGN, MOONSHOT_LACKS], if has_fixed_sampling(upstream) { FIXED_SAMPLING } else { &[] })
            }
            Self::Ark => (&[ARK_LACKS], &[]),
        };
        vendors.iter().copied().flatten().chain(models).copied()
    }

    /// Whether this upstream model thinks unless it is told not to, and refuses to where it is not asked for a stream: the
    /// open Qwen3 models that can do both.
    pub(super) fn thinks_in_streams_alone(self, upstream: &str) -> bool {
        let of_one_mode = ["instruct", "thinking", "coder", "vl", "omni"];
        let size =
            upstream.strip_prefix("qwen3-").filter(|size| size.starts_with(|first: char| first.is_ascii_digit()));
        matches!(self, Self::DashScope) && size.is_some_and(|size| !of_one_mode.iter().any(|word| size.contains(word)))
    }

    /// Whether this upstream model may refuse a content that is a list: those that see and hear nothing.
    pub(super) fn reads_texts_alone(self, upstream: &str) -> bool {
        let sees_or_hears = ["vl", "omni", "vision", "qvq", "ocr", "audio", "asr"];
        let knows = match self {
            Self::DashScope => upstream.starts_with("qwen-") || upstream.starts_with("qwq"),
            Self::Moonshot => upstream.starts_with("moonshot-v1-") || upstream.starts_with("kimi-k2-"),
            Self::OpenAi | Self::Compatible | Self::Ark => false,
        };
        knows && !sees_or_hears.iter().any(|word| upstream.contains(word))
    }

    /// Whether this upstream model refuses tool calls that come back without its thoughts.
    pub(super) fn wants_thoughts_back(self, upstream: &str) -> bool {
        matches!(self, Self::Moonshot) && (has_fixed_sampling(upstream) || upstream.starts_with("kimi-k2-thinking"))
    }

    /// Whether this upstream model refuses a schema that says which dialect of JSON Schema it is written in.
    pub(super) fn knows_one_schema(self, upstream: &str) -> bool {
        matches!(self, Self::Moonshot) && has_fixed_sampling(upstream)
    }

    /// Numbers to mend.
    pub(super) const fn clamps(self) -> &'static [Clamp] {
        match self {
            Self::DashScope => &[
                Clamp { field: "temperature", accepts: |t| t < 2.0, nearest: "1.99" },
                Clamp { field: "top_p", accepts: |p| p > 0.0, nearest: "0.001" },
            ],
            Self::Moonshot => &[Clamp { field: "temperature", accepts: |t| t <= 1.0, nearest: "1" }],
            Self::OpenAi | Self::Compatible | Self::Ark => &[],
        }
    }

    /// Whether a 429 with this code or type, though it speaks of quota, is about tokens a minute, or a queue that is full.
    pub(super) fn means_rate(self, name: &str) -> bool {
        matches!((self, name), (Self::DashScope, "insufficientquota") | (Self::Ark, "quotaexceeded"))
    }

    /// Whether a stream's or answer's usage may stand inside a choice.
    pub(super) const fn nests_usage(self) -> bool {
        matches!(self, Self::Moonshot)
    }
}

/// Kimi from k2.5 on takes the one temperature that its mode has; the dated k2 models and moonshot-v1 take a range.
fn has_fixed_sampling(upstream: &str) -> bool {
    upstream.strip_prefix("kimi-k").is_some_and(|version| version != "2" && !version.starts_with("2-"))
}

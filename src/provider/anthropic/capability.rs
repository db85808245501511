//! What each family of models takes: data, in one place.
//!
//! A family is found by the longest prefix of the upstream id; an id that none fits is taken for a model newer than this
//! table, and is asked for nothing that a newer model might refuse.

/// What a family of models takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capability {
    /// The most output tokens of one answer; `None` where it is not known.
    pub(super) max_output: Option<u64>,
    /// The bound that is sent when nobody names one, and the answer is not streamed (streamed: [`Self::max_output`]).
    pub(super) default_output: u64,
    pub(super) sampling: Sampling,
    pub(super) thinking: Thinking,
    /// Whether a tool call can be forced.
    pub(super) forced_tools: bool,
    /// Whether the last message may be the assistant's, to be continued.
    pub(super) prefill: bool,
    /// Whether the answer can be held to a schema, and tools be strict.
    pub(super) schema: bool,
    /// The most images of one request.
    pub(super) max_images: usize,
}

/// Which of `temperature`, `top_p` and `top_k` are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sampling {
    All,
    /// `temperature` and `top_p` not both.
    NotBoth,
    None,
}

/// How thinking is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinking {
    None,
    /// With a budget of tokens.
    Budget,
    /// With an effort, out of these in ascending order.
    Adaptive {
        efforts: &'static [Effort],
        off: Off,
    },
}

/// How thinking is switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Off {
    Disabled,
    BetweenTools,
    /// It cannot be; the least effort stands in.
    Never,
}

/// Anthropic's efforts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Effort {
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

/// An image larger than this, in bytes, is refused by the vendor.
pub(super) const MAX_IMAGE_BYTES: usize = 5 * 1024 * 1024;

const TO_MAX: &[Effort] = &[Effort::Low, Effort::Medium, Effort::High, Effort::Max];
const ALL: &[Effort] = &[Effort::Low, Effort::Medium, Effort::High, Effort::XHigh, Effort::Max];

/// Claude 3: the first family, and what the later ones are told apart from.
const CLAUDE_3: Capability = Capability {
    max_output: Some(4_096),
    default_output: 4_096,
    sampling: Sampling::All,
    thinking: Thinking::None,
    forced_tools: true,
    prefill: true,
    schema: false,
    max_images: 100,
};
const CLAUDE_3_5: Capability = Capability { max_output: Some(8_192), ..CLAUDE_3 };
const BUDGET: Capability = Capability { max_output: Some(64_000), thinking: Thinking::Budget, ..CLAUDE_3 };
const OPUS_4: Capability = Capability { max_output: Some(32_000), ..BUDGET };
const OPUS_4_1: Capability = Capability { sampling: Sampling::NotBoth, schema: true, ..OPUS_4 };
const CLAUDE_4_5: Capability =
    Capability { sampling: Sampling::NotBoth, schema: true, default_output: 16_384, ..BUDGET };
const CLAUDE_4_6: Capability = Capability {
    max_output: Some(128_000),
    thinking: Thinking::Adaptive { efforts: TO_MAX, off: Off::Disabled },
    prefill: false,
    max_images: 600,
    ..CLAUDE_4_5
};
const CLAUDE_4_7: Capability = Capability {
    sampling: Sampling::None,
    thinking: Thinking::Adaptive { efforts: ALL, off: Off::Disabled },
    ..CLAUDE_4_6
};
const ALWAYS_ON: Capability =
    Capability { thinking: Thinking::Adaptive { efforts: ALL, off: Off::Never }, ..CLAUDE_4_7 };
const ALWAYS_ON_UNFORCED: Capability = Capability { forced_tools: false, ..ALWAYS_ON };
const SONNET_5_5: Capability = Capability {
    thinking: Thinking::Adaptive { efforts: ALL, off: Off::BetweenTools },
    forced_tools: false,
    ..CLAUDE_4_7
};

/// An id that no family fits.
const UNKNOWN: Capability = Capability { max_output: None, default_output: 8_192, prefill: true, ..CLAUDE_4_7 };

const FAMILIES: &[(&str, Capability)] = &[
    ("claude-3", CLAUDE_3),
    ("claude-3-5", CLAUDE_3_5),
    ("claude-3-7", BUDGET),
    ("claude-opus-4", OPUS_4),
    ("claude-opus-4-1", OPUS_4_1),
    ("claude-sonnet-4", BUDGET),
    ("claude-haiku-4-5", CLAUDE_4_5),
    ("claude-sonnet-4-5", CLAUDE_4_5),
    ("claude-opus-4-5", CLAUDE_4_5),
    ("claude-opus-4-6", CLAUDE_4_6),
    ("claude-sonnet-4-6", CLAUDE_4_6),
    ("claude-opus-4-7", CLAUDE_4_7),
    ("claude-opus-4-8", CLAUDE_4_7),
    ("claude-opus-5", CLAUDE_4_7),
    ("claude-opus-5-5", ALWAYS_ON_UNFORCED),
    ("claude-sonnet-5", CLAUDE_4_7),
    ("claude-sonnet-5-5", SONNET_5_5),
    ("claude-haiku-5-5", CLAUDE_4_7),
    ("claude-fable-5", ALWAYS_ON),
    ("claude-fable-5-1", ALWAYS_ON_UNFORCED),
    ("claude-fable-5-2", ALWAYS_ON_UNFORCED),
    ("claude-mythos-5", ALWAYS_ON),
    ("claude-mythos-5-1", ALWAYS_ON_UNFORCED),
    ("claude-mythos-5-2", ALWAYS_ON_UNFORCED),
];

impl Capability {
    /// That of the model with this upstream id.
    pub(super) fn of(upstream: &str) -> Self {
        let fits = |family: &str| {
            let rest = upstream.strip_prefix(family);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '@']))
        };
        let found = FAMILIES.iter().filter(|(family, _)| fits(family)).max_by_key(|(family, _)| family.len());
        found.map_or(UNKNOWN, |(_, capability)| *capability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_family_wins() {
        for (upstream, max_output, sampling) in [
            ("claude-3-opus-20240229", Some(4_096), Sampling::All),
            ("claude-3-5-sonnet-20241022", Some(8_192), Sampling::All),
            ("claude-opus-4-20250514", Some(32_000), Sampling::All),
            ("claude-opus-4-1-20250805", Some(32_000), Sampling::NotBoth),
            ("claude-sonnet-4-5@20250929", Some(64_000), Sampling::NotBoth),
            ("claude-opus-4-6", Some(128_000), Sampling::NotBoth),
            ("claude-opus-5-5-20260901", Some(128_000), Sampling::None),
            ("claude-opus-55", None, Sampling::None),
            ("glm-5", None, Sampling::None),
        ] {
            let found = Capability::of(upstream);
            assert_eq!((found.max_output, found.sampling), (max_output, sampling), "{upstream}");
        }
    }
}

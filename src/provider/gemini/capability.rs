//! What each family of Gemini models can do. The only place that knows one model from another.
//!
//! Google refuses what a model cannot do with a 400, and the line between "can" and "cannot" moves with every release. So
//! it is data: the first row whose prefix the upstream id has decides; [`OTHER`] is what is assumed of an id that no row
//! knows.

/// How a model's thinking is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinking {
    /// It does not think; to ask is a 400.
    Never,
    /// `thinkingBudget`, in tokens between `least` and `most`; `off` says whether 0 turns it off.
    Budget { least: u32, most: u32, off: bool },
    /// `thinkingLevel`, one of these, from little to much.
    Levels(&'static [Level]),
}

/// A thinking level, from little to much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Minimal,
    Low,
    Medium,
    High,
}

impl Level {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Minimal => "MINIMAL",
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
        }
    }
}

/// Which language a model reads schemas in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `parameters`, `responseSchema`: the subset of OpenAPI 3.0.
    OpenApi,
    /// `parametersJsonSchema`, `responseJsonSchema`: a subset of JSON Schema.
    JsonSchema,
}

/// One family's row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capability {
    prefix: &'static str,
    pub(super) thinking: Thinking,
    pub(super) dialect: Dialect,
    /// The output ceiling in tokens, where the model's terms name none.
    pub(super) max_output: Option<u64>,
    /// The most that `candidateCount` may say.
    pub(super) candidates: u64,
    /// temperature, top_p, top_k are heeded.
    pub(super) sampling: bool,
    /// presence_penalty, frequency_penalty are taken.
    pub(super) penalties: bool,
    pub(super) logprobs: bool,
    /// There is a system instruction.
    pub(super) system: bool,
    /// JSON output and function declarations may be asked for together.
    pub(super) json_with_tools: bool,
    /// Calls have ids, and a call that is sent back must bear its thought signature.
    pub(super) signed_calls: bool,
    /// Calls can be held to their schemas while the model stays free to make none.
    pub(super) validates_calls: bool,
}

use Level::{High, Low, Medium, Minimal};

/// What is assumed of a model that no row knows: nothing that an older model would refuse.
const OTHER: Capability = Capability {
    prefix: "",
    thinking: Thinking::Never,
    dialect: Dialect::JsonSchema,
    max_output: None,
    candidates: 1,
    sampling: true,
    penalties: false,
    logprobs: false,
    system: true,
    json_with_tools: true,
    signed_calls: false,
    validates_calls: false,
};

const GEMINI_2: Capability = Capability { max_output: Some(65_536), candidates: 8, json_with_tools: false, ..OTHER };

const GEMINI_3: Capability = Capability {
    thinking: Thinking::Levels(&[Minimal, Low, Medium, High]),
    max_output: Some(65_536),
    signed_calls: true,
    validates_calls: true,
    ..OTHER
};

const UP_FROM_LOW: Thinking = Thinking::Levels(&[Low, Medium, High]);

/// Longer prefixes stand before the shorter ones that they extend.
const TABLE: &[Capability] = &[
    Capability {
        prefix: "gemini-1",
        dialect: Dialect::OpenApi,
        max_output: Some(8_192),
        penalties: true,
        logprobs: true,
        ..GEMINI_2
    },
    Capability { prefix: "gemini-2.0", max_output: Some(8_192), penalties: true, logprobs: true, ..GEMINI_2 },
    Capability {
        prefix: "gemini-2.5-pro",
        validates_calls: true,
        thinking: Thinking::Budget { least: 128, most: 32_768, off: false },
        ..GEMINI_2
    },
    Capability { prefix: "gemini-2.5-flash-image", candidates: 1, ..GEMINI_2 },
    Capability {
        prefix: "gemini-2.5-flash-lite",
        validates_calls: true,
        thinking: Thinking::Budget { least: 512, most: 24_576, off: true },
        ..GEMINI_2
    },
    Capability {
        prefix: "gemini-2.5-flash",
        validates_calls: true,
        thinking: Thinking::Budget { least: 1, most: 24_576, off: true },
        ..GEMINI_2
    },
    Capability { prefix: "gemini-2", ..GEMINI_2 },
    Capability { prefix: "gemini-3-pro-image", thinking: Thinking::Never, ..GEMINI_3 },
    Capability { prefix: "gemini-3-pro", thinking: Thinking::Levels(&[Low, High]), ..GEMINI_3 },
    Capability { prefix: "gemini-3.1-pro", thinking: UP_FROM_LOW, ..GEMINI_3 },
    Capability { prefix: "gemini-3.1-flash-image", thinking: Thinking::Levels(&[Minimal, High]), ..GEMINI_3 },
    Capability { prefix: "gemini-3.1-flash-lite-image", thinking: Thinking::Levels(&[Minimal, High]), ..GEMINI_3 },
    Capability { prefix: "gemini-3.5-flash-lite", sampling: false, ..GEMINI_3 },
    Capability { prefix: "gemini-3.6-flash", sampling: false, ..GEMINI_3 },
    Capability { prefix: "gemini-3.7-flash", sampling: false, thinking: UP_FROM_LOW, ..GEMINI_3 },
    Capability { prefix: "gemini-3.8-flash", sampling: false, thinking: UP_FROM_LOW, ..GEMINI_3 },
    Capability { prefix: "gemini-3", ..GEMINI_3 },
    Capability { prefix: "gemini-4", thinking: UP_FROM_LOW, ..GEMINI_3 },
    // Names that move with Google's releases: what every thinking model of theirs takes.
    Capability { prefix: "gemini-pro-latest", thinking: Thinking::Levels(&[Low, High]), ..GEMINI_3 },
    Capability { prefix: "gemini-flash-latest", thinking: Thinking::Levels(&[Low, High]), ..GEMINI_3 },
    Capability { prefix: "gemini-flash-lite-latest", thinking: Thinking::Levels(&[Low, High]), ..GEMINI_3 },
    Capability { prefix: "gemma-3", max_output: Some(8_192), system: false, ..OTHER },
];

impl Capability {
    /// The row of the model with this upstream id, `models/` in front or not.
    pub(super) fn of(upstream: &str) -> &'static Self {
        let bare = upstream.strip_prefix("models/").unwrap_or(upstream);
        TABLE.iter().find(|row| bare.starts_with(row.prefix)).unwrap_or(&OTHER)
    }
}

/// How much a caller wants a model to think: `reasoning_effort`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    Most,
}

impl Effort {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "none" => Self::None,
            "minimal" => Self::Minimal,
            "low" => Self::Low,
            "medium" => Self::Medium,
            "high" => Self::High,
            "xhigh" | "max" => Self::Most,
            _ => return None,
        })
    }

    /// The budget in tokens that Google's own OpenAI endpoint takes an effort for, within the model's range.
    pub(super) fn budget(self, least: u32, most: u32, off: bool) -> u32 {
        match self {
            Self::None if off => 0,
            Self::None => least,
            Self::Minimal | Self::Low => 1_024.clamp(least, most),
            Self::Medium => 8_192.clamp(least, most),
            Self::High => 24_576.clamp(least, most),
            Self::Most => most,
        }
    }

    /// The nearest of a model's levels; of two as near, the lower.
    pub(super) fn level(self, levels: &'static [Level]) -> Option<Level> {
        let wanted = match self {
            Self::None | Self::Minimal => Minimal,
            Self::Low => Low,
            Self::Medium => Medium,
            Self::High | Self::Most => High,
        };
        levels.iter().copied().min_by_key(|level| (*level as u8).abs_diff(wanted as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_hides_a_longer_one_behind_it() {
        for (at, row) in TABLE.iter().enumerate() {
            let hidden = TABLE[at + 1..].iter().find(|later| later.prefix.starts_with(row.prefix));
            assert!(hidden.is_none(), "{:?} hides {hidden:?}", row.prefix);
        }
    }

    #[test]
    fn a_row_is_found_by_prefix_with_and_without_models_in_front() {
        assert_eq!(Capability::of("models/gemini-2.5-flash--x").prefix, "gemini-2.5-flash");
        assert_eq!(Capability::of("gemini-2.5-flash-lite-preview-09-2025").prefix, "gemini-2.5-flash-lite");
        assert_eq!(Capability::of("{model}").prefix, "");
    }

    #[test]
    fn efforts_are_googles_budgets_within_the_models_range() {
        assert_eq!(Effort::None.budget(128, 32_768, false), 128);
        assert_eq!(Effort::None.budget(1, 24_576, true), 0);
        let efforts = [Effort::Minimal, Effort::Low, Effort::Medium, Effort::High, Effort::Most];
        assert_eq!(efforts.map(|e| e.budget(512, 24_576, true)), [1_024, 1_024, 8_192, 24_576, 24_576]);
        assert_eq!(Effort::Most.budget(128, 32_768, false), 32_768);
    }

    #[test]
    fn an_effort_that_is_no_level_becomes_the_nearest_and_of_two_the_lower() {
        assert_eq!(Effort::Medium.level(&[Low, High]), Some(Low));
        assert_eq!(Effort::None.level(&[Low, High]), Some(Low));
        assert_eq!(Effort::Low.level(&[Minimal, High]), Some(Minimal));
        assert_eq!(Effort::Most.level(&[Minimal, Low, Medium, High]), Some(High));
    }
}

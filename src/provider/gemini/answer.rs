//! `GenerateContentResponse` as it is read: borrowed from the vendor's bytes, every field optional.
//!
//! A stream's events and a whole answer have the same shape. Enums may come as numbers and counts as text, depending on
//! what stands between Google and us.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use serde_json::value::RawValue;

use crate::wire::openai_chat::FinishReason;
use crate::wire::text::Text;

use super::counts::Counts;
use super::fault::Status;
use super::logprobs::LogprobsResult;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Answer<'a> {
    #[serde(borrow)]
    pub(super) candidates: Option<Vec<Candidate<'a>>>,
    pub(super) prompt_feedback: Option<PromptFeedback<'a>>,
    pub(super) usage_metadata: Option<Counts>,
    pub(super) error: Option<Status<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PromptFeedback<'a> {
    #[serde(borrow)]
    pub(super) block_reason: Option<Word<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Candidate<'a> {
    pub(super) index: Option<u32>,
    #[serde(borrow)]
    content: Option<Content<'a>>,
    pub(super) finish_reason: Option<Ending>,
    pub(super) logprobs_result: Option<LogprobsResult<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Content<'a> {
    #[serde(borrow)]
    parts: Option<Vec<Part<'a>>>,
}

/// A part. What runs on Google's side (code, searches) and pictures have no place in a chat and are passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Part<'a> {
    #[serde(borrow)]
    pub(super) text: Option<Text<'a>>,
    pub(super) thought: Option<bool>,
    /// A JSON string.
    pub(super) thought_signature: Option<&'a RawValue>,
    pub(super) function_call: Option<FunctionCall<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct FunctionCall<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    args: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) id: Option<Text<'a>>,
}

/// An enum's word, or its number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Word<'a> {
    Name(#[serde(borrow)] Cow<'a, str>),
    Number(u32),
}

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Number(number) => write!(f, "reason {number}"),
        }
    }
}

impl<'a> Candidate<'a> {
    pub(super) fn parts(&self) -> &[Part<'a>] {
        self.content.as_ref().and_then(|c| c.parts.as_deref()).unwrap_or_default()
    }
}

impl FunctionCall<'_> {
    /// The arguments as compact JSON text, their numbers as the vendor wrote them.
    pub(super) fn arguments(&self) -> Cow<'_, str> {
        match self.args.map(RawValue::get) {
            None | Some("null") => Cow::Borrowed("{}"),
            Some(text) => compact(text),
        }
    }
}

/// JSON text without the white space between its tokens.
fn compact(text: &str) -> Cow<'_, str> {
    let white = |c: char| matches!(c, ' ' | '\n' | '\r' | '\t');
    if !text.contains(white) {
        return Cow::Borrowed(text);
    }
    let (mut in_string, mut escaped) = (false, false);
    let kept = text.chars().filter(|c| {
        let keep = in_string || !white(*c);
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ => {}
        }
        keep
    });
    Cow::Owned(kept.collect())
}

/// Why a candidate ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// At its natural end; also where the model's call was malformed, as nothing more will come.
    Stop,
    Length,
    Filtered,
    /// Google does not say.
    Other,
}

impl Ending {
    fn of(word: &str) -> Self {
        match word {
            "MAX_TOKENS" | "CONTINUATION" => Self::Length,
            "SAFETY"
            | "RECITATION"
            | "BLOCKLIST"
            | "PROHIBITED_CONTENT"
            | "SPII"
            | "LANGUAGE"
            | "MODEL_ARMOR"
            | "ESCALATION"
            | "PUP_LIMITED_DISABLED"
            | "IMAGE_SAFETY"
            | "IMAGE_PROHIBITED_CONTENT"
            | "IMAGE_RECITATION"
            | "IMAGE_OTHER"
            | "NO_IMAGE" => Self::Filtered,
            "OTHER" => Self::Other,
            _ => Self::Stop,
        }
    }

    /// The same by the enum's numbers.
    fn numbered(number: u64) -> Self {
        match number {
            2 => Self::Length,
            3 | 4 | 6..=9 | 11 => Self::Filtered,
            5 => Self::Other,
            _ => Self::Stop,
        }
    }

    /// In OpenAI's words, for a choice that made calls or not, and has said something or not.
    pub(super) fn reason(self, called: bool, said: bool) -> FinishReason {
        match self {
            Self::Stop if called => FinishReason::ToolCalls,
            Self::Other if called => FinishReason::ToolCalls,
            Self::Other if said => FinishReason::Stop,
            Self::Stop => FinishReason::Stop,
            Self::Length => FinishReason::Length,
            Self::Filtered | Self::Other => FinishReason::ContentFilter,
        }
    }
}

impl<'de> Deserialize<'de> for Ending {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Ending;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a finish reason")
            }

            fn visit_str<E>(self, word: &str) -> Result<Ending, E> {
                Ok(Ending::of(word))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Ending, E> {
                Ok(Ending::numbered(number))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_lose_their_layout_and_nothing_else() {
        let text = "{\n  \"a b\" : \" x\\\" \\\\\",\n \"n\": 1.0 , \"l\": [ 1, 2 ]}";
        assert_eq!(compact(text), r#"{"a b":" x\" \\","n":1.0,"l":[1,2]}"#);
    }

    #[test]
    fn endings_are_openais_finish_reasons() {
        let reason = |text: &str, called, said| serde_json::from_str::<Ending>(text).unwrap().reason(called, said);
        assert_eq!(reason("\"STOP\"", false, true), FinishReason::Stop);
        assert_eq!(reason("1", true, false), FinishReason::ToolCalls);
        assert_eq!(reason("\"MAX_TOKENS\"", true, true), FinishReason::Length);
        assert_eq!(reason("\"SAFETY\"", false, true), FinishReason::ContentFilter);
        assert_eq!(reason("\"OTHER\"", false, false), FinishReason::ContentFilter);
        assert_eq!(reason("\"OTHER\"", false, true), FinishReason::Stop);
        assert_eq!(reason("\"SOMETHING_NEW\"", false, false), FinishReason::Stop);
        assert_eq!(reason("\"UNEXPECTED_TOOL_CALL\"", false, false), FinishReason::Stop);
    }
}

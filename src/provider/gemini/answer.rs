//! `GenerateContentResponse` as it is read: borrowed from the vendor's bytes, every field optional.
//!
//! A stream's events and a whole answer have the same shape. Enums may come as numbers and counts as text, depending on
//! what stands between Google and us.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::usage::Usage;
use crate::wire::openai_chat::FinishReason;

use super::fault::Status;

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

/// Text, borrowed where it holds no escape.
#[derive(Debug, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

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

/// `logprobsResult`: what was chosen, and what stood beside it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct LogprobsResult<'a> {
    #[serde(borrow)]
    chosen_candidates: Vec<TokenLogprob<'a>>,
    top_candidates: Vec<TopTokens<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TopTokens<'a> {
    #[serde(borrow)]
    candidates: Vec<TokenLogprob<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TokenLogprob<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
    log_probability: f64,
}

#[derive(Serialize)]
struct Logprob<'a> {
    token: &'a str,
    logprob: f64,
    bytes: &'a [u8],
}

impl<'a> From<&'a TokenLogprob<'_>> for Logprob<'a> {
    fn from(given: &'a TokenLogprob<'_>) -> Self {
        Self { token: &given.token, logprob: given.log_probability, bytes: given.token.as_bytes() }
    }
}

#[derive(Serialize)]
struct ChosenLogprob<'a> {
    #[serde(flatten)]
    chosen: Logprob<'a>,
    top_logprobs: Vec<Logprob<'a>>,
}

impl LogprobsResult<'_> {
    /// OpenAI's `logprobs` of it, as JSON.
    pub(super) fn to_json(&self) -> String {
        let written = self.chosen_candidates.iter().enumerate().filter_map(|(at, token)| {
            let top = self.top_candidates.get(at).map(|t| t.candidates.as_slice()).unwrap_or_default();
            let entry = ChosenLogprob { chosen: token.into(), top_logprobs: top.iter().map(Into::into).collect() };
            serde_json::to_string(&entry).ok()
        });
        format!("{{\"content\":[{}],\"refusal\":null}}", written.collect::<Vec<_>>().join(","))
    }
}

/// `usageMetadata`. A snapshot: a later one replaces what it names.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Counts {
    prompt_token_count: Option<Count>,
    tool_use_prompt_token_count: Option<Count>,
    candidates_token_count: Option<Count>,
    thoughts_token_count: Option<Count>,
    cached_content_token_count: Option<Count>,
    prompt_tokens_details: Option<ByModality>,
    candidates_tokens_details: Option<ByModality>,
}

impl Counts {
    pub(super) fn merge(&mut self, later: &Self) {
        self.prompt_token_count = later.prompt_token_count.or(self.prompt_token_count);
        self.tool_use_prompt_token_count = later.tool_use_prompt_token_count.or(self.tool_use_prompt_token_count);
        self.candidates_token_count = later.candidates_token_count.or(self.candidates_token_count);
        self.thoughts_token_count = later.thoughts_token_count.or(self.thoughts_token_count);
        self.cached_content_token_count = later.cached_content_token_count.or(self.cached_content_token_count);
        self.prompt_tokens_details = later.prompt_tokens_details.or(self.prompt_tokens_details);
        self.candidates_tokens_details = later.candidates_tokens_details.or(self.candidates_tokens_details);
    }

    /// Google counts cached tokens into the prompt, and thoughts beside the candidates.
    pub(super) fn usage(&self) -> Usage {
        let of = |count: Option<Count>| count.map_or(0, |c| c.0);
        let input = of(self.prompt_token_count).saturating_add(of(self.tool_use_prompt_token_count));
        let output = of(self.candidates_token_count).saturating_add(of(self.thoughts_token_count));
        let (prompt, answer) =
            (self.prompt_tokens_details.unwrap_or_default(), self.candidates_tokens_details.unwrap_or_default());
        Usage {
            input_tokens: input,
            output_tokens: output,
            cached_input_tokens: of(self.cached_content_token_count).min(input),
            reasoning_tokens: of(self.thoughts_token_count),
            image_input_tokens: prompt.image.min(input),
            audio_input_tokens: prompt.audio.min(input),
            image_output_tokens: answer.image.min(output),
            audio_output_tokens: answer.audio.min(output),
            ..Usage::NONE
        }
    }
}

/// The counts of a `…TokensDetails` list that are priced apart.
#[derive(Clone, Copy, Debug, Default)]
struct ByModality {
    image: u64,
    audio: u64,
}

impl<'de> Deserialize<'de> for ByModality {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Detail<'a> {
            #[serde(borrow)]
            modality: Option<Word<'a>>,
            token_count: Option<Count>,
        }
        let mut sum = Self::default();
        for detail in Vec::<Detail<'de>>::deserialize(deserializer)? {
            let count = detail.token_count.map_or(0, |c| c.0);
            match detail.modality {
                Some(Word::Name(name)) if name == "IMAGE" => sum.image += count,
                Some(Word::Name(name)) if name == "AUDIO" => sum.audio += count,
                Some(Word::Number(2)) => sum.image += count,
                Some(Word::Number(4)) => sum.audio += count,
                _ => {}
            }
        }
        Ok(sum)
    }
}

/// A count, as a number or as text.
#[derive(Clone, Copy, Debug)]
struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a count")
            }

            fn visit_u64<E>(self, count: u64) -> Result<Count, E> {
                Ok(Count(count))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Count, E> {
                text.parse().map(Count).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_snapshot_replaces_what_it_names_and_keeps_the_rest() {
        let read = |text: &str| serde_json::from_str::<Counts>(text).unwrap();
        let mut counts = read(r#"{"promptTokenCount":8,"candidatesTokenCount":1,"cachedContentTokenCount":4}"#);
        counts.merge(&read(
            r#"{"promptTokenCount":8,"candidatesTokenCount":"5","thoughtsTokenCount":3,"toolUsePromptTokenCount":2}"#,
        ));
        let want =
            Usage { input_tokens: 10, cached_input_tokens: 4, output_tokens: 8, reasoning_tokens: 3, ..Usage::NONE };
        assert_eq!(counts.usage(), want);
    }

    #[test]
    fn modalities_are_told_apart_by_word_or_number() {
        let text = r#"{"promptTokenCount":300,"promptTokensDetails":[{"modality":"IMAGE","tokenCount":258},{"modality":4,"tokenCount":40},{"modality":"TEXT","tokenCount":2}]}"#;
        let usage = serde_json::from_str::<Counts>(text).unwrap().usage();
        assert_eq!((usage.image_input_tokens, usage.audio_input_tokens), (258, 40));
    }

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

//! `usageMetadata`: what an answer used.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::domain::usage::Usage;

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
        struct Sum;
        impl<'de> Visitor<'de> for Sum {
            type Value = ByModality;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("counts by modality")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ByModality, A::Error> {
                let mut sum = ByModality::default();
                while let Some(detail) = list.next_element::<Detail<'de>>()? {
                    let count = detail.token_count.map_or(0, |c| c.0);
                    match detail.modality.map(RawValue::get) {
                        Some("\"IMAGE\"" | "2") => sum.image += count,
                        Some("\"AUDIO\"" | "4") => sum.audio += count,
                        _ => {}
                    }
                }
                Ok(sum)
            }
        }
        deserializer.deserialize_seq(Sum)
    }
}

/// One entry of such a list. The modality is a word, or the number of one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail<'a> {
    #[serde(borrow)]
    modality: Option<&'a RawValue>,
    token_count: Option<Count>,
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
}

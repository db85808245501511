//! Usage as the OpenAI-shaped vendors report it.

pub(super) mod quick;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::domain::usage::Usage;
use crate::wire::lenient::Lenient;

type Count = Lenient<IgnoredAny>;

/// A `usage` object: every place in which a vendor puts a count.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Reported {
    prompt_tokens: Count,
    input_tokens: Count,
    completion_tokens: Count,
    output_tokens: Count,
    total_tokens: Count,
    reasoning_tokens: Count,
    cached_tokens: Count,
    prompt_cache_hit_tokens: Count,
    cache_creation_input_tokens: Count,
    prompt_tokens_details: Lenient<InputDetails>,
    completion_tokens_details: Lenient<OutputDetails>,
    /// The names in responses; transcripts tell the details of their one input.
    input_tokens_details: Lenient<InputDetails>,
    input_token_details: Lenient<InputDetails>,
    output_tokens_details: Lenient<OutputDetails>,
    /// How long a recording was, where that is what is billed.
    pub(super) seconds: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct InputDetails {
    cached_tokens: Count,
    cache_write_tokens: Count,
    cache_creation_input_tokens: Count,
    image_tokens: Count,
    audio_tokens: Count,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    reasoning_tokens: Count,
    text_tokens: Count,
    audio_tokens: Count,
}

/// The `usage` value that stands in `bytes`; nothing where they hold no JSON.
pub(super) fn parse(bytes: &[u8]) -> Lenient<Reported> {
    quick::read(bytes).map(Lenient::Object).unwrap_or_else(|| serde_json::from_slice(bytes).unwrap_or_default())
}

impl Reported {
    fn input(&self) -> Option<u64> {
        told(&[&self.prompt_tokens, &self.input_tokens])
    }

    fn output(&self) -> Option<u64> {
        told(&[&self.completion_tokens, &self.output_tokens])
    }
}

/// What these places say, the first that is not zero.
fn told(places: &[&Count]) -> Option<u64> {
    places.iter().filter_map(|count| count.number()).reduce(|one, other| if one == 0 { other } else { one })
}

fn first(places: &[&Count]) -> u64 {
    told(places).unwrap_or(0)
}

/// What a `usage` value says. `None` where it is no object, where a count is no count (negative, a text), or where all are
/// zero: some servers send those before they know.
pub(super) fn read(value: &Lenient<Reported>) -> Option<Usage> {
    reported(value.object()?)
}

/// The same of a conversation, which has two sides: where one is not told, it is what the total leaves.
pub(super) fn read_chat(value: &Lenient<Reported>) -> Option<Usage> {
    reported_chat(value.object()?)
}

pub(super) fn reported_chat(said: &Reported) -> Option<Usage> {
    let total = said.total_tokens.number();
    let sides = match (said.input(), said.output()) {
        (None, None) => return None,
        (Some(input), Some(output)) => (input, output),
        (Some(input), None) => (input, total?.saturating_sub(input)),
        (None, Some(output)) => (total?.saturating_sub(output), output),
    };
    counted(said, sides)
}

pub(super) fn reported(said: &Reported) -> Option<Usage> {
    counted(said, (said.input().unwrap_or(0), said.output().unwrap_or(0)))
}

fn counted(said: &Reported, (input, said_output): (u64, u64)) -> Option<Usage> {
    let counts = [&said.prompt_tokens, &said.input_tokens, &said.completion_tokens, &said.output_tokens];
    if counts.into_iter().any(Lenient::is_no_number) {
        return None;
    }
    let (no_input, no_output) = (InputDetails::default(), OutputDetails::default());
    let of_input = [&said.prompt_tokens_details, &said.input_tokens_details, &said.input_token_details];
    let of_input = of_input.into_iter().find_map(Lenient::object).unwrap_or(&no_input);
    let of_output = [&said.completion_tokens_details, &said.output_tokens_details];
    let of_output = of_output.into_iter().find_map(Lenient::object).unwrap_or(&no_output);
    let total = first(&[&said.total_tokens]);
    let said_reasoning = first(&[&of_output.reasoning_tokens, &said.reasoning_tokens]);
    // xAI leaves reasoning out of the completion; its total tells.
    let apart = said_reasoning > 0 && total == input.saturating_add(said_output).saturating_add(said_reasoning);
    let output = if apart { said_output.saturating_add(said_reasoning) } else { said_output };
    if input == 0 && output == 0 {
        return None;
    }
    let cached = first(&[&of_input.cached_tokens, &said.cached_tokens, &said.prompt_cache_hit_tokens]);
    let cache_write = first(&[
        &of_input.cache_write_tokens,
        &of_input.cache_creation_input_tokens,
        &said.cache_creation_input_tokens,
    ]);
    let cached = cached.min(input);
    Some(Usage {
        input_tokens: input,
        cached_input_tokens: cached,
        cache_write_tokens: cache_write.min(input - cached),
        output_tokens: output,
        reasoning_tokens: said_reasoning.min(output),
        image_input_tokens: first(&[&of_input.image_tokens]),
        audio_input_tokens: first(&[&of_input.audio_tokens]),
        audio_output_tokens: first(&[&of_output.audio_tokens]),
        ..Usage::NONE
    })
}

/// What the `usage` of an answer that is made of pictures says: output that is not told to be text is image tokens.
pub(super) fn read_images(value: &Lenient<Reported>) -> Option<Usage> {
    let used = read(value)?;
    let told = value.object().and_then(|said| said.output_tokens_details.object());
    let text = told.map_or(0, |details| first(&[&details.text_tokens]));
    let image_output_tokens = used.output_tokens.saturating_sub(text);
    Some(Usage { image_output_tokens, image_input_tokens: used.image_input_tokens.min(used.input_tokens), ..used })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(text: &str) -> Option<Usage> {
        read(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn cached_tokens_are_found_wherever_vendors_put_them() {
        for text in [
            r#"{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":4}}"#,
            r#"{"prompt_tokens":9,"completion_tokens":2,"cached_tokens":4}"#,
            r#"{"prompt_tokens":9,"completion_tokens":2,"prompt_cache_hit_tokens":4,"prompt_tokens_details":{"cached_tokens":0}}"#,
        ] {
            let found = usage(text).unwrap();
            assert_eq!((found.input_tokens, found.cached_input_tokens, found.output_tokens), (9, 4, 2), "{text}");
        }
    }

    #[test]
    fn details_are_kept_apart() {
        let found = usage(
            r#"{"prompt_tokens":50,"completion_tokens":30,"total_tokens":80,
                "prompt_tokens_details":{"cached_tokens":5,"cache_creation_input_tokens":7,"audio_tokens":11,"image_tokens":13},
                "completion_tokens_details":{"reasoning_tokens":17,"audio_tokens":3}}"#,
        );
        let want = Usage {
            input_tokens: 50,
            cached_input_tokens: 5,
            cache_write_tokens: 7,
            output_tokens: 30,
            reasoning_tokens: 17,
            image_input_tokens: 13,
            audio_input_tokens: 11,
            audio_output_tokens: 3,
            ..Usage::NONE
        };
        assert_eq!(found, Some(want));
    }

    #[test]
    fn responses_and_transcripts_tell_the_same_under_names_of_their_own() {
        let response = r#"{"input_tokens":9,"input_tokens_details":{"cached_tokens":4,"cache_write_tokens":2},
            "output_tokens":8,"output_tokens_details":{"reasoning_tokens":5},"total_tokens":17}"#;
        let want = Usage {
            input_tokens: 9,
            cached_input_tokens: 4,
            cache_write_tokens: 2,
            output_tokens: 8,
            reasoning_tokens: 5,
            ..Usage::NONE
        };
        assert_eq!(usage(response), Some(want));
        let transcript = r#"{"type":"tokens","input_tokens":25,"input_token_details":{"text_tokens":4,"audio_tokens":21},
            "output_tokens":6,"total_tokens":31}"#;
        let want = Usage { input_tokens: 25, output_tokens: 6, audio_input_tokens: 21, ..Usage::NONE };
        assert_eq!(usage(transcript), Some(want));
    }

    #[test]
    fn what_an_image_answer_gives_out_is_image_tokens_but_for_text() {
        let read = |text: &str| read_images(&serde_json::from_str(text).unwrap()).unwrap();
        let plain = read(
            r#"{"input_tokens":50,"output_tokens":4160,"total_tokens":4210,"input_tokens_details":{"text_tokens":10,"image_tokens":40}}"#,
        );
        assert_eq!((plain.image_input_tokens, plain.image_output_tokens, plain.output_tokens), (40, 4160, 4160));
        let told = read(
            r#"{"input_tokens":5,"output_tokens":100,"output_tokens_details":{"text_tokens":30,"image_tokens":70}}"#,
        );
        assert_eq!(told.image_output_tokens, 70);
    }

    #[test]
    fn reasoning_that_the_total_counts_apart_becomes_output() {
        let found = usage(
            r#"{"prompt_tokens":10,"completion_tokens":2,"total_tokens":212,"completion_tokens_details":{"reasoning_tokens":200}}"#,
        );
        assert_eq!(found.map(|u| (u.output_tokens, u.reasoning_tokens)), Some((202, 200)));
    }

    #[test]
    fn a_side_of_a_chat_that_is_not_told_is_what_the_total_leaves() {
        let chat = |text: &str| {
            read_chat(&serde_json::from_str(text).unwrap()).map(|used| (used.input_tokens, used.output_tokens))
        };
        assert_eq!(chat(r#"{"prompt_tokens":9,"total_tokens":12}"#), Some((9, 3)));
        assert_eq!(chat(r#"{"completion_tokens":3,"total_tokens":12}"#), Some((9, 3)));
        assert_eq!(chat(r#"{"prompt_tokens":9,"completion_tokens":0}"#), Some((9, 0)));
        assert_eq!(chat(r#"{"prompt_tokens":9,"completion_tokens":3,"total_tokens":99}"#), Some((9, 3)));
        assert_eq!(chat(r#"{"prompt_tokens":9,"total_tokens":8}"#), Some((9, 0)));
        for half in [r#"{"prompt_tokens":9}"#, r#"{"completion_tokens":3}"#, r#"{"total_tokens":12}"#] {
            assert_eq!(chat(half), None, "{half}");
        }
        assert_eq!(usage(r#"{"prompt_tokens":9}"#).map(|used| used.input_tokens), Some(9), "an embedding has one side");
    }

    #[test]
    fn nothing_zeros_and_what_is_no_count_are_no_report() {
        for text in [
            "null",
            "{}",
            "[]",
            r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#,
            r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":12}"#,
            r#"{"total_tokens":12}"#,
            r#"{"prompt_tokens":-1}"#,
            r#"{"prompt_tokens":-1,"completion_tokens":9}"#,
            r#"{"prompt_tokens":21,"completion_tokens":"9"}"#,
            r#"{"prompt_tokens":1e30,"completion_tokens":9}"#,
            r#"{"prompt_tokens":"9","completion_tokens":[2],"total_tokens":{"n":[1.5,true]},"prompt_tokens_details":null}"#,
        ] {
            assert_eq!(usage(text), None, "{text}");
        }
    }
}

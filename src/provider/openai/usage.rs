//! Usage as the OpenAI-shaped vendors report it.

use serde_json::Value;

use crate::domain::usage::Usage;

/// Reads a `usage` object. `None` where it is none, where a count is no count (negative, a text), or where all are zero:
/// some servers send those before they know.
pub(super) fn read(value: &Value) -> Option<Usage> {
    const COUNTS: [&str; 4] = ["prompt_tokens", "input_tokens", "completion_tokens", "output_tokens"];
    if COUNTS.iter().filter_map(|key| value.get(key)).any(|count| !count.is_u64() && !count.is_null()) {
        return None;
    }
    let count =
        |path: &[&str]| path.iter().try_fold(value, |at, key| at.get(key)).and_then(Value::as_u64).filter(|n| *n > 0);
    let first = |paths: &[&[&str]]| paths.iter().find_map(|path| count(path)).unwrap_or(0);

    let input = first(&[&["prompt_tokens"], &["input_tokens"]]);
    let said_output = first(&[&["completion_tokens"], &["output_tokens"]]);
    let total = first(&[&["total_tokens"]]);
    if input == 0 && said_output == 0 && total == 0 {
        return None;
    }
    let said_reasoning = first(&[&["completion_tokens_details", "reasoning_tokens"], &["reasoning_tokens"]]);
    // xAI leaves reasoning out of the completion; its total tells.
    let apart = said_reasoning > 0 && total == input.saturating_add(said_output).saturating_add(said_reasoning);
    let output = if apart { said_output.saturating_add(said_reasoning) } else { said_output };
    let cached = first(&[
        &["prompt_tokens_details", "cached_tokens"],
        &["input_tokens_details", "cached_tokens"],
        &["cached_tokens"],
        &["prompt_cache_hit_tokens"],
    ]);
    let cache_write = first(&[
        &["prompt_tokens_details", "cache_write_tokens"],
        &["prompt_tokens_details", "cache_creation_input_tokens"],
        &["cache_creation_input_tokens"],
    ]);
    let cached = cached.min(input);
    Some(Usage {
        input_tokens: input,
        cached_input_tokens: cached,
        cache_write_tokens: cache_write.min(input - cached),
        output_tokens: output,
        reasoning_tokens: said_reasoning.min(output),
        image_input_tokens: first(&[
            &["prompt_tokens_details", "image_tokens"],
            &["input_tokens_details", "image_tokens"],
        ]),
        audio_input_tokens: first(&[&["prompt_tokens_details", "audio_tokens"]]),
        audio_output_tokens: first(&[&["completion_tokens_details", "audio_tokens"]]),
        ..Usage::NONE
    })
}

/// Reads the `usage` of an answer that is made of pictures: output that is not told to be text is image tokens.
pub(super) fn read_images(value: &Value) -> Option<Usage> {
    let used = read(value)?;
    let text = value.pointer("/output_tokens_details/text_tokens").and_then(Value::as_u64).unwrap_or(0);
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
    fn nothing_zeros_and_what_is_no_count_are_no_report() {
        for text in [
            "null",
            "{}",
            "[]",
            r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#,
            r#"{"prompt_tokens":-1}"#,
            r#"{"prompt_tokens":-1,"completion_tokens":9}"#,
            r#"{"prompt_tokens":21,"completion_tokens":"9"}"#,
            r#"{"prompt_tokens":1e30,"completion_tokens":9}"#,
        ] {
            assert_eq!(usage(text), None, "{text}");
        }
    }
}

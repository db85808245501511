//! A whole answer, of which only `usage` is read: to search for it costs a fraction of reading all that stands before it.
//!
//! Where each string begins and which brackets are open there is found in wide steps. So where the first string that reads
//! `usage` is followed by a colon, that key is one of the outermost object if one bracket is open, and the object is whole
//! if none is left open in the end: more may come behind it, but nothing of it. Whatever is less plain is left to the
//! reader that goes from the front.

use crate::wire::marks::outline;

use super::usage::{Reported, quick};

/// Reads the `usage` member of a whole body into `said`: whether it is plain to see, and plain that the body is no error.
pub(super) fn usage(body: &[u8], said: &mut Reported) -> bool {
    find(body).is_some_and(|value| quick::read_first(value, said).is_some())
}

/// The value of the outermost `usage`, of a whole body that is no error.
fn find(body: &[u8]) -> Option<&[u8]> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    let (mut found, mut is_fault) = (None, false);
    let open = outline(body, |at, open| {
        let text = &body[at..];
        if let Some(behind) = text.strip_prefix(b"usage\"") {
            found.get_or_insert((behind, open));
        }
        is_fault |= text.starts_with(b"error\"") || text.starts_with(b"base_resp\"");
    });
    let (behind, depth) = found.filter(|_| open == Some(0) && !is_fault)?;
    let value = behind.trim_ascii_start().strip_prefix(b":").filter(|_| depth == 1)?;
    Some(value.trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::wire::lenient::Lenient;

    fn input(body: &str) -> Option<u64> {
        let mut said = Reported::default();
        usage(body.as_bytes(), &mut said)
            .then(|| super::super::usage::reported(&said))
            .flatten()
            .map(|used| used.input_tokens)
    }

    #[test]
    fn usage_is_found_wherever_it_stands_among_the_members() {
        for body in [
            r#"{"choices":[],"usage":{"prompt_tokens":7}}"#,
            r#" {"choices":[{"a":{"b":[1]}}], "usage" : {"prompt_tokens":7,"d":null} , "x":"}\"{","y":[{"z":1}]} "#,
            r#"{"usage":{"prompt_tokens":7},"choices":[{"message":{"content":"say \"usage\": {}"}}]}"#,
            r#"{"choices":[{"message":{"content":"}]"}}],"usage":{"prompt_tokens":7}}"#,
        ] {
            assert_eq!(input(body), Some(7), "{body}");
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_other_reader() {
        for body in [
            "",
            "{}",
            "[]",
            r#"{"usage":null}"#,
            r#"{"usage":{"prompt_tokens":"7"}}"#,
            r#"{"choices":[{"usage":{"prompt_tokens":7}}]}"#,
            r#"{"choices":[{"usage":{"prompt_tokens":7}}"#,
            r#"{"say":"}","timing":{"usage":{"prompt_tokens":7}}"#,
            r#"{"say":"\"}","timing":{"usage":{"prompt_tokens":7}}"#,
            r#"{"usage":{"prompt_tokens":7}"#,
            r#"{"usage":{"prompt_tokens":7}}{"#,
            r#"{"usage":{"prompt_tokens":7},"x":"}"#,
            r#"{"error":{"message":"no"},"usage":{"prompt_tokens":7}}"#,
            r#"{"base_resp":{"status_code":1},"usage":{"prompt_tokens":7}}"#,
            r#"["usage",{"usage":{"prompt_tokens":7}}]"#,
            r#"{"say":"usage"}"#,
        ] {
            assert_eq!(input(body), None, "{body}");
        }
    }

    /// Answers whose texts and members look like usage, and some that are broken.
    fn answer() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "a",
            " ",
            "\\\"",
            "\\\\",
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "usage",
            "\\\"usage\\\":{",
            "error",
            "\\n",
            "é",
            "\\u0022usage\\u0022",
        ]);
        let text = prop::collection::vec(piece, 0..6).prop_map(|pieces| format!("\"{}\"", pieces.concat()));
        let used = (0u32..3, 1u64..9).prop_map(|(kind, count)| match kind {
            0 => format!(r#"{{"prompt_tokens":{count},"completion_tokens":2}}"#),
            1 => format!(
                r#" {{ "completion_tokens" : {count}, "d":null, "prompt_tokens_details":{{"cached_tokens":1}} }} "#
            ),
            _ => "null".to_owned(),
        });
        let key = prop_oneof![
            3 => Just("\"usage\"".to_owned()),
            1 => Just("\"us\\u0061ge\"".to_owned()),
            1 => Just("\"error\"".to_owned()),
            4 => text.clone(),
        ];
        let value = prop_oneof![2 => text, 3 => used, 1 => Just("7".to_owned())].prop_recursive(3, 16, 4, {
            let key = key.clone();
            move |inner| {
                let member = (key.clone(), inner.clone()).prop_map(|(key, value)| format!("{key}:{value}"));
                prop_oneof![
                    prop::collection::vec(inner, 0..3).prop_map(|items| format!("[{}]", items.join(","))),
                    prop::collection::vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(" ,"))),
                ]
            }
        });
        let member = (key, value).prop_map(|(key, value)| format!("{key}:{value}"));
        let whole = prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}\n", members.join(",")));
        let harm = prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<prop::sample::Index>()));
        (whole, harm).prop_map(|(mut whole, harm)| {
            if let Some((from, length)) = harm {
                let from =
                    (0..=from.index(whole.len())).rev().find(|at| whole.is_char_boundary(*at)).unwrap_or_default();
                let to = from + length.index(whole.len() - from + 1);
                let to = (to..=whole.len()).find(|at| whole.is_char_boundary(*at)).unwrap_or(from);
                whole.replace_range(from..to, "");
            }
            whole
        })
    }

    proptest! {
        #[test]
        fn what_is_plain_is_what_a_parser_reads(body in answer()) {
            let mut said = Reported::default();
            if !usage(body.as_bytes(), &mut said) {
                return Ok(());
            }
            let Ok(Value::Object(members)) = serde_json::from_str(&body) else { return Ok(()) };
            // Of twins a parser takes the last.
            if body.matches("usage\"").count() + body.matches("us\\u0061ge").count() > 1 {
                return Ok(());
            }
            let read = super::super::usage::read;
            let theirs = members.get("usage").map(|value| serde_json::from_value::<Lenient<Reported>>(value.clone()).unwrap());
            prop_assert_eq!(read(&Lenient::Object(said)), theirs.as_ref().and_then(read));
            prop_assert!(!members.contains_key("error"));
        }
    }
}

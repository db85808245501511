//! A whole answer, of which only `usage` is read: to search for it costs a fraction of reading all that stands before it.
//!
//! In JSON the bytes `"usage"` cannot stand inside a string, whose quotes are escaped. So where they stand, a key or a
//! short text begins; and where what follows closes just one bracket up to the end of the body, and no bracket of the body
//! is left open, that key is one of the outermost object, and the object is whole: more may come behind it, but nothing of
//! it. Whatever is less plain is left to the reader that goes from the front.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::wire::marks::left_open;
use crate::wire::text::closing_quote;

use super::usage::{Reported, quick};

static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"usage\""));

/// What an answer that is an error is told by.
static FAULTS: LazyLock<[Finder<'static>; 2]> = LazyLock::new(|| ["\"error\"", "\"base_resp\""].map(Finder::new));

/// The `usage` member of a whole body, where it is plain to see, and plain that the body is no error.
pub(super) fn usage(body: &[u8]) -> Option<Reported> {
    if body.trim_ascii_start().first() != Some(&b'{') || FAULTS.iter().any(|fault| fault.find(body).is_some()) {
        return None;
    }
    // Its first byte is the opening brace.
    let at = USAGE.find_iter(body).find(|at| body[at - 1] != b'\\')?;
    let value = body[at + "\"usage\"".len()..].trim_ascii_start().strip_prefix(b":")?;
    let (said, rest) = quick::read_first(value.trim_ascii_start())?;
    (closes_one(rest) && left_open(body) == Some(0)).then_some(said)
}

/// Whether `rest` closes one bracket more than it opens, with its last byte.
fn closes_one(rest: &[u8]) -> bool {
    let (mut depth, mut at) = (1u32, 0);
    while let Some(byte) = rest.get(at) {
        at += 1;
        match byte {
            b'"' => match closing_quote(&rest[at..]) {
                Some(length) => at += length + 1,
                None => return false,
            },
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return rest[at..].trim_ascii().is_empty();
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::lenient::Lenient;

    fn input(body: &str) -> Option<u64> {
        super::super::usage::read(&Lenient::Object(usage(body.as_bytes())?)).map(|used| used.input_tokens)
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
}

//! Small helpers around JSON text.

/// Appends `text` to `out` as a JSON string, quotes included.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing text to a vector cannot fail.
    let _ = serde_json::to_writer(out, text);
}

/// `text` as a message may show it: without control characters, at most 100 characters.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// A whole number in plain digits, at most 2^53.
pub(crate) fn whole(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number <= super::scan::MAX_WHOLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_written_with_its_escapes() {
        let mut out = b"model:".to_vec();
        write_string(&mut out, "a\"b\n");
        assert_eq!(out, br#"model:"a\"b\n""#);
    }

    #[test]
    fn whole_numbers_have_digits_alone() {
        assert_eq!(whole("007"), Some(7));
        for text in ["", "+1", "-1", "1.0", "1e3", " 1", "9007199254740993", "99999999999999999999"] {
            assert_eq!(whole(text), None, "{text}");
        }
    }
}

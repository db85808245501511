//! Text inside JSON, borrowed wherever it holds no escape.

use std::borrow::Cow;
use std::ops::Deref;

use serde::Deserialize;

/// A JSON string. `Option<Text>` borrows too, which `Option<Cow<str>>` does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Where the quote stands that closes the string whose inside `rest` begins with.
pub(crate) fn closing_quote(rest: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', rest.get(from..)?)?;
        match rest[at] {
            b'"' => return Some(at),
            // And what is escaped.
            _ => from = at + 2,
        }
    }
}

/// Where a key's run of plain bytes ends: at a quote or a backslash. Most keys are shorter than what it takes to set a
/// wide search up.
#[inline]
pub(crate) fn text_end(rest: &[u8]) -> Option<usize> {
    const SHORT: usize = 4 * WORD;
    let (words, tail) = rest[..rest.len().min(SHORT)].as_chunks::<WORD>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let ends = zeros(word ^ each(b'"')) | zeros(word ^ each(b'\\'));
        if ends != 0 {
            return Some(at * WORD + ends.trailing_zeros() as usize / 8);
        }
    }
    let near = tail.iter().position(|byte| matches!(byte, b'"' | b'\\')).map(|at| words.len() * WORD + at);
    near.or_else(|| Some(SHORT + memchr::memchr2(b'"', b'\\', rest.get(SHORT..)?)?))
}

/// Where the text ends whose inside `rest` begins with, if it is a short one in ASCII, without escapes and control characters.
/// `None` also where `rest` ends soon.
#[inline]
pub(crate) fn short_text_end(rest: &[u8]) -> Option<usize> {
    const WORDS: usize = 4;
    for (at, word) in rest.as_chunks::<WORD>().0.iter().take(WORDS).enumerate() {
        let word = u64::from_le_bytes(*word);
        let quotes = zeros(word ^ each(b'"'));
        let controls = word.wrapping_sub(each(b' ')) & !word & each(0x80);
        let strange = zeros(word ^ each(b'\\')) | controls | word & each(0x80);
        if quotes | strange != 0 {
            // Of each, the lowest bit is a true one.
            let is_plain = quotes.trailing_zeros() < strange.trailing_zeros();
            return is_plain.then_some(at * WORD + quotes.trailing_zeros() as usize / 8);
        }
    }
    None
}

const WORD: usize = size_of::<u64>();

const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; WORD])
}

/// The high bit of the first byte that is zero, and of no byte before it.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(each(1)) & !word & each(0x80)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_run_ends_at_the_first_quote_or_backslash(
            text in prop::collection::vec(prop::sample::select(&b"aaaaaaaaaaaaa\x22\x5c\x21\x23\xa2\xdc\x01\xff"[..]), 0..80),
        ) {
            prop_assert_eq!(text_end(&text), text.iter().position(|byte| matches!(byte, b'"' | b'\\')));
        }

        #[test]
        fn a_short_text_ends_at_its_quote_if_it_is_plain(
            text in prop::collection::vec(prop::sample::select(&b"aaaaaaaaaaa\x22\x5c\x20\x21\x23\x1f\x00\x7f\xa2\x80"[..]), 0..50),
        ) {
            let end = text.iter().position(|byte| !matches!(byte, b' '..=0x7f) || matches!(byte, b'"' | b'\\'));
            let plain = end.filter(|end| text[*end] == b'"' && *end < 32 && end / 8 < text.len() / 8);
            prop_assert_eq!(short_text_end(&text), plain);
        }
    }
}

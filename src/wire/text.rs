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
pub(crate) fn text_end(rest: &[u8]) -> Option<usize> {
    const SHORT: usize = 16;
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\');
    let short = &rest[..rest.len().min(SHORT)];
    let far = || Some(SHORT + memchr::memchr2(b'"', b'\\', rest.get(SHORT..)?)?);
    short.iter().position(ends).or_else(far)
}

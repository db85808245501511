//! The members of a JSON text that is not parsed: each is found by the colon behind its key, 64 bytes at a time.

use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x64};

use super::marks::{BLOCK, padded};

/// So many blocks are read at a time: most events of a stream lie in these.
const WINDOW: usize = 8;

/// The members of `json`, at whatever depth: all that stands before a key's closing quote, and all that stands behind its
/// colon. In a text no quote stands bare, so nothing in one looks like a member.
pub(crate) fn members(json: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    Colons::new(json).filter_map(|colon| {
        let key = json[..colon].trim_ascii_end().strip_suffix(b"\"")?;
        Some((key, json[colon + 1..].trim_ascii_start()))
    })
}

/// Where colons stand behind a quote, or behind white space or a control character. The others are no member's, and most
/// are in texts.
struct Colons<'a> {
    json: &'a [u8],
    level: Level,
    /// A bit for each colon of the blocks up to `to`.
    window: [u64; WINDOW],
    to: usize,
    /// What is left of the block that begins at `from`.
    found: u64,
    from: usize,
    /// Whether a colon that begins the next window would count.
    is_behind: bool,
}

impl<'a> Colons<'a> {
    fn new(json: &'a [u8]) -> Self {
        Self { json, level: Level::new(), window: [0; WINDOW], to: 0, found: 0, from: 0, is_behind: false }
    }

    /// Goes on to the next block; `false` at the end.
    fn advance(&mut self) -> bool {
        if self.to > 0 {
            self.from += BLOCK;
        }
        if self.from >= self.json.len() {
            return false;
        }
        if self.from >= self.to {
            let window = &self.json[self.to..self.json.len().min(self.to + WINDOW * BLOCK)];
            let (blocks, is_behind) = (&mut self.window, self.is_behind);
            self.is_behind = dispatch!(self.level, simd => read(simd, window, blocks, is_behind));
            self.to += window.len();
        }
        self.found = self.window[self.from / BLOCK % WINDOW];
        true
    }
}

impl Iterator for Colons<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.found == 0 {
            if !self.advance() {
                return None;
            }
        }
        let at = self.from + self.found.trailing_zeros() as usize;
        self.found &= self.found - 1;
        Some(at)
    }
}

/// Marks the colons of a window. Says whether its last byte may have one behind it.
#[inline(always)]
fn read<S: Simd>(simd: S, window: &[u8], into: &mut [u64; WINDOW], is_behind: bool) -> bool {
    let (blocks, rest) = window.as_chunks::<BLOCK>();
    let mut behind = u64::from(is_behind);
    let mut mark = |bytes: &[u8; BLOCK]| {
        let bytes = u8x64::simd_from(simd, *bytes);
        let quotes = bytes.simd_eq(u8x64::splat(simd, b'"')).to_bitmask();
        let spaces = bytes.simd_le(u8x64::splat(simd, b' ')).to_bitmask();
        let colons = bytes.simd_eq(u8x64::splat(simd, b':')).to_bitmask();
        let found = colons & ((quotes | spaces) << 1 | behind);
        behind = (quotes | spaces) >> (BLOCK - 1);
        found
    };
    for (bytes, into) in blocks.iter().zip(&mut *into) {
        *into = mark(bytes);
    }
    if let Some(into) = into.get_mut(blocks.len()).filter(|_| !rest.is_empty()) {
        *into = mark(&padded(rest));
    }
    behind != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Byte by byte.
    fn slowly(json: &[u8]) -> Vec<(&[u8], &[u8])> {
        let colons = (0..json.len()).filter(|at| json[*at] == b':');
        let member =
            |at: usize| Some((json[..at].trim_ascii_end().strip_suffix(b"\"")?, json[at + 1..].trim_ascii_start()));
        colons.filter_map(member).collect()
    }

    #[test]
    fn the_members_of_a_chunk_are_found_and_those_in_its_texts_not() {
        let json = br#"data: {"a" : 1, "b":{"c":"say \"usage\": none"}}"#;
        let keys: Vec<_> = members(json).map(|(key, _)| *key.last().unwrap()).collect();
        assert_eq!(keys, *b"abc\\");
    }

    proptest! {
        #[test]
        fn every_member_is_found(json in prop::collection::vec(prop::sample::select(&b"a::\"\" \n\\{,"[..]), 0..1_500)) {
            prop_assert_eq!(members(&json).collect::<Vec<_>>(), slowly(&json));
        }
    }
}

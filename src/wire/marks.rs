//! The quotes and backslashes of a text, found 64 bytes at a time: long prompts are full of them, and a search set up for
//! each would cost more than the text itself.

use wide::u8x16;

const LANE: usize = 16;
const BLOCK: usize = 4 * LANE;

/// The places of `"` and `\\` in a text, one after another.
pub(super) struct Marks<'a> {
    text: &'a [u8],
    /// Where the block at hand begins.
    block: usize,
    /// A bit for each mark of the block that has not been given.
    left: u64,
}

impl<'a> Marks<'a> {
    #[inline]
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, block: 0, left: marks(text) }
    }

    /// The next mark at `from` or behind it. `from` must not go back.
    #[inline]
    pub(super) fn next(&mut self, from: usize) -> Option<usize> {
        loop {
            while self.left != 0 {
                let at = self.block + self.left.trailing_zeros() as usize;
                self.left &= self.left - 1;
                if at >= from {
                    return Some(at);
                }
            }
            self.block += BLOCK;
            self.left = marks(self.text.get(self.block..).filter(|rest| !rest.is_empty())?);
        }
    }
}

/// How many more brackets open in a JSON text than close, those in its strings apart; `None` where a string does not end.
pub(crate) fn left_open(json: &[u8]) -> Option<i64> {
    let (blocks, rest) = json.as_chunks::<BLOCK>();
    let rest = (!rest.is_empty()).then(|| padded(rest));
    // All ones within a string.
    let (mut open, mut within, mut cut) = (0, 0u64, false);
    for block in blocks.iter().chain(&rest) {
        let quotes = bits(block, |lane| lane.simd_eq(u8x16::splat(b'"')));
        let backslashes = bits(block, |lane| lane.simd_eq(u8x16::splat(b'\\')));
        // A bit of its own sets the braces apart from the square brackets.
        let are = |bracket| bits(block, |lane| (lane | u8x16::splat(0x20)).simd_eq(u8x16::splat(bracket)));
        let strings = odd(quotes & !escaped(backslashes, &mut cut)) ^ within;
        let count = |brackets: u64| i64::from((brackets & !strings).count_ones());
        open += count(are(b'{')) - count(are(b'}'));
        within = if strings >> (BLOCK - 1) == 1 { u64::MAX } else { 0 };
    }
    (within == 0).then_some(open)
}

/// The bits at and behind which an odd number of `quotes` stand: an opening one, and all up to the one that closes.
fn odd(quotes: u64) -> u64 {
    (0..BLOCK.ilog2()).fold(quotes, |bits, step| bits ^ bits << (1 << step))
}

/// The bits behind backslashes that are not escaped themselves. `cut`: the block before ended, or this one ends, in one.
fn escaped(backslashes: u64, cut: &mut bool) -> u64 {
    let mut escaped = u64::from(*cut);
    let mut left = backslashes & !escaped;
    *cut = false;
    while left != 0 {
        let at = left & left.wrapping_neg();
        *cut = at == 1 << (BLOCK - 1);
        escaped |= at << 1;
        left &= !(at | at << 1);
    }
    escaped
}

/// A bit for each mark among the first 64 bytes of `text`.
#[inline]
fn marks(text: &[u8]) -> u64 {
    match text.first_chunk::<BLOCK>() {
        Some(block) => marks_of(block),
        None => marks_of(&padded(text)),
    }
}

#[inline]
fn padded(text: &[u8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..text.len()].copy_from_slice(text);
    block
}

#[inline]
fn marks_of(block: &[u8; BLOCK]) -> u64 {
    let (quote, backslash) = (u8x16::splat(b'"'), u8x16::splat(b'\\'));
    bits(block, |lane| lane.simd_eq(quote) | lane.simd_eq(backslash))
}

/// A bit for each byte of which `is` says so.
#[inline]
fn bits(block: &[u8; BLOCK], is: impl Fn(u8x16) -> u8x16) -> u64 {
    let lane = |at: usize| {
        let lane = u8x16::new(std::array::from_fn(|byte| block[at * LANE + byte]));
        u64::from(is(lane).to_bitmask()) << (at * LANE)
    };
    lane(0) | lane(1) | lane(2) | lane(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Byte by byte.
    fn left_open_slowly(json: &[u8]) -> Option<i64> {
        let (mut open, mut within, mut escaped) = (0, false, false);
        for byte in json {
            let was_escaped = std::mem::replace(&mut escaped, false);
            match byte {
                b'\\' => escaped = !was_escaped,
                b'"' if !was_escaped => within = !within,
                b'{' | b'[' if !within => open += 1,
                b'}' | b']' if !within => open -= 1,
                _ => {}
            }
        }
        (!within).then_some(open)
    }

    proptest! {
        #[test]
        fn brackets_outside_of_strings_are_counted(
            json in prop::collection::vec(prop::sample::select(&b"a\"\"\"\\{}[];"[..]), 0..300),
        ) {
            prop_assert_eq!(left_open(&json), left_open_slowly(&json));
        }

        #[test]
        fn every_mark_is_found_once_and_in_order(
            text in prop::collection::vec(prop::sample::select(&b"ab\"\\"[..]), 0..200),
            step in 0usize..5,
        ) {
            let all: Vec<usize> = (0..text.len()).filter(|at| matches!(text[*at], b'"' | b'\\')).collect();
            let (mut marks, mut found, mut from) = (Marks::new(&text), Vec::new(), 0);
            while let Some(at) = marks.next(from) {
                found.push(at);
                from = at + 1 + step;
            }
            let mut from = 0;
            let wanted: Vec<usize> = all.into_iter().filter(|at| {
                let fits = *at >= from;
                if fits { from = at + 1 + step; }
                fits
            }).collect();
            prop_assert_eq!(found, wanted);
        }
    }
}

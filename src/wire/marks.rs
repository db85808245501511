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

/// A bit for each mark among the first 64 bytes of `text`.
#[inline]
fn marks(text: &[u8]) -> u64 {
    match text.first_chunk::<BLOCK>() {
        Some(block) => marks_of(block),
        None => {
            let mut block = [0; BLOCK];
            block[..text.len()].copy_from_slice(text);
            marks_of(&block)
        }
    }
}

#[inline]
fn marks_of(block: &[u8; BLOCK]) -> u64 {
    let (quote, backslash) = (u8x16::splat(b'"'), u8x16::splat(b'\\'));
    let lane = |at: usize| {
        let lane = u8x16::new(std::array::from_fn(|byte| block[at * LANE + byte]));
        u64::from((lane.simd_eq(quote) | lane.simd_eq(backslash)).to_bitmask()) << (at * LANE)
    };
    lane(0) | lane(1) | lane(2) | lane(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
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

//! Where the strings of a JSON text begin, end and hold escapes, found 64 bytes at a time: prompts are full of quotes and
//! backslashes, and a search set up for each would cost more than the text itself.

use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x64};

pub(super) const BLOCK: usize = 64;
/// So many blocks are read at a time: enough to be worth the step into wide code, few enough to lie on the stack.
const WINDOW: usize = 16;

/// The marks of a body that lies in pieces, found a window at a time and in order.
#[derive(Debug)]
pub(super) struct Marks {
    level: Level,
    blocks: [Block; WINDOW],
    /// Where the piece at hand begins in the body, and which part of it the blocks are of.
    begins: usize,
    from: usize,
    to: usize,
    seen: Seen,
}

/// The marks among 64 bytes, a bit for each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Block {
    /// Quotes that are not escaped.
    pub(super) quotes: u64,
    /// Backslashes that are not escaped: each begins an escape.
    pub(super) escapes: u64,
    /// Escaped bytes that are none of `"\/bfnrt`: whoever finds one has more to read, or an error.
    pub(super) strange: u64,
}

/// What the bytes so far say of those behind them, and of the whole.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// The last byte was a backslash that escapes the next.
    is_cut: bool,
    controls: bool,
    beyond_ascii: bool,
}

impl Marks {
    pub(super) fn new() -> Self {
        let blocks = [Block::default(); WINDOW];
        Self { level: Level::new(), blocks, begins: 0, from: 0, to: 0, seen: Seen::default() }
    }

    /// The first place at or behind `at` in `piece` where `which` has a bit. `begins` is where the piece begins in the body.
    /// Neither may go back.
    #[inline]
    pub(super) fn find(
        &mut self,
        piece: &[u8],
        begins: usize,
        mut at: usize,
        which: impl Fn(&Block) -> u64,
    ) -> Option<usize> {
        while at < piece.len() {
            if begins != self.begins || at >= self.to {
                self.read_on(piece, begins, at);
            }
            let mut behind = u64::MAX << (at % BLOCK);
            let blocks = (self.to - self.from).div_ceil(BLOCK);
            for block in self.blocks.get((at - self.from) / BLOCK..blocks)? {
                let found = which(block) & behind;
                at -= at % BLOCK;
                if found != 0 {
                    return Some(at + found.trailing_zeros() as usize);
                }
                at += BLOCK;
                behind = u64::MAX;
            }
        }
        None
    }

    /// Whether a byte of the windows so far is a control character. Few bodies have one: then no string needs a look.
    pub(super) const fn has_controls(&self) -> bool {
        self.seen.controls
    }

    /// Whether all bytes of the windows so far are.
    pub(super) const fn is_ascii(&self) -> bool {
        !self.seen.beyond_ascii
    }

    #[inline(never)]
    fn read_on(&mut self, piece: &[u8], begins: usize, at: usize) {
        if begins != self.begins {
            // Bytes that nobody asked the marks of were read one by one, and with them the escape.
            self.seen.is_cut &= self.begins + self.to == begins;
            (self.begins, self.from, self.to) = (begins, 0, 0);
        }
        while at >= self.to && self.to < piece.len() {
            let window = &piece[self.to..piece.len().min(self.to + WINDOW * BLOCK)];
            self.from = self.to;
            self.to += window.len();
            let (blocks, seen) = (&mut self.blocks, &mut self.seen);
            dispatch!(self.level, simd => Reader::new(simd, seen.is_cut).read(window, blocks, seen));
        }
    }
}

/// Reads blocks one after another. All of it is put into code for the widest registers that there are, so all is inlined.
struct Reader<S: Simd> {
    simd: S,
    is_cut: bool,
    least: u8x64<S>,
    most: u8x64<S>,
}

impl<S: Simd> Reader<S> {
    #[inline(always)]
    fn new(simd: S, is_cut: bool) -> Self {
        let space = u8x64::splat(simd, b' ');
        Self { simd, is_cut, least: space, most: space }
    }

    #[inline(always)]
    fn read(mut self, text: &[u8], into: &mut [Block; WINDOW], seen: &mut Seen) {
        let (blocks, rest) = text.as_chunks::<BLOCK>();
        for (bytes, into) in blocks.iter().zip(&mut *into) {
            *into = self.block(bytes, BLOCK - 1);
        }
        if let (Some(last), Some(into)) = (rest.len().checked_sub(1), into.get_mut(blocks.len())) {
            *into = self.block(&padded(rest), last);
        }
        let controls = self.least.simd_lt(u8x64::splat(self.simd, b' '));
        let beyond_ascii = self.most.simd_ge(u8x64::splat(self.simd, 0x80));
        seen.is_cut = self.is_cut;
        seen.controls |= controls.to_bitmask() != 0;
        seen.beyond_ascii |= beyond_ascii.to_bitmask() != 0;
    }

    /// Of which the byte at `last` is the last that counts.
    #[inline(always)]
    fn block(&mut self, bytes: &[u8; BLOCK], last: usize) -> Block {
        let bytes = u8x64::simd_from(self.simd, *bytes);
        self.least = self.least.min(bytes);
        self.most = self.most.max(bytes);
        let (quotes, backslashes) = (self.are(bytes, b'"'), self.are(bytes, b'\\'));
        if backslashes == 0 && !self.is_cut {
            return Block { quotes, ..Block::default() };
        }
        let was_cut = u64::from(self.is_cut);
        let escapes = escapes(backslashes & !was_cut);
        let escaped = escapes << 1 | was_cut;
        self.is_cut = escapes >> last & 1 == 1;
        let strange = escaped & !self.short(bytes) & (u64::MAX >> (BLOCK - 1 - last));
        Block { quotes: quotes & !escaped, escapes, strange }
    }

    /// The bytes that may follow a backslash and stand for one character with it.
    #[inline(always)]
    fn short(&self, bytes: u8x64<S>) -> u64 {
        let controls = self.are_either(bytes, b'b', b'r') | self.are_either(bytes, b'f', b'n') | self.are(bytes, b't');
        controls | self.are(bytes, b'"') | self.are(bytes, b'\\') | self.are(bytes, b'/')
    }

    /// Two bytes that differ in one bit.
    #[inline(always)]
    fn are_either(&self, bytes: u8x64<S>, one: u8, other: u8) -> u64 {
        self.are(bytes | u8x64::splat(self.simd, one ^ other), one | other)
    }

    #[inline(always)]
    fn are(&self, bytes: u8x64<S>, byte: u8) -> u64 {
        bytes.simd_eq(u8x64::splat(self.simd, byte)).to_bitmask()
    }

    /// See [`outline`].
    #[inline(always)]
    fn outline(mut self, json: &[u8], mut text: impl FnMut(usize, i64)) -> Option<i64> {
        let (blocks, rest) = json.as_chunks::<BLOCK>();
        let rest = (!rest.is_empty()).then(|| padded(rest));
        // `within` is all ones in a string; `begins` is one where the last byte was the quote that opens one.
        let (mut open, mut within, mut begins, mut from) = (0, 0u64, 0, 0);
        for bytes in blocks.iter().chain(&rest) {
            let quotes = self.block(bytes, BLOCK - 1).quotes;
            let strings = odd(quotes) ^ within;
            // A bit of its own sets the braces apart from the square brackets.
            let bytes = u8x64::simd_from(self.simd, *bytes) | u8x64::splat(self.simd, 0x20);
            let opening = self.are(bytes, b'{') & !strings;
            let closing = self.are(bytes, b'}') & !strings;
            let firsts = (quotes & strings) << 1 | begins;
            let mut found = firsts & (self.are_either(bytes, b'u', b'e') | self.are(bytes, b'b'));
            while found != 0 {
                let at = found.trailing_zeros();
                let before = (1 << at) - 1;
                text(from + at as usize, open + difference(opening & before, closing & before));
                found &= found - 1;
            }
            open += difference(opening, closing);
            begins = (quotes & strings) >> (BLOCK - 1);
            within = 0u64.wrapping_sub(strings >> (BLOCK - 1));
            from += BLOCK;
        }
        (within == 0).then_some(open)
    }
}

#[inline(always)]
fn difference(opening: u64, closing: u64) -> i64 {
    i64::from(opening.count_ones()) - i64::from(closing.count_ones())
}

/// How many more brackets open in a JSON text than close, those in its strings apart; `None` where a string does not end.
/// `text` is told of each string that begins with `u`, `e` or `b`, be they capital or small: where that letter stands, and
/// how many brackets are open there.
pub(crate) fn outline(json: &[u8], text: impl FnMut(usize, i64)) -> Option<i64> {
    dispatch!(Level::new(), simd => Reader::new(simd, false).outline(json, text))
}

/// Those of the backslashes that begin an escape: of each run, every other one from its first.
#[inline(always)]
fn escapes(backslashes: u64) -> u64 {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    let first = backslashes & !(backslashes << 1);
    // Adding a run's first bit to it clears the run and carries into the byte behind it, which is no backslash.
    let at_even = backslashes & !backslashes.wrapping_add(first & EVEN);
    let at_odd = backslashes & !at_even;
    at_even & EVEN | at_odd & !EVEN
}

/// The bits at and behind which an odd number of `quotes` stand: an opening one, and all up to the one that closes.
#[inline(always)]
fn odd(quotes: u64) -> u64 {
    (0..BLOCK.ilog2()).fold(quotes, |bits, step| bits ^ bits << (1 << step))
}

/// Filled up with what is no mark.
#[inline(always)]
pub(super) fn padded(text: &[u8]) -> [u8; BLOCK] {
    let mut block = [b' '; BLOCK];
    block[..text.len()].copy_from_slice(text);
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Texts = Vec<(usize, i64)>;

    /// Byte by byte.
    fn outline_slowly(json: &[u8]) -> (Option<i64>, Texts) {
        let (mut open, mut within, mut escaped, mut texts) = (0, false, false, Vec::new());
        for (at, byte) in json.iter().enumerate() {
            let was_escaped = std::mem::replace(&mut escaped, false);
            match byte {
                b'\\' => escaped = !was_escaped,
                b'"' if !was_escaped => {
                    within = !within;
                    let first = json.get(at + 1).filter(|first| within && b"uUeEbB".contains(first));
                    texts.extend(first.map(|_| (at + 1, open)));
                }
                b'{' | b'[' if !within => open += 1,
                b'}' | b']' if !within => open -= 1,
                _ => {}
            }
        }
        ((!within).then_some(open), texts)
    }

    proptest! {
        #[test]
        fn brackets_outside_of_strings_are_counted_and_some_strings_told(
            json in prop::collection::vec(prop::sample::select(&b"aueBU\"\"\"\\{}[];"[..]), 0..300),
        ) {
            let mut texts = Vec::new();
            let open = outline(&json, |at, open| texts.push((at, open)));
            prop_assert_eq!((open, texts), outline_slowly(&json));
        }

        #[test]
        fn every_mark_is_found_wherever_the_text_is_cut(
            text in prop::collection::vec(prop::sample::select(&b"aub\"\"\\\\"[..]), 1..5_000),
            cuts in prop::collection::vec(0usize..5_000, 0..3),
        ) {
            let (mut quotes, mut escapes, mut strange, mut escaped) = (Vec::new(), Vec::new(), Vec::new(), false);
            for (at, byte) in text.iter().enumerate() {
                let was_escaped = std::mem::replace(&mut escaped, false);
                match byte {
                    _ if was_escaped && !b"\"\\/bfnrt".contains(byte) => strange.push(at),
                    b'\\' if !was_escaped => { escapes.push(at); escaped = true }
                    b'"' if !was_escaped => quotes.push(at),
                    _ => {}
                }
            }
            let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut < text.len()).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            cuts.dedup();
            let found = |which: fn(&Block) -> u64| {
                let (mut marks, mut found) = (Marks::new(), Vec::new());
                for cut in cuts.windows(2) {
                    let (piece, mut at) = (&text[cut[0]..cut[1]], 0);
                    while let Some(mark) = marks.find(piece, cut[0], at, which) {
                        found.push(cut[0] + mark);
                        at = mark + 1;
                    }
                }
                (found, marks.is_ascii() && !marks.has_controls())
            };
            prop_assert_eq!(found(|block| block.quotes), (quotes, true));
            prop_assert_eq!(found(|block| block.escapes), (escapes, true));
            prop_assert_eq!(found(|block| block.strange), (strange, true));
        }

        #[test]
        fn what_is_not_plain_is_told(text in prop::collection::vec(prop::sample::select(&b" a\x1f\n\x7f\x80\xff"[..]), 1..70), plain in 0usize..3_000) {
            let text = [vec![b'a'; plain], text].concat();
            let mut marks = Marks::new();
            prop_assert_eq!(marks.find(&text, 0, 0, |_| 0), None);
            prop_assert_eq!(marks.has_controls(), text.iter().any(|byte| *byte < 0x20));
            prop_assert_eq!(marks.is_ascii(), text.is_ascii());
        }
    }
}

//! A place in a body that lies in pieces.

use bytes::Bytes;

/// Reads on through the pieces as though they were one.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    piece: &'a [u8],
    /// Where in the piece, and where the piece begins.
    at: usize,
    begins: usize,
    later: std::slice::Iter<'a, Bytes>,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(pieces: &'a [Bytes]) -> Self {
        Self { piece: &[], at: 0, begins: 0, later: pieces.iter() }
    }

    /// How many bytes lie behind.
    pub(crate) fn offset(&self) -> usize {
        self.begins + self.at
    }

    /// The piece at hand and where in it the cursor stands; at its end only at the end of the body.
    #[inline]
    pub(crate) fn piece(&mut self) -> (&'a [u8], usize) {
        if self.at == self.piece.len() {
            self.next_piece();
        }
        (self.piece, self.at)
    }

    /// Where the piece at hand begins.
    pub(crate) fn begins(&self) -> usize {
        self.begins
    }

    fn next_piece(&mut self) {
        while self.at == self.piece.len() {
            let Some(piece) = self.later.next() else { return };
            self.begins += self.piece.len();
            (self.piece, self.at) = (piece, 0);
        }
    }

    /// What is left of the piece at hand; empty only at the end of the body.
    #[inline]
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        let (piece, at) = self.piece();
        &piece[at..]
    }

    /// Goes on by `count` bytes of [`rest`](Self::rest).
    #[inline]
    pub(crate) fn advance(&mut self, count: usize) {
        self.at += count;
        debug_assert!(self.at <= self.piece.len(), "past the piece");
    }

    /// The next byte, where it stands in the piece at hand.
    #[inline]
    pub(crate) fn here(&self) -> Option<u8> {
        self.piece.get(self.at).copied()
    }

    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let (piece, at) = self.piece();
        piece.get(at).copied()
    }

    #[inline]
    pub(crate) fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.advance(1);
        Some(byte)
    }

    /// Goes past one `want`, if that is what follows.
    #[inline]
    pub(crate) fn eat_byte(&mut self, want: u8) -> bool {
        let found = self.peek() == Some(want);
        if found {
            self.advance(1);
        }
        found
    }

    /// Goes past `want` if that is what follows.
    pub(crate) fn eat(&mut self, want: &[u8]) -> bool {
        let mut ahead = self.clone();
        let found = want.iter().all(|byte| ahead.next() == Some(*byte));
        if found {
            *self = ahead;
        }
        found
    }

    /// Goes past all bytes that `fit`; says how many.
    #[inline]
    pub(crate) fn skip_while(&mut self, fit: impl Fn(u8) -> bool) -> usize {
        let start = self.offset();
        loop {
            let rest = self.rest();
            let run = rest.iter().position(|byte| !fit(*byte)).unwrap_or(rest.len());
            self.advance(run);
            if run == 0 || run < rest.len() {
                return self.offset() - start;
            }
        }
    }
}

//! A place in a body that lies in pieces.

use bytes::Bytes;

/// Reads on through the pieces as though they were one.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    later: std::slice::Iter<'a, Bytes>,
    offset: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(pieces: &'a [Bytes]) -> Self {
        Self { rest: &[], later: pieces.iter(), offset: 0 }
    }

    /// How many bytes lie behind.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// What is left of the piece at hand; empty only at the end of the body.
    #[inline]
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        while self.rest.is_empty() {
            match self.later.next() {
                Some(piece) => self.rest = piece,
                None => break,
            }
        }
        self.rest
    }

    /// Goes on by `count` bytes of [`rest`](Self::rest).
    #[inline]
    pub(crate) fn advance(&mut self, count: usize) {
        self.rest = &self.rest[count..];
        self.offset += count;
    }

    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        self.rest().first().copied()
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
        let start = self.offset;
        loop {
            let rest = self.rest();
            let run = rest.iter().position(|byte| !fit(*byte)).unwrap_or(rest.len());
            self.advance(run);
            if run == 0 || run < rest.len() {
                return self.offset - start;
            }
        }
    }
}

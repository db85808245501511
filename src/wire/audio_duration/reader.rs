//! A file inside a body, read forward.

use std::ops::Range;

use bytes::Bytes;

use crate::wire::cursor::Cursor;

/// A place in the file. Cheap to clone, which is how one goes back.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    cursor: Cursor<'a>,
    left: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(pieces: &'a [Bytes], content: Range<usize>) -> Self {
        let all = pieces.iter().map(Bytes::len).sum::<usize>();
        let end = content.end.min(all);
        let mut this = Self { cursor: Cursor::new(pieces), left: end };
        let _ = this.skip(content.start.min(end) as u64);
        this
    }

    /// How many bytes are left.
    pub(super) fn len(&self) -> usize {
        self.left
    }

    /// What is at hand without going on.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        let rest = self.cursor.rest();
        &rest[..rest.len().min(self.left)]
    }

    /// Goes on by `count` bytes; `None`, and to the end, where there are not so many.
    pub(super) fn skip(&mut self, count: u64) -> Option<()> {
        let mut count = usize::try_from(count).unwrap_or(usize::MAX);
        while count > 0 {
            let run = self.rest().len().min(count);
            if run == 0 {
                return None;
            }
            self.cursor.advance(run);
            self.left -= run;
            count -= run;
        }
        Some(())
    }

    /// Fills `into` as far as there are bytes.
    pub(super) fn read_into<'b>(&mut self, into: &'b mut [u8]) -> &'b [u8] {
        let mut filled = 0;
        while filled < into.len() {
            let run = self.rest();
            let run = &run[..run.len().min(into.len() - filled)];
            if run.is_empty() {
                break;
            }
            into[filled..filled + run.len()].copy_from_slice(run);
            filled += run.len();
            let _ = self.skip(run.len() as u64);
        }
        &into[..filled]
    }

    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        (self.read_into(&mut bytes).len() == N).then_some(bytes)
    }

    /// A number of `N` bytes, the highest first. At most eight.
    pub(super) fn big<const N: usize>(&mut self) -> Option<u64> {
        Some(self.take::<N>()?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// A number of `N` bytes, the lowest first. At most eight.
    pub(super) fn little<const N: usize>(&mut self) -> Option<u64> {
        Some(self.take::<N>()?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

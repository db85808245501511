//! Bytes that are kept in the pieces that arrived.

use bytes::Bytes;

/// Shorter ones are joined, so that many tiny pieces cost no more than their bytes.
const SMALL: usize = 512;

/// The pieces so far: shared, not copied.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    pieces: Vec<Bytes>,
    small: Vec<u8>,
    len: usize,
}

impl Pieces {
    /// The next one.
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        if piece.len() < SMALL {
            self.small.extend_from_slice(&piece);
            return;
        }
        self.flush();
        self.pieces.push(piece);
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All of them, none empty.
    pub(crate) fn done(mut self) -> Vec<Bytes> {
        self.flush();
        self.pieces
    }

    fn flush(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push(std::mem::take(&mut self.small).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_ones_are_shared_and_tiny_ones_joined_in_their_order() {
        let large = Bytes::from(vec![b'x'; SMALL]);
        let mut pieces = Pieces::default();
        for piece in [Bytes::from_static(b"a"), Bytes::from_static(b"b"), large.clone(), Bytes::from_static(b"c")] {
            pieces.push(piece);
        }
        assert_eq!(pieces.len(), SMALL + 3);
        let pieces = pieces.done();
        assert_eq!((&pieces[0][..], &pieces[2][..]), (&b"ab"[..], &b"c"[..]));
        assert_eq!(pieces[1].as_ptr(), large.as_ptr());
    }
}

//! A body that has to be read whole before it can be told what it is.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;

/// So much is set aside on the sender's word alone.
const MAX_EXPECTED: usize = 32 * 1024 * 1024;

/// The bytes of a body so far, in one piece. It grows by a quarter at a time, so that a large one is held little more than
/// once.
#[derive(Debug, Default)]
pub(crate) struct Whole(Vec<u8>);

impl Whole {
    /// Makes room for the body that `headers` announce.
    pub(crate) fn expect(&mut self, headers: &HeaderMap) {
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        self.0.reserve_exact(length.unwrap_or(0).min(MAX_EXPECTED));
    }

    /// Takes in `piece`; `false` where the body would be longer than `most`.
    pub(crate) fn push(&mut self, piece: &[u8], most: usize) -> bool {
        let len = self.0.len();
        if piece.len() > most.saturating_sub(len) {
            return false;
        }
        if piece.len() > self.0.capacity() - len {
            self.0.reserve_exact(piece.len().max(len / 4));
        }
        self.0.extend_from_slice(piece);
        true
    }

    /// The body, not copied.
    pub(crate) fn into_bytes(self) -> Bytes {
        self.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_by_a_quarter_and_stops_at_its_bound() {
        let mut whole = Whole::default();
        for _ in 0..100 {
            assert!(whole.push(&[7; 1_000], 100_000));
            assert!(whole.0.capacity() <= whole.0.len() / 4 * 5 + 1_000);
        }
        assert!(!whole.push(&[7], 100_000));
        assert_eq!(whole.into_bytes().len(), 100_000);
    }

    #[test]
    fn what_is_announced_is_set_aside_within_reason() {
        for (said, room) in [("1000", 1_000), ("99999999999", MAX_EXPECTED), ("-1", 0), ("x", 0)] {
            let mut whole = Whole::default();
            whole.expect(&HeaderMap::from_iter([(CONTENT_LENGTH, said.parse().unwrap())]));
            assert_eq!(whole.0.capacity(), room, "{said}");
        }
    }
}

//! Changes to a body at byte offsets: what does not change is shared, not copied.

use std::ops::Range;

use bytes::Bytes;

/// Puts each edit's bytes in the place of its range (an empty range inserts), and shares all other bytes.
///
/// Ranges are offsets over all pieces of the body as it was. Edits at the same place keep their order; a byte that
/// several ranges cover goes once.
///
/// ```
/// use kancy::wire::splice::splice;
///
/// let pieces = [r#"{"model":"my-"#.into(), r#"alias"}"#.into()];
/// let edited = splice(&pieces, vec![(9..19, r#""gpt-4o""#.into())]);
/// assert_eq!(edited.concat(), br#"{"model":"gpt-4o"}"#);
/// ```
pub fn splice(pieces: &[Bytes], mut edits: Vec<(Range<usize>, Bytes)>) -> Vec<Bytes> {
    edits.sort_by_key(|(range, _)| range.start);
    let mut out = Vec::with_capacity(pieces.len() + 2 * edits.len());
    let mut body = Rest { front: Bytes::new(), later: pieces.iter(), offset: 0 };
    for (range, bytes) in edits {
        body.take(range.start, |kept| out.push(kept));
        body.take(range.end, drop);
        out.push(bytes);
    }
    body.take(usize::MAX, |kept| out.push(kept));
    out.retain(|piece| !piece.is_empty());
    out
}

/// What is left of the body as it was.
struct Rest<'a> {
    front: Bytes,
    later: std::slice::Iter<'a, Bytes>,
    offset: usize,
}

impl Rest<'_> {
    /// Takes all bytes before the offset `to`.
    fn take(&mut self, to: usize, mut each: impl FnMut(Bytes)) {
        while self.offset < to {
            if self.front.is_empty() {
                match self.later.next() {
                    Some(piece) => self.front = piece.clone(),
                    None => return,
                }
            }
            let run = self.front.split_to(self.front.len().min(to - self.offset));
            self.offset += run.len();
            each(run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Pieces, and edits whose ranges lie one behind the other.
    fn case() -> impl Strategy<Value = (Vec<Bytes>, Vec<(Range<usize>, Bytes)>)> {
        let pieces = prop::collection::vec("[a-z]{0,6}", 0..6);
        let places = prop::collection::vec((any::<prop::sample::Index>(), "[0-9]{0,3}"), 0..8);
        (pieces, places).prop_map(|(pieces, places)| {
            let len = pieces.iter().map(String::len).sum::<usize>();
            let mut places: Vec<_> = places.into_iter().map(|(at, text)| (at.index(len + 1), text)).collect();
            places.sort_by_key(|(at, _)| *at);
            let edits =
                places.chunks(2).map(|pair| (pair[0].0..pair[pair.len() - 1].0, Bytes::from(pair[0].1.clone())));
            (pieces.into_iter().map(Bytes::from).collect(), edits.collect())
        })
    }

    proptest! {
        #[test]
        fn it_reads_like_a_splice_of_the_joined_body((pieces, edits) in case()) {
            let mut naive = pieces.concat();
            for (range, bytes) in edits.iter().rev() {
                naive.splice(range.clone(), bytes.iter().copied());
            }
            prop_assert_eq!(splice(&pieces, edits).concat(), naive);
        }
    }

    #[test]
    fn what_does_not_change_is_shared() {
        let piece = Bytes::from(vec![b'x'; 100]);
        let out = splice(std::slice::from_ref(&piece), vec![(10..20, Bytes::from_static(b"new"))]);
        assert_eq!(out.len(), 3);
        assert_eq!((out[0].as_ptr(), out[2].as_ptr()), (piece.as_ptr(), piece[20..].as_ptr()));
    }

    #[test]
    fn edits_beyond_the_body_or_upon_each_other_do_no_harm() {
        let piece = [Bytes::from_static(b"abcdef")];
        let edits = vec![(4..99, Bytes::from_static(b"2")), (1..5, Bytes::from_static(b"1"))];
        assert_eq!(splice(&piece, edits).concat(), b"a12");
    }
}

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

//! Byte splices over a body's segments.

use std::ops::Range;

use bytes::Bytes;

use crate::http::body::Segments;

/// New bytes for a place of the body; an empty place inserts.
pub(super) type Edit = (Range<usize>, Bytes);

/// The body with `edits` made. All that is not edited is shared, not copied. Places must not overlap.
pub(super) fn splice(body: &Segments, mut edits: Vec<Edit>) -> Segments {
    if edits.is_empty() {
        return body.clone();
    }
    edits.sort_by_key(|(place, _)| (place.start, place.end));
    let mut pieces = Vec::with_capacity(2 * edits.len() + body.pieces().len());
    let mut at = 0;
    for (place, new) in edits {
        debug_assert!(place.start >= at, "splices overlap");
        pieces.extend(body.slice(at..place.start));
        pieces.push(new);
        at = place.end;
    }
    pieces.extend(body.slice(at..body.len()));
    Segments::new(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_made_across_segments_and_the_rest_is_shared() {
        let first = Bytes::from_static(b"0123");
        let body = Segments::new(vec![first.clone(), Bytes::from_static(b"4567"), Bytes::from_static(b"89")]);
        let edited = splice(
            &body,
            vec![(3..5, Bytes::from_static(b"X")), (0..0, Bytes::from_static(b"<")), (9..10, Bytes::new())],
        );
        assert_eq!(edited.joined(), "<012X5678");
        assert_eq!(edited.pieces()[1].as_ptr(), first.as_ptr());
        assert_eq!(splice(&body, Vec::new()).pieces().len(), 3);
    }
}

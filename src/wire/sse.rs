//! Server-sent events, read from pieces that the network cut anywhere.
//!
//! The reader finds where events end and leaves their bytes as they are: what passes through is passed on unchanged, in
//! slices of the piece that it came in. Lines end in LF, CR or CRLF, in any mixture; several `data:` lines are one value;
//! comments, an opening byte order mark and a last event without its blank line are understood.

use std::borrow::Cow;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// An event longer than this is an error: nothing may make a stream's memory grow.
pub const MAX_EVENT_BYTES: usize = 8 * 1024 * 1024;

const DATA: &[u8] = b"data:";

/// An event (or a run of comments) with its closing blank line, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SseEvent {
    bytes: Bytes,
    /// Where it lies in the piece pushed last; `None` where it was gathered from several.
    place: Option<Range<usize>>,
    is_plain: bool,
}

/// The event at hand is longer than [`MAX_EVENT_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTooLong;

/// Splits pieces into events. Push a piece, then take [`next_event`](Self::next_event) until there is none.
#[derive(Debug, Default)]
pub struct SseReader {
    /// The beginning of an event whose end has not come.
    pending: BytesMut,
    piece: Bytes,
    at: usize,
    /// The last line of `pending` (or of the event just given out) ended in a CR whose LF may follow.
    after_cr: bool,
    /// Whether `pending` ends at the start of a line.
    line_start: bool,
    /// So many lines of the event at hand have ended.
    lines: usize,
    /// Whether the stream's very first bytes have been seen.
    started: bool,
}

impl SseReader {
    /// A reader at the start of a stream.
    pub fn new() -> Self {
        Self { line_start: true, ..Self::default() }
    }

    /// The next piece. All events of the one before must have been taken.
    pub fn push(&mut self, piece: Bytes) {
        debug_assert_eq!(self.at, self.piece.len(), "events of the last piece were left");
        self.piece = piece;
        self.at = 0;
    }

    /// The next event that is whole.
    pub fn next_event(&mut self) -> Result<Option<SseEvent>, EventTooLong> {
        let from = self.at;
        let mut cursor = from;
        while cursor < self.piece.len() {
            if self.after_cr {
                self.after_cr = false;
                if self.piece[cursor] == b'\n' {
                    cursor += 1;
                    if cursor - from == 1 && self.pending.is_empty() {
                        // The second half of a blank line's CRLF whose event is out already.
                        return Ok(Some(self.give(from..cursor)));
                    }
                    continue;
                }
            }
            let Some(offset) = memchr::memchr2(b'\n', b'\r', &self.piece[cursor..]) else {
                self.line_start = false;
                break;
            };
            let blank = offset == 0 && self.line_start;
            let end = cursor + offset;
            self.after_cr = self.piece[end] == b'\r';
            cursor = end + 1;
            self.line_start = true;
            self.lines += usize::from(!blank);
            if blank {
                if self.after_cr && self.piece.get(cursor) == Some(&b'\n') {
                    self.after_cr = false;
                    cursor += 1;
                }
                return Ok(Some(self.give(from..cursor)));
            }
        }
        if self.pending.len() + self.piece.len() - from > MAX_EVENT_BYTES {
            return Err(EventTooLong);
        }
        self.pending.extend_from_slice(&self.piece[from..]);
        self.at = self.piece.len();
        Ok(None)
    }

    /// What is left at the end of the stream: a last event that lacks its blank line.
    pub fn finish(&mut self) -> Option<SseEvent> {
        let bytes = self.pending.split().freeze();
        let is_plain = is_one_data_line(&bytes);
        (!bytes.is_empty()).then_some(SseEvent { bytes, place: None, is_plain })
    }

    fn give(&mut self, place: Range<usize>) -> SseEvent {
        self.at = place.end;
        self.line_start = true;
        let first = !std::mem::replace(&mut self.started, true);
        let (mut bytes, mut place) = if self.pending.is_empty() {
            (self.piece.slice(place.clone()), Some(place))
        } else {
            self.pending.extend_from_slice(&self.piece[place]);
            (self.pending.split().freeze(), None)
        };
        if first && bytes.starts_with(b"\xef\xbb\xbf") {
            bytes = bytes.slice(3..);
            place = place.map(|p| p.start + 3..p.end);
        }
        let is_plain = std::mem::take(&mut self.lines) == 1 && bytes.starts_with(DATA);
        SseEvent { bytes, place, is_plain }
    }
}

/// Whether these are one line of data, and blank ones behind it.
pub(crate) fn is_one_data_line(bytes: &[u8]) -> bool {
    bytes.starts_with(DATA)
        && memchr::memchr2(b'\n', b'\r', bytes)
            .is_none_or(|end| bytes[end..].iter().all(|byte| matches!(byte, b'\n' | b'\r')))
}

impl SseEvent {
    /// The bytes as they came, blank line included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Where it lies in the piece pushed last; `None` where it was gathered from several.
    pub fn place(&self) -> Option<Range<usize>> {
        self.place.clone()
    }

    /// Whether it is of the common form: one line of data, and nothing else.
    pub(crate) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// The value of its `data:` lines, joined by LF; `None` where it has none.
    pub fn data(&self) -> Option<Cow<'_, [u8]>> {
        let mut found: Option<Cow<'_, [u8]>> = None;
        for (name, value) in self.fields() {
            if name != b"data" {
                continue;
            }
            found = Some(match found {
                None => Cow::Borrowed(value),
                Some(before) => {
                    let mut joined = before.into_owned();
                    joined.push(b'\n');
                    joined.extend_from_slice(value);
                    Cow::Owned(joined)
                }
            });
        }
        found
    }

    /// The value of its last `event:` line.
    pub fn name(&self) -> Option<&[u8]> {
        self.fields().filter(|(name, _)| name == b"event").map(|(_, value)| value).last()
    }

    /// Whether it has an `id:` or `retry:` line, which some clients stumble over.
    pub fn has_id_or_retry(&self) -> bool {
        self.fields().any(|(name, _)| name == b"id" || name == b"retry")
    }

    /// Its bytes without `id:` and `retry:` lines; empty when nothing but blank lines would be left.
    pub fn without_id_and_retry(&self) -> Bytes {
        let mut kept = BytesMut::with_capacity(self.bytes.len());
        let mut any = false;
        for line in lines(&self.bytes) {
            let (name, _) = field(trim_end(line));
            if name != b"id" && name != b"retry" {
                any |= !trim_end(line).is_empty();
                kept.extend_from_slice(line);
            }
        }
        if any { kept.freeze() } else { Bytes::new() }
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        lines(&self.bytes).map(|line| field(trim_end(line)))
    }
}

/// Lines with their ends.
fn lines(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = match memchr::memchr2(b'\n', b'\r', rest) {
            None => rest.len(),
            Some(at) if rest[at] == b'\r' && rest.get(at + 1) == Some(&b'\n') => at + 2,
            Some(at) => at + 1,
        };
        let (line, tail) = rest.split_at(end);
        rest = tail;
        Some(line)
    })
}

fn trim_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Name and value of a line. A comment has an empty name.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b':', line) {
        None => (line, b""),
        Some(at) => {
            let value = &line[at + 1..];
            (&line[..at], value.strip_prefix(b" ").unwrap_or(value))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(pieces: &[&[u8]]) -> (Vec<u8>, Vec<Vec<u8>>) {
        let mut reader = SseReader::new();
        let mut events = Vec::new();
        for piece in pieces {
            reader.push(Bytes::copy_from_slice(piece));
            while let Some(event) = reader.next_event().unwrap() {
                events.push(event);
            }
        }
        events.extend(reader.finish());
        let raw = events.iter().flat_map(|e| e.bytes().to_vec()).collect();
        let data = events.iter().filter_map(|e| e.data().map(Cow::into_owned)).collect();
        (raw, data)
    }

    const STREAM: &[u8] =
        b": hello\r\n\r\ndata: {\"a\":1}\n\nevent: x\rdata:two\rdata: lines\r\rid: 7\nretry: 3\ndata: last\r\n\r\n\ndata: [DONE]";

    #[test]
    fn every_line_end_and_field_form_is_read() {
        let (raw, data) = read(&[STREAM]);
        assert_eq!(raw, STREAM);
        assert_eq!(data, [&b"{\"a\":1}"[..], b"two\nlines", b"last", b"[DONE]"]);
    }

    #[test]
    fn an_opening_byte_order_mark_is_left_out() {
        let (raw, data) = read(&[b"\xef\xbb\xbfdata: x\n\n"]);
        assert_eq!((raw.as_slice(), data), (&b"data: x\n\n"[..], vec![b"x".to_vec()]));
    }

    #[test]
    fn id_and_retry_lines_can_be_left_out() {
        let mut reader = SseReader::new();
        reader.push(Bytes::from_static(b"id: 7\nretry: 3\ndata: x\n\nid: 8\n\n"));
        let event = reader.next_event().unwrap().unwrap();
        assert!(event.has_id_or_retry());
        assert_eq!(event.without_id_and_retry(), "data: x\n\n");
        assert_eq!(reader.next_event().unwrap().unwrap().without_id_and_retry(), "");
    }

    #[test]
    fn an_event_without_end_is_an_error_and_not_memory() {
        let mut reader = SseReader::new();
        let piece = Bytes::from(vec![b'x'; 1024 * 1024]);
        let error = (0..20).find_map(|_| {
            reader.push(piece.clone());
            reader.next_event().err()
        });
        assert_eq!(error, Some(EventTooLong));
    }

    proptest! {
        #[test]
        fn the_cut_does_not_matter(cuts in proptest::collection::vec(0..STREAM.len(), 0..12)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &STREAM[w[0]..w[1]]).collect();
            prop_assert_eq!(read(&pieces), read(&[STREAM]));
        }

        #[test]
        fn any_bytes_come_back_as_they_were(text in "[ab:\r\n ]{0,60}", at in 0usize..60) {
            let at = at.min(text.len());
            let (raw, data) = read(&[&text.as_bytes()[..at], &text.as_bytes()[at..]]);
            prop_assert_eq!(raw, text.as_bytes());
            prop_assert_eq!(data, read(&[text.as_bytes()]).1);
        }

        #[test]
        fn an_event_of_one_data_line_is_known_wherever_it_was_cut(
            text in "\u{feff}?(data:|[a:\r\n ]){0,20}",
            at in 0usize..60,
        ) {
            let text = text.as_bytes();
            let at = at.min(text.len());
            let (mut reader, mut events) = (SseReader::new(), Vec::new());
            for piece in [&text[..at], &text[at..]] {
                reader.push(Bytes::copy_from_slice(piece));
                events.extend(std::iter::from_fn(|| reader.next_event().unwrap()));
            }
            for event in events.into_iter().chain(reader.finish()) {
                prop_assert_eq!(event.is_plain(), is_one_data_line(event.bytes()));
            }
        }
    }
}

//! A JSON document that is nearly all of it a few long texts (pictures in base64): the texts stay in the pieces that
//! arrived, and what is parsed is the small rest.

use std::mem;

use bytes::Bytes;
use memchr::{memchr, memchr2};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::pieces::Pieces;

/// A text longer than this is kept apart.
const LONG: usize = 1024;
/// Stands in the place of such a text, whose place alone tells it from one that a sender wrote so.
const PLACEHOLDER: &[u8] = b"\"~\"";

/// A document on its way.
#[derive(Debug, Default)]
pub(crate) struct Outliner {
    rest: Vec<u8>,
    long: Vec<(usize, Text)>,
    /// Where the string at hand begins in `rest`; `None` outside of strings.
    string: Option<usize>,
    escaped: bool,
    /// The string at hand, once it is long.
    open: Option<Open>,
    len: usize,
}

#[derive(Debug)]
enum Open {
    Kept(Pieces),
    HandedOn,
}

/// To whom a long text may be handed on while it comes.
pub(crate) trait Taker {
    /// A long text begins so, with its opening quote. `before` is the document up to here, closed; there it is a text that
    /// was [handed on](Text::was_handed_on). Whoever says `true` is given this beginning and all that comes, and nothing is kept.
    fn takes(&mut self, before: impl FnOnce() -> Outline, beginning: &[u8]) -> bool;

    /// More of the text that was taken.
    fn more(&mut self, piece: Bytes);

    /// Its closing quote was the last of what was given.
    fn closed(&mut self);
}

/// Takes nothing: all is kept.
struct Nobody;

impl Taker for Nobody {
    fn takes(&mut self, _: impl FnOnce() -> Outline, _: &[u8]) -> bool {
        false
    }

    fn more(&mut self, _: Bytes) {}

    fn closed(&mut self) {}
}

/// A document that has been read to its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outline {
    rest: Bytes,
    /// The long texts, by the places of their placeholders.
    long: Vec<(usize, Text)>,
}

/// A JSON string as it came, quotes and escapes included, in pieces that are shared; none if it was handed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text(Vec<Bytes>);

impl Outliner {
    /// How many bytes came.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The next piece. All of it is kept.
    pub(crate) fn push(&mut self, piece: &Bytes) {
        self.push_to(piece, &mut Nobody);
    }

    /// The next piece. A long text may go to `taker` as it comes.
    pub(crate) fn push_to(&mut self, piece: &Bytes, taker: &mut impl Taker) {
        self.len += piece.len();
        let mut at = 0;
        while at < piece.len() {
            let bytes = &piece[at..];
            let Some(begun) = self.string else {
                let end = memchr(b'"', bytes).map_or(bytes.len(), |quote| quote + 1);
                self.rest.extend_from_slice(&bytes[..end]);
                self.string = (bytes[end - 1] == b'"').then(|| self.rest.len() - 1);
                at += end;
                continue;
            };
            let end = self.in_string(bytes);
            self.take(begun, piece.slice(at..at + end.at), taker);
            at += end.at;
            if end.closes {
                self.close(begun, taker);
            }
        }
    }

    /// How much of `bytes` belongs to the string at hand.
    fn in_string(&mut self, bytes: &[u8]) -> End {
        let mut at = usize::from(mem::take(&mut self.escaped));
        while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
            at += found + 1;
            if bytes[at - 1] == b'"' {
                return End { at, closes: true };
            }
            self.escaped = at == bytes.len();
            at += 1;
        }
        End { at: bytes.len(), closes: false }
    }

    /// More of the string at hand.
    fn take(&mut self, begun: usize, more: Bytes, taker: &mut impl Taker) {
        match &mut self.open {
            Some(Open::Kept(kept)) => return kept.push(more),
            Some(Open::HandedOn) => return taker.more(more),
            None if self.rest.len() - begun + more.len() <= LONG => return self.rest.extend_from_slice(&more),
            None => {}
        }
        // Enough to tell what it is, wherever it was cut.
        let have = self.rest.len() - begun;
        self.rest.extend_from_slice(&more[..LONG - have]);
        let takes = taker.takes(|| self.closed_before(begun), &self.rest[begun..]);
        self.rest.truncate(begun + have);
        let beginning = Bytes::copy_from_slice(&self.rest[begun..]);
        self.rest.truncate(begun);
        self.open = Some(if takes {
            taker.more(beginning);
            taker.more(more);
            Open::HandedOn
        } else {
            let mut kept = Pieces::default();
            kept.push(beginning);
            kept.push(more);
            Open::Kept(kept)
        });
    }

    fn close(&mut self, begun: usize, taker: &mut impl Taker) {
        self.string = None;
        let text = match self.open.take() {
            Some(Open::Kept(kept)) => Text(kept.done()),
            Some(Open::HandedOn) => {
                taker.closed();
                Text::default()
            }
            None => return,
        };
        self.long.push((begun, text));
        self.rest.extend_from_slice(PLACEHOLDER);
    }

    /// The document up to the text that begins at `begun`, as though that were its end.
    fn closed_before(&self, begun: usize) -> Outline {
        let mut rest = self.rest[..begun].to_vec();
        let closing = closing(&rest);
        rest.extend_from_slice(PLACEHOLDER);
        rest.extend(closing.into_iter().rev());
        let mut long = self.long.clone();
        long.push((begun, Text::default()));
        Outline { rest: rest.into(), long }
    }

    /// The document. What broke off within a text is left as it is: it cannot be parsed.
    pub(crate) fn done(self) -> Outline {
        Outline { rest: self.rest.into(), long: self.long }
    }
}

struct End {
    at: usize,
    closes: bool,
}

/// What closes the brackets that are open at the end of `json`, the outermost first.
fn closing(json: &[u8]) -> Vec<u8> {
    let (mut open, mut at) = (Vec::new(), 0);
    while let Some(byte) = json.get(at) {
        at += 1;
        match byte {
            b'{' => open.push(b'}'),
            b'[' => open.push(b']'),
            b'}' | b']' => drop(open.pop()),
            b'"' => {
                while let Some(found) = json.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
                    let escapes = json[at + found] == b'\\';
                    at += found + 1 + usize::from(escapes);
                    if !escapes {
                        break;
                    }
                }
            }
            _ => {}
        }
    }
    open
}

impl Outline {
    /// What is left to parse.
    pub(crate) fn rest(&self) -> &Bytes {
        &self.rest
    }

    /// Whether it is a document, and not the beginning of one.
    pub(crate) fn is_whole(&self) -> bool {
        serde_json::from_slice::<IgnoredAny>(&self.rest).is_ok()
    }

    /// The string that stands at `raw`, a value of the [rest](Self::rest); `None` where it is no string, or empty.
    pub(crate) fn text(&self, raw: &RawValue) -> Option<Text> {
        let value = raw.get();
        if !value.starts_with('"') || value == "\"\"" {
            return None;
        }
        let place = value.as_ptr() as usize - self.rest.as_ptr() as usize;
        let long = self.long.binary_search_by_key(&place, |(place, _)| *place);
        Some(
            long.map_or_else(|_| Text(vec![self.rest.slice_ref(value.as_bytes())]), |found| self.long[found].1.clone()),
        )
    }

    /// The whole document as it came.
    pub(crate) fn into_pieces(self) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        let mut from = 0;
        for (place, text) in self.long {
            pieces.push(self.rest.slice(from..place));
            pieces.extend(text.0);
            from = place + PLACEHOLDER.len();
        }
        pieces.push(self.rest.slice(from..));
        pieces
    }
}

impl Text {
    /// Its pieces, quotes included.
    pub(crate) fn pieces(&self) -> &[Bytes] {
        &self.0
    }

    /// Whether its bytes went on as they came, and are not here.
    pub(crate) fn was_handed_on(&self) -> bool {
        self.0.is_empty()
    }

    /// What it says.
    pub(crate) fn read(&self) -> Option<String> {
        serde_json::from_slice(&self.0.concat()).ok()
    }
}

impl From<Bytes> for Text {
    fn from(quoted: Bytes) -> Self {
        Self(vec![quoted])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn outlined(document: &[u8], cuts: &[usize]) -> Outline {
        let mut places: Vec<_> = cuts.iter().map(|cut| cut % (document.len() + 1)).collect();
        places.extend([0, document.len()]);
        places.sort_unstable();
        let document = Bytes::copy_from_slice(document);
        let mut outliner = Outliner::default();
        places.windows(2).for_each(|cut| outliner.push(&document.slice(cut[0]..cut[1])));
        assert_eq!(outliner.len(), document.len());
        outliner.done()
    }

    #[test]
    fn a_long_text_is_kept_in_its_pieces_and_a_placeholder_that_was_sent_is_none() {
        let long = "x".repeat(5_000);
        let document = format!(r#"{{"a":"~","b":"{long}","c":"","d":1}}"#);
        let outline = outlined(document.as_bytes(), &[2_000, 2_001, 4_000]);
        assert!(outline.rest().len() < 40, "{:?}", outline.rest());
        let fields: HashMap<String, &RawValue> = serde_json::from_slice(outline.rest()).unwrap();
        assert_eq!(outline.text(fields["a"]).unwrap().read().unwrap(), "~");
        assert_eq!(outline.text(fields["b"]).unwrap().read().unwrap(), long);
        assert_eq!((outline.text(fields["c"]), outline.text(fields["d"])), (None, None));
        assert_eq!(outline.into_pieces().concat(), document.as_bytes());
    }

    #[test]
    fn many_tiny_pieces_cost_no_more_than_their_bytes() {
        let mut outliner = Outliner::default();
        for _ in 0..100_000 {
            outliner.push(&Bytes::from_static(b"x"));
        }
        outliner.push(&Bytes::from_static(b"\""));
        for _ in 0..100_000 {
            outliner.push(&Bytes::from_static(b"xy"));
        }
        outliner.push(&Bytes::from_static(b"\""));
        let outline = outliner.done();
        // What came before it was known to be long, and all the rest.
        assert_eq!((outline.long.len(), outline.long[0].1.pieces().len()), (1, 2));
    }

    #[test]
    fn what_breaks_off_is_not_parsed() {
        let outline = outlined(format!(r#"{{"a":"{}"#, "x".repeat(5_000)).as_bytes(), &[]);
        assert!(serde_json::from_slice::<serde_json::Value>(outline.rest()).is_err());
    }

    proptest! {
        #[test]
        fn every_text_is_found_again_however_the_document_is_cut(
            texts in prop::collection::vec(prop_oneof!["[ -~é\n]{0,20}", r#"[ab"\\é]{1000,1400}"#], 1..6),
            cuts in prop::collection::vec(any::<usize>(), 0..12),
        ) {
            let document = serde_json::to_vec(&texts).unwrap();
            let outline = outlined(&document, &cuts);
            let found: Vec<&RawValue> = serde_json::from_slice(outline.rest()).unwrap();
            for (raw, text) in found.iter().zip(&texts) {
                prop_assert_eq!(outline.text(raw).map_or(String::new(), |found| found.read().unwrap()), text.as_str());
            }
            prop_assert_eq!(outline.into_pieces().concat(), document);
        }

        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(prop::sample::select(&b"{}[]\",:\\ a"[..]), 0..3_000), cuts in prop::collection::vec(any::<usize>(), 0..12)) {
            let outline = outlined(&bytes, &cuts);
            prop_assert!(outline.into_pieces().concat().len() <= bytes.len());
        }
    }
}

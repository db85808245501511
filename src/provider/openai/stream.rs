//! A stream, passed through: the vendor's bytes go on in slices of the pieces that they came in.
//!
//! Each event is searched for a few members and parsed only where one of them says something: usage, a finish, an error.

use std::ops::Range;

use bytes::Bytes;

use crate::base::error::{Code, Error};
use crate::domain::usage::Usage;
use crate::provider::traits::Output;
use crate::wire::sse::{EventTooLong, SseEvent, SseReader};
use crate::wire::text::closing_quote;

use super::dialect::Dialect;
use super::{Form, fault};

/// What the events of one route say.
pub(super) trait Events: Send + Sync + 'static {
    /// Whose events they are.
    fn dialect(&self) -> Dialect;

    /// What this one is; notes on the way what it tells of usage.
    fn read(&mut self, event: &SseEvent, out: &mut Output) -> Meaning;

    /// Whether the one that ends the answer was seen.
    fn is_finished(&self) -> bool;

    /// What has been delivered so far, by our own count.
    fn delivered(&self) -> Usage;
}

pub(super) struct Stream<E> {
    events: E,
    reader: SseReader,
    /// An event with data was seen.
    begun: bool,
    /// `[DONE]` was seen.
    done: bool,
}

/// What an event is to us.
pub(super) enum Meaning {
    Passes,
    Hidden,
    Fails(Error),
}

impl<E: Events> Stream<E> {
    pub(super) fn new(events: E) -> Self {
        Self { events, reader: SseReader::new(), begun: false, done: false }
    }

    fn is_finished(&self) -> bool {
        self.done || self.events.is_finished()
    }

    fn read(&mut self, event: &SseEvent, out: &mut Output) -> Meaning {
        if is_done(event) {
            (self.begun, self.done) = (true, true);
            out.prelude(false);
            out.complete();
            return Meaning::Passes;
        }
        if !event.is_plain() && event.name() == Some(b"error") {
            return Meaning::Fails(fault::of_event(self.events.dialect(), &event.data().unwrap_or_default()));
        }
        let meaning = self.events.read(event, out);
        if !self.begun && !matches!(meaning, Meaning::Fails(_)) {
            self.begun = event.data().is_some();
            out.prelude(!self.begun);
        }
        meaning
    }
}

impl<E: Events> Form for Stream<E> {
    fn push(&mut self, piece: Bytes, out: &mut Output) -> Result<(), Error> {
        self.reader.push(piece.clone());
        let mut run = Run { piece: &piece, range: 0..0 };
        let result = loop {
            let event = match self.reader.next_event() {
                Ok(Some(event)) => event,
                Ok(None) => break Ok(()),
                Err(EventTooLong) => break Err(too_long()),
            };
            match self.read(&event, out) {
                Meaning::Passes => run.pass(event, out),
                Meaning::Hidden => {}
                Meaning::Fails(error) => break Err(error),
            }
        };
        run.flush(out);
        out.deliver(self.events.delivered());
        result
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), Error> {
        if let Some(event) = self.reader.finish().filter(is_whole) {
            match self.read(&event, out) {
                Meaning::Passes => {
                    without_reconnection(event, out);
                    if !self.is_finished() {
                        // More may follow, to say that the answer is cut: it must not become part of this event.
                        out.write(Bytes::from_static(b"\n\n"));
                    }
                }
                Meaning::Hidden => {}
                Meaning::Fails(error) => return Err(error),
            }
            out.deliver(self.events.delivered());
        }
        if self.is_finished() {
            out.complete();
        }
        Ok(())
    }
}

/// Whether a value is there that says something.
pub(super) fn says_something(value: &[u8]) -> bool {
    !value.starts_with(b"null")
}

/// Whether this is the key of a text that a chat brings: `content`, `reasoning_content`, a tool's `arguments`.
pub(super) fn is_text(key: &[u8]) -> bool {
    key.ends_with(b"content") || key.ends_with(b"\"arguments")
}

/// The length of the text that begins here, as it is written; 0 where none does.
pub(super) fn text_len(value: &[u8]) -> u64 {
    let Some(text) = value.strip_prefix(b"\"") else { return 0 };
    closing_quote(text).unwrap_or(text.len()) as u64
}

fn is_done(event: &SseEvent) -> bool {
    event.bytes().len() < 64 && event.data().is_some_and(|data| data.trim_ascii().starts_with(b"[DONE]"))
}

/// Whether an event without its blank line came whole. A half one would only confuse the caller.
fn is_whole(event: &SseEvent) -> bool {
    is_done(event) || event.data().is_none_or(|data| serde_json::from_slice::<serde::de::IgnoredAny>(&data).is_ok())
}

/// Passes an event on without its `id:` and `retry:` lines.
fn without_reconnection(event: SseEvent, out: &mut Output) {
    out.write(if event.has_id_or_retry() { event.without_id_and_retry() } else { event.bytes().clone() });
}

fn too_long() -> Error {
    Error::provider(Code::ProviderError, "The provider sent an event that is too long to be passed on.")
}

/// Neighbouring events of a piece, passed on as one slice of it.
struct Run<'a> {
    piece: &'a Bytes,
    range: Range<usize>,
}

impl Run<'_> {
    fn pass(&mut self, event: SseEvent, out: &mut Output) {
        match event.place() {
            Some(place) if event.is_plain() || !event.has_id_or_retry() => {
                if self.range.end == place.start {
                    self.range.end = place.end;
                } else {
                    self.flush(out);
                    self.range = place;
                }
            }
            _ => {
                self.flush(out);
                without_reconnection(event, out);
            }
        }
    }

    fn flush(&mut self, out: &mut Output) {
        out.write(self.piece.slice(self.range.clone()));
        self.range = 0..0;
    }
}

//! A stream, passed through: the vendor's bytes go on in slices of the pieces that they came in.
//!
//! Each event is searched for a few words and parsed only where one of them says something: usage, a finish, an error.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::Value;

use crate::base::error::{Code, Error};
use crate::domain::usage::Usage;
use crate::provider::traits::Output;
use crate::wire::lenient::Lenient;
use crate::wire::sse::{EventTooLong, SseEvent, SseReader};
use crate::wire::vendor_error::is_truthy;

use super::dialect::Dialect;
use super::usage::Reported;
use super::{fault, usage};

pub(super) struct Stream {
    dialect: Dialect,
    /// Whether the caller is to see the usage chunk.
    shows_usage: bool,
    reader: SseReader,
    words: Words,
    /// A finish or `[DONE]` was seen.
    finished: bool,
    chunks: u64,
    content_bytes: u64,
}

/// What is looked for in every event.
struct Words {
    usage: Finder<'static>,
    finish: Finder<'static>,
    error: Finder<'static>,
    texts: [Finder<'static>; 2],
}

/// What an event is to us.
enum Meaning {
    Passes,
    Hidden,
    Fails(Error),
}

/// The parts of a chunk that matter here.
#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    error: Value,
    #[serde(default)]
    usage: Lenient<Reported>,
    #[serde(default)]
    choices: Option<Vec<Choice>>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    finish_reason: Value,
    #[serde(default)]
    usage: Lenient<Reported>,
}

impl Stream {
    pub(super) fn new(dialect: Dialect, shows_usage: bool) -> Self {
        let words = Words {
            usage: Finder::new("\"usage\""),
            finish: Finder::new("\"finish_reason\""),
            error: Finder::new("\"error\""),
            // `content` and `reasoning_content`; a tool's `arguments`.
            texts: [Finder::new("content\":"), Finder::new("\"arguments\":")],
        };
        Self { dialect, shows_usage, reader: SseReader::new(), words, finished: false, chunks: 0, content_bytes: 0 }
    }

    pub(super) fn push(&mut self, piece: Bytes, out: &mut Output) -> Result<(), Error> {
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
        out.deliver(self.delivered());
        result
    }

    pub(super) fn finish(&mut self, out: &mut Output) -> Result<(), Error> {
        if let Some(event) = self.reader.finish().filter(is_whole) {
            match self.read(&event, out) {
                Meaning::Passes => {
                    without_reconnection(event, out);
                    if !self.finished {
                        // More may follow, to say that the answer is cut: it must not become part of this event.
                        out.write(Bytes::from_static(b"\n\n"));
                    }
                }
                Meaning::Hidden => {}
                Meaning::Fails(error) => return Err(error),
            }
            out.deliver(self.delivered());
        }
        if self.finished {
            out.complete();
        }
        Ok(())
    }

    /// By our own count: a token is some four bytes, and a chunk holds at least one.
    fn delivered(&self) -> Usage {
        Usage { output_tokens: self.chunks.max(self.content_bytes.div_ceil(4)), ..Usage::NONE }
    }

    fn read(&mut self, event: &SseEvent, out: &mut Output) -> Meaning {
        let bytes = event.bytes();
        if is_done(event) {
            self.finished = true;
            out.complete();
            return Meaning::Passes;
        }
        if !is_one_data_line(bytes) && event.name() == Some(b"error") {
            return Meaning::Fails(fault::of_event(self.dialect, &event.data().unwrap_or_default()));
        }
        let content = self.words.content_bytes(bytes);
        let mut meaning = Meaning::Passes;
        if self.words.say_something(bytes) {
            let data = event.data().unwrap_or_default();
            if let Ok(chunk) = serde_json::from_slice::<Chunk>(&data) {
                meaning = self.read_chunk(&chunk, &data, out);
            }
        }
        if content > 0 && matches!(meaning, Meaning::Passes) {
            self.chunks += 1;
            self.content_bytes += content;
        }
        meaning
    }

    fn read_chunk(&mut self, chunk: &Chunk, data: &[u8], out: &mut Output) -> Meaning {
        if is_truthy(&chunk.error) {
            return Meaning::Fails(fault::of_event(self.dialect, data));
        }
        let choices = chunk.choices.as_deref().unwrap_or_default();
        self.finished |=
            choices.iter().any(|choice| choice.finish_reason.as_str().is_some_and(|reason| !reason.is_empty()));
        let nested = || choices.iter().rev().find_map(|choice| usage::read(&choice.usage));
        if let Some(used) = usage::read(&chunk.usage).or_else(nested) {
            out.report(used);
        }
        if !self.shows_usage && chunk.usage.object().is_some() && choices.is_empty() {
            return Meaning::Hidden;
        }
        Meaning::Passes
    }
}

impl Words {
    /// Whether a key is there with a value other than null.
    fn say_something(&self, bytes: &[u8]) -> bool {
        [&self.usage, &self.finish, &self.error].into_iter().any(|word| {
            word.find_iter(bytes).any(|at| {
                let rest = bytes[at + word.needle().len()..].trim_ascii_start();
                rest.strip_prefix(b":").is_some_and(|value| !value.trim_ascii_start().starts_with(b"null"))
            })
        })
    }

    /// The length of the texts in a chunk, as they are written.
    fn content_bytes(&self, bytes: &[u8]) -> u64 {
        let text = |rest: &[u8]| {
            let Some(text) = rest.trim_ascii_start().strip_prefix(b"\"") else { return 0 };
            let mut quotes = memchr::memchr_iter(b'"', text);
            quotes.find(|at| !is_escaped(&text[..*at])).unwrap_or(text.len())
        };
        let lengths =
            self.texts.iter().flat_map(|word| word.find_iter(bytes).map(|at| text(&bytes[at + word.needle().len()..])));
        lengths.sum::<usize>() as u64
    }
}

/// Whether what follows these bytes of a string is escaped.
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

fn is_done(event: &SseEvent) -> bool {
    event.bytes().len() < 64 && event.data().is_some_and(|data| data.trim_ascii().starts_with(b"[DONE]"))
}

/// The common form of an event, which has neither name nor id.
fn is_one_data_line(bytes: &[u8]) -> bool {
    bytes.starts_with(b"data:")
        && memchr::memchr2(b'\n', b'\r', bytes)
            .is_none_or(|end| bytes[end..].iter().all(|byte| matches!(byte, b'\n' | b'\r')))
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
            Some(place) if is_one_data_line(event.bytes()) || !event.has_id_or_retry() => {
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

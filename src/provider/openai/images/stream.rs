//! A stream of pictures, passed through: an event may be tens of megabytes long, and is never gathered.
//!
//! The beginning of each event is held back until it is plain that it is none of an error, which is short. From there on
//! its bytes go on as they come, and `type`, `usage` and `error` are read on the side.

use bytes::Bytes;
use serde_json::Value;

use crate::base::error::{Code, Error};
use crate::provider::openai::dialect::Dialect;
use crate::provider::openai::usage::{self, Reported};
use crate::provider::openai::{Form, fault};
use crate::provider::traits::Output;
use crate::wire::lenient::Lenient;
use crate::wire::members::{Event, Members};
use crate::wire::sse::SseReader;
use crate::wire::vendor_error::is_truthy;

use super::Counts;

/// So much of an event is held back.
const HELD: usize = 4 * 1024;
/// A member longer than this is not read.
const LONGEST_MEMBER: usize = 64 * 1024;

pub(in crate::provider::openai) struct Stream {
    dialect: Dialect,
    counts: Counts,
    /// The event's bytes so far; `None` once they have been let go.
    held: Option<Vec<Bytes>>,
    held_bytes: usize,
    line: Line,
    /// A line ended in a CR whose LF may follow.
    after_cr: bool,
    data: Data,
    finished: bool,
}

/// The line at hand.
#[derive(Default)]
struct Line {
    /// As much of it as tells a `data:` line from others.
    start: Vec<u8>,
    len: usize,
}

/// What the event's `data:` line says.
struct Data {
    members: Members,
    wanted: Option<(Wanted, Vec<u8>)>,
    kind: String,
    usage: Lenient<Reported>,
    error: Value,
}

#[derive(Clone, Copy)]
enum Wanted {
    Type,
    Usage,
    Error,
}

impl Stream {
    pub(in crate::provider::openai) fn new(dialect: Dialect, counts: Counts) -> Self {
        Self {
            dialect,
            counts,
            held: Some(Vec::new()),
            held_bytes: 0,
            line: Line::default(),
            after_cr: false,
            data: Data::new(),
            finished: false,
        }
    }

    /// Reads a piece of a line.
    fn read(&mut self, mut bytes: &[u8]) {
        const DATA: &[u8] = b"data:";
        self.line.len += bytes.len();
        let room = (DATA.len() - self.line.start.len()).min(bytes.len());
        self.line.start.extend_from_slice(&bytes[..room]);
        bytes = &bytes[room..];
        if self.line.start == DATA {
            self.data.read(bytes);
        }
    }

    fn pass(&mut self, bytes: Bytes, out: &mut Output) {
        match &mut self.held {
            None => out.write(bytes),
            Some(_) if bytes.is_empty() => {}
            Some(held) => {
                self.held_bytes += bytes.len();
                held.push(bytes);
                // An error is read whole before anything of it goes out.
                if self.held_bytes > HELD && self.data.kind != "error" && !self.data.is_reading_error() {
                    self.held.take().into_iter().flatten().for_each(|bytes| out.write(bytes));
                }
            }
        }
    }

    /// The event has ended.
    fn end(&mut self, out: &mut Output) -> Result<(), Error> {
        let data = std::mem::replace(&mut self.data, Data::new());
        self.line = Line::default();
        self.held_bytes = 0;
        match self.held.replace(Vec::new()) {
            // It went out already; all that can be told of an error is what was read on the side.
            None if is_truthy(&data.error) => {
                let error = serde_json::json!({"error": data.error}).to_string();
                return Err(fault::of_event(self.dialect, error.as_bytes()));
            }
            None => {}
            Some(held) => self.let_go(held, &data, out)?,
        }
        if data.kind.ends_with(".completed") {
            self.finished = true;
            self.counts.pictures += 1;
            self.counts.tokens = self.counts.tokens.plus(&usage::read_images(&data.usage).unwrap_or_default());
            out.deliver(self.counts.usage());
            out.report(self.counts.usage());
            out.made_as(self.counts.made_as.clone());
            if self.counts.pictures >= self.counts.asked {
                out.complete();
            }
        }
        Ok(())
    }

    /// Passes a short event on, unless it is an error.
    fn let_go(&self, held: Vec<Bytes>, data: &Data, out: &mut Output) -> Result<(), Error> {
        let mut reader = SseReader::new();
        reader.push(held.concat().into());
        let event = match reader.next_event() {
            Ok(Some(event)) => Some(event),
            Ok(None) => reader.finish(),
            Err(_) => return Err(Error::provider(Code::ProviderError, "The provider's stream cannot be read.")),
        };
        let Some(event) = event else { return Ok(()) };
        if data.kind == "error" || is_truthy(&data.error) || event.name() == Some(b"error") {
            return Err(fault::of_event(self.dialect, &event.data().unwrap_or_default()));
        }
        if event.has_id_or_retry() {
            out.write(event.without_id_and_retry());
        } else {
            held.into_iter().for_each(|bytes| out.write(bytes));
        }
        Ok(())
    }
}

impl Form for Stream {
    fn push(&mut self, piece: Bytes, out: &mut Output) -> Result<(), Error> {
        let (mut from, mut at) = (0, 0);
        while at < piece.len() {
            if std::mem::take(&mut self.after_cr) && piece[at] == b'\n' {
                at += 1;
                if self.held.as_ref().is_some_and(Vec::is_empty) {
                    // It belongs to the event before, which is out.
                    out.write(piece.slice(from..at));
                    from = at;
                }
                continue;
            }
            let end = memchr::memchr2(b'\n', b'\r', &piece[at..]).map(|found| at + found);
            self.read(&piece[at..end.unwrap_or(piece.len())]);
            let Some(end) = end else { break };
            at = end + 1;
            self.after_cr = piece[end] == b'\r';
            if self.after_cr && piece.get(at) == Some(&b'\n') {
                self.after_cr = false;
                at += 1;
            }
            if std::mem::take(&mut self.line).len == 0 {
                self.pass(piece.slice(from..at), out);
                self.end(out)?;
                from = at;
            }
        }
        self.pass(piece.slice(from..), out);
        Ok(())
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), Error> {
        // A last event that lacks its blank line counts where all of its data came.
        if self.data.members.is_closed() {
            self.end(out)?;
        }
        if self.finished {
            out.complete();
        }
        Ok(())
    }
}

impl Data {
    fn new() -> Self {
        Self {
            members: Members::new(1),
            wanted: None,
            kind: String::new(),
            usage: Lenient::default(),
            error: Value::Null,
        }
    }

    fn is_reading_error(&self) -> bool {
        matches!(self.wanted, Some((Wanted::Error, _)))
    }

    fn read(&mut self, bytes: &[u8]) {
        let base = self.members.offset();
        let (mut at, mut from) = (0, 0);
        while let Some(event) = self.members.next(bytes, &mut at) {
            match event {
                Event::Begin { value_at, .. } => {
                    let wanted = match &*self.members.key() {
                        "type" => Wanted::Type,
                        "usage" => Wanted::Usage,
                        "error" => Wanted::Error,
                        _ => continue,
                    };
                    self.wanted = Some((wanted, Vec::new()));
                    from = value_at - base;
                }
                Event::End { value_end, .. } => {
                    let tail = bytes.get(from..value_end.saturating_sub(base)).unwrap_or_default();
                    self.take(tail);
                }
            }
        }
        if let Some((_, value)) = &mut self.wanted {
            value.extend_from_slice(&bytes[from.min(bytes.len())..]);
            if value.len() > LONGEST_MEMBER {
                self.wanted = None;
            }
        }
    }

    fn take(&mut self, tail: &[u8]) {
        let Some((wanted, mut bytes)) = self.wanted.take() else { return };
        bytes.extend_from_slice(tail);
        match wanted {
            Wanted::Type => self.kind = serde_json::from_slice(&bytes).unwrap_or_default(),
            Wanted::Usage => self.usage = serde_json::from_slice(&bytes).unwrap_or_default(),
            Wanted::Error => self.error = serde_json::from_slice(&bytes).unwrap_or_default(),
        }
    }
}

//! The chunks of a chat stream: which end it, which tell usage, and how much text they bring.

use serde::Deserialize;
use serde_json::Value;

use crate::domain::usage::Usage;
use crate::provider::traits::Output;
use crate::wire::colons::members;
use crate::wire::lenient::Lenient;
use crate::wire::sse::SseEvent;
use crate::wire::vendor_error::is_truthy;

use super::dialect::Dialect;
use super::stream::{Events, Meaning, is_text, says_something, text_len};
use super::usage::Reported;
use super::{fault, usage};

pub(super) struct Chunks {
    dialect: Dialect,
    /// Whether the caller is to see the usage chunk.
    shows_usage: bool,
    finished: bool,
    chunks: u64,
    content_bytes: u64,
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
    // Of an error that stands bare.
    #[serde(default)]
    code: Value,
    #[serde(default)]
    message: Value,
    #[serde(default)]
    detail: Value,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    finish_reason: Value,
    #[serde(default)]
    usage: Lenient<Reported>,
}

impl Chunks {
    pub(super) fn new(dialect: Dialect, shows_usage: bool) -> Self {
        Self { dialect, shows_usage, finished: false, chunks: 0, content_bytes: 0 }
    }

    fn read_chunk(&mut self, chunk: &Chunk, data: &[u8], out: &mut Output) -> Meaning {
        if is_truthy(&chunk.error) || chunk.is_bare_error() {
            return Meaning::Fails(fault::of_event(self.dialect, data));
        }
        let choices = chunk.choices.as_deref().unwrap_or_default();
        self.finished |=
            choices.iter().any(|choice| choice.finish_reason.as_str().is_some_and(|reason| !reason.is_empty()));
        let nested = || choices.iter().rev().find_map(|choice| usage::read_chat(&choice.usage));
        if let Some(used) = usage::read_chat(&chunk.usage).or_else(nested) {
            out.report(used);
        }
        if !self.shows_usage && chunk.usage.object().is_some() && choices.is_empty() {
            return Meaning::Hidden;
        }
        Meaning::Passes
    }
}

impl Chunk {
    fn is_bare_error(&self) -> bool {
        let complains = [&self.code, &self.message, &self.detail].into_iter().any(is_truthy);
        complains && self.choices.is_none() && self.usage.object().is_none()
    }
}

/// Whether a chunk is worth a parse, and how much text it brings: `content`, `reasoning_content`, a tool's `arguments`.
fn look(event: &SseEvent) -> (bool, u64) {
    let (mut tells, mut content) = (!event.is_plain(), 0);
    for (key, value) in members(event.bytes()) {
        match key.last() {
            Some(b'e') if key.ends_with(b"\"usage") => tells |= says_something(value),
            Some(b'n') if key.ends_with(b"\"finish_reason") => tells |= says_something(value),
            Some(b'e') if key.ends_with(b"\"code") || key.ends_with(b"\"message") => tells |= says_something(value),
            Some(b'l') if key.ends_with(b"\"detail") => tells |= says_something(value),
            Some(b'r') if key.ends_with(b"\"error") => tells |= says_something(value),
            Some(b't' | b's') if is_text(key) => content += text_len(value),
            _ => {}
        }
    }
    (tells, content)
}

impl Events for Chunks {
    fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn read(&mut self, event: &SseEvent, out: &mut Output) -> Meaning {
        let (tells, content) = look(event);
        let mut meaning = Meaning::Passes;
        if tells {
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

    fn is_finished(&self) -> bool {
        self.finished
    }

    /// By our own count: a token is some four bytes, and a chunk holds at least one.
    fn delivered(&self) -> Usage {
        Usage { output_tokens: self.chunks.max(self.content_bytes.div_ceil(4)), ..Usage::NONE }
    }
}

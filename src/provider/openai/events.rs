//! Streams whose events name their type: responses, transcripts, speech.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::domain::endpoint::Endpoint;
use crate::domain::usage::Usage;
use crate::provider::traits::Output;
use crate::wire::colons::members;
use crate::wire::lenient::Lenient;
use crate::wire::sse::{SseEvent, is_one_data_line};
use crate::wire::vendor_error::is_truthy;

use super::billing::Billing;
use super::dialect::Dialect;
use super::fault;
use super::stream::{Events, Meaning, says_something, text_len};
use super::usage::Reported;

pub(super) struct TypedEvents {
    dialect: Dialect,
    billing: Billing,
    /// The key of the text, or of the base64 of the sound, that an event brings.
    text: &'static [u8],
    finished: bool,
    deltas: u64,
    content_bytes: u64,
}

/// The types of events that end a stream.
const ENDS: [&[u8]; 6] = [
    b"\"error\"",
    b"\"response.completed\"",
    b"\"response.incomplete\"",
    b"\"response.failed\"",
    b"\"transcript.text.done\"",
    b"\"speech.audio.done\"",
];

/// The parts of an event that matter here.
#[derive(Deserialize)]
struct Event {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    error: Value,
    #[serde(default)]
    usage: Lenient<Reported>,
    #[serde(default)]
    response: Option<Response>,
}

#[derive(Deserialize)]
struct Response {
    #[serde(default)]
    error: Value,
    #[serde(default)]
    usage: Lenient<Reported>,
}

impl TypedEvents {
    pub(super) fn new(dialect: Dialect, endpoint: Endpoint, billing: Billing) -> Self {
        let text: &[u8] = if endpoint == Endpoint::Speech { b"\"audio" } else { b"\"delta" };
        Self { dialect, billing, text, finished: false, deltas: 0, content_bytes: 0 }
    }

    /// Whether an event is worth a parse, and how much text it brings.
    fn look(&self, bytes: &[u8]) -> (bool, u64) {
        let (mut tells, mut content) = (!is_named_line(bytes), 0);
        for (key, value) in members(bytes) {
            if key.ends_with(self.text) {
                content += text_len(value);
            } else if key.ends_with(b"\"type") {
                tells |= ENDS.iter().any(|end| value.starts_with(end));
            } else if key.ends_with(b"\"usage") || key.ends_with(b"\"error") {
                tells |= says_something(value);
            }
        }
        (tells, content)
    }

    fn read_event(&mut self, event: &Event, data: &[u8], out: &mut Output) -> Meaning {
        let (error, usage) = event.response.as_ref().map_or((&event.error, &event.usage), |r| (&r.error, &r.usage));
        if let Some(used) = self.billing.told(usage) {
            out.report(used);
        }
        match event.kind.as_str() {
            "response.failed" => {
                return Meaning::Fails(fault::of_event(self.dialect, json!({"error": error}).to_string().as_bytes()));
            }
            "error" => return Meaning::Fails(fault::of_event(self.dialect, data)),
            _ if is_truthy(&event.error) => return Meaning::Fails(fault::of_event(self.dialect, data)),
            "response.completed" | "response.incomplete" => self.finish(out),
            "transcript.text.done" | "speech.audio.done" => {
                if let Some(used) = self.billing.silent().filter(|_| usage.object().is_none()) {
                    out.report(used);
                }
                self.finish(out);
            }
            _ => {}
        }
        Meaning::Passes
    }

    fn finish(&mut self, out: &mut Output) {
        self.finished = true;
        out.complete();
    }
}

/// The common forms of an event: one line of data, with or without a name before it.
fn is_named_line(bytes: &[u8]) -> bool {
    let behind_name = || {
        let name = bytes.strip_prefix(b"event:")?;
        let rest = &name[memchr::memchr2(b'\n', b'\r', name)?..];
        rest.strip_prefix(b"\r\n").or_else(|| rest.get(1..))
    };
    is_one_data_line(behind_name().unwrap_or(bytes))
}

impl Events for TypedEvents {
    fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn read(&mut self, event: &SseEvent, out: &mut Output) -> Meaning {
        let (tells, content) = self.look(event.bytes());
        let mut meaning = Meaning::Passes;
        if tells {
            let data = event.data().unwrap_or_default();
            if let Ok(event) = serde_json::from_slice(&data) {
                meaning = self.read_event(&event, &data, out);
            }
        }
        if content > 0 && matches!(meaning, Meaning::Passes) {
            self.deltas += 1;
            self.content_bytes += content;
        }
        meaning
    }

    fn is_finished(&self) -> bool {
        self.finished
    }

    fn delivered(&self) -> Usage {
        match self.deltas {
            0 => Usage::NONE,
            deltas => self.billing.delivered(deltas.max(self.content_bytes.div_ceil(4))),
        }
    }
}

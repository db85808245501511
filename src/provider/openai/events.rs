//! Streams whose events name their type: responses, transcripts, speech.

use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::domain::endpoint::Endpoint;
use crate::domain::usage::Usage;
use crate::provider::traits::Output;
use crate::wire::lenient::Lenient;
use crate::wire::sse::SseEvent;
use crate::wire::vendor_error::is_truthy;

use super::billing::Billing;
use super::dialect::Dialect;
use super::fault;
use super::stream::{Events, Meaning, says_something, text_len};
use super::usage::Reported;

pub(super) struct TypedEvents {
    dialect: Dialect,
    billing: Billing,
    /// What makes an event worth a parse: usage, an error, the type of one that ends the stream.
    telling: [Finder<'static>; 6],
    /// What stands before the text, or the base64 of the sound, that an event brings.
    texts: [Finder<'static>; 1],
    finished: bool,
    deltas: u64,
    content_bytes: u64,
}

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
        let telling = [
            "\"usage\"",
            "\"error\"",
            "\"response.completed\"",
            "\"response.incomplete\"",
            "\"response.failed\"",
            if endpoint == Endpoint::Speech { "\"speech.audio.done\"" } else { "\"transcript.text.done\"" },
        ];
        let text = if endpoint == Endpoint::Speech { "\"audio\":" } else { "\"delta\":" };
        Self {
            dialect,
            billing,
            telling: telling.map(Finder::new),
            texts: [Finder::new(text)],
            finished: false,
            deltas: 0,
            content_bytes: 0,
        }
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

impl Events for TypedEvents {
    fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn read(&mut self, event: &SseEvent, out: &mut Output) -> Meaning {
        let bytes = event.bytes();
        let content = text_len(&self.texts, bytes);
        let mut meaning = Meaning::Passes;
        if says_something(&self.telling, bytes) {
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

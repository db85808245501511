//! The decoder of `streamGenerateContent?alt=sse`: each event is a whole answer's worth of JSON, and becomes chunks.
//!
//! The end of the stream is the end of the vendor's body: events with counts alone may follow the one that says why the
//! answer ended. So the finish, the usage and `[DONE]` are written there, and only if every choice has said its reason.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, response};

use crate::base::error::{Code, Error};
use crate::domain::usage::Usage;
use crate::http::headers::answer_headers;
use crate::provider::traits::{Decoder, Output};
use crate::wire::openai_chat::{ChunkWriter, Delta};
use crate::wire::sse::{SseEvent, SseReader};

use super::answer::{Answer, Candidate, Ending, FunctionCall, Part, Word};
use super::calls::Ids;
use super::counts::Counts;
use super::fault;
use super::request::Names;

/// The most candidates that an answer may number; Google makes 8.
const MAX_CHOICES: usize = 16;

#[derive(Debug)]
pub(super) struct ChatStream {
    reader: SseReader,
    writer: ChunkWriter,
    wants_usage: bool,
    ids: Ids,
    names: Names,
    choices: Vec<Choice>,
    counts: Option<Counts>,
}

#[derive(Clone, Debug, Default)]
struct Choice {
    begun: bool,
    said: bool,
    calls: usize,
    ending: Option<Ending>,
}

impl ChatStream {
    pub(super) fn new(model: &str, wants_usage: bool, names: Names) -> Self {
        let ids = Ids::new();
        Self {
            reader: SseReader::new(),
            writer: ChunkWriter::new(&ids.completion(), model, wants_usage),
            wants_usage,
            ids,
            names,
            choices: Vec::new(),
            counts: None,
        }
    }

    fn event(&mut self, event: &SseEvent) -> Result<(), Error> {
        let Some(data) = event.data() else { return Ok(()) };
        let data = data.trim_ascii();
        if data.is_empty() || data == b"[DONE]" {
            return Ok(());
        }
        let unreadable = |e: serde_json::Error| {
            Error::provider(Code::ProviderError, "Gemini sent an event that cannot be read.").cause(e.to_string())
        };
        self.answer(match data.first() {
            // A proxy may hand on the array of one that Google's errors can come in.
            Some(b'[') => serde_json::from_slice::<[Answer<'_>; 1]>(data).map(|[only]| only).map_err(unreadable)?,
            _ => serde_json::from_slice(data).map_err(unreadable)?,
        })
    }

    fn answer(&mut self, answer: Answer<'_>) -> Result<(), Error> {
        if let Some(error) = &answer.error {
            return Err(fault::inside(error));
        }
        if let Some(counts) = &answer.usage_metadata {
            self.counts.get_or_insert_default().merge(counts);
        }
        for (place, candidate) in answer.candidates.iter().flatten().enumerate() {
            self.candidate(place, candidate)?;
        }
        match answer.prompt_feedback.and_then(|f| f.block_reason) {
            Some(reason) if self.choices.iter().all(|c| c.ending.is_none()) => self.block(&reason),
            _ => Ok(()),
        }
    }

    /// The prompt was refused: what the caller sees of it is one choice that was filtered.
    fn block(&mut self, reason: &Word<'_>) -> Result<(), Error> {
        self.begin(0)?;
        self.writer.delta(0, Delta::Refusal(&format!("Prompt blocked: {reason}")));
        self.choices.iter_mut().for_each(|c| c.ending = Some(Ending::Filtered));
        Ok(())
    }

    fn candidate(&mut self, place: usize, candidate: &Candidate<'_>) -> Result<(), Error> {
        let at = candidate.index.map_or(place, |index| index as usize);
        if candidate.parts().is_empty() && candidate.finish_reason.is_none() {
            return Ok(());
        }
        self.begin(at)?;
        for part in candidate.parts() {
            self.part(at, part);
        }
        if let Some(logprobs) = &candidate.logprobs_result {
            self.writer.logprobs(at as u32, &logprobs.to_json());
        }
        if let Some(ending) = candidate.finish_reason {
            self.choices[at].ending = Some(ending);
        }
        Ok(())
    }

    fn begin(&mut self, at: usize) -> Result<(), Error> {
        if at >= MAX_CHOICES {
            return Err(Error::provider(
                Code::ProviderError,
                "Gemini numbered a candidate beyond any that were asked for.",
            ));
        }
        if self.choices.len() <= at {
            self.choices.resize(at + 1, Choice::default());
        }
        if !std::mem::replace(&mut self.choices[at].begun, true) {
            self.writer.delta(at as u32, Delta::Role);
        }
        Ok(())
    }

    fn part(&mut self, at: usize, part: &Part<'_>) {
        let choice = &mut self.choices[at];
        if let Some(call) = &part.function_call {
            let index = choice.calls;
            choice.calls += 1;
            self.call(at, index, call, part.signature());
        } else if let Some(text) = part.text.as_ref().filter(|t| !t.0.is_empty()) {
            if part.thought == Some(true) {
                self.writer.delta(at as u32, Delta::Reasoning(&text.0));
            } else {
                choice.said = true;
                self.writer.delta(at as u32, Delta::Content(&text.0));
            }
        }
    }

    fn call(&mut self, at: usize, index: usize, call: &FunctionCall<'_>, extra: Option<String>) {
        let id = self.ids.call(at, index, call);
        let name = self.names.given(&call.name.0);
        self.writer.delta(at as u32, Delta::ToolCall { index, id: &id, name, extra: extra.as_deref() });
        self.writer.delta(at as u32, Delta::Arguments { index, piece: &call.arguments() });
    }

    fn put_out(&mut self, out: &mut Output) {
        out.write(self.writer.take());
        out.deliver(self.writer.delivered());
    }
}

impl Decoder for ChatStream {
    fn head(&mut self, _: &response::Parts) -> Result<HeaderMap, Error> {
        Ok(answer_headers(HeaderValue::from_static("text/event-stream; charset=utf-8")))
    }

    fn push(&mut self, piece: Bytes, out: &mut Output) -> Result<(), Error> {
        self.reader.push(piece);
        loop {
            let next = self
                .reader
                .next_event()
                .map_err(|_| Error::provider(Code::ProviderError, "Gemini sent an event that is too long to be one."));
            let result = match next {
                Ok(Some(event)) => self.event(&event),
                Ok(None) => break,
                Err(error) => Err(error),
            };
            if result.is_err() {
                self.put_out(out);
                return result;
            }
        }
        self.put_out(out);
        Ok(())
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), Error> {
        if let Some(last) = self.reader.finish() {
            let result = self.event(&last);
            self.put_out(out);
            result?;
        }
        let begun = || self.choices.iter().enumerate().filter(|(_, c)| c.begun);
        if begun().next().is_none() {
            return Err(Error::provider(Code::ProviderError, "Gemini ended its stream without an answer."));
        }
        if begun().any(|(_, c)| c.ending.is_none()) {
            return Ok(());
        }
        for (at, choice) in self.choices.iter().enumerate() {
            if let Some(ending) = choice.ending {
                self.writer.finish(at as u32, ending.reason(choice.calls > 0, choice.said));
            }
        }
        let reported = self.counts.map(|c| c.usage());
        if self.wants_usage {
            self.writer.usage(&reported.unwrap_or_else(|| self.writer.delivered()));
        }
        self.writer.done();
        self.put_out(out);
        if let Some(usage) = reported.filter(|u| *u != Usage::NONE) {
            out.report(usage);
        }
        out.complete();
        Ok(())
    }
}

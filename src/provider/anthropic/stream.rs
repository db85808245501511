//! An answer as a stream of events.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, response};
use serde::Serialize;

use crate::base::error::Error;
use crate::http::call::Call;
use crate::http::headers::answer_headers;
use crate::provider::traits::{Decoder, Output};
use crate::wire::openai_chat::{self as openai, ChunkWriter, FinishReason, completion_id};
use crate::wire::sse::{SseEvent, SseReader};

use super::fault;
use super::message::{Block, Delta, Event, Message, Reported, finish_reason, unreadable};
use super::request::JSON_TOOL;

/// Blocks come one after the other; this many at once are none of the vendor's.
const MOST_OPEN: usize = 64;

/// Reads the vendor's events and writes OpenAI's chunks.
pub(super) struct Stream {
    reader: SseReader,
    chunks: Chunks,
}

/// What the events have come to so far.
struct Chunks {
    model: String,
    wants_usage: bool,
    json_tool: bool,
    /// Made at the message's start, which tells the id.
    writer: Option<ChunkWriter>,
    /// Whether the role is out. It goes with the first output, so that an error before that keeps its own status.
    begun: bool,
    open: Vec<OpenTool>,
    tools: usize,
    thoughts: usize,
    usage: Reported,
    stop: Option<FinishReason>,
    refusal: Option<String>,
    ended: bool,
}

/// A tool's block whose end has not come.
struct OpenTool {
    block: u64,
    /// Its place among the calls; `None` where its input is the answer's content.
    call: Option<usize>,
    /// Input that stood in the block's start: used where no piece follows.
    input: Option<Box<str>>,
    any: bool,
}

/// A block of thinking without the text that went before it.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Thought<'a> {
    Thinking { index: usize, thinking: &'static str, signature: &'a str },
    RedactedThinking { index: usize, data: &'a str },
}

impl Stream {
    pub(super) fn new(call: &Call, json_tool: bool) -> Self {
        let chunks = Chunks {
            model: call.model().to_owned(),
            wants_usage: call.wants_usage(),
            json_tool,
            writer: None,
            begun: false,
            open: Vec::new(),
            tools: 0,
            thoughts: 0,
            usage: Reported::default(),
            stop: None,
            refusal: None,
            ended: false,
        };
        Self { reader: SseReader::new(), chunks }
    }

    fn events(&mut self, out: &mut Output) -> Result<(), Error> {
        while let Some(event) = self.reader.next_event().map_err(|_| unreadable("an event longer than 8 MiB"))? {
            self.chunks.event(&event, out)?;
        }
        Ok(())
    }
}

impl Decoder for Stream {
    fn head(&mut self, _: &response::Parts) -> Result<HeaderMap, Error> {
        Ok(answer_headers(HeaderValue::from_static("text/event-stream; charset=utf-8")))
    }

    fn push(&mut self, piece: Bytes, out: &mut Output) -> Result<(), Error> {
        if self.chunks.ended {
            return Ok(());
        }
        self.reader.push(piece);
        let read = self.events(out);
        // What came before an error still goes out.
        self.chunks.flush(out);
        read
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), Error> {
        let read = match self.reader.finish() {
            Some(event) => self.chunks.event(&event, out),
            None => Ok(()),
        };
        self.chunks.flush(out);
        read
    }
}

impl Chunks {
    fn flush(&mut self, out: &mut Output) {
        if let Some(writer) = &mut self.writer {
            out.write(writer.take());
            out.deliver(writer.delivered());
        }
    }

    fn event(&mut self, event: &SseEvent, out: &mut Output) -> Result<(), Error> {
        let Some(data) = event.data().filter(|_| !self.ended) else { return Ok(()) };
        if data.trim_ascii().is_empty() {
            return Ok(());
        }
        let Some(event) = Event::read(&data)? else { return Ok(()) };
        match &*event.kind {
            "message_start" => self.start(event.message.ok_or_else(|| unreadable("a message_start without message"))?),
            "content_block_start" => {
                let block = event.content_block.ok_or_else(|| unreadable("a content_block_start without block"))?;
                self.block(event.index, &block)?;
            }
            "content_block_delta" => {
                let delta = event.delta.ok_or_else(|| unreadable("a content_block_delta without delta"))?;
                self.delta(event.index, &delta)?;
            }
            "content_block_stop" => self.block_stop(event.index),
            "message_delta" => {
                self.usage.update(event.usage.unwrap_or_default());
                self.message_delta(event.delta);
                self.report(out);
            }
            "message_stop" => self.stop(out),
            "error" => return Err(failure(&data)),
            _ => {}
        }
        Ok(())
    }

    fn start(&mut self, message: Message<'_>) {
        self.usage.update(message.usage.unwrap_or_default());
        if self.writer.is_none() {
            let id = completion_id(message.id.as_deref().unwrap_or_default());
            self.writer = Some(ChunkWriter::new(&id, &self.model, self.wants_usage));
        }
    }

    /// The writer, with the role written.
    fn writer(&mut self) -> &mut ChunkWriter {
        let (model, wants_usage) = (&self.model, self.wants_usage);
        let writer = self.writer.get_or_insert_with(|| ChunkWriter::new(&completion_id(""), model, wants_usage));
        if !std::mem::replace(&mut self.begun, true) {
            writer.delta(0, openai::Delta::Role);
        }
        writer
    }

    fn write(&mut self, delta: openai::Delta<'_>) {
        self.writer().delta(0, delta);
    }

    fn content(&mut self, text: &str) {
        if !text.is_empty() {
            self.write(openai::Delta::Content(text));
        }
    }

    fn reasoning(&mut self, text: &str) {
        if !text.is_empty() {
            self.write(openai::Delta::Reasoning(text));
        }
    }

    fn thought(&mut self, thought: &Thought<'_>) {
        if let Ok(json) = serde_json::to_string(&[thought]) {
            self.thoughts += 1;
            self.write(openai::Delta::Extension { name: "thinking_blocks", json: &json });
        }
    }

    fn block(&mut self, index: u64, block: &Block<'_>) -> Result<(), Error> {
        match &*block.kind {
            "text" => self.content(block.text.as_deref().unwrap_or_default()),
            "thinking" => self.reasoning(block.thinking.as_deref().unwrap_or_default()),
            "redacted_thinking" => {
                let data = block.data.as_deref().unwrap_or_default();
                self.thought(&Thought::RedactedThinking { index: self.thoughts, data });
            }
            "tool_use" => return self.tool(index, block),
            _ => {}
        }
        Ok(())
    }

    fn tool(&mut self, index: u64, block: &Block<'_>) -> Result<(), Error> {
        let (Some(id), Some(name)) = (&block.id, &block.name) else {
            return Err(unreadable("a tool_use block without id or name"));
        };
        if self.open.len() == MOST_OPEN {
            return Err(unreadable("too many open blocks"));
        }
        let call = match self.json_tool && &**name == JSON_TOOL {
            true => None,
            false => {
                let call = self.tools;
                self.tools += 1;
                self.write(openai::Delta::ToolCall { index: call, id, name, extra: None });
                Some(call)
            }
        };
        // The start of a block says `"input":{}` to hold the place.
        let input = block.input.map(|input| input.get()).filter(|input| *input != "{}");
        self.open.push(OpenTool { block: index, call, input: input.map(Box::from), any: false });
        Ok(())
    }

    fn delta(&mut self, index: u64, delta: &Delta<'_>) -> Result<(), Error> {
        let lacks = || unreadable("a delta without its value");
        match &*delta.kind {
            "text_delta" => self.content(delta.text.as_deref().ok_or_else(lacks)?),
            "thinking_delta" => self.reasoning(delta.thinking.as_deref().ok_or_else(lacks)?),
            "signature_delta" => {
                let signature = delta.signature.as_deref().ok_or_else(lacks)?;
                self.thought(&Thought::Thinking { index: self.thoughts, thinking: "", signature });
            }
            "input_json_delta" => {
                let piece = delta.partial_json.as_deref().ok_or_else(lacks)?;
                let open = self.open.iter_mut().find(|open| open.block == index).filter(|_| !piece.is_empty());
                if let Some(open) = open {
                    open.any = true;
                    let call = open.call;
                    self.arguments(call, piece);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn arguments(&mut self, call: Option<usize>, piece: &str) {
        match call {
            Some(index) => self.write(openai::Delta::Arguments { index, piece }),
            None => self.content(piece),
        }
    }

    fn block_stop(&mut self, index: u64) {
        if let Some(at) = self.open.iter().position(|open| open.block == index) {
            let open = self.open.remove(at);
            self.close(open);
        }
    }

    fn close(&mut self, open: OpenTool) {
        if !open.any {
            self.arguments(open.call, open.input.as_deref().unwrap_or("{}"));
        }
    }

    fn message_delta(&mut self, delta: Option<Delta<'_>>) {
        let Some(delta) = delta else { return };
        if let Some(reason) = delta.stop_reason.as_deref() {
            self.stop = Some(finish_reason(reason));
        }
        if let Some(text) = delta.stop_details.and_then(|d| d.explanation) {
            self.refusal = Some(text.0.into_owned());
        }
    }

    fn stop(&mut self, out: &mut Output) {
        for open in std::mem::take(&mut self.open) {
            self.close(open);
        }
        let reason = match self.stop.unwrap_or(FinishReason::Stop) {
            FinishReason::ToolCalls if self.json_tool && self.tools == 0 => FinishReason::Stop,
            reason => reason,
        };
        if let Some(text) = self.refusal.take().filter(|_| reason == FinishReason::ContentFilter) {
            self.write(openai::Delta::Refusal(&text));
        }
        let usage = self.usage.usage();
        let wants_usage = self.wants_usage;
        let writer = self.writer();
        writer.finish(0, reason);
        if wants_usage {
            writer.usage(&usage);
        }
        writer.done();
        self.ended = true;
        self.report(out);
        out.complete();
    }

    fn report(&self, out: &mut Output) {
        if let Some(usage) = self.usage.known() {
            out.report(usage);
        }
    }
}

fn failure(data: &[u8]) -> Error {
    let body = serde_json::from_slice(data).unwrap_or_default();
    fault::in_stream(&body).unwrap_or_else(|| unreadable("an error event without error"))
}

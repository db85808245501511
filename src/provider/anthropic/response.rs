//! An answer in one piece.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, response};
use serde_json::json;

use crate::base::error::Error;
use crate::domain::usage::Usage;
use crate::http::call::Call;
use crate::http::headers::answer_headers;
use crate::provider::traits::{Decoder, Output};
use crate::wire::openai_chat::{Answer, AnswerCall, Completion, FinishReason, completion_id};

use super::message::{Block, Message, finish_reason, unreadable};
use super::request::JSON_TOOL;
use super::{JSON, fault};

/// A longer answer is none of a model's.
const LONGEST: usize = 32 * 1024 * 1024;

/// Collects the vendor's message and writes OpenAI's.
pub(super) struct Whole {
    model: String,
    json_tool: bool,
    body: BytesMut,
}

impl Whole {
    pub(super) fn new(call: &Call, json_tool: bool) -> Self {
        Self { model: call.model().to_owned(), json_tool, body: BytesMut::new() }
    }
}

impl Decoder for Whole {
    fn head(&mut self, _: &response::Parts) -> Result<HeaderMap, Error> {
        Ok(answer_headers(JSON))
    }

    fn push(&mut self, piece: Bytes, _: &mut Output) -> Result<(), Error> {
        if self.body.len() + piece.len() > LONGEST {
            return Err(unreadable("the answer is longer than 32 MiB"));
        }
        self.body.extend_from_slice(&piece);
        Ok(())
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), Error> {
        let message: Message<'_> = serde_json::from_slice(&self.body).map_err(|e| unreadable(&e.to_string()))?;
        if let Some(error) = &message.error {
            return Err(fault::in_stream(&json!({ "error": error })).unwrap_or_else(|| unreadable("an empty error")));
        }
        let reported = message.usage.unwrap_or_default();
        let id = completion_id(message.id.as_deref().unwrap_or_default());
        let raw = message.content.as_deref().unwrap_or_default();
        let blocks = raw.iter().map(|raw| Block::read(raw)).collect::<Result<Vec<_>, _>>()?;
        let mut answer = Answer::default();
        for (block, raw) in blocks.iter().zip(raw) {
            let Some(block) = block else { continue };
            match &*block.kind {
                "text" => append(&mut answer.content, block.text.as_deref()),
                "thinking" => {
                    append(&mut answer.reasoning_content, block.thinking.as_deref().filter(|text| !text.is_empty()));
                    answer.thinking_blocks.push(raw);
                }
                "redacted_thinking" => answer.thinking_blocks.push(raw),
                "tool_use" => {
                    let (Some(id), Some(name)) = (&block.id, &block.name) else {
                        return Err(unreadable("a tool_use block without id or name"));
                    };
                    let input = block.input.map_or("{}", |input| input.get());
                    match self.json_tool && &**name == JSON_TOOL {
                        true => append(&mut answer.content, Some(input)),
                        false => answer.tool_calls.push(AnswerCall::new(id, name, input, None)),
                    }
                }
                _ => {}
            }
        }
        let reason = finish_reason(message.stop_reason.as_deref().unwrap_or_default());
        if reason == FinishReason::ContentFilter {
            answer.refusal = message.stop_details.and_then(|d| d.explanation).map(|text| text.0.into_owned());
        }
        if answer.content.is_none() && answer.tool_calls.is_empty() && answer.refusal.is_none() {
            answer.content = Some(String::new());
        }
        let reason = match reason {
            FinishReason::ToolCalls if self.json_tool && answer.tool_calls.is_empty() => FinishReason::Stop,
            reason => reason,
        };
        out.write(Completion::new(&id, &self.model, vec![(answer, reason)], &reported.usage()).to_bytes());
        match reported.known() {
            Some(usage) => out.report(usage),
            None => out.deliver(Usage { output_tokens: (self.body.len() as u64).div_ceil(4), ..Usage::NONE }),
        }
        out.complete();
        Ok(())
    }
}

fn append(whole: &mut Option<String>, text: Option<&str>) {
    if let Some(text) = text {
        whole.get_or_insert_default().push_str(text);
    }
}

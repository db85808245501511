//! The decoder of `generateContent`: one JSON answer, read when it is there in full.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, response};
use serde_json::value::RawValue;

use crate::base::error::{Code, Error};
use crate::domain::usage::Usage;
use crate::http::headers::answer_headers;
use crate::provider::traits::{Decoder, Output};
use crate::wire::openai_chat::{Answer as Message, AnswerCall, Completion, FinishReason};

use super::answer::{Answer, Candidate, Ending};
use super::calls::Ids;
use super::fault;
use super::request::Names;

/// A body that is longer is no answer of a chat's, nor of a batch of embeddings'.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Gathers a body that must be read whole.
#[derive(Debug, Default)]
pub(super) struct Gathered(BytesMut);

impl Gathered {
    pub(super) fn push(&mut self, piece: &Bytes) -> Result<(), Error> {
        if self.0.len() + piece.len() > MAX_BYTES {
            return Err(Error::provider(Code::ProviderError, "Gemini's answer is longer than 64 MiB."));
        }
        self.0.extend_from_slice(piece);
        Ok(())
    }

    pub(super) fn take(&mut self) -> Bytes {
        self.0.split().freeze()
    }
}

/// The head of an answer in JSON.
pub(super) fn json_head() -> HeaderMap {
    answer_headers(HeaderValue::from_static("application/json"))
}

/// What an answer that is not what it should be means.
pub(super) fn unreadable(error: impl std::fmt::Display) -> Error {
    Error::provider(Code::ProviderError, "Gemini's answer cannot be read.").cause(error.to_string())
}

#[derive(Debug)]
pub(super) struct WholeChat {
    body: Gathered,
    model: String,
    names: Names,
}

impl WholeChat {
    pub(super) fn new(model: &str, names: Names) -> Self {
        Self { body: Gathered::default(), model: model.to_owned(), names }
    }
}

impl Decoder for WholeChat {
    fn head(&mut self, _: &response::Parts) -> Result<HeaderMap, Error> {
        Ok(json_head())
    }

    fn push(&mut self, piece: Bytes, _: &mut Output) -> Result<(), Error> {
        self.body.push(&piece)
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), Error> {
        let body = self.body.take();
        let answer: Answer<'_> = serde_json::from_slice(&body).map_err(unreadable)?;
        if let Some(error) = &answer.error {
            return Err(fault::inside(error));
        }
        let ids = Ids::new();
        let mut candidates = answer.candidates.unwrap_or_default();
        candidates.sort_by_key(|c| c.index);
        let gathered: Vec<Choice> =
            candidates.iter().enumerate().map(|(at, c)| Choice::gather(at, c, &ids, &self.names)).collect();
        let mut choices: Vec<_> = gathered.iter().map(Choice::message).collect();
        if choices.is_empty() {
            let blocked = answer.prompt_feedback.and_then(|f| f.block_reason).ok_or_else(|| {
                Error::provider(Code::ProviderError, "Gemini's answer holds no candidate and no reason why.")
            })?;
            let refusal = Some(format!("Prompt blocked: {blocked}"));
            choices.push((Message { refusal, ..Message::default() }, FinishReason::ContentFilter));
        }
        let reported = answer.usage_metadata.map(|c| c.usage()).filter(|u| *u != Usage::NONE);
        let delivered =
            Usage { output_tokens: gathered.iter().map(Choice::bytes).sum::<u64>().div_ceil(4), ..Usage::NONE };
        let id = ids.completion();
        out.write(Completion::new(&id, &self.model, choices, &reported.unwrap_or(delivered)).to_bytes());
        out.deliver(delivered);
        if let Some(usage) = reported {
            out.report(usage);
        }
        out.complete();
        Ok(())
    }
}

/// A candidate's parts, by kind.
#[derive(Debug, Default)]
struct Choice {
    content: String,
    reasoning: String,
    calls: Vec<Called>,
    logprobs: Option<Box<RawValue>>,
    ending: Option<Ending>,
}

#[derive(Debug)]
struct Called {
    id: String,
    name: String,
    arguments: String,
    extra: Option<Box<RawValue>>,
}

impl Choice {
    fn gather(at: usize, candidate: &Candidate<'_>, ids: &Ids, names: &Names) -> Self {
        let mut choice = Self { ending: candidate.finish_reason, ..Self::default() };
        for part in candidate.parts() {
            if let Some(call) = &part.function_call {
                choice.calls.push(Called {
                    id: ids.call(at, choice.calls.len(), call),
                    name: names.given(&call.name.0).to_owned(),
                    arguments: call.arguments().into_owned(),
                    extra: part.signature().and_then(|s| RawValue::from_string(s).ok()),
                });
            } else if let Some(text) = &part.text {
                let into = if part.thought == Some(true) { &mut choice.reasoning } else { &mut choice.content };
                into.push_str(&text.0);
            }
        }
        choice.logprobs = candidate.logprobs_result.as_ref().and_then(|l| RawValue::from_string(l.to_json()).ok());
        choice
    }

    fn message(&self) -> (Message<'_>, FinishReason) {
        let calls = self.calls.iter();
        let message = Message {
            content: (self.calls.is_empty() || !self.content.is_empty()).then(|| self.content.clone()),
            reasoning_content: (!self.reasoning.is_empty()).then(|| self.reasoning.clone()),
            tool_calls: calls.map(|c| AnswerCall::new(&c.id, &c.name, &c.arguments, c.extra.as_deref())).collect(),
            logprobs: self.logprobs.as_deref(),
            ..Message::default()
        };
        let ending = self.ending.unwrap_or(Ending::Stop);
        (message, ending.reason(!self.calls.is_empty(), !self.content.is_empty()))
    }

    fn bytes(&self) -> u64 {
        let calls: usize = self.calls.iter().map(|c| c.name.len() + c.arguments.len()).sum();
        (self.content.len() + self.reasoning.len() + calls) as u64
    }
}

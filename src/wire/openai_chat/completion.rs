//! A whole answer.

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::domain::usage::Usage;

use super::usage::UsageShape;
use super::{FinishReason, json, unix_now};

/// A whole answer.
#[derive(Debug, Serialize)]
pub(crate) struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    usage: UsageShape,
}

#[derive(Debug, Serialize)]
struct Choice<'a> {
    index: usize,
    message: Answer<'a>,
    logprobs: Option<&'a RawValue>,
    finish_reason: FinishReason,
}

/// The message of a choice.
#[derive(Debug, Serialize)]
pub(crate) struct Answer<'a> {
    pub(crate) role: &'static str,
    pub(crate) content: Option<String>,
    pub(crate) refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tool_calls: Vec<AnswerCall<'a>>,
    /// Blocks of thinking with their signatures, in the vendor's shape.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) thinking_blocks: Vec<&'a RawValue>,
    /// An object of OpenAI's `logprobs`; it stands beside the message.
    #[serde(skip)]
    pub(crate) logprobs: Option<&'a RawValue>,
}

impl Default for Answer<'_> {
    fn default() -> Self {
        Self {
            role: "assistant",
            content: None,
            refusal: None,
            reasoning_content: None,
            tool_calls: Vec::new(),
            thinking_blocks: Vec::new(),
            logprobs: None,
        }
    }
}

/// A call that the model makes.
#[derive(Debug, Serialize)]
pub(crate) struct AnswerCall<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: AnswerFunction<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<&'a RawValue>,
}

#[derive(Debug, Serialize)]
struct AnswerFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

impl<'a> AnswerCall<'a> {
    /// `arguments` is JSON text; `extra` is a vendor's own, for `extra_content`.
    pub(crate) fn new(id: &'a str, name: &'a str, arguments: &'a str, extra: Option<&'a RawValue>) -> Self {
        Self { id, kind: "function", function: AnswerFunction { name, arguments }, extra_content: extra }
    }
}

impl<'a> Completion<'a> {
    /// `model` is the id that the caller named; the choices are numbered in their order.
    pub(crate) fn new(id: &'a str, model: &'a str, choices: Vec<(Answer<'a>, FinishReason)>, usage: &Usage) -> Self {
        let choices = choices.into_iter().enumerate();
        let choices = choices.map(|(index, (message, finish_reason))| Choice {
            index,
            logprobs: message.logprobs,
            message,
            finish_reason,
        });
        Self {
            id,
            object: "chat.completion",
            created: unix_now(),
            model,
            choices: choices.collect(),
            usage: usage.into(),
        }
    }

    /// The answer's bytes.
    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        json(&mut out, self);
        out.freeze()
    }
}

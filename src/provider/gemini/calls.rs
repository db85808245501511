//! What OpenAI's tool calls need and Gemini's lack: ids; and the way of a thought signature to the caller.

use crate::base::id::new_id;

use super::answer::{FunctionCall, Part};

/// The ids of one answer: its own, and those of its calls.
#[derive(Debug)]
pub(super) struct Ids(String);

impl Ids {
    pub(super) fn new() -> Self {
        Self(new_id(""))
    }

    /// The id of the answer.
    pub(super) fn completion(&self) -> String {
        format!("chatcmpl-{}", self.0)
    }

    /// The id of a choice's call: Google's own where it gives one.
    pub(super) fn call(&self, choice: usize, index: usize, call: &FunctionCall<'_>) -> String {
        match call.id.as_deref() {
            Some(id) if !id.is_empty() => id.to_owned(),
            _ => format!("call_{}_{choice}_{index}", self.0),
        }
    }
}

impl Part<'_> {
    /// The part's signature in the shape of Google's own OpenAI endpoint, for `extra_content`.
    pub(super) fn signature(&self) -> Option<String> {
        let signature =
            self.thought_signature.map(|raw| raw.get()).filter(|raw| raw.starts_with('"') && *raw != "\"\"")?;
        Some(format!("{{\"google\":{{\"thought_signature\":{signature}}}}}"))
    }
}

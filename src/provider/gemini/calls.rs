//! What OpenAI's tool calls need and Gemini's lack: ids; and the way of a thought signature to the caller and back.

use crate::base::id::new_id;

use super::answer::{FunctionCall, Part};

/// Ids for the calls of one answer: Google's own where it gives them, else a number behind one random id.
#[derive(Debug)]
pub(super) struct CallIds(String);

impl CallIds {
    pub(super) fn new() -> Self {
        Self(new_id("call_"))
    }

    /// The id of a choice's call.
    pub(super) fn of(&self, choice: usize, index: usize, call: &FunctionCall<'_>) -> String {
        match &call.id {
            Some(id) if !id.0.is_empty() => id.0.clone().into_owned(),
            _ => format!("{}_{choice}_{index}", self.0),
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

//! The conversation: OpenAI's messages become Gemini's turns.
//!
//! Gemini wants turns of `user` and `model` in alternation, beginning with `user`, none of them empty; and all results of
//! a turn's calls in the one `user` turn behind it, as many as there were calls and in their order. OpenAI's results come
//! in any order, each a message of its own that names its call by id alone. So when a turn has calls, the places of their
//! results are laid out at once, and the messages that follow fill them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::base::error::{Code, Error};
use crate::wire::openai_request::{Message, PartKind, Role as Speaker, ToolCall, invalid};

use super::names::Names;
use super::parts::{Content, FunctionCall, FunctionResponse, Kind, Part, Role};
use crate::provider::gemini::capability::Capability;

/// What Google takes in the place of a signature that the caller did not keep, base64 of its documented text.
const NO_SIGNATURE: &str = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=";

/// The system instruction and the turns of a conversation.
pub(super) fn conversation<'a>(
    messages: &'a [Message<'a>],
    capability: &Capability,
    names: &Names,
) -> Result<(Option<Content<'a>>, Vec<Content<'a>>), Error> {
    let mut turns = Turns { capability, names, system: Vec::new(), done: Vec::new(), open: None };
    for (index, message) in messages.iter().enumerate() {
        match message.role {
            Speaker::System => turns.system(index, message)?,
            Speaker::User => turns.user(index, message)?,
            Speaker::Assistant => turns.assistant(index, message)?,
            Speaker::Tool => turns.result(index, message)?,
        }
    }
    turns.finish()
}

struct Turns<'a, 'c> {
    capability: &'c Capability,
    names: &'c Names,
    system: Vec<Part<'a>>,
    done: Vec<Content<'a>>,
    /// The calls of the last `model` turn, while the turn behind it is being filled.
    open: Option<Open<'a>>,
}

struct Open<'a> {
    message: usize,
    calls: Vec<Awaited<'a>>,
}

struct Awaited<'a> {
    call: &'a ToolCall<'a>,
    result: Option<FunctionResponse<'a>>,
}

impl<'a> Turns<'a, '_> {
    fn system(&mut self, index: usize, message: &'a Message<'a>) -> Result<(), Error> {
        for (at, part) in message.content.iter().enumerate() {
            match &part.kind {
                PartKind::Text(text) if text.is_empty() => {}
                PartKind::Text(text) => self.system.push(Part::of(Kind::Text(text))),
                _ => {
                    return Err(invalid(
                        format_args!("messages[{index}].content[{at}]"),
                        "a system message holds text alone",
                    ));
                }
            }
        }
        Ok(())
    }

    fn user(&mut self, index: usize, message: &'a Message<'a>) -> Result<(), Error> {
        let parts = converted(index, message)?;
        self.extend(Role::User, parts);
        Ok(())
    }

    fn assistant(&mut self, index: usize, message: &'a Message<'a>) -> Result<(), Error> {
        self.close()?;
        let mut parts = converted(index, message)?;
        let mut calls = Vec::with_capacity(message.tool_calls.len());
        for (at, call) in message.tool_calls.iter().enumerate() {
            let place = format!("messages[{index}].tool_calls[{at}]");
            if calls.iter().any(|a: &Awaited<'_>| a.call.id == call.id) {
                return Err(invalid(format_args!("{place}.id"), "another call of this message has the same id"));
            }
            parts.push(self.call(call, at == 0, &place)?);
            calls.push(Awaited { call, result: None });
        }
        self.extend(Role::Model, parts);
        if !calls.is_empty() {
            self.done.push(Content { role: Some(Role::User), parts: Vec::new() });
            self.open = Some(Open { message: index, calls });
        }
        Ok(())
    }

    fn call(&self, call: &'a ToolCall<'a>, first: bool, place: &str) -> Result<Part<'a>, Error> {
        let signature = signature(call.extra_content, place)?;
        Ok(Part {
            kind: Kind::FunctionCall(FunctionCall {
                id: self.id(call),
                name: self.names.sent(&call.name),
                args: arguments(&call.arguments, place)?,
            }),
            // Of calls made at once the first alone is signed.
            thought_signature: signature
                .or((first && self.capability.signed_calls).then_some(Cow::Borrowed(NO_SIGNATURE))),
        })
    }

    fn id(&self, call: &'a ToolCall<'a>) -> Option<&'a str> {
        self.capability.signed_calls.then_some(&*call.id)
    }

    fn result(&mut self, index: usize, message: &'a Message<'a>) -> Result<(), Error> {
        let place = format!("messages[{index}].tool_call_id");
        let open = self.open.as_mut();
        let found = open.and_then(|o| o.calls.iter_mut().find(|a| a.call.id == message.tool_call_id));
        let awaited = found.ok_or_else(|| {
            invalid(&place, format_args!("the assistant's message before it has no call {:?}", message.tool_call_id))
        })?;
        if awaited.result.is_some() {
            return Err(invalid(&place, format_args!("call {:?} has a result already", message.tool_call_id)));
        }
        let call = awaited.call;
        let (text, media): (Vec<_>, Vec<_>) = converted(index, message)?.into_iter().partition(Part::is_text);
        let mut result = FunctionResponse {
            id: self.capability.signed_calls.then_some(&*call.id),
            name: self.names.sent(&call.name),
            response: response(&text)?,
            parts: Vec::new(),
        };
        // Older models count parts: what is no result must stand behind the results.
        let behind = if self.capability.signed_calls {
            result.parts = media;
            Vec::new()
        } else {
            media
        };
        awaited.result = Some(result);
        self.extend(Role::User, behind);
        Ok(())
    }

    /// Puts `parts` into a turn of `role`: the last one, if it is of that role.
    fn extend(&mut self, role: Role, parts: Vec<Part<'a>>) {
        if parts.is_empty() {
            return;
        }
        match self.done.last_mut() {
            Some(last) if last.role == Some(role) => last.parts.extend(parts),
            _ => self.done.push(Content { role: Some(role), parts }),
        }
    }

    /// Puts the results of the open calls at the head of their turn.
    fn close(&mut self) -> Result<(), Error> {
        let (Some(open), Some(turn)) = (self.open.take(), self.done.last_mut()) else { return Ok(()) };
        let mut results = Vec::with_capacity(open.calls.len());
        for (at, awaited) in open.calls.into_iter().enumerate() {
            let result = awaited.result.ok_or_else(|| {
                let place = format!("messages[{}].tool_calls[{at}].id", open.message);
                invalid(place, format_args!("no tool message behind it answers call {:?}", awaited.call.id))
            })?;
            results.push(Part::of(Kind::FunctionResponse(result)));
        }
        turn.parts.splice(..0, results);
        Ok(())
    }

    fn finish(mut self) -> Result<(Option<Content<'a>>, Vec<Content<'a>>), Error> {
        self.close()?;
        if self.done.is_empty() {
            let message =
                "The conversation is empty: give a user message with text or media beside any system message.";
            return Err(Error::new(Code::InvalidParameter, message).param("messages"));
        }
        if self.done[0].role == Some(Role::Model) {
            self.done.insert(0, Content { role: Some(Role::User), parts: vec![Part::default()] });
        }
        for turn in self.done.iter_mut().filter(|t| t.role == Some(Role::User)) {
            let media = |p: &Part<'_>| matches!(p.kind, Kind::InlineData(_) | Kind::FileData(_));
            if turn.parts.iter().all(media) {
                // Some models refuse a turn of media alone.
                turn.parts.push(Part::default());
            }
        }
        if !self.capability.system {
            let system = std::mem::take(&mut self.system);
            self.done[0].parts.splice(..0, system);
        }
        let system = (!self.system.is_empty()).then_some(Content { role: None, parts: self.system });
        Ok((system, self.done))
    }
}

fn converted<'a>(index: usize, message: &'a Message<'a>) -> Result<Vec<Part<'a>>, Error> {
    let parts = message.content.iter().enumerate();
    parts
        .filter_map(|(at, part)| Part::convert(part, &format!("messages[{index}].content[{at}]")).transpose())
        .collect()
}

#[derive(Deserialize)]
struct Extra<'a> {
    #[serde(borrow)]
    google: Option<Google<'a>>,
}

#[derive(Deserialize)]
struct Google<'a> {
    #[serde(borrow)]
    thought_signature: Option<Cow<'a, str>>,
}

/// The signature as the answer carried it: `extra_content.google.thought_signature`.
fn signature<'a>(extra: Option<&'a RawValue>, place: &str) -> Result<Option<Cow<'a, str>>, Error> {
    let Some(extra) = extra else { return Ok(None) };
    let extra: Extra<'a> = serde_json::from_str(extra.get())
        .map_err(|_| invalid(format_args!("{place}.extra_content"), "send it back as the answer had it"))?;
    Ok(extra.google.and_then(|g| g.thought_signature).filter(|s| !s.is_empty()))
}

/// A call's arguments, which must be an object. None at all, and an object in a string of its own, are understood.
fn arguments(text: &str, place: &str) -> Result<Box<RawValue>, Error> {
    let text = text.trim();
    let inner: Cow<'_, str> = match text {
        "" | "null" => Cow::Borrowed("{}"),
        _ if text.starts_with('"') => Cow::Owned(serde_json::from_str(text).unwrap_or_default()),
        _ => Cow::Borrowed(text),
    };
    let object = serde_json::from_str::<Box<RawValue>>(&inner).ok().filter(|raw| raw.get().starts_with('{'));
    object.ok_or_else(|| invalid(format_args!("{place}.function.arguments"), "it is no JSON object"))
}

/// A result as Gemini wants it: an object. What is none stands under `output`.
fn response(parts: &[Part<'_>]) -> Result<Box<RawValue>, Error> {
    #[derive(serde::Serialize)]
    struct Output<'a> {
        output: &'a str,
    }
    let text: Cow<'_, str> = match parts {
        [Part { kind: Kind::Text(text), .. }] => Cow::Borrowed(*text),
        _ => parts.iter().filter_map(|p| if let Kind::Text(text) = p.kind { Some(text) } else { None }).collect(),
    };
    let object =
        text.trim_start().starts_with('{').then(|| serde_json::from_str::<Box<RawValue>>(&text).ok()).flatten();
    // A member `$ref` would be read as a reference to a part of the result.
    if let Some(object) = object.filter(|o| !o.get().contains("\"$ref\"")) {
        return Ok(object);
    }
    to_raw_value(&Output { output: &text })
        .map_err(|e| Error::new(Code::InternalError, "A tool's result could not be written.").cause(e.to_string()))
}

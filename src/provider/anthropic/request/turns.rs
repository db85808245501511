//! Messages as turns: the vendor wants user and assistant in alternation, and every call answered in the very next turn.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

use serde::Deserialize;
use serde::ser::{Serialize, SerializeStruct, Serializer};
use serde_json::value::RawValue;

use crate::base::error::Error;
use crate::wire::openai_request::{Message, PartKind, Role, ToolCall, invalid, unsupported};

use super::super::capability::{Capability, Thinking};
use super::blocks::{Block, ResultContent};

/// A turn. What must stand first and last in it is kept apart until it is written.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    assistant: bool,
    /// A user's tool results; an assistant's thinking.
    lead: Vec<Block<'a>>,
    body: Vec<Block<'a>>,
    /// An assistant's calls.
    calls: Vec<Block<'a>>,
}

/// The turns of a request.
#[derive(Debug, Default)]
pub(super) struct Conversation<'a> {
    pub(super) turns: Vec<Turn<'a>>,
    /// Names of the tools that were called.
    pub(super) called: BTreeSet<Cow<'a, str>>,
    ids: HashSet<String>,
    /// Calls of the last assistant turn that wait for their results, and the message that they stand in.
    open: BTreeSet<String>,
    open_at: usize,
    images: usize,
}

/// The turns of `messages`; what systems and developers say goes to `system`, wherever it stands.
pub(super) fn turns<'a>(
    messages: Vec<Message<'a>>,
    able: &Capability,
    system: &mut Vec<Block<'a>>,
) -> Result<Conversation<'a>, Error> {
    let mut talk = Conversation::default();
    for (index, message) in messages.into_iter().enumerate() {
        match message.role {
            Role::System => system.extend(texts(message, index)?),
            Role::User => talk.user(message, index, able)?,
            Role::Tool => talk.tool(message, index, able)?,
            Role::Assistant => talk.assistant(message, index, able)?,
        }
    }
    talk.all_answered()?;
    talk.end(able)?;
    Ok(talk)
}

fn texts(message: Message<'_>, index: usize) -> Result<Vec<Block<'_>>, Error> {
    let mut blocks = Vec::new();
    for (part_index, part) in message.content.into_iter().enumerate() {
        blocks.extend(Block::text_of(part, &format!("messages[{index}].content[{part_index}]"))?);
    }
    mark(&mut blocks, message.cache_control);
    Ok(blocks)
}

fn mark<'a>(blocks: &mut [Block<'a>], cache_control: Option<&'a RawValue>) {
    if let (Some(block), Some(mark)) = (blocks.last_mut(), cache_control) {
        block.cache(mark);
    }
}

impl<'a> Conversation<'a> {
    /// Whether budgeted thinking can be asked for: the calls at hand must then follow a thinking block of the vendor's.
    pub(super) fn allows_thinking(&self) -> bool {
        let last = self.turns.iter().rfind(|turn| turn.assistant);
        last.is_none_or(|turn| turn.calls.is_empty() || !turn.lead.is_empty()) && !self.is_prefilled()
    }

    fn is_prefilled(&self) -> bool {
        self.turns.last().is_some_and(|turn| turn.assistant)
    }

    /// The turn at hand, a new one where the speaker changes.
    fn turn(&mut self, assistant: bool) -> &mut Turn<'a> {
        if self.turns.last().is_none_or(|turn| turn.assistant != assistant) {
            if self.turns.is_empty() && assistant {
                // The vendor wants the user to begin.
                self.turns.push(Turn { body: vec![Block::text("...")], ..Turn::new(false) });
            }
            self.turns.push(Turn::new(assistant));
        }
        let last = self.turns.len() - 1;
        &mut self.turns[last]
    }

    fn user(&mut self, message: Message<'a>, index: usize, able: &Capability) -> Result<(), Error> {
        let blocks = self.blocks(message, index, able)?;
        if !blocks.is_empty() {
            self.turn(false).body.extend(blocks);
        }
        Ok(())
    }

    fn tool(&mut self, mut message: Message<'a>, index: usize, able: &Capability) -> Result<(), Error> {
        let id = clean_id(&std::mem::take(&mut message.tool_call_id));
        if !self.open.remove(&id) {
            let why = "no call with this id waits for a result in the assistant's message before it";
            return Err(invalid(format_args!("messages[{index}].tool_call_id"), why));
        }
        let cache_control = message.cache_control.take();
        let mut blocks = self.blocks(message, index, able)?;
        let content = match blocks.as_mut_slice() {
            [Block::Text { text, cache_control: None }] => ResultContent::Text(std::mem::take(text)),
            _ => ResultContent::Blocks(blocks),
        };
        self.turn(false).lead.push(Block::ToolResult { tool_use_id: id, content, cache_control });
        Ok(())
    }

    fn assistant(&mut self, message: Message<'a>, index: usize, able: &Capability) -> Result<(), Error> {
        if self.turns.last().is_some_and(|turn| !turn.assistant) {
            self.all_answered()?;
        }
        let place = format!("messages[{index}]");
        let mut turn = Turn::new(true);
        if able.thinking != Thinking::None {
            turn.lead = thinking(&message, &place)?;
        }
        for (part_index, part) in message.content.into_iter().enumerate() {
            turn.body.extend(Block::text_of(part, &format!("{place}.content[{part_index}]"))?);
        }
        for (call_index, call) in message.tool_calls.into_iter().enumerate() {
            turn.calls.push(self.call(call, &format!("{place}.tool_calls[{call_index}]"))?);
            self.open_at = index;
        }
        mark(if turn.calls.is_empty() { &mut turn.body } else { &mut turn.calls }, message.cache_control);
        // Thinking alone is no turn: the vendor wants something said after it.
        if !turn.body.is_empty() || !turn.calls.is_empty() {
            let last = self.turn(true);
            last.lead.append(&mut turn.lead);
            last.body.append(&mut turn.body);
            last.calls.append(&mut turn.calls);
        }
        Ok(())
    }

    fn call(&mut self, call: ToolCall<'a>, place: &str) -> Result<Block<'a>, Error> {
        let id = clean_id(&call.id);
        if id.is_empty() || !self.ids.insert(id.clone()) {
            return Err(invalid(format_args!("{place}.id"), "every call needs an id of its own"));
        }
        self.open.insert(id.clone());
        self.called.insert(call.name.clone());
        let input = input(&call.arguments).ok_or_else(|| {
            invalid(format_args!("{place}.function.arguments"), "they are no JSON object; send what the model had sent")
        })?;
        Ok(Block::ToolUse { id, name: call.name, input, cache_control: None })
    }

    fn blocks(&mut self, message: Message<'a>, index: usize, able: &Capability) -> Result<Vec<Block<'a>>, Error> {
        let mut blocks = Vec::with_capacity(message.content.len());
        for (part_index, part) in message.content.into_iter().enumerate() {
            let place = format!("messages[{index}].content[{part_index}]");
            self.images += usize::from(matches!(part.kind, PartKind::Image { .. }));
            if self.images > able.max_images {
                let why = format!("this model takes at most {} images a request", able.max_images);
                return Err(invalid(place, why));
            }
            blocks.extend(Block::of(part, &place)?);
        }
        mark(&mut blocks, message.cache_control);
        Ok(blocks)
    }

    fn all_answered(&self) -> Result<(), Error> {
        let Some(id) = self.open.first() else { return Ok(()) };
        let why =
            format!("the call {id:?} has no result; a message of role \"tool\" must follow with its tool_call_id");
        Err(invalid(format_args!("messages[{}].tool_calls", self.open_at), why))
    }

    /// An assistant's turn at the end is to be continued, where the model can.
    fn end(&mut self, able: &Capability) -> Result<(), Error> {
        let Some(last) = self.turns.last_mut() else {
            return Err(invalid("messages", "nobody but the system says anything; add a message of role \"user\""));
        };
        if !last.assistant {
            return Ok(());
        }
        if !able.prefill {
            let why = "this model does not continue an assistant's message; end with one of role \"user\"";
            return Err(unsupported("messages", why));
        }
        if let Some(Block::Text { text, .. }) = last.body.last_mut() {
            *text = text.trim_end().to_owned().into();
        }
        Ok(())
    }
}

impl Turn<'_> {
    fn new(assistant: bool) -> Self {
        Self { assistant, lead: Vec::new(), body: Vec::new(), calls: Vec::new() }
    }
}

impl Serialize for Turn<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let content: Vec<&Block<'_>> = self.lead.iter().chain(&self.body).chain(&self.calls).collect();
        let mut turn = serializer.serialize_struct("Turn", 2)?;
        turn.serialize_field("role", if self.assistant { "assistant" } else { "user" })?;
        turn.serialize_field("content", &content)?;
        turn.end()
    }
}

/// The vendor's alphabet of ids; the same on calls and results.
fn clean_id(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' }).collect()
}

/// The arguments as the object that the vendor wants; some clients encode them twice.
fn input(arguments: &str) -> Option<Box<RawValue>> {
    let arguments = match arguments.trim() {
        "" | "null" => "{}",
        text => text,
    };
    let raw = RawValue::from_string(arguments.to_owned()).ok()?;
    match raw.get().as_bytes().first()? {
        b'{' => Some(raw),
        b'"' => input(&serde_json::from_str::<String>(raw.get()).ok()?),
        _ => None,
    }
}

#[derive(Deserialize)]
struct ThinkingBlock<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow, default)]
    thinking: Cow<'a, str>,
    #[serde(borrow, default)]
    signature: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Cow<'a, str>,
}

/// The thinking that a caller hands back. In a stream its text came as `reasoning_content` and only the signature as a
/// block: they are put together again where that is certain, and left out where it is not, as the vendor refuses a
/// thought that was changed.
fn thinking<'a>(message: &Message<'a>, place: &str) -> Result<Vec<Block<'a>>, Error> {
    let mut blocks = Vec::new();
    let mut signed = 0;
    for (index, raw) in message.thinking_blocks.iter().enumerate() {
        let block: ThinkingBlock<'a> = serde_json::from_str(raw.get()).map_err(|_| {
            invalid(format_args!("{place}.thinking_blocks[{index}]"), "it is no block of thinking; send it as it came")
        })?;
        match block.kind.as_str() {
            "thinking" if !block.signature.is_empty() => {
                signed += 1;
                blocks.push(Block::Thinking { thinking: block.thinking, signature: block.signature });
            }
            "redacted_thinking" => blocks.push(Block::RedactedThinking { data: block.data }),
            _ => {}
        }
    }
    let Some(text) = message.reasoning_content.as_ref().filter(|text| !text.is_empty()) else { return Ok(blocks) };
    let blank = |block: &Block<'_>| matches!(block, Block::Thinking { thinking, .. } if thinking.is_empty());
    if signed > 1 && blocks.iter().any(blank) {
        return Ok(Vec::new());
    }
    for block in &mut blocks {
        if let Block::Thinking { thinking, .. } = block
            && thinking.is_empty()
        {
            *thinking = text.clone();
        }
    }
    Ok(blocks)
}

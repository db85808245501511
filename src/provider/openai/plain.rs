//! One JSON body, passed through: its pieces go on as they come, and `usage` is read on the side.

use bytes::Bytes;
use serde_json::Value;

use crate::base::error::{Code, Error};
use crate::domain::usage::Usage;
use crate::provider::traits::{MadeAs, Output};
use crate::wire::colons::members;
use crate::wire::members::{Event, Members};
use crate::wire::vendor_error::is_truthy;

use super::billing::Billing;
use super::dialect::Dialect;
use super::images::Counts;
use super::stream::{is_text, text_len};
use super::usage::Reported;
use super::{Form, fault, tail, usage};

/// So much of an answer is held back until it is plain that it is none of those errors that come as a success.
const HELD: usize = 4 * 1024;

/// A member longer than this is not read.
const LONGEST_MEMBER: usize = 64 * 1024;

pub(super) struct Plain {
    dialect: Dialect,
    billing: Billing,
    members: Members,
    /// What came so far; `None` once it has been let go.
    held: Option<Vec<Bytes>>,
    /// The member that is being read, and its bytes so far.
    wanted: Option<(Wanted, Vec<u8>)>,
    in_choices: bool,
    has_choices: bool,
    /// Whether it has members of an answer, and of an error that stands bare.
    answers: bool,
    complains: bool,
    reported: bool,
    passed: u64,
    /// Of an answer made of pictures.
    images: Option<Counts>,
    in_data: bool,
    /// Members to put before all others.
    first: Bytes,
    by_end: ByEnd,
}

/// Whether a short answer is looked at from its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ByEnd {
    Never,
    /// Its first piece may be all of it.
    First,
    /// It was, and its end told enough.
    Told,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Usage,
    ChoiceUsage,
    /// How long a recording was, in seconds.
    Duration,
    /// What the vendor made of the size and the quality.
    Size,
    Quality,
    Error,
    BaseResp,
}

impl Plain {
    pub(super) fn new(dialect: Dialect, billing: Billing) -> Self {
        Self {
            dialect,
            billing,
            members: Members::new(if dialect.nests_usage() { 3 } else { 1 }),
            held: Some(Vec::new()),
            wanted: None,
            in_choices: false,
            has_choices: false,
            answers: false,
            complains: false,
            reported: false,
            passed: 0,
            images: None,
            in_data: false,
            first: Bytes::new(),
            by_end: ByEnd::Never,
        }
    }

    /// Of a short answer in one piece, reads what stands at its end alone, where that tells enough.
    pub(super) fn by_its_end(self) -> Self {
        Self { by_end: ByEnd::First, ..self }
    }

    /// For an answer made of pictures, which are counted; `first` are members to put before all others.
    pub(super) fn of_images(dialect: Dialect, billing: Billing, counts: Counts, first: Bytes) -> Self {
        Self { images: Some(counts), members: Members::new(3), first, ..Self::new(dialect, billing) }
    }

    /// A member begins: whether it is one to read.
    fn begin(&mut self, depth: usize, value_at: usize, is_text: bool) -> bool {
        if self.wanted.is_some() {
            return false;
        }
        let key = self.members.key();
        if let Some(counts) = self.images.as_mut().filter(|_| depth == 3 && self.in_data && is_text) {
            counts.pictures += u64::from(matches!(&*key, "b64_json" | "url"));
        }
        if depth == 1 {
            self.in_data = key == "data";
            self.in_choices = key == "choices";
            self.has_choices |= self.in_choices;
            self.answers |= matches!(&*key, "choices" | "data" | "output" | "text" | "usage");
            self.complains |= matches!(&*key, "code" | "message" | "detail");
        }
        // Further on, the answer has gone out already, or would have had the pieces been smaller.
        let may_fail = value_at <= HELD;
        let wanted = match (depth, &*key) {
            (1, "usage") => Wanted::Usage,
            (3, "usage") if self.in_choices && !self.reported => Wanted::ChoiceUsage,
            (1, "duration") if !self.reported => Wanted::Duration,
            (1, "size") if self.images.is_some() && is_text => Wanted::Size,
            (1, "quality") if self.images.is_some() && is_text => Wanted::Quality,
            (1, "error") if may_fail && !self.has_choices => Wanted::Error,
            (1, "base_resp") if may_fail => Wanted::BaseResp,
            _ => return false,
        };
        self.wanted = Some((wanted, Vec::new()));
        true
    }

    fn end(&mut self, depth: usize, tail: &[u8], out: &mut Output) -> Result<(), Error> {
        let is_its_own = |wanted| depth == if wanted == Wanted::ChoiceUsage { 3 } else { 1 };
        let Some((wanted, mut bytes)) = self.wanted.take_if(|(wanted, _)| is_its_own(*wanted)) else { return Ok(()) };
        if bytes.len() + tail.len() > LONGEST_MEMBER {
            return Ok(());
        }
        bytes.extend_from_slice(tail);
        if let Some(counts) = self.images.as_mut().filter(|_| wanted == Wanted::Usage) {
            counts.tokens = usage::read_images(&usage::parse(&bytes)).unwrap_or(counts.tokens);
            return Ok(());
        }
        if matches!(wanted, Wanted::Usage | Wanted::ChoiceUsage) {
            if let Some(used) = self.billing.told(&usage::parse(&bytes)) {
                self.reported |= wanted == Wanted::Usage;
                out.report(used);
            }
            return Ok(());
        }
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        match wanted {
            Wanted::Duration => {
                if let Some(used) = self.billing.lasted(&value) {
                    out.report(used);
                }
            }
            Wanted::Size | Wanted::Quality => {
                if let (Some(counts), Value::String(made)) = (&mut self.images, value) {
                    let MadeAs { size, quality } = &mut counts.made_as;
                    *(if wanted == Wanted::Size { size } else { quality }) = Some(made);
                }
            }
            Wanted::Error if is_truthy(&value) => return Err(self.fault("error", value)),
            Wanted::BaseResp if value.get("status_code").and_then(Value::as_i64).is_some_and(|code| code != 0) => {
                return Err(self.fault("base_resp", value));
            }
            _ => {}
        }
        Ok(())
    }

    fn fault(&self, key: &str, value: Value) -> Error {
        fault::of_event(self.dialect, serde_json::json!({ key: value }).to_string().as_bytes())
    }

    fn pass(&mut self, piece: Bytes, out: &mut Output) {
        self.passed += piece.len() as u64;
        match &mut self.held {
            // All of it is there: nothing is left to be held back for.
            Some(_) if self.by_end == ByEnd::Told && self.first.is_empty() => {
                self.held = None;
                out.write(piece);
                out.deliver(self.delivered());
            }
            Some(held) => {
                held.push(piece);
                let undecided =
                    self.wanted.as_ref().is_some_and(|(wanted, _)| matches!(wanted, Wanted::Error | Wanted::BaseResp));
                if self.members.offset() > HELD && !undecided {
                    self.release(out);
                }
            }
            None => {
                out.write(piece);
                out.deliver(self.delivered());
            }
        }
    }

    fn release(&mut self, out: &mut Output) {
        if let Some(held) = self.held.take() {
            for mut piece in held {
                let brace = memchr::memchr(b'{', &piece).filter(|_| !self.first.is_empty());
                if let Some(at) = brace {
                    out.write(piece.split_to(at + 1));
                    out.write(std::mem::take(&mut self.first));
                }
                out.write(piece);
            }
            out.deliver(self.delivered());
        }
    }

    /// By our own count: a token is some four bytes.
    fn delivered(&self) -> Usage {
        match &self.images {
            Some(counts) => counts.usage(),
            None => self.billing.delivered(self.passed.div_ceil(4)),
        }
    }
}

impl Plain {
    fn read(&mut self, piece: Bytes, out: &mut Output) -> Result<(), Error> {
        let base = self.members.offset();
        let (mut at, mut from) = (0, 0);
        while let Some(event) = self.members.next(&piece, &mut at) {
            match event {
                Event::Begin { depth, value_at, .. } => {
                    let is_text = piece.get(value_at - base) == Some(&b'"');
                    if self.begin(depth, value_at, is_text) {
                        from = value_at - base;
                    }
                }
                Event::End { depth, value_end } => {
                    // A number's end shows in the byte behind it, which may stand in the next piece.
                    let tail = piece.get(from..value_end.saturating_sub(base)).unwrap_or_default();
                    self.end(depth, tail, out)?;
                }
            }
        }
        if let Some((_, bytes)) = &mut self.wanted {
            bytes.extend_from_slice(&piece[from.min(piece.len())..]);
            if bytes.len() > LONGEST_MEMBER {
                self.wanted = None;
            }
        }
        if self.members.is_no_object() {
            return Err(unreadable());
        }
        self.pass(piece, out);
        if self.members.is_closed() {
            self.check()?;
            if out.usage().is_none() {
                self.count_texts();
            }
            self.complete(out);
        }
        Ok(())
    }

    /// Of a short chat nobody tells the usage of, what counts is its texts, as in a stream, and not all that stands around.
    fn count_texts(&mut self) {
        if let Some(held) = self.held.as_ref().filter(|_| self.has_choices) {
            let held = held.concat();
            let texts = members(&held).filter(|(key, _)| is_text(key)).map(|(_, text)| text_len(text));
            self.passed = texts.sum();
        }
    }

    /// Some vendors' errors stand bare in an answer that comes as a success.
    fn check(&self) -> Result<(), Error> {
        match &self.held {
            Some(held) if self.complains && !self.answers => Err(fault::of_event(self.dialect, &held.concat())),
            _ => Ok(()),
        }
    }

    /// Takes a piece for all of the answer, as its end has told.
    fn read_whole(&mut self, piece: Bytes, said: &Reported, out: &mut Output) {
        self.by_end = ByEnd::Told;
        if let Some(used) = self.billing.reported(said) {
            out.report(used);
        }
        self.pass(piece, out);
        self.complete(out);
    }

    /// All of the answer is there.
    fn complete(&mut self, out: &mut Output) {
        self.release(out);
        if let Some(counts) = &self.images {
            out.report(counts.usage());
            out.made_as(counts.made_as.clone());
        } else if let Some(used) = self.billing.silent().filter(|_| out.usage().is_none()) {
            out.report(used);
        }
        out.complete();
    }
}

impl Form for Plain {
    fn push(&mut self, piece: Bytes, out: &mut Output) -> Result<(), Error> {
        match std::mem::replace(&mut self.by_end, ByEnd::Never) {
            ByEnd::First if piece.len() <= HELD => {
                let mut said = Reported::default();
                if tail::usage(&piece, &mut said) {
                    self.read_whole(piece, &said, out);
                    return Ok(());
                }
            }
            // White space, if anything.
            ByEnd::Told => {
                self.by_end = ByEnd::Told;
                self.pass(piece, out);
                return Ok(());
            }
            ByEnd::First | ByEnd::Never => {}
        }
        self.read(piece, out)
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), Error> {
        // Nothing has gone out of an answer that broke off while it was held back: it can still fail as a whole.
        if self.held.is_some() && !self.members.is_closed() {
            return Err(unreadable());
        }
        self.release(out);
        Ok(())
    }
}

fn unreadable() -> Error {
    Error::provider(Code::ProviderError, "The provider's answer is not the JSON object that it should be.")
}

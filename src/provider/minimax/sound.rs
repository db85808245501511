//! The answer of `t2a_v2`: sound in hexadecimal digits, in one JSON body or in events. The digits become bytes as they
//! come, so that no more than a piece of the answer is ever held.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, response};
use serde::Deserialize;
use serde_json::json;

use crate::base::error::{Code, Error};
use crate::domain::usage::Usage;
use crate::provider::traits::{Decoder, Output};
use crate::wire::base64;
use crate::wire::lenient::Lenient;
use crate::wire::members::{Event, Members};
use crate::wire::sse::SseReader;

use super::fault::BaseResp;

/// Members beside the sound that are longer than this are not read.
const LONGEST_MEMBER: usize = 64 * 1024;

/// How the caller is sent the sound.
#[derive(Clone, Copy, Debug)]
pub(super) enum Delivery {
    /// As it is, under this content type.
    Bytes(&'static str),
    /// In events like OpenAI's.
    Events,
}

pub(super) struct Sound {
    delivery: Delivery,
    /// What is spoken, as we count it, and later as MiniMax bills it.
    characters: u64,
    digits: Digits,
    made: bool,
    ended: bool,
    form: Form,
}

enum Form {
    Whole(Box<Whole>),
    Events(Box<SseReader>),
}

/// A JSON body on its way.
struct Whole {
    members: Members,
    in_data: bool,
    wanted: Option<Wanted>,
}

enum Wanted {
    Sound,
    BaseResp(Vec<u8>),
    Extra(Vec<u8>),
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Chunk<'a> {
    #[serde(borrow)]
    data: Option<Data<'a>>,
    extra_info: Option<Extra>,
    base_resp: Option<BaseResp>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data<'a> {
    audio: Option<&'a str>,
    status: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Extra {
    usage_characters: Lenient<()>,
}

impl Sound {
    pub(super) fn new(delivery: Delivery, characters: u64) -> Self {
        let whole = Whole { members: Members::new(2), in_data: false, wanted: None };
        Self {
            delivery,
            characters,
            digits: Digits::default(),
            made: false,
            ended: false,
            form: Form::Whole(Box::new(whole)),
        }
    }

    fn speak(&mut self, digits: &[u8], out: &mut Output) -> Result<(), Error> {
        let sound = self.digits.read(digits)?;
        if sound.is_empty() {
            return Ok(());
        }
        self.made = true;
        out.write(match self.delivery {
            Delivery::Bytes(_) => sound.into(),
            Delivery::Events => event(&json!({"type": "speech.audio.delta", "audio": base64::encode(&sound)})),
        });
        out.deliver(self.usage());
        Ok(())
    }

    fn usage(&self) -> Usage {
        Usage { characters: self.characters, ..Usage::NONE }
    }

    fn bill(&mut self, extra: &Extra) {
        self.characters = extra.usage_characters.number().filter(|n| *n > 0).unwrap_or(self.characters);
    }

    /// The answer is whole.
    fn end(&mut self, out: &mut Output) -> Result<(), Error> {
        if !self.made {
            return Err(Error::provider(Code::ProviderError, "The provider answered without a sound. Try again."));
        }
        if matches!(self.delivery, Delivery::Events) {
            // MiniMax bills no tokens.
            let usage =
                json!({"input_tokens": 0, "output_tokens": 0, "total_tokens": 0, "characters": self.characters});
            out.write(event(&json!({"type": "speech.audio.done", "usage": usage})));
        }
        self.ended = true;
        out.report(self.usage());
        out.complete();
        Ok(())
    }

    fn read_chunk(&mut self, data: &[u8], out: &mut Output) -> Result<(), Error> {
        let chunk: Chunk<'_> = serde_json::from_slice(data).map_err(|_| unreadable())?;
        if let Some(base) = &chunk.base_resp {
            base.check()?;
        }
        if let Some(extra) = &chunk.extra_info {
            self.bill(extra);
        }
        let data = chunk.data.unwrap_or_default();
        let is_last = data.status == Some(2);
        // Asked not to, the last event may still bring all of the sound again.
        if let Some(digits) = data.audio.filter(|_| !(is_last && self.made)) {
            self.speak(digits.as_bytes(), out)?;
        }
        if is_last { self.end(out) } else { Ok(()) }
    }

    fn push_events(&mut self, mut reader: Box<SseReader>, piece: Bytes, out: &mut Output) -> Result<(), Error> {
        reader.push(piece);
        while let Some(event) = reader.next_event().map_err(|_| unreadable())? {
            if let Some(data) = event.data().filter(|_| !self.ended) {
                self.read_chunk(&data, out)?;
            }
        }
        self.form = Form::Events(reader);
        Ok(())
    }

    fn push_whole(&mut self, mut whole: Box<Whole>, piece: &Bytes, out: &mut Output) -> Result<(), Error> {
        let base = whole.members.offset();
        let (mut at, mut from) = (0, 0);
        while let Some(event) = whole.members.next(piece, &mut at) {
            match event {
                Event::Begin { depth, value_at, .. } => {
                    let place = value_at - base;
                    if whole.begin(depth, piece.get(place) == Some(&b'"')) {
                        from = place;
                    }
                }
                Event::End { depth, value_end } => {
                    let tail = piece.get(from..value_end.saturating_sub(base)).unwrap_or_default();
                    if whole.ends(depth) {
                        self.member(&mut whole, tail, out)?;
                        self.member_ends(whole.wanted.take())?;
                    }
                }
            }
        }
        let rest = &piece[from.min(piece.len())..];
        self.member(&mut whole, rest, out)?;
        if whole.members.is_no_object() {
            return Err(unreadable());
        }
        let closed = whole.members.is_closed();
        self.form = Form::Whole(whole);
        if closed && !self.ended { self.end(out) } else { Ok(()) }
    }

    /// More of the member that is being read.
    fn member(&mut self, whole: &mut Whole, bytes: &[u8], out: &mut Output) -> Result<(), Error> {
        match &mut whole.wanted {
            Some(Wanted::Sound) => self.speak(bytes, out),
            Some(Wanted::BaseResp(so_far) | Wanted::Extra(so_far)) if so_far.len() < LONGEST_MEMBER => {
                so_far.extend_from_slice(bytes);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn member_ends(&mut self, member: Option<Wanted>) -> Result<(), Error> {
        match member {
            Some(Wanted::BaseResp(text)) => {
                let base: Option<BaseResp> = serde_json::from_slice(&text).map_err(|_| unreadable())?;
                base.unwrap_or_default().check()
            }
            Some(Wanted::Extra(text)) => {
                self.bill(&serde_json::from_slice::<Option<Extra>>(&text).ok().flatten().unwrap_or_default());
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Whole {
    /// A member begins: whether it is one to read.
    fn begin(&mut self, depth: usize, is_text: bool) -> bool {
        let key = self.members.key();
        if depth == 1 {
            self.in_data = key == "data";
        }
        if self.wanted.is_some() {
            return false;
        }
        self.wanted = match (depth, &*key) {
            (1, "base_resp") => Some(Wanted::BaseResp(Vec::new())),
            (1, "extra_info") => Some(Wanted::Extra(Vec::new())),
            (2, "audio") if self.in_data && is_text => Some(Wanted::Sound),
            _ => None,
        };
        self.wanted.is_some()
    }

    /// Whether what ends at this depth is what is being read.
    fn ends(&self, depth: usize) -> bool {
        self.wanted.as_ref().is_some_and(|wanted| depth == if matches!(wanted, Wanted::Sound) { 2 } else { 1 })
    }
}

impl Decoder for Sound {
    fn head(&mut self, vendor: &response::Parts) -> Result<HeaderMap, Error> {
        let says =
            |kind: &[u8]| vendor.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(kind));
        if says(b"text/event-stream") {
            self.form = Form::Events(Box::default());
        }
        let mut headers = HeaderMap::with_capacity(3);
        match self.delivery {
            Delivery::Bytes(kind) => drop(headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind))),
            Delivery::Events => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
                headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
            }
        }
        Ok(headers)
    }

    fn push(&mut self, piece: Bytes, out: &mut Output) -> Result<(), Error> {
        match std::mem::replace(&mut self.form, Form::Events(Box::default())) {
            Form::Whole(whole) => self.push_whole(whole, &piece, out),
            Form::Events(reader) => self.push_events(reader, piece, out),
        }
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), Error> {
        let rest = match &mut self.form {
            Form::Events(reader) if !self.ended => reader.finish(),
            _ => None,
        };
        if let Some(data) = rest.as_ref().and_then(|event| event.data()) {
            return self.read_chunk(&data, out);
        }
        // What broke off before a sound was heard fails as a whole; later, it is told by being incomplete.
        if self.made { Ok(()) } else { Err(unreadable()) }
    }
}

/// Hexadecimal digits, of which a pair may be cut in two.
#[derive(Default)]
struct Digits {
    half: Option<u8>,
}

impl Digits {
    fn read(&mut self, digits: &[u8]) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::with_capacity(digits.len().div_ceil(2));
        // The quotes around them belong to the JSON.
        for digit in digits.iter().filter(|digit| **digit != b'"') {
            let four = char::from(*digit).to_digit(16).ok_or_else(unreadable)? as u8;
            match self.half.take() {
                None => self.half = Some(four),
                Some(high) => bytes.push(high << 4 | four),
            }
        }
        Ok(bytes)
    }
}

fn event(data: &serde_json::Value) -> Bytes {
    format!("data: {data}\n\n").into()
}

fn unreadable() -> Error {
    Error::provider(Code::ProviderError, "MiniMax's answer cannot be read.")
}

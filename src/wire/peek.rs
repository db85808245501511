//! One pass over a JSON request body: is it sound, and what does it ask for?
//!
//! [`peek`] checks the whole body against the grammar and reads [`Facts`] on the way, without building a tree and
//! without joining the pieces that arrived. The bytes stay as they are: a vendor is sent what the caller wrote. So
//! whatever could be read in two ways is refused here: a top-level key that stands twice, half a surrogate pair, text
//! behind the object. What the facts say is then what the vendor reads as well.
//!
//! ```
//! use kancy::wire::peek::peek;
//!
//! # fn main() -> Result<(), kancy::Error> {
//! let pieces = [r#"{"model":"gpt"#.into(), r#"-4o","stream":true}"#.into()];
//! let facts = peek(&pieces)?;
//! let model = facts.model.unwrap();
//! assert_eq!((model.value.as_str(), model.at), ("gpt-4o", 9..17));
//! # Ok(())
//! # }
//! ```
//!
//! # Failure
//! `invalid_json` for a body that is no sound JSON object. `invalid_parameter` for a field of the wrong type, once the
//! whole body is known to be sound.

mod media;
mod name;

use std::hash::Hasher as _;

use bytes::Bytes;

use crate::base::error::Error;
use crate::base::hash::QuickHasher;

use super::facts::{Facts, Located, StreamOptions, wrong};
use super::json::{shown, whole};
use super::marks::Marks;
use super::scan::Scan;
use name::Name;

/// More top-level members than any request of this API could have.
const MAX_MEMBERS: usize = 1_024;

/// Checks a JSON body and reads its facts.
///
/// # Errors
/// `invalid_json` with the byte at fault; `invalid_parameter` with the field at fault.
pub fn peek(pieces: &[Bytes]) -> Result<Box<Facts>, Error> {
    let body_bytes = pieces.iter().map(|p| p.len() as u64).sum();
    let mut marks = Marks::new();
    let mut peek =
        Peek { scan: Scan::new(pieces, &mut marks), facts: Box::default(), fault: None, seen: Seen::default() };
    peek.facts.body_bytes = body_bytes;
    let read = peek.object();
    peek.scan.check_text(pieces, read.is_ok())?;
    read?;
    match peek.fault {
        Some(fault) => Err(fault),
        None => Ok(peek.facts),
    }
}

struct Peek<'a> {
    scan: Scan<'a>,
    /// In a box: they go from hand to hand, and are half a kilobyte.
    facts: Box<Facts>,
    /// The first field of a wrong type.
    fault: Option<Error>,
    seen: Seen,
}

/// Hashes of the top-level keys so far. Who makes two keys collide is told that they stand twice.
#[derive(Default)]
struct Seen {
    /// As many as nearly every request has.
    first: [u64; 16],
    count: usize,
    more: Vec<u64>,
}

impl Seen {
    fn contains(&self, hash: u64) -> bool {
        self.first[..self.count.min(self.first.len())].contains(&hash) || self.more.contains(&hash)
    }

    fn push(&mut self, hash: u64) {
        match self.first.get_mut(self.count) {
            Some(free) => *free = hash,
            None => self.more.push(hash),
        }
        self.count += 1;
    }
}

impl Peek<'_> {
    fn object(&mut self) -> Result<(), Error> {
        match self.scan.value()? {
            b'{' => self.facts.object_at = self.scan.offset(),
            0xef => return Err(self.scan.bad("it starts with a byte order mark instead of an object")),
            _ => return Err(self.scan.bad("it must be an object in braces")),
        }
        self.scan.enter()?;
        let (mut first, mut escaped) = (true, Vec::new());
        while self.scan.more(b'}', &mut first)? {
            self.facts.has_members = true;
            escaped.clear();
            let plain = self.scan.key(|run| escaped.extend_from_slice(run))?;
            let key = plain.unwrap_or(&escaped);
            self.once(key)?;
            self.member(key)?;
        }
        self.scan.end()
    }

    /// Refuses a key that was there before: one reader would take the first, another the last.
    fn once(&mut self, key: &[u8]) -> Result<(), Error> {
        let mut hasher = QuickHasher::default();
        hasher.write(key);
        let hash = hasher.finish();
        if self.seen.contains(hash) {
            let key = utf8(key);
            return Err(self.scan.bad(&format!("the key `{}` stands twice", shown(key))).param(shown(key)));
        }
        if self.seen.count == MAX_MEMBERS {
            return Err(self.scan.bad("it has more than 1024 members"));
        }
        self.seen.push(hash);
        Ok(())
    }

    fn member(&mut self, key: &[u8]) -> Result<(), Error> {
        if self.scan.value()? == b'n' {
            let at = self.scan.literal("null")?;
            self.facts.nulls.push(Located { value: utf8(key).to_owned(), at });
            return Ok(());
        }
        match key {
            b"model" => self.facts.model = self.text("model")?,
            b"stream" => self.facts.stream = self.flag("stream")?,
            b"store" => self.facts.store = self.flag("store")?,
            b"stream_options" => self.facts.stream_options = self.stream_options()?,
            b"max_tokens" => self.facts.max_tokens = self.count("max_tokens")?,
            b"max_completion_tokens" => self.facts.max_completion_tokens = self.count("max_completion_tokens")?,
            b"max_output_tokens" => self.facts.max_output_tokens = self.count("max_output_tokens")?,
            b"n" => self.facts.n = self.count("n")?,
            b"size" => self.facts.size = self.text("size")?.map(|t| t.value),
            b"quality" => self.facts.quality = self.text("quality")?.map(|t| t.value),
            b"resolution" => self.facts.resolution = self.text("resolution")?.map(|t| t.value),
            b"mode" => self.facts.mode = self.text("mode")?.map(|t| t.value),
            b"audio" | b"generate_audio" => self.audio()?,
            b"seconds" => self.seconds("seconds")?,
            b"duration" => self.seconds("duration")?,
            b"input" => self.input()?,
            b"messages" => self.messages()?,
            b"image" | b"images" | b"mask" => self.pictures()?,
            b"tools" => self.tools()?,
            b"web_search_options" => {
                self.unbounded("web_search_options");
                self.scan.skip()?;
            }
            b"service_tier" => self.service_tier()?,
            b"previous_response_id" | b"conversation" => {
                self.unowned(utf8(key));
                self.scan.skip()?;
            }
            b"background" => {
                if self.scan.value()? != b'f' {
                    self.unowned(utf8(key));
                }
                self.scan.skip()?;
            }
            // In an object it names a template that is kept at the vendor; elsewhere it is a text.
            b"prompt" if self.scan.value()? == b'{' => {
                self.unowned(utf8(key));
                self.scan.skip()?;
            }
            // A format in an object, as chat has it, is the vendor's matter.
            b"response_format" if self.scan.value()? == b'"' => {
                self.facts.response_format = self.text("response_format")?.map(|t| t.value);
            }
            _ => self.scan.skip()?,
        }
        Ok(())
    }

    fn text(&mut self, field: &'static str) -> Result<Option<Located<String>>, Error> {
        if self.scan.value()? != b'"' {
            return self.wrong(field, "a string").map(|()| None);
        }
        let start = self.scan.offset();
        let mut decoded = Vec::new();
        let value = match self.scan.text(|run| decoded.extend_from_slice(run))? {
            Some(text) => utf8(text).to_owned(),
            None => String::from_utf8(decoded).unwrap_or_default(),
        };
        Ok(Some(Located { value, at: start..self.scan.offset() }))
    }

    fn flag(&mut self, field: &'static str) -> Result<Option<Located<bool>>, Error> {
        let at = match self.scan.value()? {
            b't' => self.scan.literal("true")?,
            b'f' => self.scan.literal("false")?,
            _ => return self.wrong(field, "true or false").map(|()| None),
        };
        Ok(Some(Located { value: at.len() == "true".len(), at }))
    }

    fn count(&mut self, field: &'static str) -> Result<Option<Located<u64>>, Error> {
        const MUST: &str = "a whole number from 1 to 2^53";
        if !matches!(self.scan.value()?, b'-' | b'0'..=b'9') {
            return self.wrong(field, MUST).map(|()| None);
        }
        let start = self.scan.offset();
        let number = self.scan.number()?.filter(|number| *number > 0);
        if number.is_none() {
            self.fault(field, MUST);
        }
        Ok(number.map(|value| Located { value, at: start..self.scan.offset() }))
    }

    fn seconds(&mut self, field: &'static str) -> Result<(), Error> {
        let number = match self.scan.value()? {
            b'-' | b'0'..=b'9' => self.scan.number()?,
            b'"' => {
                let text = Name::of_text(&mut self.scan)?;
                text.get().and_then(|text| whole(utf8(text)))
            }
            _ => return self.wrong(field, "a whole number of seconds"),
        };
        match number.filter(|number| *number > 0) {
            None => self.fault(field, "a whole number of seconds, at least 1"),
            // Which of the two a vendor would take is not ours to guess.
            Some(_) if self.facts.seconds.is_some() => self.fault(field, "left out where the other one is given"),
            Some(number) => self.facts.seconds = Some(number),
        }
        Ok(())
    }

    fn audio(&mut self) -> Result<(), Error> {
        match self.scan.value()? {
            b't' | b'f' => {
                let asked = self.flag("audio")?.is_some_and(|flag| flag.value);
                self.facts.audio = Some(asked || self.facts.audio == Some(true));
                Ok(())
            }
            _ => self.scan.skip(),
        }
    }

    fn stream_options(&mut self) -> Result<Option<Located<StreamOptions>>, Error> {
        if self.scan.value()? != b'{' {
            return self.wrong("stream_options", "an object").map(|()| None);
        }
        let start = self.scan.offset();
        self.scan.enter()?;
        let mut value = StreamOptions { inside: self.scan.offset(), is_empty: true, ..StreamOptions::default() };
        let mut first = true;
        while self.scan.more(b'}', &mut first)? {
            value.is_empty = false;
            match Name::of_key(&mut self.scan)?.get() {
                Some(b"include_usage") => self.include_usage(&mut value)?,
                _ => self.scan.skip()?,
            }
        }
        Ok(Some(Located { value, at: start..self.scan.offset() }))
    }

    fn include_usage(&mut self, options: &mut StreamOptions) -> Result<(), Error> {
        const FIELD: &str = "stream_options.include_usage";
        if options.include_usage_at.is_some() {
            return Err(self.scan.bad("the key `include_usage` stands twice").param(FIELD));
        }
        let found = match self.scan.value()? {
            b'n' => (None, self.scan.literal("null")?),
            _ => match self.flag(FIELD)? {
                Some(flag) => (Some(flag.value), flag.at),
                None => return Ok(()),
            },
        };
        options.include_usage = found.0;
        options.include_usage_at = Some((found.1.start, found.1.end));
        Ok(())
    }

    fn service_tier(&mut self) -> Result<(), Error> {
        let is_bounded = match self.scan.value()? {
            b'"' => matches!(Name::of_text(&mut self.scan)?.get(), Some(b"auto" | b"default" | b"flex")),
            _ => self.scan.skip().map(|()| false)?,
        };
        if !is_bounded {
            self.unbounded("service_tier");
        }
        Ok(())
    }

    /// Notes the first feature that has no bound.
    fn unbounded(&mut self, feature: impl Into<String>) {
        self.facts.unbounded.get_or_insert_with(|| feature.into());
    }

    /// Notes the first thing that only the vendor has a hold of.
    fn unowned(&mut self, thing: impl Into<String>) {
        self.facts.unowned.get_or_insert_with(|| thing.into());
    }

    /// Goes past a value of the wrong type, and notes it.
    fn wrong(&mut self, field: &'static str, must: &str) -> Result<(), Error> {
        self.scan.skip()?;
        self.fault(field, must);
        Ok(())
    }

    fn fault(&mut self, field: &'static str, must: &str) {
        self.fault.get_or_insert_with(|| wrong(field, must));
    }
}

/// The runs of a string, put together: the scanner has checked them.
fn utf8(text: &[u8]) -> &str {
    std::str::from_utf8(text).unwrap_or_default()
}

//! The parts of messages and input items: how many are media, how much of the body is their base64, and what has no bound.

use crate::base::error::Error;

use super::Peek;
use super::name::Name;

/// What a string means by where it stands.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// Text, or nothing that matters.
    Plain,
    /// A URL: a payload when it is a `data:` one.
    Url,
    /// Base64.
    Data,
}

/// What an object of messages or items is.
struct Part {
    /// How many bytes of base64 it brings to the part that it belongs to.
    payload: u64,
    /// Whether it stands for something that the vendor keeps.
    is_reference: bool,
}

impl<'a> Peek<'a> {
    /// Reads `messages`.
    pub(super) fn messages(&mut self) -> Result<(), Error> {
        if self.scan.value()? != b'[' {
            return self.wrong("messages", "an array of messages");
        }
        self.scan.enter()?;
        let (mut first, mut count) = (true, 0);
        while self.scan.more(b']', &mut first)? {
            self.item(Place::Plain)?;
            count += 1;
        }
        self.facts.messages = Some(count);
        Ok(())
    }

    /// Reads `input`: one text, or items.
    pub(super) fn input(&mut self) -> Result<(), Error> {
        match self.scan.value()? {
            b'"' => self.facts.input_items = Some(1),
            b'[' => return self.input_items(),
            _ => {
                self.facts.input_items = Some(0);
                return self.item(Place::Plain).map(drop);
            }
        }
        let (mut chars, mut dense) = (0, 0);
        // Every byte but those that go on with a character begins one.
        self.scan.string(|run| {
            chars += run.iter().filter(|byte| **byte & 0xc0 != 0x80).count() as u64;
            dense += run.iter().filter(|byte| **byte >= 0xe0).count() as u64;
        })?;
        self.facts.input_chars = Some(chars);
        self.facts.input_weight = Some(chars + dense);
        Ok(())
    }

    fn input_items(&mut self) -> Result<(), Error> {
        self.scan.enter()?;
        let (mut first, mut index) = (true, 0u64);
        while self.scan.more(b']', &mut first)? {
            let is_reference = match self.scan.value()? {
                b'{' => self.part()?.is_reference,
                _ => self.item(Place::Plain).map(|_| false)?,
            };
            if is_reference {
                self.unowned(format!("input[{index}]"));
            }
            index += 1;
        }
        self.facts.input_items = Some(index);
        Ok(())
    }

    /// Reads `image`, `images` or `mask`: a URL, an object around one, or a list of them.
    pub(super) fn pictures(&mut self) -> Result<(), Error> {
        let payload = match self.scan.value()? {
            b'[' => {
                self.scan.enter()?;
                let mut first = true;
                while self.scan.more(b']', &mut first)? {
                    self.pictures()?;
                }
                return Ok(());
            }
            b'"' => self.payload(Place::Url)?,
            b'{' => self.part()?.payload,
            _ => return self.scan.skip(),
        };
        self.facts.add_media(payload);
        Ok(())
    }

    /// Reads `tools`: each must be of a type that the vendor does not bill on its own.
    pub(super) fn tools(&mut self) -> Result<(), Error> {
        if self.scan.value()? != b'[' {
            self.unbounded("tools");
            self.unowned("tools");
            return self.scan.skip();
        }
        self.scan.enter()?;
        let (mut first, mut index) = (true, 0usize);
        while self.scan.more(b']', &mut first)? {
            if !self.is_bounded_tool()? {
                self.unbounded(format!("tools[{index}].type"));
                self.unowned(format!("tools[{index}].type"));
            }
            index += 1;
        }
        Ok(())
    }

    fn is_bounded_tool(&mut self) -> Result<bool, Error> {
        if self.scan.value()? != b'{' {
            return self.scan.skip().map(|()| false);
        }
        self.scan.enter()?;
        let (mut first, mut kind) = (true, None);
        while self.scan.more(b'}', &mut first)? {
            match Name::of_key(&mut self.scan)?.get() {
                Some(b"type") => self.kind(&mut kind)?,
                _ => self.scan.skip()?,
            }
        }
        Ok(matches!(kind.as_ref().and_then(Name::get), Some(b"function" | b"custom")))
    }

    /// Reads the `type` of a tool or a part, which may stand there but once.
    fn kind(&mut self, kind: &mut Option<Name<'a>>) -> Result<(), Error> {
        if kind.is_some() {
            return Err(self.scan.bad("the key `type` stands twice in an object"));
        }
        *kind = Some(match self.scan.value()? {
            b'"' => Name::of_text(&mut self.scan)?,
            _ => self.scan.skip().map(|()| Name::default())?,
        });
        Ok(())
    }

    /// Reads any value inside messages or items; says how many bytes of base64 it brings to the part that it belongs to.
    fn item(&mut self, place: Place) -> Result<u64, Error> {
        let mut first = true;
        match self.scan.value()? {
            b'"' => self.payload(place),
            b'{' => self.part().map(|part| part.payload),
            b'[' => {
                self.scan.enter()?;
                while self.scan.more(b']', &mut first)? {
                    self.item(Place::Plain)?;
                }
                Ok(0)
            }
            _ => self.scan.skip().map(|()| 0),
        }
    }

    fn payload(&mut self, place: Place) -> Result<u64, Error> {
        if place == Place::Plain {
            return self.scan.skip_string().map(|()| 0);
        }
        let start = self.scan.offset();
        let head = Name::of_text(&mut self.scan)?;
        let counts = place == Place::Data || head.starts_with(b"data:");
        Ok(if counts { (self.scan.offset() - start) as u64 - 2 } else { 0 })
    }

    /// Reads an object: a part, or what a part wraps (`"image_url": {"url": …}`).
    ///
    /// Only a part of a media type takes its base64 out of the text that counts towards the hold, for only such a one
    /// is held at the model's part bound instead.
    fn part(&mut self) -> Result<Part, Error> {
        self.scan.enter()?;
        let (mut first, mut kind, mut payload) = (true, None, 0);
        let (mut has_id, mut has_role) = (false, false);
        while self.scan.more(b'}', &mut first)? {
            match Name::of_key(&mut self.scan)?.get() {
                Some(b"type") => self.kind(&mut kind)?,
                Some(b"id") => {
                    has_id = true;
                    self.item(Place::Plain)?;
                }
                Some(b"role") => {
                    has_role = true;
                    self.item(Place::Plain)?;
                }
                Some(b"file_id") => {
                    if self.scan.value()? != b'n' {
                        self.unbounded("file_id");
                    }
                    self.scan.skip()?;
                }
                Some(b"url" | b"image_url" | b"video_url") => payload += self.item(Place::Url)?,
                Some(b"data" | b"file_data") => payload += self.item(Place::Data)?,
                Some(b"input_audio" | b"file") => payload += self.item(Place::Plain)?,
                _ => drop(self.item(Place::Plain)?),
            }
        }
        match kind {
            // The type of a reference may be left out; a message's may, too.
            None => Ok(Part { payload, is_reference: has_id && !has_role }),
            Some(kind) => {
                if kind.get().is_some_and(is_media) {
                    self.facts.add_media(payload);
                }
                Ok(Part { payload: 0, is_reference: kind.get() == Some(b"item_reference") })
            }
        }
    }
}

fn is_media(kind: &[u8]) -> bool {
    matches!(kind, b"image_url" | b"input_audio" | b"file" | b"input_image" | b"input_file" | b"video_url")
}

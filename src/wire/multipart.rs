//! The layout of a `multipart/form-data` body: where its parts lie, and what its short fields say.
//!
//! The bytes of files are looked through for the boundary, and neither copied nor joined: a [`Part`] tells where its
//! content lies. Text fields that the gateway must know are read into [`Facts`], under their bare names (`image[]` is
//! `image`). A field that stands twice is refused, as one reader would take the first and another the last.

use bytes::Bytes;
use memchr::memchr;
use memchr::memmem::Finder;

use crate::base::error::{Code, Error};

use super::audio_duration;
use super::cursor::Cursor;
use super::facts::{Facts, Located, Multipart, Part, wrong};
use super::json::whole;
use super::params;

const MAX_PARTS: usize = 64;
const MAX_HEAD: usize = 8 * 1024;
/// The longest value of a text field that is read.
const MAX_FIELD: usize = 8 * 1024;

/// Reads the layout and the facts of a multipart body. `content_type` is the request's header.
///
/// # Errors
/// `invalid_parameter`: there is no boundary, the body does not keep to it, it has more than 64 parts, or a field does
/// not say what it must.
pub fn read(pieces: &[Bytes], content_type: &str) -> Result<Facts, Error> {
    let layout = layout(pieces, boundary(content_type)?)?;
    let mut facts = Facts { body_bytes: pieces.iter().map(|p| p.len() as u64).sum(), ..Facts::default() };
    let mut seen: Vec<&str> = Vec::new();
    for part in &layout.parts {
        if part.filename.is_some() {
            facts.add_media(part.content.len() as u64);
            continue;
        }
        let Some(field) = FIELDS.iter().find(|field| part.bare_name() == **field) else { continue };
        if seen.contains(field) {
            let message = format!("The form field `{field}` stands twice: send it once.");
            return Err(Error::new(Code::InvalidParameter, message).param(*field));
        }
        if part.name != *field {
            let message = format!("The form field `{}` is no list: send one `{field}`.", part.name);
            return Err(Error::new(Code::InvalidParameter, message).param(*field));
        }
        seen.push(field);
        facts.field(field, text(pieces, part).ok_or_else(|| wrong(field, "a text of at most 8192 bytes"))?)?;
    }
    facts.multipart = Some(layout);
    Ok(facts)
}

/// The text fields that are read.
const FIELDS: [&str; 10] =
    ["model", "stream", "n", "size", "quality", "resolution", "mode", "seconds", "duration", "response_format"];

impl Part {
    /// The field's name without the brackets of an array: `image` for `image[]`.
    pub fn bare_name(&self) -> &str {
        self.name.strip_suffix("[]").unwrap_or(&self.name)
    }
}

impl Facts {
    /// Reads how long the uploaded recording is.
    pub(crate) fn read_recording(&mut self, pieces: &[Bytes]) {
        self.recording = self.recorded().and_then(|part| audio_duration::of_file(pieces, part.content.clone()));
    }

    /// Refuses an upload that has not one recording.
    pub(crate) fn require_recording(&self) -> Result<(), Error> {
        const KINDS: &str = "flac, mp3, mp4, mpeg, mpga, m4a, ogg, wav or webm";
        let files = self.files().count();
        let (code, message) = match (files, self.recorded(), self.recording) {
            (_, _, Some(_)) => return Ok(()),
            (0, ..) => (Code::MissingParameter, format!("Send the recording in the form field `file`: {KINDS}.")),
            (1, Some(part), _) if part.content.is_empty() => {
                (Code::InvalidParameter, format!("The file in the form field `file` is empty: send {KINDS}."))
            }
            (1, Some(_), _) => {
                (Code::InvalidParameter, format!("The file in the form field `file` is no audio: send {KINDS}."))
            }
            (1, None, _) => {
                (Code::InvalidParameter, "The form field `file` must be a file, with a filename.".to_owned())
            }
            _ => (Code::InvalidParameter, "The form field `file` stands twice: send one recording.".to_owned()),
        };
        Err(Error::new(code, message).param("file"))
    }

    fn files(&self) -> impl Iterator<Item = &Part> {
        self.multipart.iter().flat_map(|layout| &layout.parts).filter(|part| part.name == "file")
    }

    /// The one part that may be the recording.
    fn recorded(&self) -> Option<&Part> {
        let mut files = self.files();
        files.next().filter(|part| part.filename.is_some() && files.next().is_none())
    }

    fn field(&mut self, field: &'static str, value: String) -> Result<(), Error> {
        let count = |must| whole(&value).filter(|n| *n > 0).ok_or_else(|| wrong(field, must));
        match field {
            "model" => self.model = Some(Located { value, at: 0..0 }),
            "stream" => {
                let value = value.parse().map_err(|_| wrong(field, "true or false"))?;
                self.stream = Some(Located { value, at: 0..0 });
            }
            "n" => self.n = Some(Located { value: count("a whole number from 1 to 2^53")?, at: 0..0 }),
            "seconds" | "duration" if self.seconds.is_some() => {
                return Err(wrong(field, "left out where the other one is given"));
            }
            "seconds" | "duration" => self.seconds = Some(count("a whole number of seconds, at least 1")?),
            "size" => self.size = Some(value),
            "quality" => self.quality = Some(value),
            "resolution" => self.resolution = Some(value),
            "mode" => self.mode = Some(value),
            _ => self.response_format = Some(value),
        }
        Ok(())
    }
}

/// The boundary that a `content-type` names.
fn boundary(content_type: &str) -> Result<String, Error> {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
    params::parse(content_type)
        .and_then(|(_, params)| params.into_iter().find(|(name, _)| name == "boundary"))
        .map(|(_, boundary)| boundary)
        .filter(|b| (1..=70).contains(&b.len()) && b.bytes().all(known))
        .ok_or_else(|| {
            let message = "The content-type names no usable boundary: send `multipart/form-data; boundary=…` as form libraries do.";
            Error::new(Code::InvalidParameter, message)
        })
}

fn layout(pieces: &[Bytes], boundary: String) -> Result<Multipart, Error> {
    let delimiter = format!("\r\n--{boundary}");
    let delimiter = Finder::new(delimiter.as_bytes());
    let mut cursor = Cursor::new(pieces);
    // The first delimiter may stand at the very start, without the line break that belongs to all others.
    let mut line = 0;
    if !cursor.eat(&delimiter.needle()[2..]) {
        line = find(&mut cursor, &delimiter)? + 2;
    }
    let mut parts = Vec::new();
    while !cursor.eat(b"--") {
        if parts.len() == MAX_PARTS {
            return Err(malformed("it has more than 64 parts"));
        }
        cursor.skip_while(|byte| matches!(byte, b' ' | b'\t'));
        if !cursor.eat(b"\r\n") {
            return Err(malformed("a boundary is not alone on its line"));
        }
        let mut part = head(&mut cursor)?;
        let start = cursor.offset();
        let end = find(&mut cursor, &delimiter)?;
        part.content = start..end;
        part.whole = line..end + 2;
        line = end + 2;
        parts.push(part);
    }
    Ok(Multipart { boundary, parts })
}

/// Goes past the next delimiter, which begins with its only carriage return; says where it begins.
fn find(cursor: &mut Cursor<'_>, delimiter: &Finder<'_>) -> Result<usize, Error> {
    let needle = delimiter.needle();
    loop {
        let rest = cursor.rest();
        if rest.is_empty() {
            return Err(malformed("it ended before its closing boundary"));
        }
        if let Some(at) = delimiter.find(rest) {
            cursor.advance(at);
            let start = cursor.offset();
            cursor.advance(needle.len());
            return Ok(start);
        }
        // It may begin where this piece ends.
        cursor.advance(rest.len().saturating_sub(needle.len() - 1));
        let tail = cursor.rest();
        let Some(at) = memchr(b'\r', tail) else {
            cursor.advance(tail.len());
            continue;
        };
        cursor.advance(at);
        let start = cursor.offset();
        if cursor.eat(needle) {
            return Ok(start);
        }
        cursor.advance(1);
    }
}

/// Reads a part's header lines, and the empty one behind them.
fn head(cursor: &mut Cursor<'_>) -> Result<Part, Error> {
    let mut lines = Vec::new();
    while !(lines == b"\r\n" || lines.ends_with(b"\r\n\r\n")) {
        if lines.len() == MAX_HEAD {
            return Err(malformed("the headers of a part are longer than 8192 bytes"));
        }
        lines.push(cursor.next().ok_or_else(|| malformed("it ended within the headers of a part"))?);
    }
    let lines = std::str::from_utf8(&lines).map_err(|_| malformed("the headers of a part are not UTF-8"))?;
    let mut part = Part::default();
    let mut named = false;
    for line in lines.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("a part has a header without a colon"))?;
        if name.trim().eq_ignore_ascii_case("content-disposition") {
            if named {
                return Err(malformed("a part has two content-dispositions"));
            }
            named = true;
            disposition(&mut part, value)?;
        } else if name.trim().eq_ignore_ascii_case("content-type") {
            part.content_type = Some(value.trim().to_owned());
        }
    }
    if named { Ok(part) } else { Err(malformed("a part has no name")) }
}

fn disposition(part: &mut Part, value: &str) -> Result<(), Error> {
    let (word, params) = params::parse(value).ok_or_else(|| malformed("a part has a malformed content-disposition"))?;
    let mut name = None;
    for (key, value) in params {
        match key.as_str() {
            "name" => name = Some(value),
            "filename" | "filename*" => part.filename = Some(value),
            // Which of the two names counts, readers do not agree on.
            "name*" => return Err(malformed("a part has a name in an encoding of its own")),
            _ => {}
        }
    }
    part.name = name.filter(|_| word == "form-data").ok_or_else(|| malformed("a part has no name"))?;
    Ok(())
}

/// The content of a short text field.
fn text(pieces: &[Bytes], part: &Part) -> Option<String> {
    if part.content.len() > MAX_FIELD {
        return None;
    }
    let mut bytes = Vec::with_capacity(part.content.len());
    let mut offset = 0;
    for piece in pieces {
        let place = |at: usize| at.clamp(offset, offset + piece.len()) - offset;
        bytes.extend_from_slice(&piece[place(part.content.start)..place(part.content.end)]);
        offset += piece.len();
    }
    String::from_utf8(bytes).ok()
}

fn malformed(what: &str) -> Error {
    Error::new(Code::InvalidParameter, format!("The multipart body is malformed: {what}."))
}

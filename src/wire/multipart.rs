//! The layout of a `multipart/form-data` body: where its parts lie, and what its short fields say.
//!
//! The bytes of files are looked through for the boundary, and neither copied nor joined: a [`Part`] tells where its
//! content lies. Text fields that the gateway must know are read into [`Facts`], under their bare names (`image[]` is
//! `image`). A field that stands twice is refused, as one reader would take the first and another the last.

mod layout;

use bytes::Bytes;

use crate::base::error::{Code, Error};

use super::audio_duration::{self, Walk};
use super::facts::{Facts, Located, Part, wrong};
use super::json::whole;

pub(crate) use layout::Layout;

/// The longest value of a text field that is read.
const MAX_FIELD: usize = 8 * 1024;

/// Reads the layout and the facts of a multipart body. `content_type` is the request's header.
///
/// # Errors
/// `invalid_parameter`: there is no boundary, the body does not keep to it, it has more than 64 parts, or a field does
/// not say what it must.
pub fn read(pieces: &[Bytes], content_type: &str) -> Result<Facts, Error> {
    let mut layout = Layout::new(content_type)?;
    pieces.iter().for_each(|piece| layout.push(piece));
    facts(pieces, layout)
}

/// The facts of a body whose layout was read while it came.
pub(crate) fn facts(pieces: &[Bytes], layout: Layout) -> Result<Facts, Error> {
    let layout = layout.done()?;
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
    /// Reads how long the uploaded recording is. `walk`: over the first file in a field `file`.
    pub(crate) fn read_recording(&mut self, pieces: &[Bytes], walk: Option<Walk>) {
        let recorded = self.recorded().zip(walk);
        self.recording =
            recorded.and_then(|(part, walk)| audio_duration::of_walked(pieces, part.content.clone(), walk));
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

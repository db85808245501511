//! Where the parts of a multipart body lie, read while it comes: its bytes are looked at while the processor has them at
//! hand, and none is kept but those of a part's head.

use memchr::memmem::Finder;
use memchr::memrchr;

use crate::base::error::{Code, Error};
use crate::wire::audio_duration::Walk;
use crate::wire::facts::{Multipart, Part};
use crate::wire::params;

const MAX_PARTS: usize = 64;
const MAX_HEAD: usize = 8 * 1024;

/// A body on its way.
pub(crate) struct Layout {
    boundary: String,
    /// The boundary with what stands before it. Its only carriage return is its first byte.
    delimiter: Finder<'static>,
    state: State,
    /// How many bytes lie behind.
    offset: usize,
    parts: Vec<Part>,
    /// Where the delimiter line at hand begins.
    line: usize,
    /// The part whose content comes.
    part: Option<Part>,
    /// Over the first file in a field `file`, and whether that is the part at hand.
    walk: Option<Walk>,
    is_walking: bool,
    failed: Option<Error>,
}

enum State {
    /// The first delimiter may stand at the very start, without the line break that belongs to all others: so much of it
    /// was seen.
    Opening(usize),
    /// In a part's content, or before the first part. So many bytes of a delimiter were the last ones.
    Content(usize),
    Behind(Behind),
    /// In a part's head, of which these bytes have come.
    Head(Vec<u8>),
    Over,
}

/// A place behind a delimiter.
#[derive(Clone, Copy)]
enum Behind {
    Start,
    Dash,
    Spaces,
    Return,
}

impl Layout {
    /// `content_type` is the request's header.
    pub(crate) fn new(content_type: &str) -> Result<Self, Error> {
        let boundary = boundary(content_type)?;
        let delimiter = Finder::new(format!("\r\n--{boundary}").as_bytes()).into_owned();
        Ok(Self {
            boundary,
            delimiter,
            state: State::Opening(0),
            offset: 0,
            parts: Vec::new(),
            line: 0,
            part: None,
            walk: None,
            is_walking: false,
            failed: None,
        })
    }

    /// The next bytes. What is wrong with them is said at the [end](Self::done).
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.read(bytes).err();
        }
        self.offset += bytes.len();
    }

    /// The walk over the recording, where there may be one.
    pub(crate) fn take_walk(&mut self) -> Option<Walk> {
        self.walk.take()
    }

    /// The body has ended.
    pub(crate) fn done(self) -> Result<Multipart, Error> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.state {
            State::Over => Ok(Multipart { boundary: self.boundary, parts: self.parts }),
            State::Opening(_) | State::Content(_) => Err(malformed("it ended before its closing boundary")),
            State::Behind(_) if self.parts.len() == MAX_PARTS => Err(too_many()),
            State::Behind(_) => Err(not_alone()),
            State::Head(_) => Err(malformed("it ended within the headers of a part")),
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match &mut self.state {
                State::Over => return Ok(()),
                State::Content(_) => {
                    at += self.content(&bytes[at..], self.offset + at);
                    continue;
                }
                State::Opening(matched) => {
                    let opening = &self.delimiter.needle()[2..];
                    if opening[*matched] != byte {
                        self.state = State::Content(0);
                        continue;
                    }
                    *matched += 1;
                    if *matched == opening.len() {
                        self.state = State::Behind(Behind::Start);
                    }
                }
                State::Behind(place) => {
                    let place = *place;
                    self.state = self.behind(place, byte)?;
                }
                State::Head(lines) => {
                    if lines.len() == MAX_HEAD {
                        return Err(malformed("the headers of a part are longer than 8192 bytes"));
                    }
                    lines.push(byte);
                    if lines == b"\r\n" || lines.ends_with(b"\r\n\r\n") {
                        let part = head(lines)?;
                        self.enter(part, self.offset + at + 1);
                    }
                }
            }
            at += 1;
        }
        Ok(())
    }

    /// Looks for the end of the content in `bytes`, which stand at `offset`; says how many of them it took.
    fn content(&mut self, bytes: &[u8], offset: usize) -> usize {
        let delimiter = self.delimiter.needle();
        let State::Content(matched) = self.state else { return 0 };
        if matched > 0 {
            let run = bytes.iter().zip(&delimiter[matched..]).take_while(|(byte, want)| byte == want).count();
            if matched + run == delimiter.len() {
                self.leave(offset + run - delimiter.len());
            } else if run == bytes.len() {
                self.state = State::Content(matched + run);
            } else {
                // It was none: content that only began like one.
                if let Some(walk) = self.walk.as_mut().filter(|_| self.is_walking) {
                    walk.push(&delimiter[..matched + run]);
                }
                self.state = State::Content(0);
            }
            return run;
        }
        let found = self.delimiter.find(bytes);
        let end = found.unwrap_or_else(|| begun(bytes, delimiter));
        if let Some(walk) = self.walk.as_mut().filter(|_| self.is_walking) {
            walk.push(&bytes[..end]);
        }
        if found.is_some() {
            let past = delimiter.len();
            self.leave(offset + end);
            return end + past;
        }
        self.state = State::Content(bytes.len() - end);
        bytes.len()
    }

    /// A part's content begins.
    fn enter(&mut self, part: Part, start: usize) {
        self.is_walking = part.name == "file" && part.filename.is_some() && self.walk.is_none();
        if self.is_walking {
            self.walk = Some(Walk::default());
        }
        self.part = Some(Part { content: start..start, ..part });
        self.state = State::Content(0);
    }

    /// A delimiter begins at `start`.
    fn leave(&mut self, start: usize) {
        if let Some(mut part) = self.part.take() {
            part.content.end = start;
            part.whole = self.line..start + 2;
            self.parts.push(part);
        }
        self.is_walking = false;
        self.line = start + 2;
        self.state = State::Behind(Behind::Start);
    }

    fn behind(&self, place: Behind, byte: u8) -> Result<State, Error> {
        let ends = matches!(place, Behind::Start | Behind::Dash);
        Ok(match (place, byte) {
            (Behind::Start, b'-') => State::Behind(Behind::Dash),
            (Behind::Dash, b'-') => State::Over,
            _ if ends && self.parts.len() == MAX_PARTS => return Err(too_many()),
            (Behind::Start | Behind::Spaces, b' ' | b'\t') => State::Behind(Behind::Spaces),
            (Behind::Start | Behind::Spaces, b'\r') => State::Behind(Behind::Return),
            (Behind::Return, b'\n') => State::Head(Vec::new()),
            _ => return Err(not_alone()),
        })
    }
}

/// Where in `bytes` a delimiter begins that goes on behind them; their length where none does.
fn begun(bytes: &[u8], delimiter: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(delimiter.len() - 1);
    memrchr(b'\r', &bytes[from..])
        .map(|at| from + at)
        .filter(|at| delimiter.starts_with(&bytes[*at..]))
        .unwrap_or(bytes.len())
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

/// Reads a part's header lines.
fn head(lines: &[u8]) -> Result<Part, Error> {
    let lines = std::str::from_utf8(lines).map_err(|_| malformed("the headers of a part are not UTF-8"))?;
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

fn malformed(what: &str) -> Error {
    Error::new(Code::InvalidParameter, format!("The multipart body is malformed: {what}."))
}

fn too_many() -> Error {
    malformed("it has more than 64 parts")
}

fn not_alone() -> Error {
    malformed("a boundary is not alone on its line")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::audio_duration::{self, AudioLength};
    use bytes::Bytes;

    #[test]
    fn a_recording_that_looks_like_a_delimiter_is_followed_whole_however_it_is_cut() {
        // Frames that hold the beginnings of delimiters.
        let mut frames: Vec<u8> = (0..39).flat_map(|_| [&b"\xff\xfb\x90\x00"[..], &[0; 413]].concat()).collect();
        for (at, like) in
            [(4, &b"\r\n--b"[..]), (417 + 200, b"\r\r\n--"), (3 * 417 - 3, b"\r\n-"), (39 * 417 - 4, b"\r\n--")]
        {
            frames[at..at + like.len()].copy_from_slice(like);
        }
        let name = "Content-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\n";
        let body = [
            format!("--b0\r\n{name}").as_bytes(),
            &frames,
            b"\r\n--b0 \t\r\nContent-Disposition: form-data; name=model\r\n\r\nm\r\n--b0--\r\n",
        ]
        .concat();
        for size in (1..20).chain([416, 417, 418, body.len()]) {
            let pieces: Vec<_> = body.chunks(size).map(Bytes::copy_from_slice).collect();
            let mut layout = Layout::new("multipart/form-data; boundary=b0").unwrap();
            pieces.iter().for_each(|piece| layout.push(piece));
            let walk = layout.take_walk().unwrap();
            let layout = layout.done().unwrap();
            let [file, model] = &layout.parts[..] else { panic!("{:?}", layout.parts) };
            assert_eq!(&body[file.content.clone()], &frames[..], "{size}");
            assert_eq!((&body[model.content.clone()], model.whole.start), (&b"m"[..], file.whole.end));
            let told = audio_duration::of_walked(&pieces, file.content.clone(), walk);
            assert_eq!(told, audio_duration::of_file(&[Bytes::copy_from_slice(&frames)], 0..frames.len()));
            assert_eq!(told, Some(AudioLength::Told(2)), "{size}");
        }
    }
}

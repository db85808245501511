//! How long a recording is, by what the file itself says.
//!
//! An upload is billed by the second, and some answers do not tell how many there were. So the file's header is read where
//! it lies, in the pieces that arrived: no byte is copied but a few of the header, nothing is decoded, and an MP3, whose
//! header can be left out or wrong, is followed frame by frame. A file whose length cannot be read is taken to be as long
//! as so many bytes can be in its format.

mod containers;
mod mp3;
mod reader;

use std::ops::Range;

use bytes::Bytes;
use reader::Reader;

pub(crate) use mp3::Walk;

/// The length of a recording in whole seconds, rounded up, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioLength {
    /// The file tells it.
    Told(u64),
    /// The file does not tell: no longer than this.
    AtMost(u64),
}

impl AudioLength {
    /// The length, or its bound.
    pub const fn seconds(self) -> u64 {
        match self {
            Self::Told(seconds) | Self::AtMost(seconds) => seconds,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Wav,
    Mp3,
    Flac,
    Ogg,
    Mp4,
    WebM,
    /// A file of no known format that may still be audio.
    Unknown,
}

impl Format {
    /// The bytes of a second at the lowest rate in use.
    const fn slowest(self) -> u64 {
        match self {
            // 8 kbit/s: the lowest rate that the format has; what speech is worth where nothing is lost.
            Self::Mp3 | Self::Flac => 1_000,
            // GSM 06.10 in blocks of 65 bytes for 320 samples at 8 kHz.
            Self::Wav => 1_625,
            // Below what speech codecs are used at: 4 kbit/s.
            Self::Ogg | Self::Mp4 | Self::WebM | Self::Unknown => 500,
        }
    }

    fn of(file: &Reader<'_>) -> Option<Self> {
        let mut head = [0; 256];
        let head = file.clone().read_into(&mut head);
        match head {
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..]
            | [b'R', b'F', b'6', b'4', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Some(Self::Wav),
            [b'f', b'L', b'a', b'C', ..] => Some(Self::Flac),
            [b'O', b'g', b'g', b'S', ..] => Some(Self::Ogg),
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some(Self::Mp4),
            [0x1a, 0x45, 0xdf, 0xa3, ..] => Some(Self::WebM),
            [b'I', b'D', b'3', ..] => Some(Self::Mp3),
            _ if mp3::is_frame(head) => Some(Self::Mp3),
            _ => (!is_something_else(head)).then_some(Self::Unknown),
        }
    }
}

/// The length of the file that lies at `content` in the body; `None` where it is plainly no audio.
///
/// The work is bounded by the file's length, and for all formats but MP3 by a few hundred steps.
pub fn of_file(pieces: &[Bytes], content: Range<usize>) -> Option<AudioLength> {
    let (mut walk, mut file) = (Walk::default(), Reader::new(pieces, content.clone()));
    while !file.rest().is_empty() {
        let rest = file.rest();
        walk.push(rest);
        let _ = file.skip(rest.len() as u64);
    }
    of_walked(pieces, content, walk)
}

/// The same for a file over all of which `walk` went while it came.
pub(crate) fn of_walked(pieces: &[Bytes], content: Range<usize>, walk: Walk) -> Option<AudioLength> {
    let file = Reader::new(pieces, content);
    let format = Format::of(&file)?;
    let told = match format {
        Format::Wav => containers::wav(&file),
        Format::Mp3 => walk.seconds(),
        Format::Flac => containers::flac(&file),
        Format::Ogg => containers::ogg(&file),
        Format::Mp4 => containers::mp4(&file),
        Format::WebM => containers::webm(&file),
        Format::Unknown => None,
    };
    Some(match told {
        Some(seconds) => AudioLength::Told(seconds),
        None => AudioLength::AtMost((file.len() as u64).div_ceil(format.slowest())),
    })
}

/// Whether a file begins like one of another kind, or like plain text.
fn is_something_else(head: &[u8]) -> bool {
    const OTHERS: [&[u8]; 11] = [
        b"\x89PNG",
        b"\xff\xd8\xff",
        b"GIF8",
        b"%PDF",
        b"PK\x03\x04",
        b"\x1f\x8b",
        b"\x7fELF",
        b"BM",
        b"II*\0",
        b"MM\0*",
        b"RIFF",
    ];
    let is_text = match std::str::from_utf8(head) {
        Ok(_) => true,
        // The last character may be cut.
        Err(error) => error.valid_up_to() > 0 && error.error_len().is_none(),
    };
    let is_plain = head.iter().all(|byte| *byte >= b' ' || byte.is_ascii_whitespace());
    OTHERS.iter().any(|magic| head.starts_with(magic)) || (is_text && is_plain)
}

#[cfg(test)]
mod tests;

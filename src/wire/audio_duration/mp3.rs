//! MP3 (MPEG layer II and III): the frames are followed one by one. Each costs a look at four bytes, and there is no
//! header that could be missing, wrong or forged. They are followed while the file comes, as each lies in memory apart.

/// A multiple of every sample rate there is, so that lengths add up exactly.
const TICKS_A_SECOND: u64 = 14_112_000;

#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) bytes: u64,
    pub(super) ticks: u64,
    /// Behind the frame's head: where an encoder may keep notes in a frame without sound.
    pub(super) notes_at: u64,
}

/// Whether a file that begins so may be an MP3 without a tag.
pub(super) fn is_frame(head: &[u8]) -> bool {
    head.first_chunk().and_then(frame).is_some()
}

/// A walk over a file that comes in pieces.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    place: Place,
    /// So many bytes of the file are of no interest.
    skip: u64,
    /// The beginning of what is looked at next, where a piece ended within it.
    held: [u8; 10],
    len: usize,
    ticks: u64,
    /// The frame before, and its head.
    last: Option<([u8; 4], Frame)>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Place {
    /// The beginning of the file: a tag, or a frame.
    #[default]
    Start,
    Head,
    /// Where the first frame may hold notes.
    Notes,
    /// Something that is no frame.
    Junk,
    /// The rest of what is no MP3.
    Other,
}

impl Place {
    /// How many bytes are looked at together.
    const fn needs(self) -> usize {
        match self {
            Self::Start => 10,
            Self::Head | Self::Notes => 4,
            Self::Junk | Self::Other => 1,
        }
    }
}

impl Walk {
    /// The next bytes of the file.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        loop {
            let past = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
            self.skip -= past as u64;
            bytes = &bytes[past..];
            if bytes.is_empty() || self.place == Place::Other {
                return;
            }
            let needs = self.place.needs();
            if self.len == 0 && bytes.len() >= needs {
                bytes = self.look(bytes);
                continue;
            }
            let more = (needs - self.len).min(bytes.len());
            self.held[self.len..self.len + more].copy_from_slice(&bytes[..more]);
            self.len += more;
            bytes = &bytes[more..];
            if self.len < needs {
                return;
            }
            self.release();
        }
    }

    /// Looks at what was held, and holds what is left of it.
    fn release(&mut self) {
        let held = self.held;
        let held = &held[..std::mem::take(&mut self.len)];
        let rest = self.look(held);
        if !rest.is_empty() {
            self.push(rest);
        }
    }

    /// Looks at as many bytes as are needed, and more if there are; what is left of them.
    fn look<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        match self.place {
            Place::Start => {
                self.skip = tag_length(bytes);
                let is_mp3 = self.skip > 0 || is_frame(bytes);
                self.place = if is_mp3 { Place::Head } else { Place::Other };
                bytes
            }
            Place::Head => self.frames(bytes),
            Place::Notes => {
                if let Some((_, frame)) = self.last {
                    if matches!(&bytes[..4], b"Xing" | b"Info") {
                        self.ticks = 0;
                    }
                    self.skip = frame.bytes - frame.notes_at;
                }
                self.place = Place::Head;
                bytes
            }
            Place::Junk => match memchr::memchr(0xff, bytes) {
                Some(at) => {
                    self.place = Place::Head;
                    &bytes[at..]
                }
                None => &[],
            },
            Place::Other => &[],
        }
    }

    /// Follows frames as long as their heads are at hand.
    fn frames<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while let Some(head) = bytes.first_chunk::<4>() {
            let found = match self.last {
                // Nearly all frames are like the one before. The processor guesses so, and need not wait for the bytes of
                // one to know where the next begins.
                Some((like, frame)) if is_like(head, &like) => Some(frame),
                _ => frame(head),
            };
            let Some(frame) = found else {
                self.place = Place::Junk;
                return &bytes[1..];
            };
            self.ticks += frame.ticks;
            let is_first = self.last.replace((*head, frame)).is_none();
            if is_first && frame.notes_at + 4 <= frame.bytes {
                self.place = Place::Notes;
                self.skip = frame.notes_at;
                return bytes;
            }
            match bytes.get(frame.bytes as usize..) {
                Some(rest) => bytes = rest,
                None => {
                    self.skip = frame.bytes - bytes.len() as u64;
                    return &[];
                }
            }
        }
        bytes
    }

    /// The file has ended.
    pub(super) fn seconds(mut self) -> Option<u64> {
        if self.place == Place::Start && self.len > 0 {
            self.release();
        }
        (self.ticks > 0).then(|| self.ticks.div_ceil(TICKS_A_SECOND))
    }
}

/// Whether two heads are of frames of one length: what else the last byte says changes from frame to frame.
fn is_like(one: &[u8; 4], other: &[u8; 4]) -> bool {
    one[..3] == other[..3] && one[3] >> 6 == other[3] >> 6
}

/// The length of an ID3v2 tag, which is written in seven bits a byte; 0 where `file` does not begin with one.
fn tag_length(file: &[u8]) -> u64 {
    let Some([b'I', b'D', b'3', _, _, flags, size @ ..]) = file.first_chunk::<10>() else { return 0 };
    let size = size.iter().fold(0, |size, byte| size << 7 | u64::from(byte & 0x7f));
    let footer = if flags & 0x10 == 0 { 0 } else { 10 };
    10 + size + footer
}

pub(super) fn frame(head: &[u8; 4]) -> Option<Frame> {
    const LAYER_3: [u64; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
    const LAYER_2: [u64; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
    const LOW_RATES: [u64; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

    let [first, second, third, fourth] = *head;
    if first != 0xff || second & 0xe0 != 0xe0 {
        return None;
    }
    // The version halves the sample rate: MPEG-1 not, MPEG-2 once, MPEG-2.5 twice.
    let halved = match second >> 3 & 3 {
        3 => 0,
        2 => 1,
        0 => 2,
        _ => return None,
    };
    let is_layer_3 = match second >> 1 & 3 {
        1 => true,
        2 => false,
        _ => return None,
    };
    let kilobits = match (halved, is_layer_3) {
        (0, true) => LAYER_3,
        (0, false) => LAYER_2,
        _ => LOW_RATES,
    };
    let kilobits = *kilobits.get(usize::from(third >> 4).checked_sub(1)?)?;
    let rate = [44_100, 48_000, 32_000].get(usize::from(third >> 2 & 3))? >> halved;
    let samples = if is_layer_3 && halved > 0 { 576 } else { 1_152 };
    let is_mono = fourth >> 6 == 3;
    let side = match (halved, is_mono) {
        (0, false) => 32,
        (0, true) | (_, false) => 17,
        (_, true) => 9,
    };
    let padding = u64::from(third >> 1 & 1);
    Some(Frame {
        bytes: samples / 8 * kilobits * 1_000 / rate + padding,
        ticks: samples * TICKS_A_SECOND / rate,
        notes_at: 4 + side,
    })
}

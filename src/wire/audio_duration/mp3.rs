//! MP3 (MPEG layer II and III): the frames are followed one by one. Each costs a look at four bytes, and there is no
//! header that could be missing, wrong or forged.

use super::reader::Reader;

/// A multiple of every sample rate there is, so that lengths add up exactly.
const TICKS_A_SECOND: u64 = 14_112_000;

#[derive(Clone, Copy)]
struct Frame {
    bytes: u64,
    ticks: u64,
    /// Behind the frame's head: where an encoder may keep notes in a frame without sound.
    notes_at: u64,
}

/// Whether a file that begins so may be an MP3 without a tag.
pub(super) fn is_frame(head: &[u8]) -> bool {
    head.first_chunk().and_then(frame).is_some()
}

pub(super) fn seconds(file: &Reader<'_>) -> Option<u64> {
    let mut file = file.clone();
    skip_tag(&mut file)?;
    let (mut ticks, mut last) = (0u64, None);
    while let Some(head) = head(&mut file) {
        let found = match last {
            // Nearly all frames are like the one before. The processor guesses so, and need not wait for the bytes of one
            // to know where the next begins.
            Some((like, frame)) if is_like(&head, &like) => Some(frame),
            _ => frame(&head),
        };
        let Some(frame) = found else {
            resync(&mut file);
            continue;
        };
        if last.is_some() || !has_notes(file.clone(), &frame) {
            ticks += frame.ticks;
        }
        last = Some((head, frame));
        if file.skip(frame.bytes).is_none() {
            break;
        }
    }
    (ticks > 0).then(|| ticks.div_ceil(TICKS_A_SECOND))
}

/// The next four bytes, without going on.
fn head(file: &mut Reader<'_>) -> Option<[u8; 4]> {
    file.rest().first_chunk().copied().or_else(|| file.clone().take())
}

/// Whether two heads are of frames of one length: what else the last byte says changes from frame to frame.
fn is_like(one: &[u8; 4], other: &[u8; 4]) -> bool {
    one[..3] == other[..3] && one[3] >> 6 == other[3] >> 6
}

/// Goes past an ID3v2 tag: its length is written in seven bits a byte.
fn skip_tag(file: &mut Reader<'_>) -> Option<()> {
    let Some([b'I', b'D', b'3', _, _, flags, size @ ..]) = file.clone().take::<10>() else { return Some(()) };
    let size = size.iter().fold(0, |size, byte| size << 7 | u64::from(byte & 0x7f));
    let footer = if flags & 0x10 == 0 { 0 } else { 10 };
    file.skip(10 + size + footer)
}

/// Goes on to the next byte that may begin a frame.
fn resync(file: &mut Reader<'_>) {
    let mut past = 1;
    loop {
        let _ = file.skip(past);
        let rest = file.rest();
        match memchr::memchr(0xff, rest) {
            Some(at) => {
                let _ = file.skip(at as u64);
                return;
            }
            None if rest.is_empty() => return,
            None => past = rest.len() as u64,
        }
    }
}

fn has_notes(mut file: Reader<'_>, frame: &Frame) -> bool {
    file.skip(frame.notes_at).and_then(|()| file.take::<4>()).is_some_and(|word| matches!(&word, b"Xing" | b"Info"))
}

fn frame(head: &[u8; 4]) -> Option<Frame> {
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

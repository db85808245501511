//! The formats that tell their length in a header: WAV, FLAC, Ogg, MP4 and WebM. Each gives whole seconds, rounded up, or
//! nothing where the header does not say.

use memchr::memmem;

use super::reader::Reader;

/// More chunks, boxes or elements than these before the one that is looked for are not gone through.
const MAX_STEPS: usize = 512;

/// `units` at `rate` a second, in whole seconds; `None` for a length of nothing, which is how "not known" is written.
fn ratio(units: u64, rate: u64) -> Option<u64> {
    (units > 0 && rate > 0).then(|| units.div_ceil(rate))
}

pub(super) fn wav(file: &Reader<'_>) -> Option<u64> {
    let mut file = file.clone();
    file.skip(12)?;
    let mut bytes_a_second = 0;
    for _ in 0..MAX_STEPS {
        let id = file.take::<4>()?;
        let size = file.little::<4>()?;
        match &id {
            b"fmt " => {
                let mut fmt = file.clone();
                let coding = fmt.little::<2>()?;
                let _channels = fmt.little::<2>()?;
                let (samples, told, block) = (fmt.little::<4>()?, fmt.little::<4>()?, fmt.little::<2>()?);
                // What every reader of plain samples goes by; of coded ones, only the header knows.
                let plain = matches!(coding, 1 | 3 | 6 | 7 | 0xfffe);
                bytes_a_second = if plain { samples * block } else { told };
            }
            b"data" => {
                // A recorder that cannot go back leaves the size open.
                let left = file.len() as u64;
                return ratio(if size == 0 { left } else { size.min(left) }, bytes_a_second);
            }
            _ => {}
        }
        file.skip(size + size % 2)?;
    }
    None
}

pub(super) fn flac(file: &Reader<'_>) -> Option<u64> {
    let mut file = file.clone();
    // The mark, the head of the first block, and of that block its block and frame sizes.
    file.skip(4 + 4 + 10)?;
    let packed = file.big::<8>()?;
    // 20 bits of rate, 3 of channels, 5 of depth, 36 of samples.
    ratio(packed & 0xf_ffff_ffff, packed >> 44)
}

pub(super) fn ogg(file: &Reader<'_>) -> Option<u64> {
    /// No page is longer.
    const MAX_PAGE: usize = 65_307;
    let mut head = [0; 128];
    let head = file.clone().read_into(&mut head);
    let (serial, segments) = (head.get(14..18)?, usize::from(*head.get(26)?));
    let packet = head.get(27 + segments..)?;
    let number = |at: usize, len: usize| {
        let bytes = packet.get(at..at + len)?;
        Some(bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte)))
    };
    let (rate, before) = if packet.starts_with(b"OpusHead") {
        (48_000, number(10, 2)?)
    } else if packet.starts_with(b"\x01vorbis") {
        (number(12, 4)?, 0)
    } else if packet.starts_with(b"Speex   ") {
        (number(36, 4)?, 0)
    } else {
        return None;
    };
    let mut tail = vec![0; file.len().min(2 * MAX_PAGE)];
    let mut end = file.clone();
    end.skip((file.len() - tail.len()) as u64)?;
    end.read_into(&mut tail);
    // The last page that ends a packet of this stream tells how many samples there were.
    let last = memmem::rfind_iter(&tail, b"OggS").find_map(|at| {
        let page = tail.get(at..at + 18)?;
        let position = page[6..14].iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        (&page[14..18] == serial && position != u64::MAX).then_some(position)
    })?;
    ratio(last.saturating_sub(before), rate)
}

pub(super) fn mp4(file: &Reader<'_>) -> Option<u64> {
    let mut header = in_box(in_box(file.clone(), b"moov")?, b"mvhd")?;
    let is_long = header.take::<4>()?[0] == 1;
    let (scale, units, open) = if is_long {
        header.skip(16)?;
        (header.big::<4>()?, header.big::<8>()?, u64::MAX)
    } else {
        header.skip(8)?;
        (header.big::<4>()?, header.big::<4>()?, u64::from(u32::MAX))
    };
    ratio(units, scale).filter(|_| units != open)
}

/// The inside of the first box of this kind.
fn in_box<'a>(mut file: Reader<'a>, wanted: &[u8; 4]) -> Option<Reader<'a>> {
    for _ in 0..MAX_STEPS {
        let size = file.big::<4>()?;
        let kind = file.take::<4>()?;
        let inside = match size {
            0 => file.len() as u64,
            1 => file.big::<8>()?.checked_sub(16)?,
            size => size.checked_sub(8)?,
        };
        if &kind == wanted {
            return Some(file);
        }
        file.skip(inside)?;
    }
    None
}

pub(super) fn webm(file: &Reader<'_>) -> Option<u64> {
    const SEGMENT: u64 = 0x1853_8067;
    const INFO: u64 = 0x1549_a966;
    const CLUSTER: u64 = 0x1f43_b675;
    const SCALE: u64 = 0x002a_d7b1;
    const DURATION: u64 = 0x4489;

    let mut file = file.clone();
    let (mut scale, mut duration) = (1_000_000u64, None);
    for _ in 0..MAX_STEPS {
        let Some((id, size)) = element(&mut file) else { break };
        match id {
            // Its members follow.
            SEGMENT | INFO => continue,
            CLUSTER => break,
            SCALE if size <= 8 => {
                scale = (0..size).try_fold(0, |number, _| Some(number << 8 | file.big::<1>()?))?;
                continue;
            }
            DURATION if size == 4 => duration = Some(f64::from(f32::from_bits(file.clone().big::<4>()? as u32))),
            DURATION if size == 8 => duration = Some(f64::from_bits(file.clone().big::<8>()?)),
            _ => {}
        }
        if file.skip(size).is_none() {
            break;
        }
    }
    let seconds = duration? * scale as f64 / 1e9;
    (seconds > 0.0 && seconds.is_finite()).then(|| seconds.ceil() as u64)
}

/// The id and the size of the next element.
fn element(file: &mut Reader<'_>) -> Option<(u64, u64)> {
    let id = number(file, true)?;
    Some((id, number(file, false)?))
}

/// A number whose leading zero bits tell its length. An id keeps the bit that ends them.
fn number(file: &mut Reader<'_>, keeps_mark: bool) -> Option<u64> {
    let first = file.take::<1>()?[0];
    let more = first.leading_zeros();
    if more > 7 {
        return None;
    }
    let own = if keeps_mark { first } else { (u16::from(first) & (0x7f >> more)) as u8 };
    (0..more).try_fold(u64::from(own), |number, _| Some(number << 8 | file.big::<1>()?))
}

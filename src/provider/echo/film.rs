//! A film of one picture: the smallest MP4 that a player takes.

use super::image::png;

/// Ticks in a second.
const SCALE: u32 = 1_000;

/// An MP4 of one frame of `seconds`, its picture a PNG whose colours come from a hash of `seed`.
pub(super) fn mp4(seed: &[u8], seconds: u32) -> Vec<u8> {
    let picture = png(seed, 0);
    let kind = boxed(*b"ftyp", &[b"isom\0\0\x02\0isomiso2mp41"]);
    // The index names the picture's place in the file, and its own length does not depend on that.
    let length = kind.len() + index(0, &picture, seconds).len() + 8;
    let index = index(length as u32, &picture, seconds);
    [kind, index, boxed(*b"mdat", &[&picture])].concat()
}

fn index(at: u32, picture: &[u8], seconds: u32) -> Vec<u8> {
    let duration = seconds * SCALE;
    let matrix = words(&[0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000]);
    let movie = words(&[0, 0, 0, SCALE, duration, 0x1_0000, 0x0100_0000, 0, 0]);
    let movie = boxed(*b"mvhd", &[&movie, &matrix, &words(&[0, 0, 0, 0, 0, 0, 2])]);
    let side = u32::from(super::image::SIDE) << 16;
    let track = words(&[3, 0, 0, 1, 0, duration, 0, 0, 0, 0]);
    let track = boxed(*b"tkhd", &[&track, &matrix, &words(&[side, side])]);
    let media = boxed(*b"mdhd", &[&words(&[0, 0, 0, SCALE, duration, 0x55c4_0000])]);
    let handler = boxed(*b"hdlr", &[&words(&[0, 0]), b"vide", &words(&[0, 0, 0]), b"video\0"]);
    let place = boxed(*b"dref", &[&words(&[0, 1]), &boxed(*b"url ", &[&words(&[1])])]);
    let table = boxed(
        *b"stbl",
        &[
            &boxed(*b"stsd", &[&words(&[0, 1]), &sample_entry()]),
            &boxed(*b"stts", &[&words(&[0, 1, 1, duration])]),
            &boxed(*b"stsc", &[&words(&[0, 1, 1, 1, 1])]),
            &boxed(*b"stsz", &[&words(&[0, picture.len() as u32, 1])]),
            &boxed(*b"stco", &[&words(&[0, 1, at])]),
        ],
    );
    let head = boxed(*b"vmhd", &[&words(&[1, 0, 0])]);
    let info = boxed(*b"minf", &[&head, &boxed(*b"dinf", &[&place]), &table]);
    let media = boxed(*b"mdia", &[&media, &handler, &info]);
    boxed(*b"moov", &[&movie, &boxed(*b"trak", &[&track, &media])])
}

/// A visual sample of MPEG-4's object type 0x6D, which is PNG.
fn sample_entry() -> Vec<u8> {
    let side = u32::from(super::image::SIDE);
    let descriptor = [&[0x03, 0x15, 0x00, 0x01, 0x00, 0x04, 0x0d, 0x6d, 0x11][..], &[0; 11], &[0x06, 0x01, 0x02]];
    let stream = boxed(*b"esds", &[&words(&[0]), &descriptor.concat()]);
    let head = words(&[0, 1, 0, 0, 0, 0, side << 16 | side, 0x48_0000, 0x48_0000, 0, 0x1_0000]);
    boxed(*b"mp4v", &[&head, &[0; 30], &[0, 0x18, 0xff, 0xff], &stream])
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn boxed(kind: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let inside = parts.concat();
    [&(inside.len() as u32 + 8).to_be_bytes()[..], &kind, &inside].concat()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_boxes_fill_the_file_and_the_index_finds_the_picture() {
        let film = super::mp4(b"seed", 6);
        let mut at = 0;
        let mut kinds = Vec::new();
        while at < film.len() {
            let length = u32::from_be_bytes(film[at..at + 4].try_into().unwrap()) as usize;
            kinds.push(film[at + 4..at + 8].to_vec());
            at += length;
        }
        assert_eq!(at, film.len());
        assert_eq!(kinds, [b"ftyp".to_vec(), b"moov".to_vec(), b"mdat".to_vec()]);
        let offset = film.windows(4).position(|w| w == b"stco").unwrap() + 12;
        let place = u32::from_be_bytes(film[offset..offset + 4].try_into().unwrap()) as usize;
        assert!(film[place..].starts_with(b"\x89PNG"));
        assert!(film.windows(4).any(|w| w == b"esds"));
    }
}

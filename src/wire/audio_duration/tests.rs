use super::*;
use proptest::prelude::*;

use AudioLength::{AtMost, Told};

fn length(file: &[u8]) -> Option<AudioLength> {
    // Between other parts, and cut where it hurts.
    let body = [b"before".as_slice(), file, b"behind"].concat();
    let pieces: Vec<Bytes> = body.chunks(7).map(Bytes::copy_from_slice).collect();
    of_file(&pieces, 6..6 + file.len())
}

fn wav(coding: u16, rate: u32, told: u32, block: u16, data: u32, bytes: usize) -> Vec<u8> {
    let mut file = b"RIFF\xff\xff\xff\xffWAVEJUNK\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
    file.extend(coding.to_le_bytes());
    file.extend(1u16.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend(told.to_le_bytes());
    file.extend(block.to_le_bytes());
    file.extend(b"\x10\0data");
    file.extend(data.to_le_bytes());
    file.resize(file.len() + bytes, 0);
    file
}

#[test]
fn a_wav_is_as_long_as_its_samples() {
    assert_eq!(length(&wav(1, 8_000, 16_000, 2, 32_000, 32_000)), Some(Told(2)));
    assert_eq!(length(&wav(1, 8_000, 16_000, 2, 32_002, 32_002)), Some(Told(3)), "seconds are rounded up");
    assert_eq!(length(&wav(1, 8_000, 1_000_000, 2, 32_000, 32_000)), Some(Told(2)), "a false rate counts for nothing");
    assert_eq!(length(&wav(1, 8_000, 16_000, 2, u32::MAX, 48_000)), Some(Told(3)), "a size left open");
    assert_eq!(length(&wav(1, 8_000, 16_000, 2, 0, 48_000)), Some(Told(3)));
    assert_eq!(length(&wav(0x31, 8_000, 1_625, 65, 3_250, 3_250)), Some(Told(2)), "a coded one goes by its header");
}

/// MPEG-1 layer III at 128 kbit/s and 44.1 kHz: frames of 417 bytes and 1,152 samples.
fn mp3_frames(count: usize) -> Vec<u8> {
    (0..count).flat_map(|_| [&b"\xff\xfb\x90\x00"[..], &[0; 413]].concat()).collect()
}

#[test]
fn an_mp3_is_as_long_as_its_frames() {
    assert_eq!(length(&mp3_frames(38)), Some(Told(1)));
    assert_eq!(length(&mp3_frames(39)), Some(Told(2)));
    // 24 kHz layer III at 8 kbit/s: 24 bytes and 576 samples.
    let slow: Vec<u8> = (0..100).flat_map(|_| [&b"\xff\xf3\x14\xc0"[..], &[0; 20]].concat()).collect();
    assert_eq!(length(&slow), Some(Told(3)));
    let mixed = [slow, mp3_frames(39)].concat();
    assert_eq!(length(&mixed), Some(Told(4)), "a variable rate adds up");
}

#[test]
fn tags_notes_and_junk_in_an_mp3_are_no_sound() {
    let tag = [&b"ID3\x04\0\0\0\0\x01\x7f"[..], &[0xff; 255]].concat();
    let mut notes = mp3_frames(1);
    notes[36..40].copy_from_slice(b"Xing");
    let file = [tag, notes, mp3_frames(20), vec![0xff; 333], mp3_frames(18)].concat();
    assert_eq!(length(&file), Some(Told(1)));
}

fn flac(samples: u64) -> Vec<u8> {
    let packed: u64 = 44_100 << 44 | 1 << 41 | 15 << 36 | samples;
    [&b"fLaC\x80\0\0\x22"[..], &[0; 10], &packed.to_be_bytes(), &[0; 900]].concat()
}

#[test]
fn a_flac_tells_its_samples_unless_it_was_streamed() {
    assert_eq!(length(&flac(44_100 * 3)), Some(Told(3)));
    assert_eq!(length(&flac(0)), Some(AtMost(1)));
}

fn page(serial: u32, position: u64, packet: &[u8]) -> Vec<u8> {
    let (position, serial) = (position.to_le_bytes(), serial.to_le_bytes());
    [b"OggS\0\0", &position[..], &serial, &[0; 8], &[1, packet.len() as u8], packet].concat()
}

#[test]
fn an_ogg_file_ends_with_its_length() {
    let opus = page(7, 0, b"OpusHead\x01\x01\x38\x01\x80\xbb\0\0\0\0\0");
    let end = page(7, 312 + 48_000 * 5, b"sound");
    let other = page(8, 48_000 * 99, b"another stream");
    let open = page(7, u64::MAX, b"a packet that goes on");
    assert_eq!(length(&[&opus[..], &end, &other, &open].concat()), Some(Told(5)));
    let vorbis = page(7, 0, b"\x01vorbis\0\0\0\0\x01\x40\x1f\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xb8\x01");
    assert_eq!(length(&[vorbis, page(7, 8_001, b"sound")].concat()), Some(Told(2)));
    assert_eq!(length(&opus), Some(AtMost(1)), "a stream that has only begun");
}

fn mp4_box(kind: &[u8; 4], inside: &[u8]) -> Vec<u8> {
    [&(inside.len() as u32 + 8).to_be_bytes()[..], kind, inside].concat()
}

#[test]
fn an_mp4_tells_its_length_before_or_behind_its_data() {
    let header = |units: u32| {
        let header = [&[0; 12][..], &1_000u32.to_be_bytes(), &units.to_be_bytes(), &[0; 80]].concat();
        mp4_box(b"moov", &[mp4_box(b"free", b""), mp4_box(b"mvhd", &header)].concat())
    };
    let (kind, data) = (mp4_box(b"ftyp", b"M4A \0\0\0\0"), mp4_box(b"mdat", &[0; 900]));
    assert_eq!(length(&[&kind[..], &header(3_700), &data].concat()), Some(Told(4)));
    assert_eq!(length(&[&kind[..], &data, &header(3_700)].concat()), Some(Told(4)));
    assert_eq!(length(&[&kind[..], &header(0), &data].concat()), Some(AtMost(3)), "a fragmented one does not tell");
    assert_eq!(length(&[&kind[..], &data].concat()), Some(AtMost(2)));
    let long = [&[1, 0, 0, 0][..], &[0; 16], &1_000u32.to_be_bytes(), &2_000u64.to_be_bytes()].concat();
    let wide = [&1u32.to_be_bytes()[..], b"mdat", &116u64.to_be_bytes(), &[0; 100]].concat();
    assert_eq!(length(&[kind, wide, mp4_box(b"moov", &mp4_box(b"mvhd", &long))].concat()), Some(Told(2)));
}

#[test]
fn a_webm_tells_its_length_unless_it_was_recorded_live() {
    const HEAD: &[u8] = b"\x1a\x45\xdf\xa3\x84\x42\x86\x81\x01\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff";
    let told =
        [HEAD, b"\xec\x82ab\x15\x49\xa9\x66\x8e\x2a\xd7\xb1\x83\x0f\x42\x40\x44\x89\x84", &2_500f32.to_be_bytes()];
    assert_eq!(length(&told.concat()), Some(Told(3)));
    let live = [HEAD, b"\x15\x49\xa9\x66\x87\x2a\xd7\xb1\x83\x0f\x42\x40\x1f\x43\xb6\x75\xff", &[0; 900]];
    assert_eq!(length(&live.concat()), Some(AtMost(2)));
}

#[test]
fn what_is_plainly_no_audio_has_no_length() {
    for file in [
        &b""[..],
        b"This is a letter, and nothing that one could listen to.",
        "Grüße".as_bytes(),
        b"{\"a\": 1}\n",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"\xff\xd8\xff\xe0\0\x10JFIF",
        b"%PDF-1.7\n\x80\x81",
        b"PK\x03\x04\x14\0",
        b"RIFF\x10\0\0\0WEBPVP8 ",
    ] {
        assert_eq!(length(file), None, "{file:?}");
    }
    assert_eq!(length(&[0; 1_000]), Some(AtMost(2)), "what is not known may still be audio");
}

/// A walk over a whole file at once, without a guess.
fn plainly_walked(file: &[u8]) -> Option<u64> {
    let mut at = match file {
        [b'I', b'D', b'3', _, _, flags, a, b, c, d, ..] => {
            let size = [a, b, c, d].iter().fold(0, |size, byte| size << 7 | usize::from(**byte & 0x7f));
            10 + size + if flags & 0x10 == 0 { 0 } else { 10 }
        }
        _ => 0,
    };
    let (mut ticks, mut is_first) = (0, true);
    while let Some(head) = file.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        let Some(frame) = mp3::frame(head) else {
            at += 1;
            continue;
        };
        let notes = at + frame.notes_at as usize;
        let is_silent = is_first && matches!(file.get(notes..notes + 4), Some(b"Xing" | b"Info"));
        ticks += if is_silent { 0 } else { frame.ticks };
        (at, is_first) = (at + frame.bytes as usize, false);
    }
    (ticks > 0).then(|| ticks.div_ceil(14_112_000))
}

proptest! {
    #[test]
    fn a_walk_comes_to_the_same_however_the_file_is_cut(
        parts in prop::collection::vec(0usize..7, 0..12), tail in 0usize..500, size in 1usize..600,
    ) {
        let mut notes = mp3_frames(1);
        notes[36..40].copy_from_slice(b"Info");
        let tag = [&b"ID3\x04\0\x10\0\0\x01\x7f"[..], &[0xff; 265]].concat();
        let slow = [&b"\xff\xf3\x14\xc0"[..], &[0; 20]].concat();
        let kinds = [mp3_frames(1), mp3_frames(3), slow, notes, b"\xff\xff\xfbjunk".to_vec(), tag, b"\xff\xfa\x90".to_vec()];
        let mut file: Vec<u8> = parts.iter().flat_map(|kind| kinds[*kind].clone()).collect();
        file.truncate(file.len().saturating_sub(tail));
        let mut walk = Walk::default();
        file.chunks(size).for_each(|piece| walk.push(piece));
        let is_mp3 = file.starts_with(b"ID3") || mp3::is_frame(&file);
        prop_assert_eq!(walk.seconds(), plainly_walked(&file).filter(|_| is_mp3));
    }

    #[test]
    fn no_bytes_do_harm(which in 0usize..6, places in proptest::collection::vec((0usize..2_000, any::<u8>()), 0..20), cut in 0usize..2_000) {
        let webm = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff\x15\x49\xa9\x66\x8e\x2a\xd7\xb1\x83\x0f\x42\x40\x44\x89\x84\0\0\0\0";
        let mut file = match which {
            0 => wav(1, 8_000, 16_000, 2, 500, 500),
            1 => mp3_frames(4),
            2 => flac(44_100),
            3 => [page(7, 0, b"OpusHead\x01\x01\x38\x01\x80\xbb\0\0\0\0\0"), page(7, 9, b"x")].concat(),
            4 => [mp4_box(b"ftyp", b"M4A "), mp4_box(b"moov", &mp4_box(b"mvhd", &[1; 100]))].concat(),
            _ => webm.to_vec(),
        };
        file.truncate(cut);
        for (at, byte) in places {
            if let Some(place) = file.get_mut(at) {
                *place = byte;
            }
        }
        prop_assert!(length(&file).is_none_or(|length| length.seconds() >= 1));
    }
}

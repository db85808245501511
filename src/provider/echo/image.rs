//! Images: a small PNG whose colours come from a hash of the prompt.

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::base::crc32::crc32;
use crate::base::error::Error;
use crate::domain::usage::Usage;
use crate::http::call::Call;
use crate::wire::base64;
use crate::wire::images::{Form, ImageRequest};

use super::{Answer, CREATED};

/// The picture's sides, in pixels.
pub(super) const SIDE: u8 = 64;

/// Pictures at once.
const MAX_N: u64 = 10;

/// `/v1/images/generations` and `/v1/images/edits`.
pub(super) fn answer(call: &Call) -> Result<Answer, Error> {
    let given = call.body();
    let request = ImageRequest::read(call.segments().pieces(), &given, call.facts())?;
    request.n_at_most(MAX_N)?;
    let data: Vec<_> = (0..request.n)
        .map(|index| {
            let picture = base64::encode(&png(request.prompt.as_bytes(), index));
            if request.form == Some(Form::Url) {
                json!({"url": format!("data:image/png;base64,{picture}")})
            } else {
                json!({ "b64_json": picture })
            }
        })
        .collect();
    Ok(Answer::json(&json!({"created": CREATED, "data": data}), Usage { images: request.n, ..Usage::NONE }))
}

/// A gradient from one colour of the hash to another.
pub(super) fn png(prompt: &[u8], index: u64) -> Vec<u8> {
    let hash = Sha256::digest([prompt, &index.to_le_bytes()].concat());
    let mut pixels = Vec::new();
    for y in 0..SIDE {
        pixels.push(0);
        for x in 0..SIDE {
            let share = (u32::from(x) + u32::from(y)) * 255 / (2 * u32::from(SIDE));
            let mix = |a: u8, b: u8| ((u32::from(a) * (255 - share) + u32::from(b) * share) / 255) as u8;
            pixels.extend((0..3).map(|i| mix(hash[i], hash[i + 3])));
        }
    }
    let mut header = Vec::from([0, 0, 0, SIDE, 0, 0, 0, SIDE]);
    // Eight bits a channel, red green blue, no interlacing.
    header.extend([8, 2, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    chunk(&mut file, *b"IHDR", &header);
    chunk(&mut file, *b"IDAT", &stored(&pixels));
    chunk(&mut file, *b"IEND", &[]);
    file
}

fn chunk(file: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    file.extend((data.len() as u32).to_be_bytes());
    let checked = [&kind, data].concat();
    file.extend(&checked);
    file.extend(crc32(&checked).to_be_bytes());
}

/// A zlib stream of one block that is not compressed: `data` is shorter than 64 KiB.
fn stored(data: &[u8]) -> Vec<u8> {
    let length = data.len() as u16;
    let mut stream = vec![0x78, 0x01, 0x01];
    stream.extend(length.to_le_bytes());
    stream.extend((!length).to_le_bytes());
    stream.extend(data);
    let (low, high) = data.iter().fold((1u32, 0u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    stream.extend((high << 16 | low).to_be_bytes());
    stream
}

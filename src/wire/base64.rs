//! Base64: with the standard alphabet and padding, and the URL-safe one without.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What each digit stands for, and one more; 0 for what is no digit.
const SIX: [u8; 256] = {
    let mut six = [0; 256];
    let mut at = 0;
    while at < ALPHABET.len() {
        six[ALPHABET[at] as usize] = at as u8 + 1;
        at += 1;
    }
    six
};

/// `bytes` in base64.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    let mut encoder = Encoder::default();
    encoder.push(bytes, &mut text);
    encoder.finish(&mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// Encodes bytes that come in pieces.
#[derive(Debug, Default)]
pub struct Encoder {
    /// Bytes that do not make up three yet.
    rest: [u8; 2],
    len: usize,
}

impl Encoder {
    /// Appends the base64 of what is whole in threes, over all pieces so far, to `out`.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while self.len > 0 {
            let Some((&first, after)) = bytes.split_first() else { return };
            bytes = after;
            if self.len == 2 {
                three(&[self.rest[0], self.rest[1], first], out);
                self.len = 0;
            } else {
                self.rest[1] = first;
                self.len = 2;
            }
        }
        let (whole, rest) = bytes.split_at(bytes.len() / 3 * 3);
        let start = out.len();
        out.resize(start + whole.len() / 3 * 4, 0);
        // Lengths that are known beforehand: nothing is checked in the loop.
        for (three, four) in whole.chunks_exact(3).zip(out[start..].chunks_exact_mut(4)) {
            let bits = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
            for (place, digit) in four.iter_mut().enumerate() {
                *digit = ALPHABET[(bits >> (18 - 6 * place) & 0x3f) as usize];
            }
        }
        self.rest[..rest.len()].copy_from_slice(rest);
        self.len = rest.len();
    }

    /// Appends the last bytes, padded.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let len = std::mem::take(&mut self.len);
        if len > 0 {
            three(&self.rest[..len], out);
        }
    }
}

/// Up to three bytes as four digits.
fn three(bytes: &[u8], out: &mut Vec<u8>) {
    let bits = bytes.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - bytes.len()));
    out.extend((0..4).map(|i| match bits >> (18 - 6 * i) & 0x3f {
        six if i <= bytes.len() => ALPHABET[six as usize],
        _ => b'=',
    }));
}

/// `bytes` in base64 as it may stand in a URL: `-` and `_`, no padding.
pub fn encode_url(bytes: &[u8]) -> String {
    encode(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

/// What [`encode`] made of some bytes; padding may be left out. `None` where `text` is no base64.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let bare = text.trim_end_matches('=');
    if bare.len() % 4 == 1 || text.len() - bare.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(bare.len() / 4 * 3 + 2);
    for four in bare.as_bytes().chunks(4) {
        let mut bits = 0u32;
        for byte in four {
            bits = bits << 6 | u32::from(SIX[usize::from(*byte)]).checked_sub(1)?;
        }
        bits <<= 6 * (4 - four.len());
        bytes.extend_from_slice(&bits.to_be_bytes()[1..four.len()]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648_hold() {
        let plain = ["", "f", "fo", "foo", "foob", "fooba", "foobar"];
        let encoded = plain.map(|text| encode(text.as_bytes()));
        assert_eq!(encoded, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
        for (text, encoded) in plain.iter().zip(&encoded) {
            assert_eq!(decode(encoded).as_deref(), Some(text.as_bytes()));
            assert_eq!(decode(encoded.trim_end_matches('=')).as_deref(), Some(text.as_bytes()));
        }
        assert_eq!(encode_url(&[0xfb, 0xff]), "-_8");
        for bad in ["Z", "Zg===", "Z-==", "ü"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_cut_does_not_matter() {
        let bytes: Vec<u8> = (0..=255).collect();
        for size in 1..8 {
            let (mut encoder, mut out) = (Encoder::default(), Vec::new());
            bytes.chunks(size).for_each(|piece| encoder.push(piece, &mut out));
            encoder.finish(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), encode(&bytes));
        }
    }
}

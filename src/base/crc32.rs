//! The checksum of keys and of PNG chunks.

/// CRC-32 (IEEE 802.3), bit by bit over a table of sixteen.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xEDB8_8320;
    let mut table = [0u32; 16];
    for (i, slot) in (0u32..).zip(&mut table) {
        *slot = (0..4).fold(i, |c, _| if c & 1 == 1 { (c >> 1) ^ POLYNOMIAL } else { c >> 1 });
    }
    !bytes.iter().fold(!0u32, |crc, byte| {
        let low = table[((crc ^ u32::from(*byte)) & 15) as usize] ^ (crc >> 4);
        table[((low ^ (u32::from(*byte) >> 4)) & 15) as usize] ^ (low >> 4)
    })
}

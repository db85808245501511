//! Whether a body that lies in pieces is UTF-8.

use bytes::Bytes;

/// Checks all pieces as one text. The error is the offset of the first character that is none.
pub(crate) fn check(pieces: &[Bytes]) -> Result<(), usize> {
    let mut split = Split::default();
    let mut offset = 0;
    for piece in pieces {
        let mut at = 0;
        while split.len > 0 && at < piece.len() {
            split.push(piece[at]).map_err(|NotUtf8| offset + at - split.len)?;
            at += 1;
        }
        if let Err(error) = std::str::from_utf8(&piece[at..]) {
            let valid = at + error.valid_up_to();
            match error.error_len() {
                Some(_) => return Err(offset + valid),
                None => split = Split::of(&piece[valid..]),
            }
        }
        offset += piece.len();
    }
    if split.len == 0 { Ok(()) } else { Err(offset - split.len) }
}

/// A character of which the last bytes are still to come: the end of a piece cuts it.
#[derive(Debug, Default)]
struct Split {
    bytes: [u8; 4],
    len: usize,
}

struct NotUtf8;

impl Split {
    fn of(head: &[u8]) -> Self {
        let mut bytes = [0; 4];
        bytes[..head.len()].copy_from_slice(head);
        Self { bytes, len: head.len() }
    }

    /// Takes the next byte; is empty again when the character is whole.
    fn push(&mut self, byte: u8) -> Result<(), NotUtf8> {
        self.bytes[self.len] = byte;
        match std::str::from_utf8(&self.bytes[..=self.len]) {
            Ok(_) => self.len = 0,
            Err(error) if error.error_len().is_none() => self.len += 1,
            Err(_) => return Err(NotUtf8),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_agrees_with_a_check_of_the_joined_text(
            runs in prop::collection::vec(prop_oneof!["[aé€😀]{0,3}".prop_map(String::into_bytes), any::<[u8; 2]>().prop_map(Vec::from)], 0..4),
        ) {
            let body = Bytes::from(runs.concat());
            let joined = std::str::from_utf8(&body).map(drop).map_err(|error| error.valid_up_to());
            let singles: Vec<Bytes> = (0..body.len()).map(|at| body.slice(at..=at)).collect();
            prop_assert_eq!(check(&singles), joined);
            for at in 0..=body.len() {
                prop_assert_eq!(check(&[body.slice(..at), body.slice(at..)]), joined);
            }
        }
    }
}

//! A key or a short word, decoded without allocation.

use crate::base::error::Error;
use crate::wire::scan::Scan;

#[derive(Debug)]
pub(super) enum Name<'a> {
    /// As it stands in the body.
    Plain(&'a [u8]),
    Decoded(Start),
}

/// The first bytes of a text: enough to tell the words that are looked for from all others.
#[derive(Debug, Default)]
pub(super) struct Start {
    bytes: [u8; 24],
    len: usize,
    is_longer: bool,
}

impl Start {
    fn push(&mut self, run: &[u8]) {
        let fits = run.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..][..fits].copy_from_slice(&run[..fits]);
        self.len += fits;
        self.is_longer |= fits < run.len();
    }

    fn get(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Default for Name<'_> {
    fn default() -> Self {
        Self::Plain(&[])
    }
}

impl<'a> Name<'a> {
    /// Reads a member's key and its colon.
    #[inline]
    pub(super) fn of_key(scan: &mut Scan<'a>) -> Result<Self, Error> {
        let mut start = Start::default();
        let plain = scan.key(|run| start.push(run))?;
        Ok(plain.map_or(Self::Decoded(start), Self::Plain))
    }

    /// Reads the string that the scanner stands on.
    #[inline]
    pub(super) fn of_text(scan: &mut Scan<'a>) -> Result<Self, Error> {
        if let Some(plain) = scan.plain() {
            return Ok(Self::Plain(plain));
        }
        let mut start = Start::default();
        scan.string(|run| start.push(run))?;
        Ok(Self::Decoded(start))
    }

    /// The text, unless it was decoded and is longer than any word that is looked for.
    pub(super) fn get(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(text) => Some(text),
            Self::Decoded(start) => (!start.is_longer).then(|| start.get()),
        }
    }

    pub(super) fn starts_with(&self, prefix: &[u8]) -> bool {
        match self {
            Self::Plain(text) => text.starts_with(prefix),
            Self::Decoded(start) => start.get().starts_with(prefix),
        }
    }
}

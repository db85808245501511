//! A key or a short word, decoded without allocation.

/// Keeps the first bytes of a text: enough to tell the words that are looked for from all others.
#[derive(Debug, Default)]
pub(super) struct Name {
    bytes: [u8; 24],
    len: usize,
    longer: bool,
}

impl Name {
    pub(super) fn push(&mut self, run: &[u8]) {
        let fits = run.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..][..fits].copy_from_slice(&run[..fits]);
        self.len += fits;
        self.longer |= fits < run.len();
    }

    /// The text, unless it is longer than any word that is looked for.
    pub(super) fn get(&self) -> Option<&str> {
        std::str::from_utf8(&self.bytes[..self.len]).ok().filter(|_| !self.longer)
    }

    pub(super) fn starts_with(&self, prefix: &str) -> bool {
        self.bytes[..self.len].starts_with(prefix.as_bytes())
    }
}

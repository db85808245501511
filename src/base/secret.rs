//! A string that never shows itself: vendors' credentials, admin tokens, webhook secrets.

use std::fmt;
use std::sync::{Arc, OnceLock};

use http::HeaderValue;

/// A secret. `Debug` and logs show `Secret(…)`; there is no `Display` and no `Serialize`.
#[derive(Clone)]
pub struct Secret(Arc<Kept>);

struct Kept {
    text: Arc<str>,
    bearer: OnceLock<Option<HeaderValue>>,
}

impl Secret {
    /// Wraps the secret's text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(Arc::new(Kept { text: text.into(), bearer: OnceLock::new() }))
    }

    /// The text itself. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0.text
    }

    /// The value of an `Authorization` header that bears it, which logs do not show; `None` where it cannot stand in one. Put
    /// together once.
    pub fn bearer(&self) -> Option<HeaderValue> {
        let value = || {
            let mut value = HeaderValue::try_from(["Bearer ", self.expose()].concat()).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        self.0.bearer.get_or_init(value).clone()
    }

    /// Whether `other` is this secret, in a time that does not tell where they differ.
    pub fn matches(&self, other: &[u8]) -> bool {
        constant_time_eq(self.expose().as_bytes(), other)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// Equality in a time that depends on the lengths alone.
pub(crate) fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let difference = a.iter().zip(b).fold(0u8, |acc, (x, y)| acc | (x ^ y));
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_header_is_marked_as_a_secret_and_is_none_where_no_header_can_hold_it() {
        let secret = Secret::new("sk-1");
        for _ in 0..2 {
            let value = secret.clone().bearer().unwrap();
            assert_eq!((value.as_bytes(), value.is_sensitive()), (&b"Bearer sk-1"[..], true));
        }
        assert_eq!(Secret::new("sk\n1").bearer(), None);
    }
}

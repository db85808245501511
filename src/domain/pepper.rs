//! A pepper: a secret of the operator's that what is stored of keys depends on.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::base::secret::Secret;

use super::key::KeyDigest;

/// Keys are stored as HMAC-SHA256 of their digests under this secret. Whoever reads the store, or can write to it, makes
/// no key that opens anything without it. Lost or changed, it makes every key invalid.
///
/// It is used in two places: [`AuthLayer::pepper`](crate::AuthLayer::pepper) checks with it, and
/// [`PepperedKeys`](crate::store::peppered::PepperedKeys) around the store that keys are made in stores with it.
#[derive(Clone)]
pub struct Pepper(Hmac<Sha256>);

impl Pepper {
    /// From a secret of at least 16 bytes; the error says what is wrong with another.
    pub fn new(secret: impl Into<Secret>) -> Result<Self, String> {
        const SHORTEST: usize = 16;
        let secret = secret.into();
        let length = secret.expose().len();
        if length < SHORTEST {
            return Err(format!(
                "a pepper has at least {SHORTEST} bytes, and this one has {length}: make one at random"
            ));
        }
        Hmac::new_from_slice(secret.expose().as_bytes()).map(Self).map_err(|error| error.to_string())
    }

    /// What is stored in the place of `digest`.
    pub fn of(&self, digest: &KeyDigest) -> KeyDigest {
        let mut mac = self.0.clone();
        mac.update(digest.as_bytes());
        KeyDigest::from_bytes(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_depends_on_the_pepper_and_is_no_digest_of_the_key() {
        let [one, other] = ["a pepper of 19 byte", "another one: 24 bytes it"].map(|text| Pepper::new(text).unwrap());
        let plain = KeyDigest::of("kancy_key_x");
        assert_ne!(one.of(&plain), plain);
        assert_ne!(one.of(&plain), other.of(&plain));
        assert_eq!(one.of(&plain), one.clone().of(&plain));
        assert!(Pepper::new("short").is_err());
        assert_eq!(format!("{one:?}"), "Pepper(…)");
    }
}

//! API keys: their text, their digest, and the record that a store keeps.
//!
//! The text is `kancy_<env>_<id>_<secret><crc>`. The checksum refuses a typo, and an attacker's noise, before any store
//! is asked; the secret is kept only as SHA-256.

mod id;
mod new;
mod record;
mod text;

pub use id::{KeyDigest, KeyId};
pub use new::NewKey;
pub use record::{KeyRecord, KeyRefusal, KeySource, OldDigest};
pub use text::{MintedKey, PresentedKey};
pub(crate) use text::{id_claimed, id_within};

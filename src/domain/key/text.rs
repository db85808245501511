//! The text of a key, read and minted.

use crate::base::crc32::crc32;
use crate::base::id::{base62, base62_u32, is_base62, random};
use crate::base::secret::Secret;
use crate::domain::name::Name;

use super::id::{ID, KeyDigest, KeyId};

const SECRET: usize = 43;
const CRC: usize = 6;

/// A key as the caller presents it, checked in form and checksum only.
#[derive(Debug)]
pub struct PresentedKey {
    /// The id to look up.
    pub id: KeyId,
    /// What to compare with the record.
    pub digest: KeyDigest,
}

impl PresentedKey {
    /// Reads a key's text; `None` for anything that no minting could have made.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self { id: KeyId::new(id_within(text)?)?, digest: KeyDigest::of(text) })
    }
}

/// The id within a key's text, where form and checksum fit. Allocates nothing: this is all that noise may cost.
pub(crate) fn id_within(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("kancy_")?;
    let (tag, rest) = rest.split_once('_')?;
    let (id, tail) = rest.split_once('_')?;
    let tag_fits = (1..=16).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let fits = tag_fits && id.len() == ID && is_base62(id) && tail.len() == SECRET + CRC && is_base62(tail);
    if !fits {
        return None;
    }
    let (body, crc) = text.split_at(text.len() - CRC);
    (checksum(body) == crc.as_bytes()).then_some(id)
}

/// Where the id stands in a key's text, whatever else is wrong with it: enough to find a key that is known already, whose
/// digest then tells more than a checksum.
pub(crate) fn id_claimed(text: &str) -> Option<&str> {
    let end = text.len().checked_sub(SECRET + CRC + 1)?;
    text.get(end.checked_sub(ID)?..end)
}

/// A key just minted: the one moment in which its text exists here.
#[derive(Debug)]
pub struct MintedKey {
    /// The new or kept id.
    pub id: KeyId,
    /// The whole key, to be shown once.
    pub text: Secret,
    /// What the store keeps.
    pub digest: KeyDigest,
}

impl MintedKey {
    /// A key with a new id.
    pub fn new(environment: Option<&Name>) -> Self {
        Self::from_parts(environment.map(Name::as_str), &base62(&random::<16>(), ID), &random::<32>())
    }

    /// A new secret for the key `id`, as rotation makes it.
    pub fn rotate(id: &KeyId, environment: Option<&Name>) -> Self {
        Self::from_parts(environment.map(Name::as_str), id.as_str(), &random::<32>())
    }

    fn from_parts(environment: Option<&str>, id: &str, secret: &[u8; 32]) -> Self {
        let body = format!("kancy_{}_{id}_{}", tag(environment), base62(secret, SECRET));
        let text: String = body.chars().chain(checksum(&body).map(char::from)).collect();
        Self { id: KeyId(id.into()), digest: KeyDigest::of(&text), text: Secret::new(text) }
    }
}

fn tag(environment: Option<&str>) -> String {
    let reduced: String = environment
        .unwrap_or_default()
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .filter(char::is_ascii_alphanumeric)
        .take(16)
        .collect();
    if reduced.is_empty() { "key".to_owned() } else { reduced }
}

fn checksum(body: &str) -> [u8; CRC] {
    base62_u32(crc32(body.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTOR: &str = "kancy_production_000SYW7RiJxkEgOGusQGwp_3oDH4mEVFvp7u7ED6UzpF5eHPrBI5AHumY7UBpOQIJz41yIaJ";

    #[test]
    fn the_published_vector_is_minted_and_read() {
        let id: Vec<u8> = (0x00..=0x0f).collect();
        let mut secret = [0; 32];
        secret.iter_mut().zip(0x10..=0x2f).for_each(|(s, b)| *s = b);
        let minted = MintedKey::from_parts(Some("production"), &base62(&id, ID), &secret);
        assert_eq!(minted.text.expose(), VECTOR);
        let read = PresentedKey::parse(VECTOR).unwrap();
        assert_eq!((read.id, read.digest), (minted.id, minted.digest));
    }

    #[test]
    fn every_single_changed_character_is_noticed() {
        for at in 0..VECTOR.len() {
            let mut text = VECTOR.as_bytes().to_vec();
            text[at] = if text[at] == b'x' { b'y' } else { b'x' };
            let text = String::from_utf8(text).unwrap();
            assert!(PresentedKey::parse(&text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_tag_is_the_environment_reduced() {
        for (environment, want) in [
            (None, "key"),
            (Some("Staging-EU.1"), "stagingeu1"),
            (Some("---"), "key"),
            (Some("abcdefghijklmnopqrst"), "abcdefghijklmnop"),
        ] {
            assert_eq!(tag(environment), want);
        }
    }

    #[test]
    fn nothing_of_a_key_shows_in_debug() {
        let minted = MintedKey::new(None);
        let shown = format!("{minted:?}");
        assert!(!shown.contains(&minted.text.expose()[30..]), "{shown}");
    }
}

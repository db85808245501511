//! API keys: their text, their digest, and the record that a store keeps.
//!
//! The text is `kancy_<env>_<id>_<secret><crc>`. The checksum refuses a typo, and an attacker's noise, before any store
//! is asked; the secret is kept only as SHA-256.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::base::clock::Timestamp;
use crate::base::id::{base62, base62_u32, is_base62, random};
use crate::base::secret::{Secret, constant_time_eq};

use super::caller::{Home, ModelPatterns};
use super::modality::Modality;
use super::name::Name;

const ID: usize = 22;
const SECRET: usize = 43;
const CRC: usize = 6;
/// Replaced secrets that a key remembers beside the last one.
const RETIRED: usize = 16;

/// A key's id: 22 base62 characters. No secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(Arc<str>);

impl KeyId {
    /// Takes `text` as an id where it has the form of one.
    pub fn new(text: &str) -> Option<Self> {
        (text.len() == ID && is_base62(text)).then(|| Self(text.into()))
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl Borrow<str> for KeyId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({})", self.0)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SHA-256 of a whole key: what is stored in its place. Never accepted as a key.
#[derive(Clone, Copy, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of a key's whole text.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// From stored bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for KeyDigest {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(…)")
    }
}

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

/// Where a key came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeySource {
    /// Made by the admin API or by the host's code.
    Api,
    /// Named in the configuration file: cannot be rotated by API.
    Config,
}

/// A secret that used to be the key's and still opens it until its grace ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "a digest and its end")]
pub struct OldDigest {
    pub digest: KeyDigest,
    /// From here on it is refused.
    pub until: Timestamp,
}

/// A key as a store keeps it. Times are those of the gateway's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields of CONTRACT section 6, in its words")]
pub struct KeyRecord {
    pub id: KeyId,
    pub name: Option<Name>,
    #[serde(flatten)]
    pub home: Home,
    pub models: ModelPatterns,
    pub modalities: Vec<Modality>,
    pub digest: KeyDigest,
    /// The one before the last rotation.
    pub old: Option<OldDigest>,
    /// Those before that, newest first, so that whoever still holds one is told that it was replaced.
    #[serde(default)]
    pub retired: Vec<KeyDigest>,
    pub source: KeySource,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// A key to be made: where it belongs and what it may use.
///
/// ```
/// use kancy::{ModelPatterns, NewKey, Timestamp};
/// let (minted, record) = NewKey::new("acme", "site")?
///     .environment("production")?
///     .models(ModelPatterns::new(vec!["gpt-4o".into(), "claude-*".into()])?)
///     .mint(Timestamp::from_secs(1_800_000_000));
/// assert_eq!(minted.id, record.id);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug)]
pub struct NewKey {
    home: Home,
    name: Option<Name>,
    models: ModelPatterns,
    modalities: Vec<Modality>,
    expires_at: Option<Timestamp>,
}

impl NewKey {
    /// A key of this workspace and project, for every model. An error names the name that will not do.
    pub fn new(workspace: &str, project: &str) -> Result<Self, String> {
        let home =
            Home { workspace: Name::new(workspace)?, project: Name::new(project)?, team: None, environment: None };
        Ok(Self {
            home,
            name: None,
            models: ModelPatterns::all(),
            modalities: Modality::ALL.to_vec(),
            expires_at: None,
        })
    }

    /// Calls it so.
    pub fn name(mut self, name: &str) -> Result<Self, String> {
        self.name = Some(Name::new(name)?);
        Ok(self)
    }

    /// Counts it to this team.
    pub fn team(mut self, team: &str) -> Result<Self, String> {
        self.home.team = Some(Name::new(team)?);
        Ok(self)
    }

    /// Counts it to this environment, whose name shows in the key.
    pub fn environment(mut self, environment: &str) -> Result<Self, String> {
        self.home.environment = Some(Name::new(environment)?);
        Ok(self)
    }

    /// Opens these models alone.
    #[must_use]
    pub fn models(mut self, models: ModelPatterns) -> Self {
        self.models = models;
        self
    }

    /// Opens these modalities alone.
    #[must_use]
    pub fn modalities(mut self, modalities: impl Into<Vec<Modality>>) -> Self {
        self.modalities = modalities.into();
        self
    }

    /// Opens nothing from this moment on.
    #[must_use]
    pub fn expires_at(mut self, end: Timestamp) -> Self {
        self.expires_at = Some(end);
        self
    }

    /// Mints the key: its text, to be shown once, and the record for a store.
    pub fn mint(self, now: Timestamp) -> (MintedKey, KeyRecord) {
        let minted = MintedKey::new(self.home.environment.as_ref());
        let record = KeyRecord {
            id: minted.id.clone(),
            name: self.name,
            home: self.home,
            models: self.models,
            modalities: self.modalities,
            digest: minted.digest,
            old: None,
            retired: Vec::new(),
            source: KeySource::Api,
            created_at: now,
            expires_at: self.expires_at,
            last_used_at: None,
            revoked_at: None,
        };
        (minted, record)
    }
}

/// Why a known key does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "as the stable codes")]
pub enum KeyRefusal {
    Invalid,
    Expired,
    Revoked,
}

impl KeyRecord {
    /// A key made now by the host or the admin API: without a name, for every model and modality, without an end.
    ///
    /// ```
    /// use kancy::domain::{caller::Home, name::Name};
    /// use kancy::{Clock, KeyRecord, MintedKey, SystemClock};
    /// let home =
    ///     Home { workspace: Name::new("acme")?, project: Name::new("site")?, team: None, environment: None };
    /// let minted = MintedKey::new(home.environment.as_ref());
    /// let record = KeyRecord::new(minted.id, minted.digest, home, SystemClock::new().now());
    /// # let _ = record;
    /// # Ok::<(), String>(())
    /// ```
    pub fn new(id: KeyId, digest: KeyDigest, home: Home, created_at: Timestamp) -> Self {
        Self {
            id,
            name: None,
            home,
            models: ModelPatterns::all(),
            modalities: Modality::ALL.to_vec(),
            digest,
            old: None,
            retired: Vec::new(),
            source: KeySource::Api,
            created_at,
            expires_at: None,
            last_used_at: None,
            revoked_at: None,
        }
    }

    /// Puts `new` in the place of the digest, which opens the key until `old_until`; one older opens it no more.
    pub fn rotate(&mut self, new: KeyDigest, old_until: Timestamp) {
        let replaced = OldDigest { digest: self.digest, until: old_until };
        if let Some(old) = self.old.replace(replaced) {
            self.retired.insert(0, old.digest);
            self.retired.truncate(RETIRED);
        }
        self.digest = new;
    }

    /// Whether `presented` opens this key at `now`. A time limit that is reached exactly has passed.
    pub fn check(&self, presented: &KeyDigest, now: Timestamp) -> Result<(), KeyRefusal> {
        let current = self.digest == *presented;
        let old = self.old.filter(|old| old.digest == *presented);
        let retired = self.retired.contains(presented);
        if !current && old.is_none() && !retired {
            return Err(KeyRefusal::Invalid);
        }
        if self.revoked_at.is_some() || retired || old.is_some_and(|old| now >= old.until) {
            return Err(KeyRefusal::Revoked);
        }
        match self.expires_at {
            Some(end) if now >= end => Err(KeyRefusal::Expired),
            _ => Ok(()),
        }
    }
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
    fn the_last_secrets_that_were_replaced_are_known_as_such() {
        let now = Timestamp::from_secs(1);
        let (_, mut record) = NewKey::new("w", "p").unwrap().mint(now);
        let first = record.digest;
        for n in 0..=RETIRED as u8 {
            record.rotate(KeyDigest::from_bytes([n; 32]), now);
            assert_eq!(record.check(&first, now), Err(KeyRefusal::Revoked), "after {n} more");
        }
        record.rotate(KeyDigest::from_bytes([99; 32]), now);
        assert_eq!((record.check(&first, now), record.retired.len()), (Err(KeyRefusal::Invalid), RETIRED));
    }

    #[test]
    fn nothing_of_a_key_shows_in_debug() {
        let minted = MintedKey::new(None);
        let shown = format!("{minted:?}");
        assert!(!shown.contains(&minted.text.expose()[30..]), "{shown}");
    }
}

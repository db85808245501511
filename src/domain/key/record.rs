//! What a store keeps of a key, and when it opens.

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::domain::caller::{Home, ModelPatterns};
use crate::domain::modality::Modality;
use crate::domain::name::Name;

use super::{KeyDigest, KeyId};

/// Replaced secrets that a key remembers beside the last one.
const RETIRED: usize = 16;

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
    use crate::domain::key::NewKey;

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
}

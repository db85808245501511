//! A key that is to be made.

use crate::base::clock::Timestamp;
use crate::domain::caller::{Home, ModelPatterns};
use crate::domain::modality::Modality;
use crate::domain::name::Name;

use super::{KeyRecord, MintedKey};

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
            name: self.name,
            models: self.models,
            modalities: self.modalities,
            expires_at: self.expires_at,
            ..KeyRecord::new(minted.id.clone(), minted.digest, self.home, now)
        };
        (minted, record)
    }
}

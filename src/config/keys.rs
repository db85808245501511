//! `[[keys]]`: keys that the file brings along, beside those of the admin API.

use crate::base::clock::Timestamp;
use crate::domain::caller::{Home, ModelPatterns};
use crate::domain::key::{KeyRecord, KeySource, PresentedKey};
use crate::domain::modality::Modality;
use crate::domain::name::Name;

use super::error::ConfigError;
use super::models::MODALITY;
use super::section::{Result, Section};

/// What a name may be.
pub(super) const NAME: &str = "a name: use 1 to 64 of A-Z a-z 0-9 . _ -";

pub(super) fn keys(sections: Vec<Section<'_>>) -> Result<Vec<KeyRecord>> {
    let mut keys: Vec<KeyRecord> = Vec::with_capacity(sections.len());
    for section in sections {
        let path = section.path("key");
        let key = key(section)?;
        if keys.iter().any(|other| other.id == key.id) {
            return Err(ConfigError::new(path, format!("has the id {} of a key above", key.id)));
        }
        keys.push(key);
    }
    Ok(keys)
}

fn key(section: Section<'_>) -> Result<KeyRecord> {
    let mut section =
        section.only(&["key", "name", "workspace", "project", "team", "environment", "models", "modalities"])?;
    let text = section.secret("key")?.ok_or_else(|| section.missing("key"))?;
    let presented = PresentedKey::parse(text.expose()).ok_or_else(|| {
        section.error("key", "is no key: its form or its checksum is wrong; make one with --mint-key ENVIRONMENT")
    })?;
    let models = section.list("models", "a model id, or a prefix that ends in *", |text| {
        ModelPatterns::new(vec![text.to_owned()]).ok().map(|_| text.to_owned())
    })?;
    let models = match models {
        None => ModelPatterns::all(),
        Some(patterns) => ModelPatterns::new(patterns).map_err(|why| section.error("models", why))?,
    };
    Ok(KeyRecord {
        id: presented.id,
        name: name(&mut section, "name")?,
        home: Home {
            workspace: name(&mut section, "workspace")?.ok_or_else(|| section.missing("workspace"))?,
            project: name(&mut section, "project")?.ok_or_else(|| section.missing("project"))?,
            team: name(&mut section, "team")?,
            environment: name(&mut section, "environment")?,
        },
        models,
        modalities: section
            .list("modalities", MODALITY, |text| text.parse().ok())?
            .unwrap_or_else(|| Modality::ALL.to_vec()),
        digest: presented.digest,
        old: None,
        retired: Vec::new(),
        source: KeySource::Config,
        created_at: Timestamp::EPOCH,
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    })
}

pub(super) fn name(section: &mut Section<'_>, key: &str) -> Result<Option<Name>> {
    section.parse(key, NAME, |text| Name::new(text).ok())
}

//! `[providers.NAME]`: who is called, where, and with which credential.

use std::sync::Arc;

use http::Uri;

use crate::provider::kind::Kind;
use crate::provider::traits::{Credential, Timeouts};

use super::section::{Result, Section};
use super::url;

/// A provider of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderConfig {
    /// Its name in the file, which records show.
    pub name: Arc<str>,
    /// The dialect that it speaks.
    pub kind: Kind,
    /// Where routes are appended.
    pub base_url: Uri,
    /// How calls are signed.
    pub credential: Credential,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// `host` or `host:port` from which results may be fetched, beside the kind's own.
    pub content_hosts: Arc<[String]>,
}

impl ProviderConfig {
    /// A provider of `kind` under the kind's own name, at the vendor's address.
    pub(super) fn of_kind(kind: Kind, credential: Credential) -> Option<Self> {
        Some(Self {
            name: kind.as_str().into(),
            kind,
            base_url: url::base(kind.default_base_url()?)?,
            credential,
            timeouts: Timeouts::default(),
            content_hosts: Arc::from([]),
        })
    }
}

pub(super) fn provider(name: &str, section: Section<'_>) -> Result<ProviderConfig> {
    let mut section = section.only(&[
        "kind",
        "base_url",
        "api_key",
        "access_key",
        "secret_key",
        "timeout_seconds",
        "idle_timeout_seconds",
        "content_hosts",
    ])?;
    let kinds = Kind::ALL.map(|kind| (kind.as_str(), kind));
    let kind = section.word("kind", &kinds)?.ok_or_else(|| section.missing("kind"))?;
    let given_url = section.parse("base_url", url::BASE, url::base)?;
    let credential = credential(kind, &mut section)?;
    // Behind an address of one's own, something else may add the credential; the vendor itself never answers without.
    if given_url.is_none() && credential == Credential::None && kind != Kind::Echo && kind != Kind::OpenAiCompatible {
        return Err(section.missing("api_key"));
    }
    let base_url = given_url
        .or_else(|| kind.default_base_url().and_then(url::base))
        .ok_or_else(|| section.error("base_url", format!("is missing; the kind {kind} has no default")))?;
    let default = Timeouts::default();
    Ok(ProviderConfig {
        name: name.into(),
        kind,
        base_url,
        credential,
        timeouts: Timeouts {
            first_byte: section.seconds("timeout_seconds", 1)?.unwrap_or(default.first_byte),
            idle: section.seconds("idle_timeout_seconds", 1)?.unwrap_or(default.idle),
        },
        content_hosts: section.list("content_hosts", "a host or host:port", url::host)?.unwrap_or_default().into(),
    })
}

fn credential(kind: Kind, section: &mut Section<'_>) -> Result<Credential> {
    let api_key = section.secret("api_key")?;
    let access = section.secret("access_key")?;
    let secret = section.secret("secret_key")?;
    if kind != Kind::Kling && (access.is_some() || secret.is_some()) {
        let key = if access.is_some() { "access_key" } else { "secret_key" };
        return Err(section.error(key, format!("is for the kind kling alone; {kind} takes api_key")));
    }
    match (api_key, access, secret) {
        (None, None, None) => Ok(Credential::None),
        (Some(key), None, None) => Ok(Credential::ApiKey(key)),
        (None, Some(access), Some(secret)) => Ok(Credential::AccessKey { access, secret }),
        (None, None, Some(_)) => Err(section.missing("access_key")),
        (None, Some(_), None) => Err(section.missing("secret_key")),
        (Some(_), _, _) => Err(section.error("api_key", "goes without access_key and secret_key: keep one of the two")),
    }
}

//! Who is calling: what a good key stands for.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::id::RequestId;

use super::modality::Modality;
use super::name::Name;

/// Where a key belongs: the levels that limits and usage are kept by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the levels, outermost first")]
pub struct Home {
    pub workspace: Name,
    pub project: Name,
    pub team: Option<Name>,
    pub environment: Option<Name>,
}

/// Which model ids a key may use: exact ids, or prefixes written `claude-*`; `*` is all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ModelPatterns(Arc<[String]>);

impl ModelPatterns {
    /// Every model.
    pub fn all() -> Self {
        Self(Arc::from(["*".to_owned()]))
    }

    /// From patterns; a `*` may stand at the end only.
    pub fn new(patterns: Vec<String>) -> Result<Self, String> {
        for pattern in &patterns {
            let head = pattern.strip_suffix('*').unwrap_or(pattern);
            if pattern.is_empty() || head.contains('*') {
                return Err(format!("{pattern:?} is no model pattern: write an id, or a prefix that ends in *"));
            }
        }
        Ok(Self(patterns.into()))
    }

    /// Whether `model` is covered.
    pub fn allow(&self, model: &str) -> bool {
        self.0.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => model.starts_with(prefix),
            None => model == pattern,
        })
    }

    /// The patterns as they were given.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// The authenticated caller, put into the request's extensions by `AuthLayer` and by nothing else: it cannot be made outside this crate.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct Caller {
    inner: Arc<Inner>,
    /// Here, since an extension of its own would cost each request as much again.
    asks: Option<Asks>,
}

/// What the layers around a request want to know of it.
#[derive(Clone)]
pub(crate) struct Asks {
    pub(crate) request_id: RequestId,
    pub(crate) by_grpc: bool,
}

struct Inner {
    key_id: Arc<str>,
    key_name: Option<Name>,
    /// Shared: each of its caller's records holds it.
    home: Arc<Home>,
    models: ModelPatterns,
    modalities: Arc<[Modality]>,
}

impl Caller {
    pub(crate) fn new(
        key_id: Arc<str>,
        key_name: Option<Name>,
        home: Home,
        models: ModelPatterns,
        modalities: Arc<[Modality]>,
    ) -> Self {
        let home = Arc::new(home);
        Self { inner: Arc::new(Inner { key_id, key_name, home, models, modalities }), asks: None }
    }

    /// The caller in a request.
    pub(crate) fn asking(self, asks: Asks) -> Self {
        Self { asks: Some(asks), ..self }
    }

    pub(crate) fn asks(&self) -> Option<&Asks> {
        self.asks.as_ref()
    }

    /// The id of the request that it came with: the `x-request-id` of the answer. `None` for a caller that no request
    /// brought, as in a job.
    pub fn request_id(&self) -> Option<&RequestId> {
        self.asks.as_ref().map(|asks| &asks.request_id)
    }

    /// The key's id: 22 base62 characters, no secret.
    pub fn key_id(&self) -> &str {
        &self.inner.key_id
    }

    /// The key's id, shared.
    pub fn shared_key_id(&self) -> Arc<str> {
        Arc::clone(&self.inner.key_id)
    }

    /// The key's name, where it has one.
    pub fn key_name(&self) -> Option<&Name> {
        self.inner.key_name.as_ref()
    }

    /// Workspace, project, team, environment.
    pub fn home(&self) -> &Home {
        &self.inner.home
    }

    /// The same, shared.
    pub(crate) fn shared_home(&self) -> Arc<Home> {
        Arc::clone(&self.inner.home)
    }

    /// Whether the two were told apart by nothing: one is a clone of the other.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// A number that clones share.
    pub(super) fn number(&self) -> usize {
        Arc::as_ptr(&self.inner).addr()
    }

    /// Whether the key may use `model` of `modality`.
    pub fn may_use(&self, model: &str, modality: Modality) -> bool {
        self.inner.modalities.contains(&modality) && self.inner.models.allow(model)
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("key_id", &self.inner.key_id)
            .field("home", &self.inner.home)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_exact_ids_and_prefixes() {
        let patterns = ModelPatterns::new(vec!["gpt-4o".into(), "claude-*".into()]).unwrap();
        assert!(patterns.allow("gpt-4o") && patterns.allow("claude-3-opus"));
        assert!(!patterns.allow("gpt-4o-mini") && !patterns.allow("Claude-3"));
        assert!(ModelPatterns::all().allow("any/thing:1"));
        assert!(ModelPatterns::new(vec!["a*b".into()]).is_err());
    }
}

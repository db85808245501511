//! The registry: exact model id → where it runs and on what terms. One immutable snapshot, swapped whole at run time.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use http::Uri;

use crate::base::hash::QuickMap;
use crate::domain::modality::Modality;
use crate::domain::model::{Catalog, ModelTerms};

use super::codec::video_codec;
use super::echo::{Echo, demo_models};
use super::kind::Kind;
use super::traits::{Credential, Target};

/// The models that this gateway offers. Cheap to clone; all clones see the same snapshot.
#[derive(Clone, Default)]
pub struct Registry(Arc<RwLock<Snapshot>>);

#[derive(Default)]
struct Snapshot {
    targets: QuickMap<Arc<str>, Arc<Target>>,
}

impl Registry {
    /// A registry of these models. An id that stands twice is an error.
    pub fn new(targets: impl IntoIterator<Item = Target>) -> Result<Self, String> {
        let registry = Self::default();
        registry.swap(targets)?;
        Ok(registry)
    }

    /// The offline models `demo-chat`, `demo-image`, `demo-tts`, … alone: answered in this process, free, for trying
    /// things out and for tests.
    pub fn offline() -> Self {
        let nowhere = || Uri::from_static("http://echo.invalid").into();
        let echo = Kind::Echo.as_str();
        let mut targets =
            demo_models().map(|terms| Target::new(terms, echo, Arc::new(Echo), nowhere(), Arc::new(Credential::None)));
        targets.iter_mut().for_each(know_video);
        let targets = targets.map(|target| (Arc::clone(&target.terms.id), Arc::new(target))).into_iter().collect();
        Self(Arc::new(RwLock::new(Snapshot { targets })))
    }

    /// Puts these models in the place of all others, at once. On an error nothing changes.
    pub fn swap(&self, targets: impl IntoIterator<Item = Target>) -> Result<(), String> {
        let mut snapshot = Snapshot::default();
        for mut target in targets {
            know_video(&mut target);
            let id = Arc::clone(&target.terms.id);
            if snapshot.targets.insert(Arc::clone(&id), Arc::new(target)).is_some() {
                return Err(format!("the model {id:?} is registered twice"));
            }
        }
        let before = std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), snapshot);
        // Nobody waits for its end.
        drop(before);
        Ok(())
    }

    /// Where the model with exactly this id runs.
    pub fn target(&self, id: &str) -> Option<Arc<Target>> {
        self.read().targets.get(id).cloned()
    }

    /// All models, sorted by id.
    pub fn targets(&self) -> Vec<Arc<Target>> {
        let mut all: Vec<_> = self.read().targets.values().cloned().collect();
        all.sort_by(|a, b| a.terms.id.cmp(&b.terms.id));
        all
    }

    fn read(&self) -> RwLockReadGuard<'_, Snapshot> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the terms of a video model say what it has.
fn know_video(target: &mut Target) {
    if target.terms.modality == Modality::Video && target.terms.video.is_none() {
        let row = video_codec(target.codec.kind()).map(|codec| codec.abilities(&target.upstream));
        Arc::make_mut(&mut target.terms).video = row;
    }
}

impl Catalog for Registry {
    fn terms(&self, id: &str) -> Option<Arc<ModelTerms>> {
        self.read().targets.get(id).map(|t| Arc::clone(&t.terms))
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("models", &self.read().targets.len()).finish()
    }
}

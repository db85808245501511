//! What applies to those who asked last: the same few ask again and again.

use std::fmt;
use std::hash::Hasher as _;
use std::sync::{Arc, Mutex};

use crate::base::hash::QuickHasher;
use crate::domain::caller::Caller;
use crate::domain::limit::Limit;
use crate::domain::modality::Modality;

/// Each keeps one answer: what is crowded out is found anew.
const PLACES: usize = 256;

/// The answers of one snapshot; they end with it.
pub(super) struct Recent(Box<[Mutex<Option<Answer>>]>);

struct Answer {
    /// Held, so that no other caller can come to stand at its address.
    caller: Caller,
    modality: Option<Modality>,
    model: Option<Box<str>>,
    limits: Arc<[Arc<Limit>]>,
}

impl Recent {
    /// What applies, remembered or found.
    pub(super) fn of(
        &self,
        caller: &Caller,
        modality: Option<Modality>,
        model: Option<&str>,
        find: impl FnOnce() -> Arc<[Arc<Limit>]>,
    ) -> Arc<[Arc<Limit>]> {
        let mut hasher = QuickHasher::default();
        hasher.write_usize(caller.number());
        hasher.write(model.unwrap_or_default().as_bytes());
        // Whoever finds the place taken by another thread does without.
        let Ok(mut place) = self.0[hasher.finish() as usize % PLACES].try_lock() else { return find() };
        if let Some(known) = place.as_ref()
            && known.caller.is(caller)
            && known.modality == modality
            && known.model.as_deref() == model
        {
            return Arc::clone(&known.limits);
        }
        let limits = find();
        let (caller, model) = (caller.clone(), model.map(Box::from));
        *place = Some(Answer { caller, modality, model, limits: Arc::clone(&limits) });
        limits
    }
}

impl Default for Recent {
    fn default() -> Self {
        Self((0..PLACES).map(|_| Mutex::default()).collect())
    }
}

/// Another snapshot starts without answers.
impl Clone for Recent {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recent")
    }
}

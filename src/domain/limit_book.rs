//! All limits that are in force, found by scope: one immutable snapshot, swapped whole when limits change.

use std::sync::{Arc, RwLock};

use crate::base::hash::QuickMap;

use super::caller::Caller;
use super::limit::{Limit, LimitKey, LimitSource, Scope};
use super::modality::Modality;

type Snapshot = QuickMap<Scope, Vec<Arc<Limit>>>;

/// The limits in force. Shared by the quota layer, which reads it, and by whoever sets limits.
///
/// ```
/// use kancy::{Limit, LimitBook, LimitKey, Measure, Per, Scope};
/// let key = LimitKey {
///     scope: "workspace:acme".parse::<Scope>()?,
///     modality: None,
///     model: None,
///     measure: Measure::Requests,
///     per: Some(Per::Minute),
/// };
/// let book = LimitBook::new([Limit::new(key, 60)])?;
/// # let _ = book;
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Default)]
pub struct LimitBook {
    snapshot: RwLock<Arc<Snapshot>>,
}

impl LimitBook {
    /// A book of these limits. One limit named twice is an error.
    pub fn new(limits: impl IntoIterator<Item = Limit>) -> Result<Self, String> {
        let book = Self::default();
        book.load(limits)?;
        Ok(book)
    }

    /// Puts these limits in the place of all others, at once. On an error nothing changes.
    pub fn load(&self, limits: impl IntoIterator<Item = Limit>) -> Result<(), String> {
        let mut snapshot = Snapshot::default();
        for limit in limits {
            add(&mut snapshot, limit)?;
        }
        *self.snapshot.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(snapshot);
        Ok(())
    }

    /// Replaces the limits of `scope` that were set by API; those of the configuration stay. On an error nothing changes.
    pub fn put(&self, scope: &Scope, limits: Vec<Limit>) -> Result<(), String> {
        let mut held = self.snapshot.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut next = Snapshot::clone(&held);
        next.entry(scope.clone()).or_default().retain(|l| l.source == LimitSource::Config);
        for limit in limits {
            if limit.key.scope != *scope {
                return Err(format!("a limit of {} cannot be put into {scope}", limit.key.scope));
            }
            add(&mut next, limit)?;
        }
        *held = Arc::new(next);
        Ok(())
    }

    /// The limits of `scope`.
    pub fn of_scope(&self, scope: &Scope) -> Vec<Arc<Limit>> {
        self.read().get(scope).cloned().unwrap_or_default()
    }

    /// Every limit, in no order.
    pub fn all(&self) -> Vec<Arc<Limit>> {
        self.read().values().flatten().cloned().collect()
    }

    /// The limits that a request of `caller` for `model` counts against, outermost scope first.
    pub fn applicable(&self, caller: &Caller, modality: Option<Modality>, model: Option<&str>) -> Vec<Arc<Limit>> {
        let snapshot = self.read();
        if snapshot.is_empty() {
            return Vec::new();
        }
        let mut found = Vec::with_capacity(4);
        for scope in Scope::of(caller) {
            let of_scope = snapshot.get(&scope).into_iter().flatten();
            found.extend(of_scope.filter(|l| l.key.matches(modality, model)).cloned());
        }
        found
    }

    fn read(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

fn add(snapshot: &mut Snapshot, limit: Limit) -> Result<(), String> {
    let of_scope = snapshot.entry(limit.key.scope.clone()).or_default();
    let twice = of_scope.iter().any(|l| l.key == limit.key && l.source == limit.source);
    if twice {
        return Err(format!("the limit {} is named twice", show(&limit.key)));
    }
    of_scope.push(Arc::new(limit));
    Ok(())
}

fn show(key: &LimitKey) -> String {
    let per = key.per.map_or("", super::limit::Per::as_str);
    let model = key.model.as_deref().unwrap_or("any model");
    let modality = key.modality.map_or("any modality", Modality::as_str);
    format!("{} ({modality}, {model}) {} {per}", key.scope, key.measure.as_str())
}

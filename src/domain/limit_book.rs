//! All limits that are in force, found by scope: one immutable snapshot, swapped whole when limits change.

mod recent;

use std::hash::Hasher as _;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use crate::base::hash::{QuickHasher, QuickMap};

use self::recent::Recent;
use super::caller::Caller;
use super::limit::{Limit, LimitKey, LimitSource, Scope};
use super::modality::Modality;

/// The limits of each scope that has this mark: nearly always one.
type Marked = Vec<(Scope, Vec<Arc<Limit>>)>;

#[derive(Clone, Debug, Default)]
struct Snapshot {
    /// Scopes by their marks: a caller's own are found without making them first.
    scopes: QuickMap<u64, Marked>,
    recent: Recent,
}

impl Snapshot {
    fn get(&self, scope: &Scope) -> Option<&Vec<Arc<Limit>>> {
        let same = self.scopes.get(&mark_of(scope))?;
        same.iter().find(|(held, _)| held == scope).map(|(_, limits)| limits)
    }

    fn entry(&mut self, scope: &Scope) -> &mut Vec<Arc<Limit>> {
        let same = self.scopes.entry(mark_of(scope)).or_default();
        let at = same.iter().position(|(held, _)| held == scope).unwrap_or(same.len());
        if at == same.len() {
            same.push((scope.clone(), Vec::new()));
        }
        &mut same[at].1
    }

    fn limits(&self) -> impl Iterator<Item = &Arc<Limit>> {
        self.scopes.values().flatten().flat_map(|(_, limits)| limits)
    }
}

/// A scope in eight bytes. Two may share them.
fn mark(level: Level, parts: [&str; 3]) -> u64 {
    let mut hasher = QuickHasher::default();
    hasher.write_u8(level as u8);
    parts.iter().for_each(|part| hasher.write(part.as_bytes()));
    hasher.finish()
}

fn mark_of(scope: &Scope) -> u64 {
    let level = Level::of(scope);
    match scope {
        Scope::Workspace(w) => mark(level, [w.as_str(), "", ""]),
        Scope::Team(w, t) => mark(level, [w.as_str(), t.as_str(), ""]),
        Scope::Project(w, p) => mark(level, [w.as_str(), p.as_str(), ""]),
        Scope::Environment(w, p, e) => mark(level, [w.as_str(), p.as_str(), e.as_str()]),
        Scope::Key(id) => mark(level, [id, "", ""]),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Workspace,
    Team,
    Project,
    Environment,
    Key,
}

impl Level {
    fn of(scope: &Scope) -> Self {
        match scope {
            Scope::Workspace(_) => Self::Workspace,
            Scope::Team(..) => Self::Team,
            Scope::Project(..) => Self::Project,
            Scope::Environment(..) => Self::Environment,
            Scope::Key(_) => Self::Key,
        }
    }
}

/// The marks of the scopes that `caller` stands in, outermost first.
fn marks(caller: &Caller) -> impl Iterator<Item = (Level, u64)> {
    let home = caller.home();
    let (workspace, project) = (home.workspace.as_str(), home.project.as_str());
    let of = |level, parts| Some((level, mark(level, parts)));
    let marks = [
        of(Level::Workspace, [workspace, "", ""]),
        home.team.as_ref().and_then(|team| of(Level::Team, [workspace, team.as_str(), ""])),
        of(Level::Project, [workspace, project, ""]),
        home.environment.as_ref().and_then(|e| of(Level::Environment, [workspace, project, e.as_str()])),
        of(Level::Key, [caller.key_id(), "", ""]),
    ];
    marks.into_iter().flatten()
}

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
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
        Ok(())
    }

    /// Replaces the limits of `scope` that were set by API; those of the configuration stay. On an error nothing changes.
    pub fn put(&self, scope: &Scope, limits: Vec<Limit>) -> Result<(), String> {
        let mut held = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&held);
        next.entry(scope).retain(|l| l.source == LimitSource::Config);
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
        self.read().limits().cloned().collect()
    }

    /// The limits that a request of `caller` for `model` counts against, outermost scope first.
    pub fn applicable(&self, caller: &Caller, modality: Option<Modality>, model: Option<&str>) -> Arc<[Arc<Limit>]> {
        let snapshot = self.read();
        if snapshot.scopes.is_empty() {
            return Arc::default();
        }
        let find = || {
            marks(caller).flat_map(|(level, mark)| {
                let same = snapshot.scopes.get(&mark).into_iter().flatten();
                let of_scope = same.filter(move |(scope, _)| Level::of(scope) == level && scope.covers(caller));
                of_scope.flat_map(|(_, limits)| limits).filter(|l| l.key.matches(modality, model)).cloned()
            })
        };
        snapshot.recent.of(caller, modality, model, || find().collect())
    }

    fn read(&self) -> RwLockReadGuard<'_, Arc<Snapshot>> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(snapshot: &mut Snapshot, limit: Limit) -> Result<(), String> {
    let of_scope = snapshot.entry(&limit.key.scope);
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

#[cfg(test)]
mod tests {
    use super::super::caller::{Home, ModelPatterns};
    use super::super::limit::{Measure, Per};
    use super::super::name::Name;
    use super::*;

    #[test]
    fn a_caller_is_under_the_limits_of_its_own_scopes_outermost_first() {
        let name = |text| Name::new(text).unwrap();
        let home = Home {
            workspace: name("acme"),
            project: name("site"),
            team: Some(name("web")),
            environment: Some(name("prod")),
        };
        let caller = Caller::new("key1".into(), None, home, ModelPatterns::all(), [].into());
        let own = ["workspace:acme", "team:acme/web", "project:acme/site", "environment:acme/site/prod", "key:key1"];
        // The same words at another level, or one of them elsewhere, are another scope.
        let others = ["workspace:site", "team:acme/site", "project:acme/web", "environment:acme/web/prod", "key:acme"];
        let limit = |scope: &&str| {
            let scope = scope.parse().unwrap();
            let key = LimitKey { scope, modality: None, model: None, measure: Measure::Requests, per: Some(Per::Day) };
            Limit::new(key, 1)
        };
        let book = LimitBook::new(others.iter().chain(own.iter().rev()).map(limit)).unwrap();
        let found: Vec<_> =
            book.applicable(&caller, None, None).iter().map(|limit| limit.key.scope.to_string()).collect();
        assert_eq!(found, own);
        assert_eq!(book.all().len(), 10);
        for scope in own {
            assert_eq!(book.of_scope(&scope.parse().unwrap()).len(), 1, "{scope}");
        }
    }
}

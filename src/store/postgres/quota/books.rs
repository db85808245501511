//! The counters and grants of one transaction, in memory: pure arithmetic between reading and writing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::id::new_id;
use crate::base::short_id::Id;
use crate::domain::alert::Alert;
use crate::domain::caller::Home;
use crate::domain::limit::{Amounts, Limit, LimitKey, Mode};
use crate::domain::modality::Modality;
use crate::store::counter::{Counter, Hold};
use crate::store::ledger::PostedQuery;
use crate::store::limit_name::limit_name;
use crate::store::quota::{Headroom, Refusal, RefusalWait, Reservation, UNKEPT};

use super::batch::Answer;
use super::rows::{Changes, Found, FoundGrant};
use super::{End, Job};

/// A counter's place: workspace and limit name.
type Place = (String, String);

/// An admitted request that is not settled, as it is kept.
#[derive(Serialize, Deserialize)]
struct OpenGrant {
    home: Home,
    key: Arc<str>,
    modality: Option<Modality>,
    model: Option<Arc<str>>,
    amounts: Amounts,
    at: Timestamp,
    /// Whether it outlives its instance.
    #[serde(default)]
    lasting: bool,
    /// The request's record in the ledger.
    #[serde(default)]
    record: Option<Id>,
    /// By the counter's name.
    holds: Vec<(String, Hold)>,
}

impl OpenGrant {
    fn counts_for(&self, key: &LimitKey) -> bool {
        key.scope.holds(&self.home, &self.key) && key.matches(self.modality, self.model.as_deref())
    }
}

pub(super) struct Entry {
    counter: Counter,
    /// To be written.
    changed: bool,
}

pub(super) enum Admission {
    /// The grant's id, and when it was admitted.
    Admitted {
        grant: String,
        at: Timestamp,
        headroom: Headroom,
    },
    Refused(Refusal),
}

pub(super) struct Books {
    now: Timestamp,
    counters: BTreeMap<Place, Entry>,
    /// By workspace and id.
    grants: BTreeMap<(String, String), OpenGrant>,
    /// Grants to be written.
    changed: BTreeSet<(String, String)>,
    ended: Vec<String>,
    loaded: BTreeSet<String>,
}

impl Books {
    /// What was read. What cannot be understood is as if it were not there: a counter is seeded anew then.
    pub(super) fn new(found: Found) -> Self {
        let readable = |(workspace, name, state): (_, _, String)| {
            let counter = Counter::restore(&state).ok()?;
            Some(((workspace, name), Entry { counter, changed: false }))
        };
        let mut books = Self {
            now: found.now,
            counters: found.counters.into_iter().filter_map(readable).collect(),
            grants: BTreeMap::new(),
            changed: BTreeSet::new(),
            ended: Vec::new(),
            loaded: BTreeSet::new(),
        };
        books.take(found.grants);
        books
    }

    fn take(&mut self, grants: Vec<FoundGrant>) {
        for (id, workspace, json) in grants {
            if let Ok(grant) = serde_json::from_str(&json) {
                self.grants.entry((workspace, id)).or_insert(grant);
            }
        }
    }

    /// Takes in all open grants of a workspace.
    pub(super) fn load(&mut self, workspace: &str, grants: Vec<FoundGrant>) {
        if self.loaded.insert(workspace.to_owned()) {
            self.take(grants);
        }
    }

    /// Whether that has been done.
    pub(super) fn is_loaded(&self, workspace: &str) -> bool {
        self.loaded.contains(workspace)
    }

    /// The ledger's records of the requests that hold something in a workspace.
    pub(super) fn records_of(&self, workspace: &str) -> Vec<String> {
        let held = self.grants.iter().filter(|((w, _), _)| w == workspace);
        held.filter_map(|(_, grant)| grant.record.as_deref().map(str::to_owned)).collect()
    }

    pub(super) fn has(&self, place: &Place) -> bool {
        self.counters.contains_key(place)
    }

    /// The counter of a limit that is known, with the limit as it is now.
    pub(super) fn set(&mut self, place: &Place, limit: &Arc<Limit>) -> &mut Entry {
        let now = self.now;
        let new = || Entry { counter: Counter::new(Arc::clone(limit), now), changed: true };
        let entry = self.counters.entry(place.clone()).or_insert_with(new);
        entry.counter.limit = Arc::clone(limit);
        entry
    }

    /// As [`set`](Self::set) for a limit that this instance sees for the first time or as another value: it may have been
    /// away. Its counter holds what runs. Returns what the ledger must be asked for.
    pub(super) fn meet(&mut self, place: &Place, limit: &Arc<Limit>) -> Option<PostedQuery> {
        let now = self.now;
        let before = self.counters.get(place).map(|entry| entry.counter.limit.amount);
        let entry = self.set(place, limit);
        entry.changed = true;
        entry.counter.roll(now);
        // A rate keeps its debt in time when its amount changes, which the ledger cannot tell.
        let asks = !entry.counter.is_rate() || before.is_none_or(|amount| amount == limit.amount);
        let from = entry.counter.ledger_from(now).filter(|_| asks);
        let query = from.map(|from| PostedQuery { key: limit.key.clone(), from, each: entry.counter.is_rate() });
        let Some(Entry { counter, .. }) = self.counters.get_mut(place) else { return query };
        for (id, grant) in self.grants.iter_mut().filter(|((workspace, _), _)| *workspace == place.0) {
            if grant.counts_for(&limit.key) && grant.holds.iter().all(|(name, _)| *name != place.1) {
                grant.holds.push((place.1.clone(), counter.adopt(0, &grant.amounts, grant.at)));
                self.changed.insert(id.clone());
            }
        }
        query
    }

    /// Brings what the ledger posts into a counter.
    pub(super) fn absorb(&mut self, place: &Place, posted: &[(Timestamp, Amounts)]) {
        let now = self.now;
        if let Some(Entry { counter, .. }) = self.counters.get_mut(place) {
            let open = self.grants.iter().filter(|((w, _), g)| *w == place.0 && g.counts_for(&counter.limit.key));
            let open: Vec<_> = open.map(|(_, g)| (g.at, g.amounts)).collect();
            counter.absorb(posted, 0, &open, now);
        }
    }

    /// Does one job. `places` tells the workspaces of limits whose state is asked.
    pub(super) fn work(&mut self, job: &Job, places: &HashMap<String, String>, raised: &mut Vec<Alert>) -> Answer {
        match job {
            Job::Reserve { request, .. } => Answer::Admission(self.reserve(request)),
            Job::Settle { grant, workspace, end, .. } => {
                self.settle(&(workspace.clone(), grant.clone()), *end, raised);
                Answer::Settled
            }
            Job::State { limits, .. } => {
                let state = |limit: &Arc<Limit>| {
                    let name = limit_name(limit);
                    let place = (places.get(&name).cloned().unwrap_or_default(), name);
                    match self.counters.get(&place) {
                        Some(entry) => entry.counter.state(self.now),
                        None => Counter::new(Arc::clone(limit), self.now).state(self.now),
                    }
                };
                Answer::State(limits.iter().map(state).collect())
            }
        }
    }

    /// A counter, to be changed.
    fn live(&mut self, place: &Place) -> Option<&mut Counter> {
        let entry = self.counters.get_mut(place)?;
        entry.changed = true;
        Some(&mut entry.counter)
    }

    fn reserve(&mut self, request: &Reservation) -> Admission {
        let now = self.now;
        let workspace = request.caller.home().workspace.to_string();
        let places: Vec<Place> = request.limits.iter().map(|l| (workspace.clone(), limit_name(l))).collect();
        let mut refusal: Option<(Arc<Limit>, RefusalWait)> = None;
        for place in &places {
            let Some(counter) = self.live(place) else { continue };
            counter.roll(now);
            if counter.limit.mode == Mode::Enforce
                && let Some(wait) = counter.refuses(&request.hold, now)
                && refusal.as_ref().is_none_or(|(_, worst)| severity(wait) > severity(*worst))
            {
                refusal = Some((Arc::clone(&counter.limit), wait));
            }
        }
        if let Some((limit, wait)) = refusal {
            return Admission::Refused(Refusal { limit, wait, headroom: self.headroom(&places) });
        }
        let mut holds = Vec::with_capacity(places.len());
        for place in &places {
            if let Some(counter) = self.live(place) {
                holds.push((place.1.clone(), counter.place(0, &request.hold, now)));
            }
        }
        let headroom = self.headroom(&places);
        let grant = OpenGrant {
            home: request.caller.home().clone(),
            key: request.caller.key_id().into(),
            modality: request.modality,
            model: request.model.clone(),
            amounts: request.hold,
            at: now,
            lasting: request.lasting,
            record: request.record.clone(),
            holds,
        };
        let id = (workspace, new_id("g_"));
        self.grants.insert(id.clone(), grant);
        self.changed.insert(id.clone());
        Admission::Admitted { grant: id.1, at: now, headroom }
    }

    fn headroom(&self, places: &[Place]) -> Headroom {
        let shown = |place: &Place| {
            let counter = &self.counters.get(place)?.counter;
            Headroom::tells(&counter.limit).then(|| counter.room(self.now))
        };
        places.iter().filter_map(shown).collect()
    }

    /// Ends a grant. One that is gone has ended before.
    fn settle(&mut self, id: &(String, String), end: End, raised: &mut Vec<Alert>) {
        let now = self.now;
        let Some(grant) = self.grants.remove(id) else { return };
        self.changed.remove(id);
        self.ended.push(id.1.clone());
        let used = match end {
            End::Used(used) => used,
            End::Void => Amounts::default(),
            End::AtHold => grant.amounts,
        };
        for (name, hold) in grant.holds {
            let place = (id.0.clone(), name);
            if let Some(counter) = self.live(&place) {
                counter.settle(hold, &used);
                counter.alert(grant.at, now, now, raised);
            }
        }
    }

    /// All that must be written.
    pub(super) fn changes(self, instance: &str) -> Changes {
        let mut changes = Changes { ended: self.ended, ..Changes::default() };
        for ((workspace, name), entry) in self.counters {
            if let Entry { counter, changed: true } = entry {
                changes.counters.0.push(workspace);
                changes.counters.1.push(name);
                changes.counters.2.push(counter.save());
            }
        }
        for (place, grant) in self.grants.iter().filter(|(place, _)| self.changed.contains(*place)) {
            let names: Vec<_> = grant.holds.iter().map(|(name, _)| name.as_str()).collect();
            changes.grants.ids.push(place.1.clone());
            changes.grants.workspaces.push(place.0.clone());
            changes.grants.instances.push(instance.to_owned());
            changes.grants.counters.push(names.join("\u{1e}"));
            changes.grants.grants.push(serde_json::to_string(grant).unwrap_or_default());
            changes.grants.seconds.push(grant.lasting.then(|| UNKEPT.as_secs_f64()));
        }
        changes
    }
}

/// Which refusal the caller is told of: the one that time helps least.
fn severity(wait: RefusalWait) -> (u8, Duration) {
    match wait {
        RefusalWait::Soon => (0, Duration::ZERO),
        RefusalWait::After(wait) => (1, wait),
        RefusalWait::Never => (2, Duration::ZERO),
        RefusalWait::TooLarge => (3, Duration::ZERO),
    }
}

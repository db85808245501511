//! Holds that outlive their requests. They are known by their ids, as whoever settles one may never have seen its grant.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::base::clock::Timestamp;
use crate::base::id::new_id;
use crate::domain::alert::Alert;
use crate::domain::caller::{Caller, ModelPatterns};
use crate::domain::hold::LastingHold;
use crate::domain::limit::Amounts;
use crate::store::quota::Reservation;

use super::{OpenGrant, Shard};

/// Settled holds that are remembered: whoever has read their jobs a moment before must not place them again.
const REMEMBERED: usize = 256;

/// The lasting holds of a shard.
#[derive(Default)]
pub(super) struct Lasting {
    /// The indices of their grants.
    open: HashMap<Arc<str>, usize>,
    settled: VecDeque<Arc<str>>,
}

impl Lasting {
    fn knows(&self, id: &Arc<str>) -> bool {
        self.open.contains_key(id) || self.settled.contains(id)
    }

    fn end(&mut self, id: &Arc<str>) -> Option<usize> {
        let grant = self.open.remove(id)?;
        if self.settled.len() == REMEMBERED {
            self.settled.pop_front();
        }
        self.settled.push_back(Arc::clone(id));
        Some(grant)
    }
}

impl Shard {
    /// Makes the grant that `request` was just given a lasting one.
    pub(in super::super) fn make_last(&mut self, grant: usize, request: &Reservation) -> LastingHold {
        let hold = request.lasting_hold(new_id("hold_"), self.latest);
        self.lasting.open.insert(Arc::clone(&hold.id), grant);
        hold
    }

    /// Places a hold that a process before this one has admitted, unless it is known here.
    pub(in super::super) fn keep(&mut self, hold: LastingHold, has_ledger: bool) {
        if self.lasting.knows(&hold.id) {
            return;
        }
        let LastingHold { id, home, key_id, modality, model, amounts, at } = hold;
        // Whose it is; what that key may use has been asked at the admission.
        let caller = Caller::new(key_id, None, home, ModelPatterns::all(), Arc::default());
        let mut grant = OpenGrant { caller, modality, model, amounts, at, holds: Vec::new() };
        for &place in self.by_limit.values() {
            let Some(counter) = self.counters.get_mut(place) else { continue };
            if grant.counts_for(&counter.limit.key) {
                counter.roll(self.latest);
                grant.holds.push(counter.adopt(place, &amounts, at));
                // The debt of a rate is reckoned anew, this hold included.
                counter.seeded &= !(has_ledger && counter.is_rate());
            }
        }
        let grant = self.grants.insert(grant);
        self.lasting.open.insert(id, grant);
    }

    /// As [`settle`](Self::settle), by the hold's id. One that is not open changes nothing.
    pub(in super::super) fn settle_lasting(
        &mut self,
        id: &Arc<str>,
        used: Option<Amounts>,
        time: Option<Timestamp>,
    ) -> (bool, Vec<Alert>) {
        match self.lasting.end(id) {
            Some(grant) => self.settle(grant, used, time),
            None => (false, Vec::new()),
        }
    }
}

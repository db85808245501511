//! Where a promise is tried: a workspace of its own, and requests that are asked for in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::id::new_id;
use crate::base::money::Money;
use crate::domain::caller::Caller;
use crate::domain::hold::LastingHold;
use crate::domain::limit::{Amounts, Limit, LimitKey, Measure, Per, Scope};
use crate::domain::modality::Modality;
use crate::domain::name::Name;
use crate::store::grant::Grant;
use crate::store::quota::{Decision, LimitState, QuotaStore, Refusal, Reservation};

use super::caller;

/// A workspace of its own, and a caller in it.
pub(super) struct Stage<'a> {
    store: &'a dyn QuotaStore,
    workspace: Name,
    caller: Caller,
    pub(super) now: Timestamp,
}

/// So much of each measure, and one request.
pub(super) fn units(n: u64) -> Amounts {
    Amounts { input_tokens: n, spend: Money::from_nanos(n), ..Amounts::ONE_REQUEST }
}

impl<'a> Stage<'a> {
    pub(super) fn new(store: &'a dyn QuotaStore) -> Self {
        let caller = caller(&new_id::<String>("w"));
        let workspace = caller.home().workspace.clone();
        // Time never goes back in a store, not even from one promise to the next.
        static STAGES: AtomicU64 = AtomicU64::new(0);
        let days = 40 * STAGES.fetch_add(1, Ordering::Relaxed);
        let now = Timestamp::from_secs(1_800_000_000 + days * 86_400);
        Self { store, workspace, caller, now }
    }

    /// The same workspace, over another store.
    pub(super) fn moved_to(self, store: &'a dyn QuotaStore) -> Self {
        Self { store, ..self }
    }

    pub(super) fn limit(&self, measure: Measure, per: Option<Per>, amount: u64) -> Arc<Limit> {
        let scope = Scope::Workspace(self.workspace.clone());
        Arc::new(Limit::new(LimitKey { scope, modality: None, model: None, measure, per }, amount))
    }

    pub(super) fn total(&self, amount: u64) -> Arc<Limit> {
        self.limit(Measure::Spend, Some(Per::Total), amount)
    }

    async fn ask(&self, hold: Amounts, limits: &[&Arc<Limit>]) -> Decision {
        self.ask_for(hold, limits, false).await
    }

    pub(super) async fn lasting(&self, hold: Amounts, limits: &[&Arc<Limit>]) -> (Grant, LastingHold) {
        let Decision::Admitted { grant, .. } = self.ask_for(hold, limits, true).await else { panic!("it fits") };
        let hold = grant.hold().cloned().expect("the grant of a lasting reservation has a hold");
        assert_eq!((&hold.home, &*hold.key_id), (self.caller.home(), self.caller.key_id()));
        (grant, hold)
    }

    pub(super) async fn settle(&self, hold: &LastingHold, used: Option<Amounts>) {
        self.store.settle(hold.clone(), used).await.expect("a lasting hold is settled");
    }

    pub(super) async fn keep(&self, hold: &LastingHold) {
        self.store.keep(vec![hold.clone()], Duration::from_secs(3_600)).await.expect("a lasting hold is kept");
    }

    async fn ask_for(&self, hold: Amounts, limits: &[&Arc<Limit>], lasting: bool) -> Decision {
        let limits = limits.iter().map(|l| Arc::clone(l)).collect();
        let (modality, model) = (Some(Modality::Text), Some("m".into()));
        let reservation = Reservation {
            caller: self.caller.clone(),
            modality,
            model,
            hold,
            limits,
            lasting,
            record: None,
            now: self.now,
        };
        self.store.reserve(reservation).await.expect("the store answers")
    }

    pub(super) async fn admitted(&self, hold: Amounts, limits: &[&Arc<Limit>]) -> Grant {
        match self.ask(hold, limits).await {
            Decision::Admitted { grant, .. } => grant,
            Decision::Refused(refusal) => panic!("refused: {refusal:?}"),
        }
    }

    pub(super) async fn refused(&self, hold: Amounts, limits: &[&Arc<Limit>]) -> Refusal {
        match self.ask(hold, limits).await {
            Decision::Admitted { .. } => panic!("admitted {hold:?}"),
            Decision::Refused(refusal) => refusal,
        }
    }

    pub(super) async fn state(&self, limit: &Arc<Limit>) -> LimitState {
        let states = self.store.state(vec![Arc::clone(limit)], self.now).await.expect("the store answers");
        states.into_iter().next().expect("a state for each limit")
    }

    /// Used, reserved and remaining.
    pub(super) async fn counts(&self, limit: &Arc<Limit>) -> (u64, u64, u64) {
        let state = self.state(limit).await;
        (state.used, state.reserved, state.remaining)
    }
}

//! What is asked of the counters: an admit, and where a limit stands.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::id::new_id;
use crate::domain::limit::{Limit, Per, Scope};
use crate::domain::window;
use crate::store::error::{StoreError, StoreResult};
use crate::store::grant::Grant;
use crate::store::ledger::RecordFilter;
use crate::store::quota::{Decision, Headroom, LimitState, Refusal, RefusalWait, Reservation, Room, UNKEPT};
use crate::store::tables::Page;

use super::script::{Ask, GrantFacts, LimitFacts, Op, Reply, Shown, micros};
use super::settle::{self, RedisTicket, Settlement};
use super::{Inner, Open};

impl Inner {
    pub(super) async fn reserve(self: &Arc<Self>, request: Reservation) -> StoreResult<Decision> {
        if self.overshoots.load(Ordering::Acquire) > 0 {
            self.queue.flush().await;
        }
        let was_busy = self.queue.is_busy();
        let decision = self.admit(&request).await?;
        if was_busy && matches!(decision, Decision::Refused(_)) {
            // What was given back before this request came counts for it.
            self.queue.flush().await;
            return self.admit(&request).await;
        }
        Ok(decision)
    }

    pub(super) async fn admit(self: &Arc<Self>, request: &Reservation) -> StoreResult<Decision> {
        let workspace: Arc<str> = request.caller.home().workspace.as_str().into();
        let facts = GrantFacts::of(request);
        let limits = request.limits.iter().map(|limit| LimitFacts::of(limit)).collect();
        let id = new_id::<String>("g_");
        let lease = if request.lasting { UNKEPT } else { self.lease };
        let ask = Ask { id: Some(&id), grant: Some(&facts), limits, ..Ask::new(lease) };
        let answer = match self.call_seeded(Op::Admit, &workspace, &ask, &request.limits).await {
            Ok(answer) => answer,
            Err(error) => {
                // It may have been admitted all the same.
                self.queue.push_surely(Settlement::void(workspace, id));
                return Err(error);
            }
        };
        settle::raise(self, &answer);
        let headroom = headroom(&request.limits, &answer);
        if answer.word == "admitted" {
            let hold = request.lasting.then(|| request.lasting_hold(id.as_str().into(), micros(answer.now)));
            if hold.is_none() {
                self.open.insert(id.clone(), Open { workspace: Arc::clone(&workspace), facts: facts.at(answer.now) });
            }
            let ticket = RedisTicket { inner: Arc::clone(self), id, workspace, held: request.hold };
            let grant = match hold {
                Some(hold) => Grant::lasting(hold, ticket),
                None => Grant::new(request.hold, ticket),
            };
            return Ok(Decision::Admitted { grant, headroom });
        }
        let limit = usize::try_from(answer.which).ok().and_then(|n| request.limits.get(n.checked_sub(1)?));
        let limit = limit.ok_or_else(|| StoreError::unavailable("Redis: the script's answer names no limit"))?;
        let wait = match answer.word.as_str() {
            "after" => RefusalWait::After(Duration::from_micros(answer.wait)),
            "soon" => RefusalWait::Soon,
            "never" => RefusalWait::Never,
            _ => RefusalWait::TooLarge,
        };
        Ok(Decision::Refused(Refusal { limit: Arc::clone(limit), wait, headroom }))
    }

    pub(super) async fn state(&self, limit: Arc<Limit>, now: Timestamp) -> StoreResult<LimitState> {
        self.queue.flush().await;
        let Some(workspace) = self.workspace_of(&limit).await? else {
            let resets_at = limit.key.per.map(|per| match per {
                Per::Day | Per::Month | Per::Total => window::end(per, now),
                _ => Some(now),
            });
            let remaining = limit.amount;
            return Ok(LimitState { limit, used: 0, reserved: 0, remaining, resets_at: resets_at.flatten() });
        };
        let ask = Ask { limits: vec![LimitFacts::of(&limit)], ..Ask::new(self.lease) };
        let answer = self.call_seeded(Op::State, &workspace, &ask, std::slice::from_ref(&limit)).await?;
        let Some(Shown { used, reserved, remaining, resets_at }) = answer.shown.first().copied() else {
            return Err(StoreError::unavailable("Redis: the script's answer holds no state"));
        };
        Ok(LimitState { limit, used, reserved, remaining, resets_at: resets_at.map(micros) })
    }

    /// A key does not say its workspace; the ledger knows it, once the key has been used.
    async fn workspace_of(&self, limit: &Limit) -> StoreResult<Option<Arc<str>>> {
        match &limit.key.scope {
            Scope::Workspace(w) | Scope::Team(w, _) | Scope::Project(w, _) | Scope::Environment(w, ..) => {
                Ok(Some(w.as_str().into()))
            }
            Scope::Key(id) => {
                let filter = RecordFilter { key: Some(id.to_string()), ..RecordFilter::default() };
                let page = self.ledger.records(filter, Page { after: None, limit: 1 }).await?;
                Ok(page.items.first().map(|record| record.home.workspace.as_str().into()))
            }
        }
    }
}

fn headroom(limits: &[Arc<Limit>], answer: &Reply) -> Headroom {
    let told = limits.iter().zip(&answer.shown).filter(|(limit, _)| Headroom::tells(limit));
    told.map(|(limit, shown)| Room {
        limit: Arc::clone(limit),
        remaining: shown.remaining,
        resets_in: shown.resets_at.map(|at| Duration::from_micros(at.saturating_sub(answer.now))),
    })
    .collect()
}

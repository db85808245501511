//! Counters that Redis does not have, or that may have been away, start from the ledger.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::SemaphorePermit;

use crate::domain::limit::{Limit, Per};
use crate::store::error::{StoreError, StoreErrorKind, StoreResult};
use crate::store::ledger::PostedQuery;
use crate::store::limit_name::limit_name;

use super::Inner;
use super::script::{self, Ask, GrantFacts, LimitFacts, Op, Reply, micros};
use super::settle::{self, Settlement};

/// How often a ledger is asked again because requests were settled meanwhile, or Redis lost a counter again.
const TRIES: usize = 3;
/// Limits that are remembered as known at most.
const KNOWN: usize = 100_000;

impl Inner {
    /// Calls the script, once all counters are there and known here.
    pub(super) async fn call_seeded(
        &self,
        op: Op,
        workspace: &str,
        ask: &Ask<'_>,
        limits: &[Arc<Limit>],
    ) -> StoreResult<Reply> {
        let corrections = self.ledger.corrections();
        if self.corrected.swap(corrections, Ordering::AcqRel) != corrections {
            self.known.clear();
        }
        if !limits.iter().all(|limit| self.knows(limit)) {
            // What has ended is in the ledger that is asked now: held on, it would be posted once more.
            self.queue.flush().await;
            let _turn = self.turn().await?;
            for limit in limits.iter().filter(|limit| !self.knows(limit)) {
                self.seed(workspace, limit).await?;
                if self.known.len() >= KNOWN {
                    self.known.clear();
                }
                self.known.insert(limit_name(limit), Arc::clone(limit));
            }
        }
        for _ in 0..TRIES {
            let answer = self.call(op, workspace, ask).await?;
            if answer.word != "unseeded" {
                return Ok(answer);
            }
            let _turn = self.turn().await?;
            let answer = self.call(op, workspace, ask).await?;
            if answer.word != "unseeded" {
                return Ok(answer);
            }
            for limit in limits {
                self.seed(workspace, limit).await?;
            }
        }
        Err(StoreError::unavailable("Redis loses its counters again and again"))
    }

    fn knows(&self, limit: &Arc<Limit>) -> bool {
        self.known.get(&limit_name(limit)).is_some_and(|known| Arc::ptr_eq(&known, limit))
    }

    /// Waits for its turn to seed: of those who come together, one asks the ledger.
    async fn turn(&self) -> StoreResult<SemaphorePermit<'_>> {
        self.seeding.acquire().await.map_err(|_| StoreError::unavailable("the quota store is closed"))
    }

    /// Lets a limit's counter know what passed before it or while it was away.
    async fn seed(&self, workspace: &str, limit: &Arc<Limit>) -> StoreResult<()> {
        let own = self.own(workspace);
        let limits = || vec![LimitFacts::of(limit)];
        let ask = Ask { limits: limits(), own, ..Ask::new(self.lease) };
        let met = self.call(Op::Meet, workspace, &ask).await;
        self.bury(workspace, &ask.own);
        let met = met?;
        settle::raise(self, &met);
        let (mut from, mut mark) = (met.from, met.mark);
        let is_rate = matches!(limit.key.per, Some(Per::Second | Per::Minute | Per::Hour));
        for tries in 1..=TRIES {
            let Some(since) = from else { return Ok(()) };
            let query = PostedQuery { key: limit.key.clone(), from: micros(since), each: is_rate };
            let posted = self.ledger.posted(query).await.map_err(|error| match error.kind() {
                StoreErrorKind::Unavailable => error,
                _ => StoreError::unavailable(format!("the ledger cannot tell what a limit has used: {error}")),
            })?;
            let posted = script::posted(&limit.key, &posted);
            let force = tries == TRIES;
            let ask = Ask { limits: limits(), posted, mark, from: since, force, ..Ask::new(self.lease) };
            let answer = self.call(Op::Seed, workspace, &ask).await?;
            if answer.word != "again" {
                return Ok(());
            }
            (from, mark) = (answer.from, answer.mark);
        }
        Ok(())
    }

    /// This instance's open grants in a workspace.
    fn own(&self, workspace: &str) -> Vec<(String, GrantFacts)> {
        let of = self.open.iter().filter(|open| &*open.workspace == workspace);
        of.map(|open| (open.key().clone(), open.facts.clone())).collect()
    }

    /// Voids those of `own` that were settled while they may have been put back.
    pub(super) fn bury(&self, workspace: &str, own: &[(String, GrantFacts)]) {
        for (id, _) in own.iter().filter(|(id, _)| !self.open.contains_key(id)) {
            self.queue.push_surely(Settlement::void(workspace.into(), id.clone()));
        }
    }
}

//! Seeding: a counter that is new here starts from what the ledger posts to its window. One asks, the others wait.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use crate::domain::limit::Limit;
use crate::store::error::{StoreError, StoreErrorKind, StoreResult};
use crate::store::ledger::{PostedQuery, UsageStore};

use super::Shared;
use super::shard::Claimed;

/// How often a query is made again because requests were settled meanwhile.
const TRIES: usize = 3;

/// Seeds the counter of `limit`, or waits until another has.
pub(super) async fn seed(
    shared: &Arc<Shared>,
    ledger: &Arc<dyn UsageStore>,
    shard: usize,
    limit: &Arc<Limit>,
) -> StoreResult<()> {
    let claim = poll_fn(|cx| match shared.lock(shard).claim(limit, cx.waker()) {
        Claimed::Done => Poll::Ready(None),
        Claimed::Waiting => Poll::Pending,
        Claimed::Yours { counter, query } => {
            Poll::Ready(Some((Claim { shared: Arc::clone(shared), shard, counter }, query)))
        }
    });
    let Some((claim, mut query)) = claim.await else { return Ok(()) };
    let mut tries = 1;
    loop {
        let posted = ask(ledger, query.clone()).await?;
        let mut raised = Vec::new();
        let done = {
            let mut held = shared.lock(shard);
            let done = held.seed(claim.counter, &mut query, &posted, tries >= TRIES);
            let latest = held.latest();
            if let Some(counter) = held.counter_mut(claim.counter).filter(|_| done) {
                counter.alert(latest, latest, shared.time(), &mut raised);
            }
            done
        };
        shared.raise(raised);
        if done {
            return Ok(());
        }
        tries += 1;
    }
}

/// Asks the ledger; whatever goes wrong there means that this limit cannot be told.
pub(super) async fn ask(
    ledger: &Arc<dyn UsageStore>,
    query: PostedQuery,
) -> StoreResult<Vec<(crate::base::clock::Timestamp, crate::domain::limit::Amounts)>> {
    ledger.posted(query).await.map_err(|error| match error.kind() {
        StoreErrorKind::Unavailable => error,
        _ => StoreError::unavailable(format!("the ledger cannot tell what a limit has used: {error}")),
    })
}

/// The right to seed a counter. Given up on drop, so that another may try.
struct Claim {
    shared: Arc<Shared>,
    shard: usize,
    counter: usize,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let waiting = self.shared.lock(self.shard).seeding.remove(&self.counter);
        waiting.into_iter().flatten().for_each(std::task::Waker::wake);
    }
}

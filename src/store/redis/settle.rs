//! Settling in the background, and keeping the leases of what runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::base::id::new_id;
use crate::domain::alert::Alert;
use crate::domain::hold::LastingHold;
use crate::domain::limit::{Amounts, Limit, Measure};
use crate::domain::window;
use crate::store::error::StoreResult;
use crate::store::grant::Ticket;

use super::script::{Ask, Crossed, GrantFacts, Op, Reply, Used, call_all, micros};
use super::{Inner, by_measure};

/// Settlements of one pipeline at most.
const BATCH: usize = 512;
/// How long settlements that failed wait for their next try.
const RETRY: Duration = Duration::from_millis(100);

/// How a grant ended.
pub(super) struct Settlement {
    workspace: Arc<str>,
    id: String,
    used: Option<Amounts>,
    overshoots: bool,
}

impl Settlement {
    pub(super) fn void(workspace: Arc<str>, id: String) -> Self {
        Self { workspace, id, used: None, overshoots: false }
    }

    pub(super) fn of(hold: &LastingHold, used: Option<Amounts>) -> Self {
        Self { workspace: hold.home.workspace.as_str().into(), id: hold.id.to_string(), used, overshoots: false }
    }
}

pub(super) struct RedisTicket {
    pub(super) inner: Arc<Inner>,
    pub(super) id: String,
    pub(super) workspace: Arc<str>,
    pub(super) held: Amounts,
}

impl Ticket for RedisTicket {
    fn settle(self: Box<Self>, used: Option<Amounts>) {
        let Self { inner, id, workspace, held } = *self;
        let more = |used: &Amounts| {
            let measures = [
                Measure::Tokens,
                Measure::InputTokens,
                Measure::OutputTokens,
                Measure::Spend,
                Measure::Images,
                Measure::VideoSeconds,
                Measure::AudioSeconds,
                Measure::Characters,
            ];
            measures.into_iter().any(|m| used.of(m) > held.of(m))
        };
        let overshoots = used.as_ref().is_some_and(more);
        if overshoots {
            inner.overshoots.fetch_add(1, Ordering::AcqRel);
        }
        inner.open.remove(&id);
        // There are never more of them than grants that were open.
        inner.queue.push_surely(Settlement { workspace, id, used, overshoots });
    }
}

/// Settles and renews until the queue is closed and empty.
pub(super) async fn run(inner: Arc<Inner>) {
    let renewing = tokio::spawn(renew(Arc::clone(&inner)));
    while let Some(batch) = inner.queue.take(BATCH).await {
        let taken = batch.len();
        match settle(&inner, &batch).await {
            Ok(()) => {
                let overshoots = batch.iter().filter(|settlement| settlement.overshoots).count();
                inner.overshoots.fetch_sub(overshoots, Ordering::AcqRel);
                inner.queue.tried(taken);
            }
            Err(_) => {
                // What was settled is owed.
                batch.into_iter().for_each(|settlement| inner.queue.push_surely(settlement));
                inner.queue.tried(taken);
                tokio::time::sleep(RETRY).await;
            }
        }
    }
    renewing.abort();
}

/// Keeps lasting holds for `lease`, and puts them back where Redis has lost them.
pub(super) async fn keep(inner: &Inner, holds: &[LastingHold], lease: Duration) -> StoreResult<()> {
    let mut asks: BTreeMap<&str, Ask<'_>> = BTreeMap::new();
    for hold in holds {
        let ask = asks.entry(hold.home.workspace.as_str()).or_insert_with(|| Ask::new(lease));
        ask.own.push((hold.id.to_string(), GrantFacts::of_hold(hold)));
    }
    let asks: Vec<_> = asks.into_iter().collect();
    call_all(&mut inner.connection.clone(), Op::Renew, &asks).await.map(drop)
}

pub(super) async fn settle(inner: &Inner, batch: &[Settlement]) -> StoreResult<()> {
    let mut asks: BTreeMap<&str, Ask<'_>> = BTreeMap::new();
    for Settlement { workspace, id, used, .. } in batch {
        let used = used.as_ref().map_or(Used::Void(false), |used| Used::Amounts(by_measure(used)));
        asks.entry(workspace).or_insert_with(|| Ask::new(inner.lease)).ended.push((id, used));
    }
    let asks: Vec<_> = asks.into_iter().collect();
    let answers = call_all(&mut inner.connection.clone(), Op::Settle, &asks).await?;
    answers.iter().for_each(|answer| raise(inner, answer));
    Ok(())
}

/// Renews the leases of this instance's open grants, and puts them back where Redis has lost them.
async fn renew(inner: Arc<Inner>) {
    let mut ticks = interval(inner.lease / 5);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut renewed = Instant::now();
    loop {
        ticks.tick().await;
        let mut own: BTreeMap<Arc<str>, Vec<(String, GrantFacts)>> = BTreeMap::new();
        for open in &inner.open {
            own.entry(Arc::clone(&open.workspace)).or_default().push((open.key().clone(), open.facts.clone()));
        }
        if renewed.elapsed() >= inner.lease {
            // They may have been taken for dead and posted: to put them back would count them twice.
            own.values().flatten().for_each(|(id, _)| drop(inner.open.remove(id)));
            own.clear();
        }
        let asks: Vec<_> =
            own.iter().map(|(w, own)| (&**w, Ask { own: own.clone(), ..Ask::new(inner.lease) })).collect();
        if asks.is_empty() || call_all(&mut inner.connection.clone(), Op::Renew, &asks).await.is_ok() {
            renewed = Instant::now();
        }
        own.iter().for_each(|(workspace, own)| inner.bury(workspace, own));
    }
}

/// Raises the thresholds that posted use has crossed.
pub(super) fn raise(inner: &Inner, answer: &Reply) {
    let Some(alerts) = inner.raised_to().clone() else { return };
    for crossed in &answer.crossed {
        let Some(limit) = inner.known.get(&crossed.name).map(|known| Arc::clone(&known)) else { continue };
        for threshold in limit.alert_at.iter().copied().filter(|threshold| has_crossed(&limit, *threshold, crossed)) {
            let is_total = limit.key.per == Some(crate::domain::limit::Per::Total);
            let window_start = limit.key.per.filter(|_| !is_total).map(|per| match crossed.window {
                Some(at) => micros(at),
                None => window::start(per, micros(answer.now)),
            });
            alerts.raise(Alert {
                id: new_id("alert_"),
                time: micros(answer.now),
                limit: Arc::clone(&limit),
                window_start,
                threshold,
                used: crossed.after,
            });
        }
    }
}

fn has_crossed(limit: &Limit, threshold: u32, crossed: &Crossed) -> bool {
    let reached = |used: u64| used > 0 && u128::from(used) * 1_000 >= u128::from(limit.amount) * u128::from(threshold);
    reached(crossed.after) && !reached(crossed.before)
}

//! The task that works the queue off, and tells those who wait.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::alert::Alert;
use crate::domain::limit::Amounts;
use crate::store::error::StoreError;
use crate::store::grant::{Grant, Ticket};
use crate::store::postgres::reports::Reports;
use crate::store::postgres::tables;
use crate::store::quota::Decision;
use crate::store::tables::AlertStore;
use crate::store::unclaimed::Unclaimed;

use super::batch::{Answer, Batch, Done, Known};
use super::books::Admission;
use super::{End, Job, QuotaQueue, Shared, patient};

/// Jobs of one transaction at most.
const BATCH: usize = 256;
/// How long settlements that failed wait for their next try.
const RETRY: Duration = Duration::from_millis(100);
/// Limits that are remembered as known at most.
const KNOWN: usize = 100_000;

struct PostgresTicket {
    queue: Arc<QuotaQueue>,
    grant: String,
    workspace: String,
}

impl Ticket for PostgresTicket {
    fn settle(self: Box<Self>, used: Option<Amounts>) {
        let Self { queue, grant, workspace } = *self;
        let end = used.map_or(End::Void, End::Used);
        // There are never more of them than open grants.
        queue.push_surely(Job::settle(grant, workspace, end));
    }
}

/// Works until the queue is closed and empty.
pub(in crate::store::postgres) async fn run(
    shared: Arc<Shared>,
    queue: Arc<QuotaQueue>,
    reports: Reports,
    alerts: Option<Arc<dyn AlertStore>>,
) {
    let mut known = Known::new();
    while let Some(mut jobs) = queue.take(BATCH).await {
        let taken = jobs.len();
        jobs.retain(Job::is_wanted);
        let missed = std::mem::take(&mut *shared.missed());
        if !missed.is_empty() {
            known.retain(|(workspace, name), _| !missed.contains(name) && !missed.contains(workspace));
        }
        let mut batch = Batch { shared: &shared, reports: &reports, known: &mut known };
        match patient(batch.run(&jobs)).await {
            Ok(Done { answers, raised }) => {
                answer(jobs, answers, &queue);
                tell(&shared, &alerts, raised).await;
            }
            Err(error) => {
                jobs = given_up(jobs, &error);
                // What was settled is owed; a grant that was made after all is void: nobody got it.
                if !jobs.is_empty() && !*shared.closed.borrow() {
                    tokio::time::sleep(RETRY).await;
                    jobs.into_iter().for_each(|job| queue.push_surely(job));
                }
            }
        }
        queue.tried(taken);
        if known.len() > KNOWN {
            known.clear();
        }
    }
}

fn answer(jobs: Vec<Job>, answers: Vec<Answer>, queue: &Arc<QuotaQueue>) {
    for (job, answer) in jobs.into_iter().zip(answers) {
        // Whoever is not there any more gets nothing, and an unclaimed grant is void.
        match (job, answer) {
            (Job::Reserve { request, reply }, Answer::Admission(Admission::Admitted { grant, at, headroom })) => {
                let workspace = request.caller.home().workspace.to_string();
                let id: Arc<str> = grant.as_str().into();
                let ticket = PostgresTicket { queue: Arc::clone(queue), grant, workspace };
                let grant = match request.lasting {
                    true => Grant::lasting(request.lasting_hold(id, at), ticket),
                    false => Grant::new(request.hold, ticket),
                };
                let _ = reply.send(Ok(Unclaimed::new(Decision::Admitted { grant, headroom })));
            }
            (Job::Reserve { reply, .. }, Answer::Admission(Admission::Refused(refusal))) => {
                let _ = reply.send(Ok(Unclaimed::new(Decision::Refused(refusal))));
            }
            (Job::State { reply, .. }, Answer::State(states)) => {
                let _ = reply.send(Ok(states));
            }
            (Job::Settle { reply: Some(reply), .. }, Answer::Settled) => {
                let _ = reply.send(Ok(()));
            }
            _ => {}
        }
    }
}

/// Tells all who wait that it failed. What is left must be tried again.
fn given_up(jobs: Vec<Job>, error: &StoreError) -> Vec<Job> {
    let mut owed = Vec::new();
    for job in jobs {
        match job {
            Job::Reserve { reply, .. } => {
                let _ = reply.send(Err(error.clone()));
            }
            Job::State { reply, .. } => {
                let _ = reply.send(Err(error.clone()));
            }
            settle @ Job::Settle { .. } => owed.push(settle),
        }
    }
    owed
}

async fn tell(shared: &Shared, alerts: &Option<Arc<dyn AlertStore>>, raised: Vec<Alert>) {
    match alerts {
        _ if raised.is_empty() => {}
        Some(alerts) => raised.into_iter().for_each(|alert| alerts.raise(alert)),
        // One that cannot be written is lost: the counter has passed its threshold.
        None => drop(tables::raise(shared, &raised).await),
    }
}

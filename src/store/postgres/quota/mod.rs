//! Quota counters that many instances share: one task for each instance works off what has come, a transaction at a time.
//!
//! A transaction locks the rows of its workspaces in the order of their names, so no two wait for each other, and reads
//! the server's clock after that: under the lock time only goes forward. Then all is arithmetic in memory (see `books`)
//! and one write. Settlements stand in the same queue as admissions: who asks later sees them.

mod books;
mod rows;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Object;
use tokio::sync::oneshot;

use crate::base::clock::Timestamp;
use crate::base::store_future::StoreFuture;
use crate::domain::alert::Alert;
use crate::domain::hold::LastingHold;
use crate::domain::limit::{Amounts, Limit, Scope};
use crate::store::error::{StoreError, StoreResult};
use crate::store::grant::{Grant, Ticket};
use crate::store::limit_name::limit_name;
use crate::store::queue::Queue;
use crate::store::quota::{Decision, LimitState, QuotaStore, Reservation};
use crate::store::tables::AlertStore;
use crate::store::unclaimed::Unclaimed;

use self::books::{Admission, Books};
use super::reports::Reports;
use super::{PostgresStore, Shared, failed, patient, tables};

/// Jobs that wait at most; settlements come beside.
const BOUND: usize = 10_000;
/// Jobs of one transaction at most.
const BATCH: usize = 256;
/// How long settlements that failed wait for their next try.
const RETRY: Duration = Duration::from_millis(100);
/// Limits that are remembered as known at most.
const KNOWN: usize = 100_000;

type Reply<T> = oneshot::Sender<StoreResult<T>>;

/// How a grant ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Used(Amounts),
    Void,
    /// Its instance is gone: nobody will ever know.
    AtHold,
}

pub(super) enum Job {
    Reserve {
        request: Reservation,
        reply: Reply<Unclaimed>,
    },
    State {
        limits: Vec<Arc<Limit>>,
        reply: Reply<Vec<LimitState>>,
    },
    /// Whoever waits is told when it is committed.
    Settle {
        grant: String,
        workspace: String,
        end: End,
        reply: Option<Reply<()>>,
    },
}

impl Job {
    /// A settlement that nobody waits for.
    pub(super) fn settle(grant: String, workspace: String, end: End) -> Self {
        Self::Settle { grant, workspace, end, reply: None }
    }
}

impl Job {
    /// Whether someone still waits for it.
    fn is_wanted(&self) -> bool {
        match self {
            Self::Reserve { reply, .. } => !reply.is_closed(),
            Self::State { reply, .. } => !reply.is_closed(),
            Self::Settle { .. } => true,
        }
    }
}

pub(super) type QuotaQueue = Queue<Job>;

pub(super) fn queue() -> QuotaQueue {
    Queue::new()
}

impl QuotaStore for PostgresStore {
    fn reserve(&self, request: Reservation) -> StoreFuture<StoreResult<Decision>> {
        let (reply, answer) = oneshot::channel();
        if self.0.quota.push(Job::Reserve { request, reply }, BOUND).is_err() {
            return StoreFuture::ready(Err(full()));
        }
        StoreFuture::new(async move {
            let decision = answer.await.unwrap_or_else(|_| Err(ended()))?;
            decision.claim().ok_or_else(ended)
        })
    }

    fn keep(&self, holds: Vec<LastingHold>, lease: Duration) -> StoreFuture<StoreResult<()>> {
        let shared = Arc::clone(&self.0.shared);
        StoreFuture::new(patient(async move {
            let ids: Vec<_> = holds.iter().map(|hold| &*hold.id).collect();
            rows::keep(&shared.client().await?, &ids, lease.as_secs_f64()).await
        }))
    }

    fn settle(&self, hold: LastingHold, used: Option<Amounts>) -> StoreFuture<StoreResult<()>> {
        let (reply, answer) = oneshot::channel();
        let (grant, workspace) = (hold.id.to_string(), hold.home.workspace.to_string());
        let end = used.map_or(End::Void, End::Used);
        // There are never more of them than jobs that were open.
        self.0.quota.push_surely(Job::Settle { grant, workspace, end, reply: Some(reply) });
        StoreFuture::new(async move { answer.await.unwrap_or_else(|_| Err(ended())) })
    }

    fn state(&self, limits: Vec<Arc<Limit>>, _: Timestamp) -> StoreFuture<StoreResult<Vec<LimitState>>> {
        let (reply, answer) = oneshot::channel();
        if self.0.quota.push(Job::State { limits, reply }, BOUND).is_err() {
            return StoreFuture::ready(Err(full()));
        }
        StoreFuture::new(async move { answer.await.unwrap_or_else(|_| Err(ended())) })
    }

    fn missed(&self, limits: &[Arc<Limit>]) {
        self.0.shared.missed().extend(limits.iter().map(|limit| limit_name(limit)));
    }
}

fn full() -> StoreError {
    StoreError::unavailable(format!("{BOUND} requests wait for PostgreSQL: no more are taken"))
}

fn ended() -> StoreError {
    StoreError::unavailable("the quota store's task has ended")
}

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

/// The limits as this instance has last seen them, by workspace and name. One that comes as another value may have been
/// away meanwhile.
type Known = HashMap<(String, String), Arc<Limit>>;

/// Works until the queue is closed and empty.
pub(super) async fn run(
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

/// What came of a batch, in the order of its jobs.
struct Done {
    answers: Vec<Answer>,
    raised: Vec<Alert>,
}

enum Answer {
    Admission(Admission),
    State(Vec<LimitState>),
    Settled,
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

/// One transaction.
struct Batch<'a> {
    shared: &'a Shared,
    reports: &'a Reports,
    known: &'a mut Known,
}

impl Batch<'_> {
    async fn run(&mut self, jobs: &[Job]) -> StoreResult<Done> {
        let client = self.shared.client().await?;
        let done = self.transact(&client, jobs).await;
        if done.is_err() {
            // Whatever state it is in, nobody else shall have it.
            drop(Object::take(client));
        }
        done
    }

    async fn transact(&mut self, client: &Object, jobs: &[Job]) -> StoreResult<Done> {
        if jobs.is_empty() {
            return Ok(Done { answers: Vec::new(), raised: Vec::new() });
        }
        let places = self.places(client, jobs).await?;
        let workspaces: BTreeSet<_> = jobs
            .iter()
            .filter_map(|job| match job {
                Job::Reserve { request, .. } => Some(request.caller.home().workspace.as_str()),
                Job::Settle { workspace, .. } => Some(workspace.as_str()),
                Job::State { .. } => None,
            })
            .chain(places.values().map(String::as_str))
            .collect();
        let grants: Vec<&str> = jobs
            .iter()
            .filter_map(|job| match job {
                Job::Settle { grant, .. } => Some(grant.as_str()),
                _ => None,
            })
            .collect();
        let mut wanted: Vec<(String, Arc<Limit>)> = Vec::new();
        for job in jobs {
            match job {
                Job::Reserve { request, .. } => {
                    let workspace = request.caller.home().workspace.as_str();
                    wanted.extend(request.limits.iter().map(|l| (workspace.to_owned(), Arc::clone(l))));
                }
                Job::State { limits, .. } => {
                    wanted.extend(
                        limits.iter().filter_map(|l| Some((places.get(&limit_name(l))?.clone(), Arc::clone(l)))),
                    );
                }
                Job::Settle { .. } => {}
            }
        }
        let names: BTreeSet<_> = wanted.iter().map(|(_, l)| limit_name(l)).collect();
        let found = rows::begin(client, &workspaces, &names, &grants).await?;
        let mut books = Books::new(found);
        let mut news = Known::new();
        for (workspace, limit) in wanted {
            self.acquaint(client, &mut books, &mut news, workspace, limit).await?;
        }
        let mut raised = Vec::new();
        let answers = jobs.iter().map(|job| books.work(job, &places, &mut raised)).collect();
        rows::commit(client, books.changes(&self.shared.instance)).await?;
        self.known.extend(news);
        Ok(Done { answers, raised })
    }

    /// Makes a limit's counter ready: it is there, and knows what passed before it or while it was away.
    async fn acquaint(
        &self,
        client: &Object,
        books: &mut Books,
        news: &mut Known,
        workspace: String,
        limit: Arc<Limit>,
    ) -> StoreResult<()> {
        let place = (workspace, limit_name(&limit));
        let known = news.get(&place).or_else(|| self.known.get(&place));
        if books.has(&place) && known.is_some_and(|known| Arc::ptr_eq(known, &limit)) {
            books.set(&place, &limit);
            return Ok(());
        }
        if !books.is_loaded(&place.0) {
            books.load(&place.0, rows::grants_of(client, &place.0).await?);
        }
        if let Some(query) = books.meet(&place, &limit) {
            // What is open here is posted when it is settled, whether its record has ended or not.
            let posted = self.reports.posted(&query, books.records_of(&place.0)).await?;
            books.absorb(&place, &posted);
        }
        news.insert(place, limit);
        Ok(())
    }

    /// The workspaces of the limits whose state is asked, by the limits' names. A key does not say its workspace: the
    /// counters and grants that know it do.
    async fn places(&self, client: &Object, jobs: &[Job]) -> StoreResult<HashMap<String, String>> {
        let mut places = HashMap::new();
        let mut asked = Vec::new();
        for job in jobs {
            if let Job::State { limits, .. } = job {
                asked.extend(limits);
            }
        }
        for limit in asked {
            let workspace = match &limit.key.scope {
                Scope::Workspace(w) | Scope::Team(w, _) | Scope::Project(w, _) | Scope::Environment(w, ..) => {
                    Some(w.to_string())
                }
                Scope::Key(id) => {
                    let find = "SELECT workspace FROM kancy_ledger WHERE key_id = $1 LIMIT 1";
                    client.query_opt(find, &[&&**id]).await.map_err(|e| failed(&e))?.map(|row| row.get(0))
                }
            };
            // A key that was never used has no workspace; its counter is as good as any that is empty.
            places.insert(limit_name(limit), workspace.unwrap_or_default());
        }
        Ok(places)
    }
}

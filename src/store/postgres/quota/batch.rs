//! One transaction: what is read, what is made of it, what is written.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use deadpool_postgres::Object;

use crate::domain::alert::Alert;
use crate::domain::limit::{Limit, Scope};
use crate::store::error::StoreResult;
use crate::store::limit_name::limit_name;
use crate::store::postgres::reports::Reports;
use crate::store::quota::LimitState;

use super::books::{Admission, Books};
use super::{Job, Shared, failed, rows};

/// The limits as this instance has last seen them, by workspace and name. One that comes as another value may have been
/// away meanwhile.
pub(super) type Known = HashMap<(String, String), Arc<Limit>>;

/// What came of a batch, in the order of its jobs.
pub(super) struct Done {
    pub(super) answers: Vec<Answer>,
    pub(super) raised: Vec<Alert>,
}

pub(super) enum Answer {
    Admission(Admission),
    State(Vec<LimitState>),
    Settled,
}

/// One transaction.
pub(super) struct Batch<'a> {
    pub(super) shared: &'a Shared,
    pub(super) reports: &'a Reports,
    pub(super) known: &'a mut Known,
}

impl Batch<'_> {
    pub(super) async fn run(&mut self, jobs: &[Job]) -> StoreResult<Done> {
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

//! Following all jobs that are due, whether their callers come back or not.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::domain::job::Job;
use crate::provider::traits::Target;
use crate::provider::video::VideoProvider;
use crate::store::error::StoreResult;

use super::VideoJobs;
use super::follow::LEASE;

/// How often the store is asked for what is due.
const LOOK: Duration = Duration::from_millis(500);

/// The same, while more is due than was taken.
const SOON: Duration = Duration::from_millis(50);

/// Requests that are under way at the same time.
const AT_ONCE: usize = 256;

/// What one task looks at.
enum Work {
    One(Box<Job>),
    /// Jobs of one vendor that it tells of in one answer, each with its handle there.
    Many(Arc<Target>, Arc<dyn VideoProvider>, Vec<(Job, Arc<str>)>),
}

impl VideoJobs {
    /// Follows jobs, for ever. The host spawns it on every instance, and drops it when it goes down: what it had leased
    /// is due again when the lease ends.
    pub fn drive(&self) -> impl Future<Output = ()> + Send + 'static {
        let jobs = self.clone();
        async move {
            let running = Arc::new(AtomicUsize::new(0));
            loop {
                // A store that cannot be read now is asked again at the next look.
                let is_behind = jobs.start_due(&running).await.unwrap_or(false);
                jobs.0.host.sleep(if is_behind { SOON } else { LOOK }).await;
            }
        }
    }

    /// Starts on what is due, as far as there is room; whether more may be due.
    async fn start_due(&self, running: &Arc<AtomicUsize>) -> StoreResult<bool> {
        let free = AT_ONCE.saturating_sub(running.load(Ordering::Acquire));
        if free == 0 {
            return Ok(true);
        }
        let due = self.take_due(free).await?;
        let is_behind = due.len() == free;
        for work in self.shared_out(due) {
            let (jobs, turn) = (self.clone(), Turn::take(running));
            self.0.host.spawn(Box::pin(async move {
                let _turn = turn;
                // What fails here is due again when the lease ends.
                let _ = jobs.work(work).await;
            }));
        }
        Ok(is_behind)
    }

    async fn take_due(&self, limit: usize) -> StoreResult<Vec<Job>> {
        let now = self.now();
        let due = self.0.store.due(now, now.plus(LEASE), limit).await?;
        self.keep_open(&due).await;
        Ok(due)
    }

    /// Looks at every job that is due now, one request after another, and tells how many jobs those were. For hosts
    /// with a loop of their own, and for tests.
    pub async fn follow_due(&self) -> StoreResult<usize> {
        let due = self.take_due(AT_ONCE).await?;
        let count = due.len();
        for work in self.shared_out(due) {
            self.work(work).await?;
        }
        Ok(count)
    }

    async fn work(&self, work: Work) -> StoreResult<()> {
        match work {
            Work::One(job) => self.follow(*job).await,
            Work::Many(target, codec, jobs) => match codec.batch() {
                Some(batch) => self.follow_many(jobs, &target, &*codec, batch).await,
                None => Ok(()),
            },
        }
    }

    /// Puts jobs of one provider together, where its vendor can be asked for many at once.
    fn shared_out(&self, due: Vec<Job>) -> Vec<Work> {
        let mut groups: HashMap<Arc<str>, Work> = HashMap::new();
        let mut ready = Vec::with_capacity(due.len());
        for job in due {
            let vendor = self.vendor(&job.model).filter(|_| !job.state.is_terminal());
            let group = vendor.and_then(|(target, codec)| {
                let most = codec.batch()?.most();
                let handle = self.handle(&job, &*codec)?;
                Some((target, codec, handle, most))
            });
            let Some((target, codec, handle, most)) = group else {
                ready.push(Work::One(Box::new(job)));
                continue;
            };
            let name = Arc::clone(&target.provider);
            let group = groups.entry(Arc::clone(&name)).or_insert_with(|| Work::Many(target, codec, Vec::new()));
            if let Work::Many(.., jobs) = group {
                jobs.push((job, handle));
                if jobs.len() >= most {
                    ready.extend(groups.remove(&name));
                }
            }
        }
        ready.extend(groups.into_values().map(alone_if_one));
        ready
    }
}

/// A single job is asked for as such: its own answer says more than a list does.
fn alone_if_one(work: Work) -> Work {
    match work {
        Work::Many(target, codec, mut jobs) if jobs.len() == 1 => match jobs.pop() {
            Some((job, _)) => Work::One(Box::new(job)),
            None => Work::Many(target, codec, jobs),
        },
        other => other,
    }
}

/// One of the requests under way; given back on drop, a panic included.
struct Turn(Arc<AtomicUsize>);

impl Turn {
    fn take(running: &Arc<AtomicUsize>) -> Self {
        running.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(running))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

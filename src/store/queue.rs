//! A bounded queue from anywhere (a `Drop` included) to the one task that works it off in batches.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

/// The queue. Pushing never waits; there is one taker.
pub(super) struct Queue<J> {
    state: Mutex<State<J>>,
    wake: Notify,
    /// Jobs that were tried, ever.
    tried: watch::Sender<u64>,
    bound: usize,
}

struct State<J> {
    jobs: VecDeque<J>,
    /// Jobs that were pushed, ever.
    pushed: u64,
    closed: bool,
}

impl<J> Queue<J> {
    /// A queue of at most `bound` jobs.
    pub(super) fn new(bound: usize) -> Self {
        let state = State { jobs: VecDeque::new(), pushed: 0, closed: false };
        Self { state: Mutex::new(state), wake: Notify::new(), tried: watch::Sender::new(0), bound }
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a job; gives it back when the queue is full.
    pub(super) fn push(&self, job: J) -> Result<(), J> {
        {
            let mut state = self.lock();
            if state.jobs.len() >= self.bound {
                return Err(job);
            }
            state.jobs.push_back(job);
            state.pushed += 1;
        }
        self.wake.notify_one();
        Ok(())
    }

    /// Queues a job that must not be lost and whose number is bounded elsewhere.
    pub(super) fn push_surely(&self, job: J) {
        {
            let mut state = self.lock();
            state.jobs.push_back(job);
            state.pushed += 1;
        }
        self.wake.notify_one();
    }

    /// Nothing more will come: the taker may end when the queue is empty.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    /// Waits for jobs and takes up to `most`, in order. `None` when the queue is closed and empty.
    pub(super) async fn take(&self, most: usize) -> Option<Vec<J>> {
        loop {
            if let Some(taken) = self.take_now(most) {
                return taken;
            }
            self.wake.notified().await;
        }
    }

    fn take_now(&self, most: usize) -> Option<Option<Vec<J>>> {
        let mut state = self.lock();
        if state.jobs.is_empty() {
            return state.closed.then_some(None);
        }
        let n = state.jobs.len().min(most);
        Some(Some(state.jobs.drain(..n).collect()))
    }

    /// Notes that `n` taken jobs have been tried.
    pub(super) fn tried(&self, n: usize) {
        self.tried.send_modify(|tried| *tried += n as u64);
    }

    /// Whether a job has been pushed that has not been tried.
    pub(super) fn is_busy(&self) -> bool {
        self.lock().pushed > *self.tried.borrow()
    }

    /// Waits until all that was pushed before has been tried.
    pub(super) async fn flush(&self) {
        let upto = self.lock().pushed;
        let mut tried = self.tried.subscribe();
        // The sender lives as long as `self`.
        let _ = tried.wait_for(|tried| *tried >= upto).await;
    }
}

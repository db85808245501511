//! One thread for each core, each with a runtime of its own; a connection stays on the thread that it was given.
//!
//! What a request wakes runs in its turn, after the other requests that have come by then. So what they write goes out in
//! one run, and whoever reads it on the other side is woken once for many of them: a good part of what a small request
//! costs. In return nobody takes work off a busy thread: connections are dealt out evenly, and a request takes
//! microseconds but for what is awaited.

use std::future::Future;
use std::io;
use std::num::NonZero;
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::Request;
use kancy::HyperClient;
use kancy::http::body::CallBody;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tower::Service;

/// How long the lookups of names may take that are under way at the end.
const LOOKUPS: Duration = Duration::from_millis(100);

/// The threads, and whose turn it is.
pub struct Workers {
    workers: Vec<Worker>,
    next: usize,
}

struct Worker {
    runtime: Handle,
    thread: JoinHandle<()>,
    /// Dropped to end it.
    _stop: oneshot::Sender<()>,
}

impl Workers {
    /// As many as there are cores to run on.
    pub fn start() -> io::Result<Self> {
        let count = thread::available_parallelism().map_or(1, NonZero::get);
        let workers = (0..count).map(|_| Worker::start()).collect::<io::Result<_>>()?;
        Ok(Self { workers, next: 0 })
    }

    /// Runs `future` on the thread whose turn it is.
    pub fn spawn(&mut self, future: impl Future<Output: Send> + Send + 'static) {
        self.next = (self.next + 1) % self.workers.len();
        self.workers[self.next].runtime.spawn(future);
    }

    /// Drops all that still runs, and waits for the threads.
    pub fn stop(self) {
        let threads: Vec<_> = self.workers.into_iter().map(|worker| worker.thread).collect();
        for thread in threads {
            // A panic of a task's is caught by its runtime.
            let _ = thread.join();
        }
    }
}

impl Worker {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let work = move || {
            let _ = runtime.block_on(stopped);
            // A name that is being looked up is not waited for.
            runtime.shutdown_timeout(LOOKUPS);
        };
        let thread = thread::Builder::new().name("kancy-worker".to_owned()).spawn(work)?;
        Ok(Self { runtime: handle, thread, _stop: stop })
    }
}

/// The way to vendors: each thread has connections of its own, so that no request waits for another thread's.
#[derive(Clone)]
pub struct OwnClient;

thread_local! {
    static CLIENT: HyperClient = HyperClient::new();
}

impl Service<Request<CallBody>> for OwnClient {
    type Response = <HyperClient as Service<Request<CallBody>>>::Response;
    type Error = <HyperClient as Service<Request<CallBody>>>::Error;
    type Future = <HyperClient as Service<Request<CallBody>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // As the client itself: it queues nothing.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<CallBody>) -> Self::Future {
        CLIENT.with(|client| client.clone().call(request))
    }
}

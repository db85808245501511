//! Reading on after the caller is gone, so that the vendor's own count is booked instead of an estimate.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use crate::http::meter::Meter;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
type Spawn = dyn Fn(Task) + Send + Sync;

/// Reads answers to their end in the background when their callers have left. The core has no runtime and no timers: the
/// host spawns the task and bounds its time.
///
/// ```
/// use std::time::Duration;
/// let drain = kancy::Drain::new(|task| {
///     tokio::spawn(async move {
///         let _ = tokio::time::timeout(Duration::from_secs(30), task).await;
///     });
/// });
/// # let _ = drain;
/// ```
#[derive(Clone)]
pub struct Drain {
    spawn: Arc<Spawn>,
    running: Arc<AtomicUsize>,
    at_most: usize,
}

impl Drain {
    /// Drains through `spawn`, at most 64 at a time. A task that is dropped early books what it has seen.
    pub fn new(spawn: impl Fn(Task) + Send + Sync + 'static) -> Self {
        Self { spawn: Arc::new(spawn), running: Arc::default(), at_most: 64 }
    }

    /// At most so many at a time; a caller who leaves beyond that is settled at once.
    #[must_use]
    pub fn at_most(mut self, tasks: usize) -> Self {
        self.at_most = tasks;
        self
    }

    /// Runs `rest`, what is left of an answer, in the background. The meter's guards wait for its end.
    pub(crate) fn start(&self, meter: &Meter, rest: impl Future<Output = ()> + Send + 'static) {
        if self.running.fetch_add(1, Ordering::AcqRel) >= self.at_most {
            self.running.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        meter.drain();
        let ended = Ended { meter: meter.clone(), running: Arc::clone(&self.running) };
        (self.spawn)(Box::pin(Draining { rest: Some(Box::pin(rest)), _ended: ended }));
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").field("running", &self.running).field("at_most", &self.at_most).finish_non_exhaustive()
    }
}

struct Draining {
    rest: Option<Task>,
    _ended: Ended,
}

impl Future for Draining {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.rest.as_mut() {
            Some(rest) => rest.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }
}

/// Fires however the task ends: done, timed out or dropped with its runtime.
struct Ended {
    meter: Meter,
    running: Arc<AtomicUsize>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::AcqRel);
        self.meter.drained();
    }
}

//! The host on tokio.

use std::time::Duration;

use crate::base::host::{Host, Task};

/// Tasks and timers of the tokio runtime that it is used on.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioHost;

impl Host for TokioHost {
    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }

    fn sleep(&self, time: Duration) -> Task {
        Box::pin(tokio::time::sleep(time))
    }
}

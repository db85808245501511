//! What the host lends to work that goes on beside requests: tasks and timers. The core has neither.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// A future that a host is given to run, or gives to wait for.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A runtime, as far as this crate needs one. With the feature `client` there is `TokioHost`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot run tasks",
    note = "use `TokioHost`, or implement `Host` over your runtime's `spawn` and `sleep`"
)]
pub trait Host: fmt::Debug + Send + Sync + 'static {
    /// Runs `task` to its end, whoever waits for it or not.
    fn spawn(&self, task: Task);

    /// Ready after `time`.
    fn sleep(&self, time: Duration) -> Task;
}

impl<T: Host + ?Sized> Host for Arc<T> {
    fn spawn(&self, task: Task) {
        (**self).spawn(task);
    }

    fn sleep(&self, time: Duration) -> Task {
        (**self).sleep(time)
    }
}

/// The value of `future`, if it comes within `time`.
pub(crate) async fn within<T>(host: &dyn Host, time: Duration, future: impl Future<Output = T>) -> Option<T> {
    let (mut limit, mut future) = (host.sleep(time), pin!(future));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => limit.as_mut().poll(cx).map(|()| None),
    })
    .await
}

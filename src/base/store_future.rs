//! The future that every asynchronous store method returns.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

/// What an asynchronous store method returns: a value that is ready at once, without an allocation, or a boxed future.
///
/// ```
/// use kancy::StoreFuture;
/// let quick: StoreFuture<u32> = StoreFuture::ready(7);
/// let slow: StoreFuture<u32> = StoreFuture::new(async { 7 });
/// # let _ = (quick, slow);
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct StoreFuture<T>(Kind<T>);

enum Kind<T> {
    Ready(Ready<T>),
    Boxed(Pin<Box<dyn Future<Output = T> + Send>>),
}

impl<T> StoreFuture<T> {
    /// The answer is known already.
    pub fn ready(value: T) -> Self {
        Self(Kind::Ready(ready(value)))
    }

    /// The answer takes I/O.
    pub fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Kind::Boxed(Box::pin(future)))
    }

    /// The value, where it is known without waiting; else the future unchanged.
    pub fn now(self) -> Result<T, Self> {
        match self.0 {
            Kind::Ready(value) => Ok(value.into_inner()),
            boxed @ Kind::Boxed(_) => Err(Self(boxed)),
        }
    }
}

impl<T: Unpin> Future for StoreFuture<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match &mut self.0 {
            Kind::Ready(value) => Pin::new(value).poll(cx),
            Kind::Boxed(future) => future.as_mut().poll(cx),
        }
    }
}

impl<T> fmt::Debug for StoreFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Ready(_) => "StoreFuture::Ready",
            Kind::Boxed(_) => "StoreFuture::Boxed",
        })
    }
}

//! The error by which a client says that a vendor took too long.

use std::error::Error;
use std::fmt;

/// A vendor did not answer in time. A client of your own returns it (or wraps it as a source) so that the caller is told
/// `provider_timeout` instead of `provider_error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimedOut {
    /// No connection within the client's own bound.
    Connect,
    /// No response headers within [`Timeouts::first_byte`](crate::provider::traits::Timeouts).
    FirstByte,
    /// No further piece of the body within [`Timeouts::idle`](crate::provider::traits::Timeouts).
    Idle,
}

impl TimedOut {
    /// Finds it in an error or its sources. An I/O error of kind `TimedOut` counts as [`Connect`](Self::Connect).
    pub fn in_chain(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut link = Some(error);
        while let Some(error) = link {
            if let Some(found) = error.downcast_ref() {
                return Some(*found);
            }
            let io = error.downcast_ref::<std::io::Error>();
            if io.is_some_and(|io| io.kind() == std::io::ErrorKind::TimedOut) {
                return Some(Self::Connect);
            }
            link = error.source();
        }
        None
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "no connection in time",
            Self::FirstByte => "no answer in time",
            Self::Idle => "the answer stopped coming",
        })
    }
}

impl Error for TimedOut {}

//! A connection that is being made, and the request that waits for it or for one that is free before.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use crate::client::BoxError;
use crate::http::vendor::NoConnection;

use super::dial::Dialled;
use super::lease::Lease;
use super::origin::Origin;

/// What a waiter is given: a connection, and whether it has served before.
pub(super) type Fetched = (Dialled, bool);

/// A connection being made. However it ends, those who wait are told.
pub(super) struct Attempt {
    origin: Arc<Origin>,
    ticket: u64,
    /// What came of it. Nothing, where nobody works on it any more.
    end: Option<Result<Dialled, BoxError>>,
}

impl Attempt {
    pub(super) fn new(origin: Arc<Origin>, ticket: u64) -> Self {
        Self { origin, ticket, end: None }
    }

    pub(super) fn end(mut self, dialled: Result<Dialled, BoxError>) {
        self.end = Some(dialled);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let end = self.end.take().unwrap_or_else(|| Err("the connection was given up".into()));
        self.origin.dialled(self.ticket, end);
    }
}

/// A connection to come.
pub(in crate::client) struct Arriving {
    origin: Arc<Origin>,
    given: oneshot::Receiver<Result<Fetched, BoxError>>,
    got: Option<Fetched>,
}

impl Arriving {
    pub(super) fn new(origin: Arc<Origin>, given: oneshot::Receiver<Result<Fetched, BoxError>>) -> Self {
        Self { origin, given, got: None }
    }

    /// The connection, and whether it has served before. `None` when it ended before it could serve, which says nothing of the
    /// next one.
    pub(in crate::client) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<(Lease, bool)>, BoxError>> {
        if self.got.is_none() {
            let given = ready!(Pin::new(&mut self.given).poll(cx));
            let given = given.unwrap_or_else(|gone| Err(gone.into()));
            self.got = Some(given.map_err(NoConnection::new)?);
        }
        let Some((connection, used)) = &mut self.got else { return Poll::Pending };
        let fresh = !*used;
        match ready!(connection.poll_ready(cx)) {
            Ok(()) => {}
            Err(error) if fresh => return Poll::Ready(Err(NoConnection::new(error).into())),
            Err(_) => return Poll::Ready(Ok(None)),
        }
        let got = self.got.take();
        Poll::Ready(Ok(got.map(|(connection, used)| (Lease::new(self.origin.clone(), connection), used))))
    }
}

impl Drop for Arriving {
    /// Whoever waited is gone; the connection may serve somebody else.
    fn drop(&mut self) {
        let given = self.got.take().or_else(|| {
            self.given.close();
            self.given.try_recv().ok()?.ok()
        });
        if let Some((connection, used)) = given {
            self.origin.give(connection, used);
        }
    }
}

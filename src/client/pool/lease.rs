//! A connection while it serves a request.

use std::sync::Arc;

use http::Request;

use crate::http::body::CallBody;

use super::dial::{Answer, Dialled};
use super::origin::Origin;

/// A connection that serves one request. Dropped, an HTTP/1.1 connection ends with its request.
pub(in crate::client) struct Lease {
    origin: Arc<Origin>,
    connection: Dialled,
}

impl Lease {
    pub(super) fn new(origin: Arc<Origin>, connection: Dialled) -> Self {
        Self { origin, connection }
    }

    /// Sends a request, addressed as the connection's version wants it.
    pub(in crate::client) fn send(&mut self, mut request: Request<CallBody>) -> Answer {
        match self.connection {
            Dialled::Http1(_) => self.origin.address_http1(&mut request),
            Dialled::Http2(_) => self.origin.address_http2(&mut request),
        }
        self.connection.send(request)
    }

    pub(in crate::client) fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// For the next request, as soon as hyper has read the answer to its end.
    pub(in crate::client) fn give_back(self) {
        self.origin.give(self.connection, true);
    }
}

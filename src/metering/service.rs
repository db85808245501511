//! The service: arms the guard before the inner service is called.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::domain::caller::Caller;
use crate::http::call::Call;
use crate::http::finish::Once;
use crate::http::headers::request_id;
use crate::http::meter::Meter;

use super::body::MeteringBody;
use super::finish::{Entry, Record};
use super::future::ResponseFuture;
use super::layer::Settings;

/// The service of [`MeteringLayer`](super::MeteringLayer).
#[derive(Clone, Debug)]
pub struct MeteringService<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> MeteringService<S> {
    pub(super) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }

    /// The guard of a request that is to be metered; its meter goes into the extensions.
    fn arm<B>(&self, request: &mut Request<B>) -> Option<Record> {
        let there = request.extensions().get::<Meter>().cloned();
        if there.as_ref().is_some_and(Meter::is_kept) {
            // It belongs to a metering layer further out.
            return None;
        }
        let caller = request.extensions().get::<Caller>().cloned();
        let caller = self.settings.metered(request, caller)?;
        let (request_id, tells_id) = request_id(request);
        let entry = Entry::new(Arc::clone(&self.settings), caller, request_id, request.uri().path());
        let record = match there {
            Some(meter) => Record::behind(meter, entry, tells_id)?,
            None => Record::new(entry, tells_id),
        };
        if let Some(call) = request.extensions().get::<Call>() {
            // The meter is new, or its layer has identified the same call.
            let _ = record.meter().identify(call, Some(call));
        }
        request.extensions_mut().insert(record.meter().clone());
        Some(record)
    }
}

impl<S, B, R> Service<Request<B>> for MeteringService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes>,
{
    type Response = Response<MeteringBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let once = Once::new(self.arm(&mut request));
        ResponseFuture::new(self.inner.call(request), once)
    }
}

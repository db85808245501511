//! One trip to a vendor: its steps, and how it ends when its caller has left.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, response};
use http_body::Body;

use crate::base::error::{Code, Error, Origin};
use crate::base::log;
use crate::base::store_future::StoreFuture;
use crate::http::body::CallBody;
use crate::http::fetch::Fetch;
use crate::http::headers::upstream_request_id;
use crate::http::meter::Meter;
use crate::http::reply::ReplyTo;
use crate::http::vendor::{VendorClient, transport_failure};
use crate::provider::traits::Target;
use crate::wire::dropped::Dropped;

use super::fan::Fan;
use super::making::Making;
use super::pump::Pump;

/// The longest error answer of a vendor that is read.
pub(super) const MAX_FAULT_BYTES: usize = 64 * 1024;

/// What a trip needs from start to end.
pub(super) struct Trip<C: VendorClient> {
    pub(super) reply: ReplyTo,
    pub(super) target: Arc<Target>,
    pub(super) pump: Box<Pump<C::Body>>,
    /// The request of the step that is to begin; `None` where the answer is made in this process.
    pub(super) request: Option<Request<CallBody>>,
    pub(super) client: C,
    /// The head of the caller's answer, as the last step that began has it.
    pub(super) headers: HeaderMap,
    pub(super) dropped: Dropped,
}

/// Where a trip stands.
pub(super) enum Step<C: VendorClient> {
    Refused(ReplyTo, Error),
    /// A video job is made; it goes on without this future.
    Making(Box<Making>),
    /// The hold goes to disk before the vendor is called.
    Journal(StoreFuture<bool>),
    Ready,
    /// Several requests are out side by side.
    Fan(Box<Fan<C>>),
    /// The fetch tells an address that an answer named from the vendor's own.
    Calling(Pin<Box<C::Trip>>, Option<Fetch>),
    Fault {
        parts: Box<response::Parts>,
        body: C::Body,
        read: BytesMut,
    },
    Priming,
    Done,
}

impl<C: VendorClient> Trip<C> {
    pub(super) fn meter(&self) -> &Meter {
        self.pump.meter()
    }

    /// The request has failed: its books and its operator are told.
    pub(super) fn fail(&self, error: &Error) {
        self.meter().fail(error);
        if error.origin() == Origin::Provider {
            log::vendor_failed(self.reply.request_id(), error);
        }
    }

    /// The first step: one request, or several side by side.
    pub(super) fn start(&mut self) -> Step<C> {
        let beside = self.pump.beside();
        if beside.is_empty() {
            return Step::Ready;
        }
        let requests = self.request.take().into_iter().chain(beside);
        let (client, target, meter) = (self.client.clone(), Arc::clone(&self.target), self.meter().clone());
        Step::Fan(Box::new(Fan::new(client, target, meter, requests)))
    }

    /// Begins an answer that no body of the vendor's stands behind.
    pub(super) fn begin_bare(&mut self) -> Result<Step<C>, Error> {
        self.headers = self.pump.begin(&Response::new(()).into_parts().0, None)?;
        Ok(Step::Priming)
    }

    /// Sends a request of the exchange through the client, which is ready.
    pub(super) fn send(&mut self, mut request: Request<CallBody>) -> Step<C> {
        self.target.timeouts.note_in(&mut request);
        let fetch = request.extensions().get::<Fetch>().cloned();
        Step::Calling(Box::pin(self.client.send(request)), fetch)
    }

    /// What an answer's head asks for next. Only a fetch may be sent elsewhere, and only where it may go.
    pub(super) fn answered(&mut self, response: Response<C::Body>, fetch: Option<Fetch>) -> Result<Step<C>, Error> {
        let (parts, body) = response.into_parts();
        if parts.status.is_success() {
            if fetch.is_none() {
                self.note_id(&parts);
            }
            return match self.pump.begin(&parts, Some(body)) {
                Ok(headers) => {
                    self.headers = headers;
                    Ok(Step::Priming)
                }
                Err(error) => self.stumble(error),
            };
        }
        let Some(fetch) = fetch else {
            self.note_id(&parts);
            return Ok(Step::Fault { parts: Box::new(parts), body, read: BytesMut::new() });
        };
        match fetch.redirected(&parts) {
            Ok(request) => {
                self.request = Some(request);
                Ok(Step::Ready)
            }
            Err(error) => self.stumble(error),
        }
    }

    /// Goes on without a step that failed, where the decoder can.
    pub(super) fn stumble(&mut self, error: Error) -> Result<Step<C>, Error> {
        self.pump.stumble(error).map(|()| Step::Priming)
    }

    pub(super) fn note_id(&self, parts: &response::Parts) {
        if let Some(id) = upstream_request_id(&parts.headers) {
            self.meter().upstream_request_id(id.into());
        }
    }
}

/// The rest of a step whose caller left before the head: read for the meter's sake alone. Further steps are not sent.
pub(super) async fn finish_call<C: VendorClient>(call: Pin<Box<C::Trip>>, mut trip: Box<Trip<C>>) {
    let step = match call.await {
        Ok(response) => trip.answered(response, None),
        Err(error) => Err(transport_failure(&*error)),
    };
    match step {
        Ok(Step::Priming) => trip.pump.drain().await,
        Ok(Step::Fault { parts, mut body, mut read }) => {
            std::future::poll_fn(|cx| poll_collect(&mut body, &mut read, cx)).await;
            trip.fail(&trip.target.codec.fault(parts.status, &parts.headers, &read));
        }
        Ok(_) => {}
        Err(error) => trip.fail(&error),
    }
}

/// The same of requests side by side: those that are out come in, no more are sent.
pub(super) async fn finish_fan<C: VendorClient>(mut fan: Box<Fan<C>>, mut trip: Box<Trip<C>>) {
    fan.stop();
    while let Some((at, answer)) = std::future::poll_fn(|cx| fan.poll_next(cx)).await {
        trip.pump.part(at, answer);
    }
    match trip.begin_bare() {
        Ok(_) => trip.pump.drain().await,
        Err(error) => trip.fail(&error),
    }
}

/// Reads an error answer up to its bound. One that breaks off counts as far as it came.
pub(super) fn poll_collect<B: Body<Data = Bytes> + Unpin>(
    body: &mut B,
    read: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<()> {
    while let Some(Ok(frame)) = ready!(Pin::new(&mut *body).poll_frame(cx)) {
        if let Some(data) = frame.data_ref() {
            let room = MAX_FAULT_BYTES - read.len();
            read.extend_from_slice(&data[..data.len().min(room)]);
            if read.len() == MAX_FAULT_BYTES {
                break;
            }
        }
    }
    Poll::Ready(())
}

/// Where the host cannot wait any longer for a vendor.
pub(super) fn going_down() -> Error {
    Error::new(Code::InternalError, "The gateway was shut down before the answer was whole. Send the request again.")
}

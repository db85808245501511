//! One trip to a vendor: journal, call, and the first piece of the answer.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, response};
use http_body::Body;

use crate::base::clock::Clock;
use crate::base::error::{Code, Error, Origin};
use crate::base::log;
use crate::base::store_future::StoreFuture;
use crate::domain::endpoint::Endpoint;
use crate::http::body::{CallBody, ResponseBody};
use crate::http::headers::{DROPPED, upstream_request_id};
use crate::http::meter::Meter;
use crate::http::reply::ReplyTo;
use crate::jobs::{Creation, VideoJobs};
use crate::provider::traits::{Decoder, Target};

use super::body::RouteBody;
use super::drain::Drain;
use super::pump::Pump;
use crate::http::vendor::transport_failure;
use crate::http::vendor::{VendorBody, VendorClient};

/// The longest error answer of a vendor that is read.
const MAX_FAULT_BYTES: usize = 64 * 1024;

/// What a trip needs from start to end.
pub(super) struct Trip {
    pub(super) reply: ReplyTo,
    pub(super) meter: Meter,
    pub(super) target: Arc<Target>,
    pub(super) decoder: Box<dyn Decoder>,
    pub(super) dropped: Vec<&'static str>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) drain: Option<Drain>,
}

/// A video job in the making.
pub(super) struct Making {
    pub(super) reply: ReplyTo,
    pub(super) meter: Meter,
    pub(super) endpoint: Endpoint,
    pub(super) jobs: VideoJobs,
    pub(super) creation: Creation,
}

impl Making {
    fn poll_answer<RB: VendorBody>(&mut self, cx: &mut Context<'_>) -> Poll<Answer<RB>> {
        let job = match ready!(self.creation.as_mut().poll(cx)) {
            Ok(job) => job,
            Err(error) => {
                self.meter.fail(&error);
                if error.origin() == Origin::Provider {
                    log::vendor_failed(self.reply.request_id(), &error);
                }
                return Poll::Ready(self.reply.error(&error));
            }
        };
        let (mut headers, object) = self.jobs.accepted(self.endpoint, &job);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut response = Response::new(ResponseBody::reply(object.to_string().into()));
        *response.status_mut() = StatusCode::ACCEPTED;
        *response.headers_mut() = headers;
        self.reply.stamp(&mut response);
        Poll::Ready(response)
    }
}

impl Trip {
    /// The request has failed: its books and its operator are told.
    fn fail(&self, error: &Error) {
        self.meter.fail(error);
        if error.origin() == Origin::Provider {
            log::vendor_failed(self.reply.request_id(), error);
        }
    }
}

/// The future of [`ProviderRouteService`](super::ProviderRouteService).
pub struct RouteFuture<C: VendorClient> {
    trip: Option<Trip>,
    step: Step<C>,
}

enum Step<C: VendorClient> {
    Refused(ReplyTo, Error),
    /// A video job is made; it goes on without this future.
    Making(Box<Making>),
    /// The hold goes to disk before the vendor is called.
    Journal(StoreFuture<bool>, Option<Request<CallBody>>, C),
    Ready(Option<Request<CallBody>>, C),
    Calling(Pin<Box<C::Trip>>),
    Fault {
        parts: Box<response::Parts>,
        body: C::Body,
        read: BytesMut,
    },
    Priming {
        headers: HeaderMap,
        pump: Pump<C::Body>,
    },
    Done,
}

type Answer<RB> = Response<ResponseBody<RouteBody<RB>>>;

impl<C: VendorClient> RouteFuture<C> {
    pub(super) fn refused(reply: ReplyTo, meter: Meter, error: Error) -> Self {
        meter.fail(&error);
        Self { trip: None, step: Step::Refused(reply, error) }
    }

    pub(super) fn making(making: Making) -> Self {
        Self { trip: None, step: Step::Making(Box::new(making)) }
    }

    pub(super) fn new(trip: Trip, request: Option<Request<CallBody>>, client: C) -> Self {
        let request = request.map(|mut r| {
            r.extensions_mut().insert(trip.target.timeouts);
            r
        });
        let step = Step::Journal(trip.meter.open(), request, client);
        Self { trip: Some(trip), step }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer<C::Body>, Error>> {
        let Some(trip) = self.trip.as_mut() else {
            return Poll::Ready(Err(Error::new(Code::InternalError, "The answer was taken already.")));
        };
        loop {
            self.step = match &mut self.step {
                Step::Journal(open, ..) => {
                    if !ready!(Pin::new(open).poll(cx)) {
                        return Poll::Ready(Err(Error::new(
                            Code::LedgerUnavailable,
                            "The ledger cannot be written, so nothing was sent to the vendor. Try again shortly.",
                        )
                        .should_retry(true)));
                    }
                    match std::mem::replace(&mut self.step, Step::Done) {
                        Step::Journal(_, request, client) => Step::Ready(request, client),
                        _ => Step::Done,
                    }
                }
                Step::Ready(request, client) => {
                    if request.is_some() {
                        ready!(client.poll_free(cx)).map_err(|e| transport_failure(&*e))?;
                    }
                    trip.meter.call();
                    match request.take() {
                        Some(request) => Step::Calling(Box::pin(client.send(request))),
                        None => Self::prime(trip, None, &Response::new(()).into_parts().0)?,
                    }
                }
                Step::Calling(call) => {
                    let response = ready!(call.as_mut().poll(cx)).map_err(|e| transport_failure(&*e))?;
                    let (parts, body) = response.into_parts();
                    if let Some(id) = upstream_request_id(&parts.headers) {
                        trip.meter.upstream_request_id(id.into());
                    }
                    if parts.status.is_success() {
                        Self::prime(trip, Some(body), &parts)?
                    } else {
                        Step::Fault { parts: Box::new(parts), body, read: BytesMut::new() }
                    }
                }
                Step::Fault { parts, body, read } => {
                    ready!(poll_collect(body, read, cx));
                    return Poll::Ready(Err(trip.target.codec.fault(parts.status, &parts.headers, read)));
                }
                Step::Priming { pump, .. } => {
                    let first = ready!(pump.poll_next(cx)).transpose()?;
                    return Poll::Ready(Ok(self.answer(first)));
                }
                Step::Refused(..) | Step::Making(_) | Step::Done => {
                    return Poll::Ready(Err(Error::new(Code::InternalError, "The answer was taken already.")));
                }
            };
        }
    }

    fn prime(trip: &mut Trip, body: Option<C::Body>, parts: &response::Parts) -> Result<Step<C>, Error> {
        let headers = trip.decoder.head(parts)?;
        let decoder = std::mem::replace(&mut trip.decoder, Box::new(Spent));
        let pump = Pump::new(body, decoder, trip.meter.clone(), Arc::clone(&trip.clock));
        Ok(Step::Priming { headers, pump })
    }

    fn answer(&mut self, first: Option<Bytes>) -> Answer<C::Body> {
        let (trip, step) = (self.trip.take(), std::mem::replace(&mut self.step, Step::Done));
        let (Some(trip), Step::Priming { mut headers, pump }) = (trip, step) else {
            return Response::new(ResponseBody::reply(Bytes::new()));
        };
        let is_event_stream = headers.get(CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"text/event-stream"));
        if let Some(dropped) =
            (!trip.dropped.is_empty()).then(|| HeaderValue::from_str(&trip.dropped.join(",")).ok()).flatten()
        {
            headers.insert(DROPPED, dropped);
        }
        let request_id = trip.reply.request_id().clone();
        let body = RouteBody::new(first, pump, is_event_stream, request_id, trip.meter, trip.drain);
        let mut response = Response::new(ResponseBody::inner(body));
        *response.status_mut() = StatusCode::OK;
        *response.headers_mut() = headers;
        trip.reply.stamp(&mut response);
        response
    }
}

// Nothing in it is pinned in place: the client's future has a box of its own, so that a drain can take it over.
impl<C: VendorClient> Unpin for RouteFuture<C> {}

impl<C: VendorClient> Future for RouteFuture<C> {
    type Output = Result<Answer<C::Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Step::Refused(reply, error) = &self.step {
            return Poll::Ready(Ok(reply.error(error)));
        }
        if let Step::Making(making) = &mut self.step {
            return making.poll_answer(cx).map(Ok);
        }
        Poll::Ready(Ok(match ready!(self.poll_answer(cx)) {
            Ok(answer) => answer,
            Err(error) => {
                self.step = Step::Done;
                match self.trip.take() {
                    Some(trip) => {
                        trip.fail(&error);
                        trip.reply.error(&error)
                    }
                    None => Response::new(ResponseBody::reply(Bytes::new())),
                }
            }
        }))
    }
}

impl<C: VendorClient> Drop for RouteFuture<C> {
    fn drop(&mut self) {
        let Some(trip) = self.trip.take() else { return };
        let Some(drain) = trip.drain.clone().filter(|_| !std::thread::panicking()) else { return };
        match std::mem::replace(&mut self.step, Step::Done) {
            Step::Calling(call) => drain.start(&trip.meter.clone(), finish_call::<C>(call, trip)),
            Step::Priming { pump, .. } => drain.start(&trip.meter, pump.drain()),
            _ => {}
        }
    }
}

/// The rest of a trip whose caller left before the head: read for the meter's sake alone.
async fn finish_call<C: VendorClient>(call: Pin<Box<C::Trip>>, mut trip: Trip) {
    let response = call.await.map_err(|e| transport_failure(&*e));
    let failure = match response {
        Err(error) => error,
        Ok(response) => {
            let (parts, mut body) = response.into_parts();
            if parts.status.is_success() {
                match RouteFuture::<C>::prime(&mut trip, Some(body), &parts) {
                    Ok(Step::Priming { pump, .. }) => return pump.drain().await,
                    Ok(_) => return,
                    Err(error) => error,
                }
            } else {
                let mut read = BytesMut::new();
                std::future::poll_fn(|cx| poll_collect(&mut body, &mut read, cx)).await;
                trip.target.codec.fault(parts.status, &parts.headers, &read)
            }
        }
    };
    trip.fail(&failure);
}

/// Reads an error answer up to its bound. One that breaks off counts as far as it came.
fn poll_collect<B: Body<Data = Bytes> + Unpin>(body: &mut B, read: &mut BytesMut, cx: &mut Context<'_>) -> Poll<()> {
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

/// Stands where a decoder was taken from.
struct Spent;

impl Decoder for Spent {
    fn head(&mut self, _: &response::Parts) -> Result<HeaderMap, Error> {
        Ok(HeaderMap::new())
    }

    fn push(&mut self, _: Bytes, _: &mut crate::provider::traits::Output) -> Result<(), Error> {
        Ok(())
    }

    fn finish(&mut self, _: &mut crate::provider::traits::Output) -> Result<(), Error> {
        Ok(())
    }
}

impl<C: VendorClient> fmt::Debug for RouteFuture<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteFuture").finish_non_exhaustive()
    }
}

//! The future of the route: a trip to a vendor, up to the first piece of the answer.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::base::error::{Code, Error};
use crate::http::body::ResponseBody;
use crate::http::headers::{ACCEL_BUFFERING, DROPPED};
use crate::http::meter::Meter;
use crate::http::reply::ReplyTo;
use crate::http::vendor::{VendorClient, transport_failure};

use super::body::RouteBody;
use super::making::Making;
use super::trip::{Step, Trip, finish_call, finish_fan, going_down, poll_collect};

/// What a caller gets.
pub(super) type Answer<RB> = Response<ResponseBody<RouteBody<RB>>>;

/// The future of [`ProviderRouteService`](super::ProviderRouteService).
pub struct RouteFuture<C: VendorClient> {
    /// In a box: futures are moved about, layer by layer.
    trip: Option<Box<Trip<C>>>,
    step: Step<C>,
}

impl<C: VendorClient> RouteFuture<C> {
    pub(super) fn refused(reply: ReplyTo, meter: Meter, error: Error) -> Self {
        meter.fail(&error);
        Self { trip: None, step: Step::Refused(reply, error) }
    }

    pub(super) fn making(making: Making) -> Self {
        Self { trip: None, step: Step::Making(Box::new(making)) }
    }

    pub(super) fn new(trip: Box<Trip<C>>) -> Self {
        let step = Step::Journal(trip.meter().open());
        Self { trip: Some(trip), step }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer<C::Body>, Error>> {
        let Some(trip) = self.trip.as_mut() else {
            return Poll::Ready(Err(taken()));
        };
        loop {
            self.step = match &mut self.step {
                Step::Journal(open) => {
                    if !ready!(Pin::new(open).poll(cx)) {
                        return Poll::Ready(Err(Error::new(
                            Code::LedgerUnavailable,
                            "The ledger cannot be written, so nothing was sent to the vendor. Try again shortly.",
                        )));
                    }
                    trip.start()
                }
                Step::Ready => {
                    let free = if trip.request.is_some() { ready!(trip.client.poll_free(cx)) } else { Ok(()) };
                    if free.is_ok() {
                        trip.meter().call()?;
                    }
                    match trip.request.take() {
                        Some(request) => match free {
                            Ok(()) => trip.send(request),
                            Err(error) => trip.stumble(transport_failure(&*error))?,
                        },
                        None => trip.begin_bare()?,
                    }
                }
                Step::Fan(fan) => match ready!(fan.poll_next(cx)) {
                    Some((at, answer)) => {
                        if !trip.pump.part(at, answer) {
                            fan.stop();
                        }
                        continue;
                    }
                    None => trip.begin_bare()?,
                },
                Step::Calling(call, fetch) => match ready!(call.as_mut().poll(cx)) {
                    Ok(response) => trip.answered(response, fetch.take())?,
                    Err(error) => trip.stumble(transport_failure(&*error))?,
                },
                Step::Fault { parts, body, read } => {
                    ready!(poll_collect(body, read, cx));
                    let error = trip.target.codec.fault(parts.status, &parts.headers, read);
                    trip.stumble(error)?
                }
                Step::Priming => {
                    let first = ready!(trip.pump.poll_next(cx)).transpose()?;
                    match trip.pump.next_request().filter(|_| first.is_none()) {
                        Some(request) => {
                            trip.request = Some(request);
                            Step::Ready
                        }
                        None => return Poll::Ready(Ok(self.answer(first))),
                    }
                }
                Step::Refused(..) | Step::Making(_) | Step::Done => return Poll::Ready(Err(taken())),
            };
        }
    }

    fn is_closing(&self) -> bool {
        self.trip.as_ref().is_some_and(|trip| trip.meter().is_closing())
    }

    fn answer(&mut self, first: Option<Bytes>) -> Answer<C::Body> {
        self.step = Step::Done;
        let Some(mut trip) = self.trip.take() else {
            return Response::new(ResponseBody::reply(Bytes::new()));
        };
        let mut headers = std::mem::take(&mut trip.headers);
        let is_event_stream = is_event_stream(&headers);
        if is_event_stream {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            // Proxies that would gather events are told not to.
            headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
        }
        if let Some(dropped) = trip.dropped.header() {
            headers.insert(DROPPED, dropped);
        }
        let body = RouteBody::new(first, trip.pump, is_event_stream);
        let mut response = Response::new(ResponseBody::inner(body));
        *response.status_mut() = StatusCode::OK;
        *response.headers_mut() = headers;
        trip.reply.stamp(&mut response);
        response
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    const EVENT_STREAM: &[u8] = b"text/event-stream";
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.as_bytes().get(..EVENT_STREAM.len()));
    media_type.is_some_and(|media_type| media_type.eq_ignore_ascii_case(EVENT_STREAM))
}

fn taken() -> Error {
    Error::new(Code::InternalError, "The answer was taken already.")
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
        // Nobody is woken for this: a host that wants it polls once more when it closes.
        let answer = match self.poll_answer(cx) {
            Poll::Pending if self.is_closing() => Poll::Ready(Err(going_down())),
            answer => answer,
        };
        Poll::Ready(Ok(match ready!(answer) {
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
        let Some(drain) = trip.pump.drain_to().filter(|_| !std::thread::panicking()) else { return };
        match std::mem::replace(&mut self.step, Step::Done) {
            Step::Calling(call, None) => drain.start(&trip.meter().clone(), finish_call::<C>(call, trip)),
            Step::Fan(fan) => drain.start(&trip.meter().clone(), finish_fan(fan, trip)),
            Step::Priming => drain.start(&trip.meter().clone(), trip.pump.drain()),
            _ => {}
        }
    }
}

impl<C: VendorClient> fmt::Debug for RouteFuture<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteFuture").finish_non_exhaustive()
    }
}

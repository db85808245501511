//! One trip to a vendor: journal, call, and the first piece of the answer.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, response};
use http_body::Body;

use crate::base::error::{Code, Error, Origin};
use crate::base::log;
use crate::base::store_future::StoreFuture;
use crate::domain::endpoint::Endpoint;
use crate::http::body::{CallBody, ResponseBody};
use crate::http::fetch::Fetch;
use crate::http::headers::{ACCEL_BUFFERING, DROPPED, upstream_request_id};
use crate::http::meter::Meter;
use crate::http::reply::ReplyTo;
use crate::jobs::{Creation, VideoJobs};
use crate::provider::traits::Target;

use super::body::RouteBody;
use super::fan::Fan;
use super::pump::Pump;
use crate::http::vendor::transport_failure;
use crate::http::vendor::{VendorBody, VendorClient};
use crate::wire::dropped::Dropped;

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
        let mut response = self.jobs.accepted(self.endpoint, &job);
        self.reply.stamp(&mut response);
        Poll::Ready(response)
    }
}

impl<C: VendorClient> Trip<C> {
    fn meter(&self) -> &Meter {
        self.pump.meter()
    }

    /// The request has failed: its books and its operator are told.
    fn fail(&self, error: &Error) {
        self.meter().fail(error);
        if error.origin() == Origin::Provider {
            log::vendor_failed(self.reply.request_id(), error);
        }
    }
}

/// The future of [`ProviderRouteService`](super::ProviderRouteService).
pub struct RouteFuture<C: VendorClient> {
    /// In a box: futures are moved about, layer by layer.
    trip: Option<Box<Trip<C>>>,
    step: Step<C>,
}

enum Step<C: VendorClient> {
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

type Answer<RB> = Response<ResponseBody<RouteBody<RB>>>;

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
                        trip.meter().call();
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

/// Where the host cannot wait any longer for a vendor.
pub(super) fn going_down() -> Error {
    Error::new(Code::InternalError, "The gateway was shut down before the answer was whole. Send the request again.")
}

fn taken() -> Error {
    Error::new(Code::InternalError, "The answer was taken already.")
}

impl<C: VendorClient> Trip<C> {
    /// The first step: one request, or several side by side.
    fn start(&mut self) -> Step<C> {
        let beside = self.pump.beside();
        if beside.is_empty() {
            return Step::Ready;
        }
        let requests = self.request.take().into_iter().chain(beside);
        let (client, target, meter) = (self.client.clone(), Arc::clone(&self.target), self.meter().clone());
        Step::Fan(Box::new(Fan::new(client, target, meter, requests)))
    }

    /// Begins an answer that no body of the vendor's stands behind.
    fn begin_bare(&mut self) -> Result<Step<C>, Error> {
        self.headers = self.pump.begin(&Response::new(()).into_parts().0, None)?;
        Ok(Step::Priming)
    }

    /// Sends a request of the exchange through the client, which is ready.
    fn send(&mut self, mut request: Request<CallBody>) -> Step<C> {
        self.target.timeouts.note_in(&mut request);
        let fetch = request.extensions().get::<Fetch>().cloned();
        Step::Calling(Box::pin(self.client.send(request)), fetch)
    }

    /// What an answer's head asks for next. Only a fetch may be sent elsewhere, and only where it may go.
    fn answered(&mut self, response: Response<C::Body>, fetch: Option<Fetch>) -> Result<Step<C>, Error> {
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
    fn stumble(&mut self, error: Error) -> Result<Step<C>, Error> {
        self.pump.stumble(error).map(|()| Step::Priming)
    }

    fn note_id(&self, parts: &response::Parts) {
        if let Some(id) = upstream_request_id(&parts.headers) {
            self.meter().upstream_request_id(id.into());
        }
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

/// The rest of a step whose caller left before the head: read for the meter's sake alone. Further steps are not sent.
async fn finish_call<C: VendorClient>(call: Pin<Box<C::Trip>>, mut trip: Box<Trip<C>>) {
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
async fn finish_fan<C: VendorClient>(mut fan: Box<Fan<C>>, mut trip: Box<Trip<C>>) {
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

impl<C: VendorClient> fmt::Debug for RouteFuture<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteFuture").finish_non_exhaustive()
    }
}

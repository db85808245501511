//! Several requests of one exchange, side by side, each answer read whole.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response, response};
use http_body::Body;

use crate::base::error::{Code, Error};
use crate::http::body::{CallBody, Segments};
use crate::http::headers::upstream_request_id;
use crate::http::meter::Meter;
use crate::http::vendor::{VendorClient, transport_failure};
use crate::provider::traits::Target;
use crate::wire::pieces::Pieces;

use super::trip::MAX_FAULT_BYTES;

/// So many are out at a time.
const AT_ONCE: usize = 5;
/// The longest answer to one of them: a picture of 4096 × 4096 in base64, not compressed.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// The requests, and where each is. Dropped, it hangs up on all that are out.
pub(super) struct Fan<C: VendorClient> {
    client: C,
    target: Arc<Target>,
    meter: Meter,
    waiting: VecDeque<(usize, Request<CallBody>)>,
    out: Vec<Run<C>>,
}

struct Run<C: VendorClient> {
    at: usize,
    client: C,
    step: Step<C>,
}

enum Step<C: VendorClient> {
    Ready(Option<Box<Request<CallBody>>>),
    Calling(Pin<Box<C::Trip>>),
    Reading { parts: Box<response::Parts>, body: C::Body, read: Pieces },
}

impl<C: VendorClient> Fan<C> {
    pub(super) fn new(
        client: C,
        target: Arc<Target>,
        meter: Meter,
        requests: impl Iterator<Item = Request<CallBody>>,
    ) -> Self {
        Self { client, target, meter, waiting: requests.enumerate().collect(), out: Vec::with_capacity(AT_ONCE) }
    }

    /// Sends no more; what is out goes on.
    pub(super) fn stop(&mut self) {
        self.waiting.clear();
        self.out.retain(|run| !matches!(run.step, Step::Ready(_)));
    }

    /// The next answer that has ended, and the number of its request; `None` once all have.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, Result<Segments, Error>)>> {
        while self.out.len() < AT_ONCE
            && let Some((at, mut request)) = self.waiting.pop_front()
        {
            self.target.timeouts.note_in(&mut request);
            self.out.push(Run { at, client: self.client.clone(), step: Step::Ready(Some(Box::new(request))) });
        }
        for place in 0..self.out.len() {
            if let Poll::Ready(answer) = self.out[place].poll(&self.target, &self.meter, cx) {
                return Poll::Ready(Some((self.out.remove(place).at, answer)));
            }
        }
        if self.out.is_empty() { Poll::Ready(None) } else { Poll::Pending }
    }
}

impl<C: VendorClient> Run<C> {
    fn poll(&mut self, target: &Target, meter: &Meter, cx: &mut Context<'_>) -> Poll<Result<Segments, Error>> {
        loop {
            self.step = match &mut self.step {
                Step::Ready(request) => {
                    ready!(self.client.poll_free(cx)).map_err(|error| transport_failure(&*error))?;
                    let Some(request) = request.take() else { return Poll::Ready(Err(over())) };
                    // From here on the vendor may bill.
                    meter.call()?;
                    Step::Calling(Box::pin(self.client.send(*request)))
                }
                Step::Calling(call) => match ready!(call.as_mut().poll(cx)) {
                    Ok(response) => Step::answered(response, meter),
                    Err(error) => return Poll::Ready(Err(transport_failure(&*error))),
                },
                Step::Reading { parts, body, read } if parts.status.is_success() => {
                    return poll_read(body, read, MAX_ANSWER, cx);
                }
                Step::Reading { parts, body, read } => {
                    let whole = ready!(poll_read(body, read, MAX_FAULT_BYTES, cx));
                    // One that breaks off, or goes on too long, counts as far as it came.
                    let said = whole.unwrap_or_else(|_| Segments::new(std::mem::take(read).done()));
                    return Poll::Ready(Err(target.codec.fault(parts.status, &parts.headers, &said.joined())));
                }
            };
        }
    }
}

impl<C: VendorClient> Step<C> {
    fn answered(response: Response<C::Body>, meter: &Meter) -> Self {
        let (parts, body) = response.into_parts();
        if let Some(id) = upstream_request_id(&parts.headers) {
            meter.upstream_request_id(id.into());
        }
        Self::Reading { parts: Box::new(parts), body, read: Pieces::default() }
    }
}

/// Reads to the end. After a failure, what came stays in `read`.
fn poll_read<B>(body: &mut B, read: &mut Pieces, most: usize, cx: &mut Context<'_>) -> Poll<Result<Segments, Error>>
where
    B: Body<Data = Bytes, Error: Into<crate::http::vendor::BoxError>> + Unpin,
{
    loop {
        match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                let piece = frame.into_data().unwrap_or_default();
                if piece.len() > most - read.len() {
                    let message = "The vendor's answer is larger than a picture can be.";
                    return Poll::Ready(Err(Error::provider(Code::ProviderError, message)));
                }
                read.push(piece);
            }
            Some(Err(error)) => return Poll::Ready(Err(transport_failure(&*error.into()))),
            None => return Poll::Ready(Ok(Segments::new(std::mem::take(read).done()))),
        }
    }
}

fn over() -> Error {
    Error::new(Code::InternalError, "The request was sent already.")
}

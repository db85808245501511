//! The pump: a vendor's body pushed through its decoder, and the meter kept informed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Request, response};
use http_body::Body;

use crate::base::error::{Code, Error};
use crate::base::id::RequestId;
use crate::domain::usage::Usage;
use crate::http::body::{CallBody, Segments};
use crate::http::closing::Watch;
use crate::http::meter::Meter;
use crate::http::vendor::{VendorBody, transport_failure};
use crate::provider::traits::{Decoder, MadeAs, Output};

use super::drain::Drain;
use super::service::Way;
use super::trip::going_down;

/// What is left of a vendor's answer, over all steps of an exchange.
pub(super) struct Pump<B> {
    /// `None` once it has ended, and for answers made in this process.
    body: Option<B>,
    decoder: Box<dyn Decoder>,
    output: Output,
    request_id: RequestId,
    meter: Meter,
    way: Arc<Way>,
    over: bool,
    /// Whether the caller was given anything.
    begun: bool,
    /// The request of the next step. In a box: few exchanges have one.
    next: Option<Box<Request<CallBody>>>,
    /// Made when a stream first waits for its vendor.
    watch: Option<Watch>,
}

impl<B: VendorBody> Pump<B> {
    pub(super) fn new(decoder: Box<dyn Decoder>, request_id: RequestId, meter: Meter, way: Arc<Way>) -> Self {
        Self {
            body: None,
            decoder,
            output: Output::default(),
            request_id,
            meter,
            way,
            over: false,
            begun: false,
            next: None,
            watch: None,
        }
    }

    /// Begins a step with the vendor's answer to it. Gives the head of the caller's answer, should it be the last.
    pub(super) fn begin(&mut self, parts: &response::Parts, body: Option<B>) -> Result<HeaderMap, Error> {
        let headers = self.decoder.head(parts)?;
        self.body = body;
        self.over = false;
        Ok(headers)
    }

    /// The request of the next step, once all of this one has been read.
    pub(super) fn next_request(&mut self) -> Option<Request<CallBody>> {
        self.next.take().map(|next| *next)
    }

    pub(super) fn request_id(&self) -> &RequestId {
        &self.request_id
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Where what is left is read on when its caller has gone.
    pub(super) fn drain_to(&self) -> Option<Drain> {
        self.way.drain.clone()
    }

    /// The requests that go out beside the exchange's own.
    pub(super) fn beside(&mut self) -> Vec<Request<CallBody>> {
        self.decoder.beside()
    }

    /// One of several answers has ended; `false` where the rest is not worth sending.
    pub(super) fn part(&mut self, at: usize, answer: Result<Segments, Error>) -> bool {
        let goes_on = self.decoder.part(at, answer, &mut self.output);
        self.inform();
        goes_on
    }

    /// Ends a step that failed. Where the exchange cannot go on without it, the error comes back, and is in the meter.
    pub(super) fn stumble(&mut self, error: Error) -> Result<(), Error> {
        self.leave_off();
        // Bytes that are out cannot be taken back: only a decoder that has written nothing may do without the step.
        let result = if self.has_said() {
            Err(error)
        } else {
            self.output.forget();
            self.decoder.stumbled(error, &mut self.output)
        };
        self.inform();
        if result.is_ok() {
            self.next = self.decoder.next_request().map(Box::new);
        }
        result.inspect_err(|error| self.meter.fail(error))
    }

    /// The next bytes for the caller; `None` at the end. An error is the end, too, and is in the meter already.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        loop {
            self.look_for_end(cx);
            let is_prelude = !self.begun && !self.over && self.output.is_prelude();
            if !is_prelude && let Some(frame) = self.next_frame() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.over {
                return Poll::Ready(None);
            }
            let step = match self.poll_step(cx) {
                Poll::Ready(step) => step,
                Poll::Pending if is_prelude => return Poll::Ready(self.next_frame().map(Ok)),
                Poll::Pending => return Poll::Pending,
            };
            self.inform();
            let step = match step {
                Ok(()) if self.over && self.next.is_none() && !self.output.is_complete() => Err(self.cut_short()),
                step => step,
            };
            if let Err(error) = step {
                // What was whole before the vendor stumbled stays whole.
                if self.output.is_complete() {
                    self.leave_off();
                    continue;
                }
                let Err(error) = self.stumble(error) else { continue };
                return match self.output.next_frame() {
                    // Bytes of the same push go first; the error is kept for the next call.
                    Some(frame) => {
                        self.begun = true;
                        self.decoder = Box::new(Failed(Some(error)));
                        self.over = false;
                        Poll::Ready(Some(Ok(frame)))
                    }
                    None => Poll::Ready(Some(Err(error))),
                };
            }
        }
    }

    fn next_frame(&mut self) -> Option<Bytes> {
        let frame = self.output.next_frame()?;
        if !self.begun {
            self.begun = true;
            self.meter.first_byte(self.way.clock.now());
        }
        Some(frame)
    }

    /// Whether the caller was given anything that says something, or will be.
    fn has_said(&self) -> bool {
        self.begun || (self.output.has_frames() && !self.output.is_prelude())
    }

    /// A stream waits for its vendor, whom the host may not be able to wait for: the caller is told so by an error, or by
    /// nothing where its answer is whole. Registers to be woken at the first wait; what arrives in time costs nothing.
    pub(super) fn poll_cut(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let Some(closing) = self.meter.closing() else { return Poll::Pending };
        ready!(self.watch.get_or_insert_with(|| closing.watch()).poll_closed(cx));
        self.leave_off();
        if self.output.is_complete() {
            return Poll::Ready(None);
        }
        let error = going_down();
        self.meter.fail(&error);
        Poll::Ready(Some(Err(error)))
    }

    /// Where an answer is whole before any of it goes out, its end has mostly come as well: then it has a length. It is not
    /// waited for, as some vendors keep it back.
    fn look_for_end(&mut self, cx: &mut Context<'_>) {
        if self.begun || self.over || !self.output.is_complete() {
            return;
        }
        if let Poll::Ready(step) = self.poll_step(cx) {
            self.inform();
            if step.is_err() {
                self.leave_off();
            }
        }
    }

    fn leave_off(&mut self) {
        self.over = true;
        self.body = None;
    }

    /// One piece of the vendor's body, or its end.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let frame = match self.body.as_mut() {
            Some(body) => ready!(Pin::new(body).poll_frame(cx)),
            None => None,
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                let pushed = match frame.into_data() {
                    Ok(data) => self.decoder.push(data, &mut self.output),
                    Err(_trailers) => Ok(()),
                };
                // A body that says it is over is not asked again: then an answer in one piece has a length.
                match pushed {
                    Ok(()) if self.body.as_ref().is_some_and(Body::is_end_stream) => self.end_step(),
                    pushed => pushed,
                }
            }
            Some(Err(error)) => Err(transport_failure(&*error.into())),
            None => self.end_step(),
        })
    }

    fn end_step(&mut self) -> Result<(), Error> {
        self.leave_off();
        let finished = self.decoder.finish(&mut self.output);
        if finished.is_ok() && !self.begun && !self.output.has_frames() {
            self.next = self.decoder.next_request().map(Box::new);
        }
        finished
    }

    /// Clients do not notice that an answer ended before its finish: it must be said. One that never began has failed.
    fn cut_short(&self) -> Error {
        let error = Error::provider(
            Code::ProviderError,
            "The vendor's answer ended before it was finished. Try again, or name another model.",
        );
        if self.has_said() {
            self.meter.cut_short(&error);
        }
        error
    }

    fn inform(&self) {
        let out = &self.output;
        self.meter.learn(|learnt| {
            if let Some(usage) = out.usage() {
                learnt.report(usage);
            }
            if out.delivered() != Usage::NONE {
                learnt.delivered = out.delivered();
            }
            let made = out.is_made_as();
            if *made != MadeAs::default() {
                learnt.made_as(made.size.as_deref(), made.quality.as_deref());
            }
        });
        if out.is_complete() {
            self.meter.complete();
        }
    }

    /// Whether nothing more will come.
    pub(super) fn is_over(&self) -> bool {
        self.over && !self.output.has_frames()
    }

    /// The caller has gone before the end.
    pub(super) fn leave(self) {
        if self.meter.is_complete() {
            return;
        }
        if let Some(drain) = self.drain_to() {
            drain.start(&self.meter.clone(), self.drain());
        }
    }

    /// Reads to the end for the meter's sake alone.
    pub(super) async fn drain(mut self) {
        while let Some(Ok(_)) = std::future::poll_fn(|cx| self.poll_next(cx)).await {}
    }
}

/// Gives out an error that had to wait for bytes before it.
struct Failed(Option<Error>);

impl Decoder for Failed {
    fn head(&mut self, _: &http::response::Parts) -> Result<http::HeaderMap, Error> {
        Ok(http::HeaderMap::new())
    }

    fn push(&mut self, _: Bytes, _: &mut Output) -> Result<(), Error> {
        self.0.take().map_or(Ok(()), Err)
    }

    fn finish(&mut self, _: &mut Output) -> Result<(), Error> {
        self.0.take().map_or(Ok(()), Err)
    }
}

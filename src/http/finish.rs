//! The once-guard: something that must happen exactly once when a request is over, however it ends.
//!
//! The guard is owned first by the response future, then by the response body. It fires when the body ends, when it has
//! said that nothing more will come, or has given all the bytes that its head promised (hyper never polls again then),
//! on trailers, on an error, on a panic, and when future or body are dropped.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response, response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::base::store_future::StoreFuture;

use super::headers::is_grpc;

/// How a request was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The body was delivered to its end.
    Whole,
    /// The body, or the service in its place, failed; or the answer itself says that the server did.
    Failed,
    /// Future or body was dropped: the caller is gone.
    Dropped,
    /// The service or its body panicked.
    Panicked,
}

/// What must happen once.
pub(crate) trait Finish: Unpin {
    /// Whether all that matters is known already, so that the frame at hand may be treated as the last.
    fn is_complete(&self) -> bool {
        false
    }

    /// Sees each data frame on its way to the caller.
    fn on_data(&mut self, _data: &Bytes) {}

    /// The end. The last frame waits for the future that comes back, if one does. Must not block or panic.
    fn finish(self, ended: Ended) -> Option<StoreFuture<()>>;
}

/// Holds a [`Finish`] and fires it on drop at the latest.
pub(crate) struct Once<F: Finish>(Option<F>);

impl<F: Finish> Once<F> {
    pub(crate) fn new(finish: impl Into<Option<F>>) -> Self {
        Self(finish.into())
    }

    pub(crate) fn fire(&mut self, ended: Ended) -> Option<StoreFuture<()>> {
        self.0.take().and_then(|f| f.finish(ended))
    }

    /// The guard itself, to be owned by another.
    pub(crate) fn take(&mut self) -> Option<F> {
        self.0.take()
    }

    /// Runs `poll`. A panic in it fires at once: whoever catches it further out drops this guard when the unwinding is
    /// over, and it would be taken for a caller who left.
    pub(crate) fn watch<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        struct Alarm<'a, F: Finish>(&'a mut Once<F>);
        impl<F: Finish> Drop for Alarm<'_, F> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    drop(self.0.fire(Ended::Panicked));
                }
            }
        }
        let _alarm = Alarm(self);
        poll()
    }
}

impl<F: Finish> Drop for Once<F> {
    fn drop(&mut self) {
        let ended = if std::thread::panicking() { Ended::Panicked } else { Ended::Dropped };
        // Nobody is left to wait for the commit: the record is accepted all the same.
        drop(self.fire(ended));
    }
}

impl<F: Finish> fmt::Debug for Once<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Once(armed)" } else { "Once(fired)" })
    }
}

/// Puts a once-guard on a response's body; `None` leaves it unguarded.
pub(crate) fn guard<B, F>(response: Response<B>, finish: Option<F>) -> Response<GuardedBody<B, F>>
where
    B: Body<Data = Bytes>,
    F: Finish,
{
    let (head, inner) = response.into_parts();
    let body = GuardedBody::new(&head, inner, finish);
    Response::from_parts(head, body)
}

pin_project! {
    /// A body with a once-guard.
    ///
    /// Field order matters: the inner body is dropped before the guard, so that what it does on drop (handing the rest
    /// of an answer to a drain) is done when the guard fires.
    pub(crate) struct GuardedBody<B, F>
    where
        F: Finish,
    {
        #[pin]
        inner: B,
        once: Once<F>,
        whole: Ended,
        promised: Option<u64>,
        held: Option<Frame<Bytes>>,
        commit: Option<StoreFuture<()>>,
        over: bool,
    }
}

impl<B: Body<Data = Bytes>, F: Finish> GuardedBody<B, F> {
    /// Wraps `inner`. A body that is empty from the start fires at once, as nobody may ever poll it.
    fn new(head: &response::Parts, inner: B, finish: Option<F>) -> Self {
        let fault = head.status.is_server_error() || grpc_fault(&head.headers);
        let whole = if fault { Ended::Failed } else { Ended::Whole };
        let length = || head.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        // The end of a gRPC answer is in its trailers, behind the last byte.
        let promised = if is_grpc(&head.headers) { None } else { length().or_else(|| inner.size_hint().exact()) };
        let over = inner.is_end_stream();
        let mut once = Once::new(finish);
        let commit = if over || promised == Some(0) { once.fire(whole) } else { None };
        Self { inner, once, whole, promised, held: None, commit, over }
    }

    /// Waits for the commit of an answer without a body: there is no last frame to hold back, so its head must wait.
    pub(crate) fn poll_committed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(commit) = self.commit.as_mut() {
            ready!(Pin::new(commit).poll(cx));
            self.commit = None;
        }
        Poll::Ready(())
    }
}

impl<B: Body<Data = Bytes>, F: Finish> Body for GuardedBody<B, F> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        if let Some(commit) = this.commit.as_mut() {
            ready!(Pin::new(commit).poll(cx));
            *this.commit = None;
        }
        if let Some(frame) = this.held.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if *this.over {
            return Poll::Ready(None);
        }
        let inner = this.inner.as_mut();
        let frame = match ready!(this.once.watch(|| inner.poll_frame(cx))).transpose() {
            Ok(frame) => frame,
            Err(error) => {
                drop(this.once.fire(Ended::Failed));
                *this.over = true;
                return Poll::Ready(Some(Err(error)));
            }
        };
        if let Some(data) = frame.as_ref().and_then(Frame::data_ref) {
            if let Some(finish) = this.once.0.as_mut() {
                finish.on_data(data);
            }
            *this.promised = this.promised.map(|left| left.saturating_sub(data.len() as u64));
        }
        if frame.as_ref().and_then(Frame::trailers_ref).is_some_and(grpc_fault) {
            *this.whole = Ended::Failed;
        }
        *this.over = frame.as_ref().is_none_or(Frame::is_trailers) || this.inner.is_end_stream();
        if *this.over || *this.promised == Some(0) || this.once.0.as_ref().is_some_and(F::is_complete) {
            *this.commit = this.once.fire(*this.whole);
        }
        if let Some(commit) = this.commit.as_mut() {
            if Pin::new(commit).poll(cx).is_pending() {
                *this.held = frame;
                return Poll::Pending;
            }
            *this.commit = None;
        }
        Poll::Ready(frame.map(Ok))
    }

    /// Only what a poll has seen counts: an inner body that ends between two polls must be polled once more, or the
    /// guard would take the drop that follows for a caller who left.
    fn is_end_stream(&self) -> bool {
        self.over && self.held.is_none() && self.commit.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.as_ref().and_then(Frame::data_ref).map_or(0, |d| d.len() as u64);
        let inner = if self.over { SizeHint::with_exact(0) } else { self.inner.size_hint() };
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + held);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + held);
        }
        hint
    }
}

/// Whether these headers or trailers carry a `grpc-status` that gRPC itself maps to an HTTP status of 500 and up:
/// UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
fn grpc_fault(headers: &HeaderMap) -> bool {
    let status = headers.get("grpc-status").map(|v| v.as_bytes());
    matches!(status, Some(b"2" | b"4" | b"12" | b"13" | b"14" | b"15"))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};
    use std::task::Waker;

    use http::StatusCode;

    use super::*;

    /// A body that plays a script. `ends_early`: `is_end_stream` turns true with the last frame.
    #[derive(Default)]
    struct Script {
        frames: VecDeque<Result<Frame<Bytes>, &'static str>>,
        ends_early: bool,
        size: Option<u64>,
    }

    impl Body for Script {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            Poll::Ready(self.frames.pop_front())
        }

        fn is_end_stream(&self) -> bool {
            self.ends_early && self.frames.is_empty()
        }

        fn size_hint(&self) -> SizeHint {
            self.size.map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    /// A commit that a test makes ready by hand.
    #[derive(Clone, Default)]
    struct Gate(Arc<Mutex<bool>>);

    #[derive(Clone, Default)]
    struct Spy {
        ends: Arc<Mutex<Vec<Ended>>>,
        complete_after: Option<usize>,
        seen: usize,
        gate: Option<Gate>,
    }

    impl Finish for Spy {
        fn is_complete(&self) -> bool {
            self.complete_after.is_some_and(|n| self.seen >= n)
        }

        fn on_data(&mut self, _: &Bytes) {
            self.seen += 1;
        }

        fn finish(self, ended: Ended) -> Option<StoreFuture<()>> {
            self.ends.lock().unwrap().push(ended);
            let gate = self.gate?;
            Some(StoreFuture::new(std::future::poll_fn(move |_| match *gate.0.lock().unwrap() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })))
        }
    }

    fn data(text: &'static str) -> Result<Frame<Bytes>, &'static str> {
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    fn trailers(status: &'static str) -> Result<Frame<Bytes>, &'static str> {
        let mut map = HeaderMap::new();
        map.insert("grpc-status", status.parse().unwrap());
        Ok(Frame::trailers(map))
    }

    fn script(frames: impl IntoIterator<Item = Result<Frame<Bytes>, &'static str>>) -> Script {
        Script { frames: frames.into_iter().collect(), ..Script::default() }
    }

    fn guarded(response: Response<Script>, spy: &Spy) -> Pin<Box<GuardedBody<Script, Spy>>> {
        Box::pin(guard(response, Some(spy.clone())).into_body())
    }

    fn poll(body: &mut Pin<Box<GuardedBody<Script, Spy>>>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop()))
    }

    fn is_data(polled: &Poll<Option<Result<Frame<Bytes>, &'static str>>>, text: &str) -> bool {
        matches!(polled, Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(|d| d == text))
    }

    impl Spy {
        fn ends(&self) -> Vec<Ended> {
            self.ends.lock().unwrap().clone()
        }
    }

    #[test]
    fn a_body_that_ends_with_none_is_whole() {
        let spy = Spy::default();
        let mut body = guarded(Response::new(script([data("a")])), &spy);
        assert!(is_data(&poll(&mut body), "a"));
        assert_eq!(spy.ends(), []);
        assert!(matches!(poll(&mut body), Poll::Ready(None)));
        drop(body);
        assert_eq!(spy.ends(), [Ended::Whole]);
    }

    #[test]
    fn a_body_that_says_it_ends_is_whole_without_another_poll() {
        let spy = Spy::default();
        let mut body = guarded(Response::new(Script { ends_early: true, ..script([data("a")]) }), &spy);
        assert!(!body.is_end_stream());
        assert!(is_data(&poll(&mut body), "a"));
        assert!(body.is_end_stream());
        drop(body);
        assert_eq!(spy.ends(), [Ended::Whole]);
    }

    #[test]
    fn a_body_that_gave_all_it_promised_is_whole_without_another_poll() {
        let spy = Spy::default();
        let response = Response::builder().header(CONTENT_LENGTH, 2).body(script([data("a"), data("b")])).unwrap();
        let mut body = guarded(response, &spy);
        assert!(is_data(&poll(&mut body), "a"));
        assert_eq!(spy.ends(), []);
        assert!(is_data(&poll(&mut body), "b"));
        drop(body);
        assert_eq!(spy.ends(), [Ended::Whole]);
    }

    #[test]
    fn an_empty_body_fires_before_anyone_polls() {
        for empty in [Script { ends_early: true, ..Script::default() }, Script { size: Some(0), ..Script::default() }] {
            let spy = Spy::default();
            let body = guarded(Response::new(empty), &spy);
            assert_eq!(spy.ends(), [Ended::Whole]);
            drop(body);
            assert_eq!(spy.ends(), [Ended::Whole]);
        }
    }

    #[test]
    fn an_error_and_a_drop_are_told_apart() {
        let spy = Spy::default();
        let mut body = guarded(Response::new(script([data("a"), Err("reset")])), &spy);
        assert!(is_data(&poll(&mut body), "a"));
        assert!(matches!(poll(&mut body), Poll::Ready(Some(Err("reset")))));
        assert!(body.is_end_stream());
        drop(body);
        assert_eq!(spy.ends(), [Ended::Failed]);

        let spy = Spy::default();
        let mut body = guarded(Response::new(script([data("a"), data("b")])), &spy);
        assert!(is_data(&poll(&mut body), "a"));
        drop(body);
        assert_eq!(spy.ends(), [Ended::Dropped]);
    }

    #[test]
    fn trailers_pass_untouched_and_their_status_tells_a_fault() {
        for (status, ended) in [("0", Ended::Whole), ("3", Ended::Whole), ("13", Ended::Failed), ("14", Ended::Failed)]
        {
            let spy = Spy::default();
            let mut body = guarded(Response::new(script([data("a"), trailers(status)])), &spy);
            assert!(is_data(&poll(&mut body), "a"));
            let Poll::Ready(Some(Ok(frame))) = poll(&mut body) else { panic!("the trailers are lost") };
            assert_eq!(frame.trailers_ref().unwrap()["grpc-status"], status);
            assert!(body.is_end_stream());
            assert_eq!(spy.ends(), [ended]);
        }
    }

    #[test]
    fn a_trailers_only_answer_and_a_5xx_are_faults() {
        let empty = || Script { ends_early: true, ..Script::default() };
        for response in [
            Response::builder().header("grpc-status", 13).body(empty()).unwrap(),
            Response::builder().status(StatusCode::BAD_GATEWAY).body(empty()).unwrap(),
        ] {
            let spy = Spy::default();
            drop(guarded(response, &spy));
            assert_eq!(spy.ends(), [Ended::Failed]);
        }
    }

    #[test]
    fn the_last_frame_waits_for_the_commit_and_is_counted_meanwhile() {
        let gate = Gate::default();
        let spy = Spy { gate: Some(gate.clone()), ..Spy::default() };
        let mut body = guarded(Response::new(Script { ends_early: true, ..script([data("abc")]) }), &spy);
        assert!(poll(&mut body).is_pending());
        assert!(!body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(3));
        assert!(poll(&mut body).is_pending());
        *gate.0.lock().unwrap() = true;
        assert!(is_data(&poll(&mut body), "abc"));
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert_eq!(spy.ends(), [Ended::Whole]);
    }

    #[test]
    fn an_empty_body_is_not_over_before_its_commit() {
        let gate = Gate::default();
        let spy = Spy { gate: Some(gate.clone()), ..Spy::default() };
        let mut body = guarded(Response::new(Script { ends_early: true, ..Script::default() }), &spy);
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(body.as_mut().get_mut().poll_committed(cx).is_pending());
        assert!(!body.is_end_stream());
        *gate.0.lock().unwrap() = true;
        assert!(body.as_mut().get_mut().poll_committed(cx).is_ready());
        assert!(body.is_end_stream());
    }

    #[test]
    fn what_follows_completion_still_flows() {
        let gate = Gate::default();
        let spy = Spy { complete_after: Some(1), gate: Some(gate.clone()), ..Spy::default() };
        let mut body = guarded(Response::new(script([data("finish"), data("[DONE]"), trailers("0")])), &spy);
        assert!(poll(&mut body).is_pending());
        assert_eq!(spy.ends(), [Ended::Whole]);
        *gate.0.lock().unwrap() = true;
        assert!(is_data(&poll(&mut body), "finish"));
        assert!(!body.is_end_stream());
        assert!(is_data(&poll(&mut body), "[DONE]"));
        assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(frame))) if frame.is_trailers()));
        assert!(matches!(poll(&mut body), Poll::Ready(None)));
        drop(body);
        assert_eq!(spy.ends(), [Ended::Whole]);
    }

    #[test]
    fn a_panic_is_no_caller_who_left_even_when_it_is_caught_further_out() {
        let spy = Spy::default();
        let mut once = Once::new(spy.clone());
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| once.watch(|| panic!("boom"))));
        assert!(caught.is_err());
        drop(once);
        assert_eq!(spy.ends(), [Ended::Panicked]);
    }
}

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

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
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
    for (status, ended) in [("0", Ended::Whole), ("3", Ended::Whole), ("13", Ended::Failed), ("14", Ended::Failed)] {
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
fn what_is_complete_before_its_head_goes_fires_at_once_and_the_head_waits_for_the_commit() {
    let gate = Gate::default();
    let spy = Spy { complete_after: Some(0), gate: Some(gate.clone()), ..Spy::default() };
    let mut body = guarded(Response::new(script([data("whole"), trailers("0")])), &spy);
    assert_eq!(spy.ends(), [Ended::Whole]);
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(body.as_mut().get_mut().poll_committed(cx).is_pending());
    *gate.0.lock().unwrap() = true;
    assert!(body.as_mut().get_mut().poll_committed(cx).is_ready());
    assert!(is_data(&poll(&mut body), "whole"));
    assert!(!body.is_end_stream());
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(frame))) if frame.is_trailers()));
    drop(body);
    assert_eq!(spy.ends(), [Ended::Whole]);
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

//! Every way in which a request can end, and every moment at which it can be dropped.

use super::*;

/// How the inner service ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Whole,
    EmptyBody,
    ServiceFails,
    BodyFails,
    Panics,
    PanicsWhenCalled,
}

/// Answers after two polls, with three frames, each after a poll.
#[derive(Debug)]
struct Stutter {
    frames: VecDeque<Result<Bytes, &'static str>>,
    hesitates: bool,
}

impl Body for Stutter {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        self.hesitates = !self.hesitates;
        if self.hesitates {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.frames.pop_front().map(|f| f.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }
}

async fn answer(request: Request<()>, end: End) -> Result<Response<Stutter>, &'static str> {
    tokio::task::yield_now().await;
    let meter = request.extensions().get::<Meter>().unwrap();
    meter.add(Usage { input_tokens: 3, ..Usage::NONE });
    let frames = match end {
        End::Panics => panic!("the inner service panics"),
        End::ServiceFails => return Err("the inner service fails"),
        End::EmptyBody => vec![],
        End::BodyFails => vec![Ok("a".into()), Err("the body fails")],
        End::Whole | End::PanicsWhenCalled => vec![Ok("a".into()), Ok("b".into()), Ok("c".into())],
    };
    Ok(Response::new(Stutter { frames: frames.into(), hesitates: false }))
}

/// Counts how often grants are settled.
#[derive(Debug)]
struct Counting {
    inner: MemoryQuota,
    settled: Arc<AtomicUsize>,
    /// Answers late, like a store across a network.
    late: bool,
}

struct CountingTicket {
    grant: crate::store::grant::Grant,
    settled: Arc<AtomicUsize>,
}

impl crate::store::grant::Ticket for CountingTicket {
    fn settle(self: Box<Self>, used: Option<Amounts>) {
        self.settled.fetch_add(1, Ordering::SeqCst);
        match used {
            Some(used) => self.grant.settle(used),
            None => self.grant.void(),
        }
    }
}

impl QuotaStore for Counting {
    fn reserve(&self, reservation: Reservation) -> StoreFuture<StoreResult<Decision>> {
        let answer = self.inner.clone();
        let settled = Arc::clone(&self.settled);
        let decide = move || {
            let decision = answer.reserve(reservation).now().ok().unwrap()?;
            Ok(match decision {
                Decision::Admitted { grant, headroom } => {
                    let held = grant.held();
                    let grant = crate::store::grant::Grant::new(held, CountingTicket { grant, settled });
                    Decision::Admitted { grant, headroom }
                }
                refused @ Decision::Refused(_) => refused,
            })
        };
        if !self.late {
            return StoreFuture::ready(decide());
        }
        StoreFuture::new(async move {
            tokio::task::yield_now().await;
            decide()
        })
    }

    fn keep(&self, holds: Vec<LastingHold>, lease: Duration) -> StoreFuture<StoreResult<()>> {
        self.inner.keep(holds, lease)
    }

    fn settle(&self, hold: LastingHold, used: Option<Amounts>) -> StoreFuture<StoreResult<()>> {
        QuotaStore::settle(&self.inner, hold, used)
    }

    fn state(&self, limits: Vec<Arc<Limit>>, now: Timestamp) -> StoreFuture<StoreResult<Vec<LimitState>>> {
        self.inner.state(limits, now)
    }
}

/// Polls future and body at most `polls` times, then drops what is left. Returns whether it came to its end.
fn run<F, B, E>(future: F, polls: usize) -> bool
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    let mut left = polls;
    let mut future = tokio_test::task::spawn(Box::pin(future));
    let response = loop {
        if left == 0 {
            return false;
        }
        left -= 1;
        if let Poll::Ready(answer) = future.poll() {
            break answer;
        }
    };
    drop(future);
    let Ok(response) = response else { return true };
    let mut body = tokio_test::task::spawn(Box::pin(response.into_body()));
    loop {
        if left == 0 {
            return false;
        }
        left -= 1;
        let frame = body.enter(|cx, mut body| body.as_mut().poll_frame(cx));
        if let Poll::Ready(None | Some(Err(_))) = frame {
            return true;
        }
    }
}

#[test]
fn whatever_ends_a_request_and_whenever_it_is_dropped_its_grant_is_settled_exactly_once() {
    let ends = [End::Whole, End::EmptyBody, End::ServiceFails, End::BodyFails, End::Panics, End::PanicsWhenCalled];
    for (end, late) in ends.into_iter().flat_map(|end| [(end, false), (end, true)]) {
        for polls in 0..20 {
            let settled = Arc::new(AtomicUsize::new(0));
            let stage = stage([
                limit(Measure::Concurrency, None, 1),
                limit(Measure::Requests, Some(Per::Day), 1),
                limit(Measure::InputTokens, Some(Per::Total), 100),
            ]);
            let store = Counting { inner: stage.store.clone(), settled: Arc::clone(&settled), late };
            let layer = QuotaLayer::new(store, stage.book.clone()).clock(ManualClock::at(START));
            let inner = service_fn(move |request| {
                assert!(!matches!(end, End::PanicsWhenCalled), "the inner service panics when it is called");
                answer(request, end)
            });
            let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                run(layer.layer(inner).oneshot(post()), polls)
            }));
            let context = format!("{end:?}, late {late}, {polls} polls");
            let (requests, reserved) = stage.counts(Measure::Requests);
            assert_eq!(reserved, 0, "{context}");
            assert_eq!(settled.load(Ordering::SeqCst) as u64, requests, "{context}");
            assert_eq!(stage.counts(Measure::Concurrency), (0, 0), "{context}");
            if matches!(ran, Ok(true)) {
                assert_eq!((requests, stage.counts(Measure::InputTokens)), (1, (3, 0)), "{context}");
            }
        }
    }
}

#[tokio::test]
async fn a_draining_answer_is_settled_when_the_drain_is_over() {
    let stage = stage([limit(Measure::Concurrency, None, 1), limit(Measure::Requests, Some(Per::Day), 9)]);
    let meter = Meter::new(Abandoned::Seen);
    let mut request = post();
    request.extensions_mut().insert(meter.clone());
    let inner = service_fn(|request: Request<()>| answer(request, End::Whole));
    let response = stage.layer.layer(inner).oneshot(request).await.unwrap();
    meter.drain();
    drop(response);
    assert_eq!(stage.counts(Measure::Concurrency), (0, 1));
    meter.drained();
    assert_eq!(stage.counts(Measure::Concurrency), (0, 0));
    assert_eq!(stage.counts(Measure::Requests), (1, 0));
}

#[tokio::test]
async fn what_the_gateway_refuses_below_consumes_nothing() {
    let stage = stage([limit(Measure::Requests, Some(Per::Day), 9)]);
    let inner = service_fn(|request: Request<()>| async move {
        let meter = request.extensions().get::<Meter>().unwrap();
        meter.fail(&Error::new(Code::ModelNotFound, "no such model"));
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    drop(stage.layer.layer(inner).oneshot(post()).await.unwrap());
    assert_eq!(stage.counts(Measure::Requests), (0, 0));
}

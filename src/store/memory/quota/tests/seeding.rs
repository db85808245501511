//! Counters that start from a ledger.

use super::*;

/// A ledger that tells what it is given, once for each query.
#[derive(Debug, Default)]
struct Books {
    posted: Mutex<Vec<(Timestamp, Amounts)>>,
    queries: Mutex<Vec<PostedQuery>>,
    failing: Mutex<bool>,
    /// Answers only when polled a second time.
    slow: bool,
}

impl Books {
    fn of(posted: &[(Timestamp, u64)]) -> Arc<Self> {
        let posted = posted.iter().map(|(at, n)| (*at, units(*n))).collect();
        Arc::new(Self { posted: Mutex::new(posted), ..Self::default() })
    }

    fn asked(&self) -> usize {
        self.queries.lock().unwrap().len()
    }
}

impl UsageStore for Books {
    fn records(&self, _: RecordFilter, _: Page) -> StoreFuture<StoreResult<PageOf<UsageRecord>>> {
        StoreFuture::ready(Ok(PageOf { items: Vec::new(), next: None }))
    }

    fn usage(&self, _: RecordFilter, _: Vec<GroupBy>) -> StoreFuture<StoreResult<Vec<UsageRow>>> {
        StoreFuture::ready(Ok(Vec::new()))
    }

    fn posted(&self, query: PostedQuery) -> StoreFuture<StoreResult<Vec<(Timestamp, Amounts)>>> {
        self.queries.lock().unwrap().push(query.clone());
        if *self.failing.lock().unwrap() {
            return StoreFuture::ready(Err(StoreError::new(crate::store::error::StoreErrorKind::Corrupt, "torn page")));
        }
        let posted = self.posted.lock().unwrap().iter().filter(|(at, _)| *at >= query.from).copied().collect();
        if !self.slow {
            return StoreFuture::ready(Ok(posted));
        }
        let mut polled = false;
        StoreFuture::new(std::future::poll_fn(move |cx| match std::mem::replace(&mut polled, true) {
            true => std::task::Poll::Ready(Ok(std::mem::take(&mut Vec::clone(&posted)))),
            false => {
                cx.waker().wake_by_ref();
                std::task::Poll::Pending
            }
        }))
    }
}

fn ask_slowly(
    store: &MemoryQuota,
    n: u64,
    limits: &[Arc<Limit>],
    now: Timestamp,
) -> StoreResult<Result<Grant, Refusal>> {
    Ok(match tokio_test::block_on(store.reserve(request(units(n), limits, now)))? {
        Decision::Admitted { grant, .. } => Ok(grant),
        Decision::Refused(refusal) => Err(refusal),
    })
}

#[tokio::test]
async fn the_contract_is_kept_over_a_ledger_too() {
    contract::quota::all(&MemoryQuota::with_ledger(Books::of(&[]))).await;
}

#[test]
fn a_new_limit_starts_from_what_the_ledger_posts_to_its_window() {
    let ago = |seconds| START.minus(Duration::from_secs(seconds));
    // 1_800_000_000 is 08:00 of a day, UTC.
    let books = Books::of(&[(ago(40 * 86_400), 1), (ago(10 * 3_600), 10), (ago(3_600), 20), (ago(30), 40)]);
    let store = MemoryQuota::with_ledger(books.clone());
    let of = |per| limit("workspace:acme", Measure::Spend, Some(per), 100);
    assert_eq!(counts(&store, &of(Per::Total), START), (71, 0));
    assert_eq!(counts(&store, &of(Per::Day), START), (60, 0));
    // 40 of 100 a minute, half a minute ago: all but nothing is refilled… 50 were.
    assert_eq!(counts(&store, &of(Per::Minute), START), (0, 0));
    let limits = [of(Per::Total), of(Per::Day)];
    assert!(ask_slowly(&store, 30, &limits, START).unwrap().is_err());
    ask_slowly(&store, 29, &limits, START).unwrap().unwrap().void();
    let asked = books.asked();
    ask(&store, units(29), &limits, START).unwrap().void();
    assert_eq!(books.asked(), asked, "the ledger is asked once");
}

#[test]
fn a_seeded_rate_owes_what_the_last_period_did_not_refill() {
    let books = Books::of(&[(START.minus(Duration::from_secs(15)), 100)]);
    let store = MemoryQuota::with_ledger(books.clone());
    let minute = [limit("workspace:acme", Measure::Tokens, Some(Per::Minute), 100)];
    assert_eq!(counts(&store, &minute[0], START), (75, 0));
    let refusal = ask_slowly(&store, 26, &minute, START).unwrap().unwrap_err();
    assert_eq!(refusal.wait, RefusalWait::After(Duration::from_millis(600)));
    assert!(books.queries.lock().unwrap().iter().all(|q| q.each && q.from == START.minus(Duration::from_secs(60))));
}

#[test]
fn a_limit_that_was_away_knows_what_passed_meanwhile_and_an_amount_that_changes_counts_nothing_twice() {
    let books = Books::of(&[]);
    let store = MemoryQuota::with_ledger(books.clone());
    ask_slowly(&store, 10, &[spend_total(100)], START).unwrap().unwrap().settle(units(10));
    books.posted.lock().unwrap().push((START, units(10)));
    assert_eq!(counts(&store, &spend_total(200), START), (10, 0));
    drop(ask_slowly(&store, 1, &[spend_total(200)], START).unwrap().unwrap());
    books.posted.lock().unwrap().push((START, units(1)));

    ask(&store, units(30), &[], START).unwrap().settle(units(30));
    books.posted.lock().unwrap().push((START, units(30)));
    let running = ask(&store, units(7), &[], START).unwrap();
    assert_eq!(counts(&store, &spend_total(200), START), (41, 7));
    assert!(ask_slowly(&store, 153, &[spend_total(200)], START).unwrap().is_err());
    running.settle(units(5));
    let back = spend_total(200);
    drop(ask_slowly(&store, 154, std::slice::from_ref(&back), START).unwrap().unwrap());
    assert_eq!(counts(&store, &back, START), (200, 0));
}

#[test]
fn a_ledger_that_fails_leaves_the_limit_unavailable_until_it_answers() {
    let books = Books::of(&[(START, 10)]);
    *books.failing.lock().unwrap() = true;
    let store = MemoryQuota::with_ledger(books.clone());
    let cap = [spend_total(10)];
    for _ in 0..2 {
        let failure = ask_slowly(&store, 1, &cap, START).unwrap_err();
        assert_eq!(failure.kind(), crate::store::error::StoreErrorKind::Unavailable);
    }
    *books.failing.lock().unwrap() = false;
    assert!(ask_slowly(&store, 1, &cap, START).unwrap().is_err());
}

#[test]
fn one_seeds_and_the_others_wait_even_if_the_one_gives_up() {
    let books = Arc::new(Books { posted: Mutex::new(vec![(START, units(5))]), slow: true, ..Books::default() });
    let store = MemoryQuota::with_ledger(books.clone());
    let cap = [spend_total(10)];
    let mut asking: Vec<_> =
        (0..5).map(|_| tokio_test::task::spawn(store.reserve(request(units(1), &cap, START)))).collect();
    assert!(asking.iter_mut().all(|task| task.poll().is_pending()));
    assert_eq!(books.asked(), 1);
    drop(asking.remove(0));
    let mut admitted = Vec::new();
    for _ in 0..20 {
        asking.retain_mut(|task| match task.poll() {
            std::task::Poll::Ready(answer) => {
                admitted.push(answer.unwrap());
                false
            }
            std::task::Poll::Pending => true,
        });
    }
    assert_eq!((admitted.len(), books.asked()), (4, 2));
    assert_eq!(counts(&store, &cap[0], START), (5, 4));
}

#[test]
fn what_is_settled_while_the_ledger_is_asked_is_not_lost() {
    let books = Arc::new(Books { slow: true, ..Books::default() });
    let store = MemoryQuota::with_ledger(books.clone());
    let running = ask(&store, units(6), &[], START).unwrap();
    let cap = [spend_total(10)];
    let mut asking = tokio_test::task::spawn(store.reserve(request(units(1), &cap, START)));
    assert!(asking.poll().is_pending());
    running.settle(units(6));
    books.posted.lock().unwrap().push((START, units(6)));
    for _ in 0..10 {
        if let std::task::Poll::Ready(decision) = asking.poll() {
            drop(decision.unwrap());
            assert_eq!((counts(&store, &cap[0], START), books.asked()), ((7, 0), 2));
            return;
        }
    }
    panic!("never answered");
}

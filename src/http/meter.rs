//! The meter of one request: what every layer learns about it, and what it comes to in the end.
//!
//! The metering layer puts a [`Meter`] into the request's extensions; inspect, quota and route write what they learn
//! into it; a handler of the host's own may [`add`](Meter::add) units. When the request is over, the first guard that
//! asks makes the books; whoever asks later is told the same.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use http::Method;

use crate::base::clock::Timestamp;
use crate::base::error::{Code, Error};
use crate::base::money::Money;
use crate::base::short_id::Id;
use crate::base::store_future::StoreFuture;
use crate::domain::hold::LastingHold;
use crate::domain::limit::Amounts;
use crate::domain::record::UsageRecord;
use crate::domain::usage::Usage;

use super::call::{Call, CallId};
use super::closing::Closing;
use super::finish::Ended;

pub use super::books::Abandoned;
pub(crate) use super::books::{Booked, Learnt, Routed};

/// Whether a request of this method counts: for limits and on record. What only reads or deletes takes nothing.
pub(crate) fn counts(method: &Method) -> bool {
    !method.is_safe() && method != Method::DELETE
}

/// The meter of one request. Cheap to clone; every clone is the same meter.
#[derive(Clone)]
pub struct Meter(Arc<Shared<dyn Journal>>);

/// A meter together with the journal that stands behind it: one allocation for both.
pub(crate) struct Journaled<J>(Arc<Shared<J>>);

struct Shared<J: ?Sized> {
    state: Mutex<State>,
    /// Apart from the rest: asked for each frame.
    complete: AtomicBool,
    /// The vendor was called: from then on it may bill. Apart, as it is noted while nothing else is.
    called: AtomicBool,
    /// There is a call that it follows. Apart, as it is asked for before each.
    is_taken: AtomicBool,
    /// Whether anything but the guards has ever seen to the end: asked by each of them, and nearly never so.
    handed_on: AtomicBool,
    journal: J,
}

#[derive(Default)]
struct State {
    learnt: Learnt,
    booked: Option<Booked>,
    /// The one call that is metered.
    follows: Option<CallId>,
    /// The route has it.
    is_sent: bool,
    /// Two quota layers have each a hold that would have to last.
    lasting_twice: bool,
    /// In a box: few requests have one.
    lasting: Option<Box<LastingHold>>,
    keeper: Keeper,
    deferred: Vec<Deferred>,
}

/// Who sees to the end of the request.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Keeper {
    /// The guards on its future and body.
    #[default]
    Guards,
    /// Something in the background, for which the guards wait.
    Drain,
    /// A job: the guards have nothing to do.
    Job,
}

impl State {
    fn follows_none_or(&self, call: Option<&Call>) -> bool {
        self.follows.as_ref().is_none_or(|id| call.is_some_and(|call| id.is_of(call)))
    }

    /// Whether nothing has become of the request yet.
    fn is_fresh(&self) -> bool {
        !self.is_sent && self.booked.is_none() && self.learnt.failure.is_none()
    }
}

type Deferred = Box<dyn FnOnce(Ended) + Send>;

/// What stands behind a meter: the metering layer's way to the ledger.
pub(crate) trait Journal: Send + Sync + 'static {
    /// Notes the request and its hold; `false` when the ledger could not take it.
    fn open(&self, meter: &Meter) -> StoreFuture<bool>;

    /// The record as it stands while the request runs; `None` where nobody keeps one.
    fn running(&self, meter: &Meter) -> Option<UsageRecord>;

    /// The id of that record.
    fn record_id(&self) -> Option<Id>;

    /// The host's word that it is going down, from which on what is cut is cut by us; `None` where nobody would say it.
    fn closing(&self) -> Option<&Closing>;

    /// Lets another stand behind the meter from here on; `false` where somebody does already.
    fn succeed(&self, _: Arc<dyn Journal>) -> bool {
        false
    }
}

/// Of a meter that no metering layer has made: where there is one, it stands further in and takes the meter over.
#[derive(Default)]
struct Successor(OnceLock<Arc<dyn Journal>>);

impl Journal for Successor {
    fn open(&self, meter: &Meter) -> StoreFuture<bool> {
        self.0.get().map_or_else(|| StoreFuture::ready(true), |journal| journal.open(meter))
    }

    fn running(&self, meter: &Meter) -> Option<UsageRecord> {
        self.0.get()?.running(meter)
    }

    fn record_id(&self) -> Option<Id> {
        self.0.get()?.record_id()
    }

    fn closing(&self) -> Option<&Closing> {
        self.0.get()?.closing()
    }

    fn succeed(&self, journal: Arc<dyn Journal>) -> bool {
        self.0.set(journal).is_ok()
    }
}

impl<J: Journal> Journaled<J> {
    pub(crate) fn new(abandoned: Abandoned, journal: J) -> Self {
        let [complete, called, is_taken, handed_on] = [const { AtomicBool::new(false) }; 4];
        let mut shared = Arc::new(Shared { state: Mutex::default(), complete, called, is_taken, handed_on, journal });
        // Set in its place: it is most of a kilobyte.
        if let Some(state) = Arc::get_mut(&mut shared).and_then(|shared| shared.state.get_mut().ok()) {
            state.learnt.abandoned = abandoned;
        }
        Self(shared)
    }

    pub(crate) fn meter(&self) -> Meter {
        Meter(Arc::clone(&self.0) as Arc<Shared<dyn Journal>>)
    }

    pub(crate) fn journal(&self) -> &J {
        &self.0.journal
    }
}

impl Meter {
    /// A meter that nobody journals.
    pub(crate) fn new(abandoned: Abandoned) -> Self {
        Journaled::new(abandoned, Successor::default()).meter()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.learnt.called = self.0.called.load(Ordering::Acquire);
        state
    }

    /// Adds units that a handler of the host's own has used. They are priced like a vendor's where the model is known.
    ///
    /// `false` when it is too late, and they count nowhere: the answer was whole, and the request is on record. Add before
    /// the last byte goes out, not in a task that outlives it; and where the meter goes along with a model call, before
    /// that has been read to its end.
    pub fn add(&self, usage: Usage) -> bool {
        self.unless_booked(|learnt| learnt.add(&usage))
    }

    /// The same at a cost of your own: what a spend limit is told that a route without a model of the registry has cost.
    pub fn add_at(&self, usage: Usage, cost: Money) -> bool {
        self.unless_booked(|learnt| learnt.add_at(&usage, cost))
    }

    fn unless_booked(&self, note: impl FnOnce(&mut Learnt)) -> bool {
        let state = &mut *self.state();
        if state.booked.is_some() {
            return false;
        }
        note(&mut state.learnt);
        true
    }

    /// What is asked for. An error where the meter follows another call than `before`, in whose place this one stands.
    pub(crate) fn identify(&self, call: &Call, before: Option<&Call>) -> Result<(), Error> {
        let state = &mut *self.state();
        if !state.is_fresh() || !state.follows_none_or(before) {
            return Err(taken());
        }
        self.follow(state, call);
        Ok(())
    }

    /// Whether another call than this one is metered already.
    pub(crate) fn check(&self, call: Option<&Call>) -> Result<(), Error> {
        let is_free = !self.0.is_taken.load(Ordering::Acquire) || self.state().follows_none_or(call);
        if is_free { Ok(()) } else { Err(taken()) }
    }

    /// The request, with its call where that is known, is about to be held for. An error where the meter follows another
    /// one, or where this one was refused or sent before: what it comes to would be booked once for both.
    pub(crate) fn begin(&self, call: Option<&Call>) -> Result<(), Error> {
        self.begin_in(&mut self.state(), call)
    }

    /// The same, once: the call is about to be sent.
    pub(crate) fn send(&self, call: Option<&Call>) -> Result<(), Error> {
        let state = &mut *self.state();
        self.begin_in(state, call)?;
        state.is_sent = true;
        Ok(())
    }

    fn begin_in(&self, state: &mut State, call: Option<&Call>) -> Result<(), Error> {
        if !state.is_fresh() || call.is_some() && !state.follows_none_or(call) {
            return Err(taken());
        }
        if let Some(call) = call.filter(|_| state.follows.is_none()) {
            self.follow(state, call);
        }
        Ok(())
    }

    fn follow(&self, state: &mut State, call: &Call) {
        state.follows = Some(call.id());
        state.learnt.identify(call);
        self.0.is_taken.store(true, Ordering::Release);
    }

    /// Whether a metering layer keeps a record of the request.
    pub(crate) fn is_kept(&self) -> bool {
        self.record_id().is_some()
    }

    /// Has `journal` stand behind a meter that nobody keeps yet; `false` where somebody was faster.
    pub(crate) fn keep_in(&self, abandoned: Abandoned, journal: Arc<dyn Journal>) -> bool {
        let is_kept = self.0.journal.succeed(journal);
        if is_kept {
            self.state().learnt.abandoned = abandoned;
        }
        is_kept
    }

    pub(crate) fn hold(&self, held: Amounts) {
        self.state().learnt.held = Some(held);
    }

    /// The request's hold is one that a job may take over.
    pub(crate) fn may_last(&self, hold: LastingHold) {
        let state = &mut *self.state();
        state.lasting_twice |= state.lasting.replace(Box::new(hold)).is_some();
    }

    /// Whether a job could take over one of two holds only.
    pub(crate) fn lasts_twice(&self) -> bool {
        self.state().lasting_twice
    }

    /// What a job takes over; `None` where no limit store has a hold that lasts.
    pub(crate) fn lasting(&self) -> Option<LastingHold> {
        self.state().lasting.as_deref().cloned()
    }

    pub(crate) fn route(&self, routed: Routed) {
        self.state().learnt.routed = Some(routed);
    }

    /// Journals the hold before the vendor is called: `true` when the request may go on.
    pub(crate) fn open(&self) -> StoreFuture<bool> {
        self.0.journal.open(self)
    }

    /// The vendor is about to be called: from here on it may bill. An error where the request is on record already, and
    /// nobody would be charged.
    pub(crate) fn call(&self) -> Result<(), Error> {
        // Under the lock: whoever makes the books meanwhile sees it, or is seen.
        let state = self.state();
        if state.booked.is_some() {
            let message = "The request was over before its vendor was called, so nothing was sent.";
            return Err(Error::new(Code::InternalError, message));
        }
        self.0.called.store(true, Ordering::Release);
        Ok(())
    }

    pub(crate) fn upstream_request_id(&self, id: Arc<str>) {
        self.state().learnt.upstream_request_id = Some(id);
    }

    /// The first byte for the caller; only the first call counts.
    pub(crate) fn first_byte(&self, at: Timestamp) {
        self.state().learnt.first_byte.get_or_insert(at);
    }

    /// A refusal or failure that the caller is told of. The first one stays.
    pub(crate) fn fail(&self, error: &Error) {
        self.state().learnt.failure.get_or_insert((error.code(), error.origin()));
    }

    /// The vendor's answer ended before its finish, which the caller is told by `error`.
    pub(crate) fn cut_short(&self, error: &Error) {
        let learnt = &mut self.state().learnt;
        if learnt.failure.is_none() {
            learnt.failure = Some((error.code(), error.origin()));
            learnt.cut_short = true;
        }
    }

    /// The status that the caller gets.
    pub(crate) fn status(&self, status: u16) {
        self.state().learnt.tell(status);
    }

    /// The caller is gone, in the middle of its request.
    pub(crate) fn leave(&self) {
        self.state().learnt.left = true;
    }

    /// All of the answer has come: what follows changes nothing.
    pub(crate) fn complete(&self) {
        self.0.complete.store(true, Ordering::Release);
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.0.complete.load(Ordering::Acquire)
    }

    /// The rest of the answer is read in the background: guards that fire on drop wait for [`drained`](Self::drained),
    /// which must follow however the reading ends.
    pub(crate) fn drain(&self) {
        self.state().keeper = Keeper::Drain;
        self.0.handed_on.store(true, Ordering::Release);
    }

    /// Whether there is or was a drain: without one, nothing is to be [deferred](Self::defer). Whoever begins one does so
    /// before the guards fire.
    pub(crate) fn is_handed_on(&self) -> bool {
        self.0.handed_on.load(Ordering::Acquire)
    }

    /// Runs `finish` when the drain is over; gives it back when there is none. Where a job has taken over, it never runs.
    pub(crate) fn defer<F, T>(&self, finish: F) -> Result<(), F>
    where
        F: FnOnce(Ended) -> T + Send + 'static,
    {
        let mut state = self.state();
        match state.keeper {
            Keeper::Guards => return Err(finish),
            Keeper::Drain => state.deferred.push(Box::new(|ended| drop(finish(ended)))),
            Keeper::Job => {}
        }
        Ok(())
    }

    /// The drain is over: what was deferred is done now, in order.
    pub(crate) fn drained(&self) {
        let deferred = {
            let mut state = self.state();
            if state.keeper == Keeper::Drain {
                state.keeper = Keeper::Guards;
            }
            std::mem::take(&mut state.deferred)
        };
        for finish in deferred {
            finish(Ended::Dropped);
        }
    }

    /// Ends a drain whose request has become a job: that completes the record and settles the hold, maybe in another
    /// process. What was deferred is dropped, and what would be fired later does nothing.
    pub(crate) fn hand_over(&self) {
        let deferred = {
            let mut state = self.state();
            if state.keeper != Keeper::Drain {
                return;
            }
            state.keeper = Keeper::Job;
            std::mem::take(&mut state.deferred)
        };
        drop(deferred);
    }

    /// The record as it stands, for whoever must complete it without this meter. `None` where nobody journals.
    pub(crate) fn running(&self) -> Option<UsageRecord> {
        self.0.journal.running(self)
    }

    /// Looks at what was learnt so far. `look` must not ask the meter for anything.
    pub(crate) fn learnt<T>(&self, look: impl FnOnce(&Learnt) -> T) -> T {
        look(&self.state().learnt)
    }

    /// Adds to what was learnt. `note` must not ask the meter for anything.
    pub(crate) fn learn(&self, note: impl FnOnce(&mut Learnt)) {
        note(&mut self.state().learnt);
    }

    /// The id of the request's record; `None` where nobody journals.
    pub(crate) fn record_id(&self) -> Option<Id> {
        self.0.journal.record_id()
    }

    pub(crate) fn closing(&self) -> Option<&Closing> {
        self.0.journal.closing()
    }

    /// Whether the host is going down.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing().is_some_and(Closing::is_closed)
    }

    /// Makes the books, or repeats them.
    pub(crate) fn book(&self, ended: Ended) -> Booked {
        self.close(ended, |booked, _| *booked)
    }

    /// The same, and gives out what was learnt, for the last time. `look` must not ask the meter for anything.
    pub(crate) fn close<T>(&self, ended: Ended, look: impl FnOnce(&Booked, &mut Learnt) -> T) -> T {
        let closing = self.is_closing();
        let complete = self.is_complete();
        let state = &mut *self.state();
        let booked = state.booked.get_or_insert_with(|| state.learnt.book(ended, complete, closing));
        look(booked, &mut state.learnt)
    }
}

fn taken() -> Error {
    let message =
        "This server has made a second model call on the meter of one request. Its operator has to look into it.";
    Error::new(Code::InternalError, message).cause(
        "a `Meter` follows one call: leave it out of the extensions of further ones, and send them, with the `Caller`, \
         through a stack that has a `MeteringLayer`, so that each is on record",
    )
}

#[cfg(test)]
impl Meter {
    pub(crate) fn report(&self, usage: Usage) {
        self.learn(|learnt| learnt.report(usage));
    }

    pub(crate) fn deliver(&self, so_far: Usage) {
        self.learn(|learnt| learnt.delivered = so_far);
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("complete", &self.is_complete()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_deferred_runs_once_and_in_order_when_the_drain_is_over() {
        let meter = Meter::new(Abandoned::Seen);
        let ran = Arc::new(Mutex::new(Vec::new()));
        let note = |name: &'static str| {
            let ran = Arc::clone(&ran);
            move |ended| ran.lock().unwrap().push((name, ended))
        };
        assert!(meter.defer(note("early")).is_err(), "there is no drain yet");
        meter.drain();
        assert!(meter.defer(note("settle")).is_ok() && meter.defer(note("record")).is_ok());
        assert!(ran.lock().unwrap().is_empty());
        meter.drained();
        meter.drained();
        assert_eq!(*ran.lock().unwrap(), [("settle", Ended::Dropped), ("record", Ended::Dropped)]);
        assert!(meter.defer(note("late")).is_err(), "the drain is over");
    }

    #[test]
    fn what_a_job_has_taken_over_is_nobody_elses_to_finish() {
        let meter = Meter::new(Abandoned::Seen);
        let ran = Arc::new(AtomicBool::new(false));
        let note = || {
            let ran = Arc::clone(&ran);
            move |_| ran.store(true, Ordering::SeqCst)
        };
        meter.drain();
        assert!(meter.defer(note()).is_ok(), "before");
        meter.hand_over();
        assert!(meter.defer(note()).is_ok(), "and after");
        assert!(!ran.load(Ordering::SeqCst));
    }
}

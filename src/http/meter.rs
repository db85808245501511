//! The meter of one request: what every layer learns about it, and what it comes to in the end.
//!
//! The metering layer puts a [`Meter`] into the request's extensions; inspect, quota and route write what they learn
//! into it; a handler of the host's own may [`add`](Meter::add) units. When the request is over, the first guard that
//! asks makes the books ([`Booked`]); whoever asks later is told the same.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::clock::Timestamp;
use crate::base::error::{Code, Error, Origin};
use crate::base::money::Money;
use crate::domain::limit::Amounts;
use crate::domain::model::ModelTerms;
use crate::domain::price::Options;
use crate::domain::record::Outcome;
use crate::domain::usage::Usage;

use super::call::Call;
use super::finish::Ended;

/// What is booked for an answer that the caller did not wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Abandoned {
    /// The input's estimate and the output delivered so far.
    #[default]
    Seen,
    /// The whole hold.
    Held,
}

/// The meter of one request. Cheap to clone; every clone is the same meter.
#[derive(Clone)]
pub struct Meter(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    complete: AtomicBool,
    draining: AtomicBool,
}

#[derive(Default)]
struct State {
    abandoned: Abandoned,
    terms: Option<Arc<ModelTerms>>,
    options: Options,
    input_estimate: u64,
    held: Option<Amounts>,
    routed: Option<Routed>,
    upstream_request_id: Option<Arc<str>>,
    streamed: bool,
    called: bool,
    first_byte: Option<Timestamp>,
    reported: Option<Usage>,
    delivered: Usage,
    added: Usage,
    failure: Option<(Code, Origin)>,
    status: Option<u16>,
    shutdown: bool,
    booked: Option<Booked>,
    deferred: Vec<Deferred>,
}

type Deferred = Box<dyn FnOnce(Ended) + Send>;

/// Where a request was routed to.
#[derive(Clone, Debug)]
pub(crate) struct Routed {
    pub(crate) provider: Arc<str>,
    pub(crate) upstream: Arc<str>,
}

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Booked {
    pub(crate) outcome: Outcome,
    pub(crate) usage: Usage,
    pub(crate) estimated: bool,
    pub(crate) cost: Money,
}

impl Booked {
    /// What limits are settled to; `None` where the request is to count nowhere.
    pub(crate) fn amounts(&self) -> Option<Amounts> {
        (self.outcome != Outcome::Refused).then(|| Amounts::of_request(&self.usage, self.cost))
    }
}

/// What a finished record takes from the meter, beside the books.
#[derive(Clone, Debug, Default)]
pub(crate) struct Learnt {
    pub(crate) terms: Option<Arc<ModelTerms>>,
    pub(crate) routed: Option<Routed>,
    pub(crate) upstream_request_id: Option<Arc<str>>,
    pub(crate) streamed: bool,
    pub(crate) first_byte: Option<Timestamp>,
    pub(crate) status: Option<u16>,
    pub(crate) code: Option<Code>,
    pub(crate) held: Option<Amounts>,
}

impl Meter {
    pub(crate) fn new(abandoned: Abandoned) -> Self {
        let state = State { abandoned, ..State::default() };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            complete: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds units that a handler of the host's own has used. They are priced like a vendor's where the model is known.
    pub fn add(&self, usage: Usage) {
        let mut state = self.state();
        state.added = state.added.plus(&usage);
    }

    pub(crate) fn identify(&self, call: &Call) {
        let facts = call.facts();
        let text = facts.body_bytes.saturating_sub(facts.media_bytes);
        let mut state = self.state();
        state.terms = call.terms().cloned();
        state.options = call.price_options();
        state.streamed = call.streams();
        // A token of ordinary text is some four bytes; of dense scripts, three. The JSON around it evens that out.
        state.input_estimate = text.div_ceil(3).max(1);
    }

    pub(crate) fn hold(&self, held: Amounts) {
        self.state().held = Some(held);
    }

    pub(crate) fn route(&self, routed: Routed) {
        self.state().routed = Some(routed);
    }

    /// The vendor is about to be called: from here on it may bill.
    pub(crate) fn call(&self) {
        self.state().called = true;
    }

    pub(crate) fn upstream_request_id(&self, id: Arc<str>) {
        self.state().upstream_request_id = Some(id);
    }

    pub(crate) fn first_byte(&self, at: Timestamp) {
        self.state().first_byte.get_or_insert(at);
    }

    /// Usage as the vendor reports it; the last report is the truth.
    pub(crate) fn report(&self, usage: Usage) {
        self.state().reported = Some(usage);
    }

    /// What has been delivered so far, as we count it: the ground of an estimate.
    pub(crate) fn deliver(&self, so_far: Usage) {
        self.state().delivered = so_far;
    }

    /// A refusal or failure that the caller is told of. The first one stays.
    pub(crate) fn fail(&self, error: &Error) {
        self.state().failure.get_or_insert((error.code(), error.origin()));
    }

    /// The status that the caller gets.
    pub(crate) fn status(&self, status: u16) {
        self.state().status = Some(status);
    }

    /// The host is going down: what is cut now is cut by us.
    pub(crate) fn shut_down(&self) {
        self.state().shutdown = true;
    }

    /// All of the answer has come: what follows changes nothing.
    pub(crate) fn complete(&self) {
        self.0.complete.store(true, Ordering::Release);
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.0.complete.load(Ordering::Acquire)
    }

    /// The rest of the answer is read in the background: guards that fire on drop must wait for [`drained`](Self::drained).
    pub(crate) fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Whether the rest of the answer is read in the background.
    pub(crate) fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// Runs `finish` when the drain is over; gives it back when there is none.
    pub(crate) fn defer(&self, finish: Deferred) -> Result<(), Deferred> {
        if !self.0.draining.load(Ordering::Acquire) {
            return Err(finish);
        }
        let mut state = self.state();
        if !self.0.draining.load(Ordering::Acquire) {
            return Err(finish);
        }
        state.deferred.push(finish);
        Ok(())
    }

    /// The drain is over: what was deferred is done now, in order.
    pub(crate) fn drained(&self) {
        let deferred = {
            let mut state = self.state();
            self.0.draining.store(false, Ordering::Release);
            std::mem::take(&mut state.deferred)
        };
        for finish in deferred {
            finish(Ended::Dropped);
        }
    }

    pub(crate) fn learnt(&self) -> Learnt {
        let state = self.state();
        Learnt {
            terms: state.terms.clone(),
            routed: state.routed.clone(),
            upstream_request_id: state.upstream_request_id.clone(),
            streamed: state.streamed,
            first_byte: state.first_byte,
            status: state.status,
            code: state.failure.map(|(code, _)| code),
            held: state.held,
        }
    }

    /// Makes the books, or repeats them.
    pub(crate) fn book(&self, ended: Ended) -> Booked {
        let complete = self.is_complete();
        let mut state = self.state();
        if let Some(booked) = state.booked {
            return booked;
        }
        let outcome = state.outcome(ended, complete);
        let (usage, estimated) = state.usage(outcome);
        let booked = state.price(outcome, usage, estimated);
        state.booked = Some(booked);
        booked
    }
}

impl State {
    fn outcome(&self, ended: Ended, complete: bool) -> Outcome {
        match (self.failure, ended) {
            (_, Ended::Panicked) => Outcome::Failed,
            (Some((_, Origin::Provider)), _) => Outcome::ProviderFailed,
            (Some((code, Origin::Gateway)), _) if code.status().is_server_error() => Outcome::Failed,
            (Some(_), _) => Outcome::Refused,
            _ if complete => Outcome::Completed,
            (None, Ended::Failed) => Outcome::Failed,
            (None, Ended::Dropped) if self.shutdown => Outcome::Failed,
            (None, Ended::Dropped) => Outcome::ClientClosed,
            (None, Ended::Whole { .. }) if self.routed.is_some() => Outcome::Truncated,
            (None, Ended::Whole { grpc_status }) => match (grpc_status, self.status) {
                // UNKNOWN, INTERNAL, UNAVAILABLE, DATA_LOSS: the handler's own faults.
                (Some(2 | 13 | 14 | 15), _) | (_, Some(500..)) => Outcome::Failed,
                _ => Outcome::Completed,
            },
        }
    }

    /// What was used, and whether that is our own estimate.
    fn usage(&self, outcome: Outcome) -> (Usage, bool) {
        let (used, estimated) = match (outcome, self.reported) {
            (Outcome::Refused, _) => (Usage::NONE, false),
            (_, Some(reported)) => (reported, false),
            _ if !self.called => (Usage::NONE, false),
            // Before any output a failed call is not billed.
            (Outcome::ProviderFailed | Outcome::Failed, None) if self.delivered == Usage::NONE => (Usage::NONE, false),
            _ => {
                let input = if self.counts_tokens() { self.input_estimate } else { 0 };
                (Usage { input_tokens: input, ..Usage::NONE }.plus(&self.delivered), true)
            }
        };
        (used.plus(&self.added), estimated)
    }

    fn counts_tokens(&self) -> bool {
        use crate::domain::modality::Modality;
        self.terms.as_ref().is_none_or(|t| matches!(t.modality, Modality::Text | Modality::Embedding))
    }

    fn price(&self, outcome: Outcome, usage: Usage, estimated: bool) -> Booked {
        let billable =
            outcome != Outcome::Refused && (self.called && usage != Usage::NONE || self.added != Usage::NONE);
        let price = self.terms.as_ref().map(|t| &t.price).filter(|_| billable);
        let cost = price.and_then(|p| p.cost(&usage, &self.options)).unwrap_or_default();
        let mut booked = Booked { outcome, usage, estimated, cost };
        if let (true, Some(held)) = (estimated, self.held) {
            let whole = self.abandoned == Abandoned::Held && outcome == Outcome::ClientClosed;
            let bound = |seen: u64, held: u64| match held {
                0 => seen,
                held if whole => held,
                // An estimate never breaks through the bound that was held for it.
                held => seen.min(held),
            };
            booked.usage = Usage {
                input_tokens: bound(usage.input_tokens, held.input_tokens),
                output_tokens: bound(usage.output_tokens, held.output_tokens),
                images: bound(usage.images, held.images),
                video_seconds: bound(usage.video_seconds, held.video_seconds),
                audio_seconds: bound(usage.audio_seconds, held.audio_seconds),
                characters: bound(usage.characters, held.characters),
                ..usage
            };
            let cost = price.and_then(|p| p.cost(&booked.usage, &self.options)).unwrap_or_default();
            booked.cost = Money::from_nanos(bound(cost.as_nanos(), held.spend.as_nanos()));
        }
        booked
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("complete", &self.is_complete()).finish_non_exhaustive()
    }
}

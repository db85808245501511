//! The layer: settings, and the decision on a request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Extensions;
use tower_layer::Layer;

use crate::base::clock::{Clock, SystemClock};
use crate::base::error::{Code, Error};
use crate::base::log;
use crate::base::money::Money;
use crate::base::store_future::StoreFuture;
use crate::domain::caller::Caller;
use crate::domain::limit::{Amounts, Limit, Mode, OnStoreFailure};
use crate::domain::limit_book::LimitBook;
use crate::http::call::Call;
use crate::http::meter::{Abandoned, Meter};
use crate::store::error::{StoreError, StoreResult};
use crate::store::grant::{Grant, Ticket};
use crate::store::quota::{Decision, Headroom, QuotaStore, Reservation};

use super::hold::{self, Hold};
use super::refusal;
use super::service::QuotaService;

/// Puts every request under the limits that apply to its caller. See the [module docs](super).
#[derive(Clone)]
pub struct QuotaLayer {
    store: Arc<dyn QuotaStore>,
    book: Arc<LimitBook>,
    clock: Arc<dyn Clock>,
    on_store_failure: OnStoreFailure,
    at_most: Option<Amounts>,
}

/// The hold of a request that nothing is known of: a unit of what every model uses, so that a cap which is used up refuses
/// it. Not of pictures or seconds, which most never touch.
const ANYTHING: Amounts =
    Amounts { input_tokens: 1, output_tokens: 1, spend: Money::from_nanos(1), ..Amounts::ONE_REQUEST };

/// What a request asks of the store.
pub(super) struct Asked {
    pub(super) meter: Meter,
    pub(super) hold: Amounts,
    /// What whoever keeps books is told of it: one that says nothing of what is used bounds no estimate.
    pub(super) known: Amounts,
    /// Where every limit lets requests pass while the store cannot be reached: how they are counted later.
    pub(super) later: Option<Later>,
    pub(super) decision: StoreFuture<StoreResult<Decision>>,
}

/// Has a request that the store could not be asked about counted once it is over.
pub(super) struct Later {
    store: Arc<dyn QuotaStore>,
    limits: Arc<[Arc<Limit>]>,
}

impl Ticket for Later {
    fn settle(self: Box<Self>, used: Option<Amounts>) {
        if used.is_some() {
            self.store.missed(&self.limits);
        }
    }
}

/// How a request may go on.
pub(super) struct Admission {
    pub(super) grant: Grant,
    pub(super) headroom: Headroom,
}

/// Why it may not, and what is left of the limits.
pub(super) type Refused = (Error, Headroom);

impl QuotaLayer {
    /// A layer that counts in `store` against the limits of `book`. A store that cannot be reached refuses requests.
    pub fn new(store: impl QuotaStore, book: Arc<LimitBook>) -> Self {
        let clock = Arc::new(SystemClock::new());
        Self { store: Arc::new(store), book, clock, on_store_failure: OnStoreFailure::Closed, at_most: None }
    }

    /// The clock that windows go by, for stores without one of their own.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// What happens while the store cannot be reached, to limits that do not say so themselves. Spend and total limits are
    /// closed whatever is set here.
    #[must_use]
    pub fn on_store_failure(mut self, policy: OnStoreFailure) -> Self {
        self.on_store_failure = policy;
        self
    }

    /// The most that a request to a route of your own comes to: held until its handler has told what it was. Without it such
    /// a request holds a token each way and a nano-dollar, so that a token or spend limit which is used up refuses it, but
    /// requests that run side by side may together go past what is left, and no limit of pictures, seconds or characters
    /// refuses it. A model request's hold is reckoned from what it asks for.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use kancy::domain::limit::Amounts;
    /// # use kancy::{LimitBook, Money};
    /// # use kancy::quota::QuotaLayer;
    /// # use kancy::store::memory::quota::MemoryQuota;
    /// # let layer = QuotaLayer::new(MemoryQuota::new(), Arc::new(LimitBook::default()));
    /// let layer = layer.at_most(Amounts { images: 4, spend: Money::from_nanos(160_000_000), ..Amounts::ONE_REQUEST });
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn at_most(mut self, most: Amounts) -> Self {
        self.at_most = Some(Amounts { requests: 1, ..most });
        self
    }

    /// Reckons the hold and asks the store. The meter of the request comes first, so that a refusal finds its way into it.
    pub(super) fn ask(&self, extensions: &mut Extensions) -> Result<Asked, (Meter, Error)> {
        let meter = meter_of(extensions)?;
        let Some(caller) = extensions.get::<Caller>().cloned() else {
            return Err((meter, nobody()));
        };
        let call = extensions.get::<Call>();
        let modality = call.map(|c| c.terms().map_or(c.endpoint().modality(), |t| t.modality));
        let model = call.map(|c| c.terms().map_or_else(|| c.model().into(), |t| Arc::clone(&t.id)));
        let limits = self.book.applicable(&caller, modality, model.as_deref());
        let call_is_known = call.is_some();
        let hold = match call.map(|call| hold::reckon(call, &limits)) {
            Some(Ok(hold)) => hold,
            Some(Err(error)) => return Err((meter, error)),
            None => Hold { amounts: self.at_most.unwrap_or(ANYTHING), output_bound: None },
        };
        if let (Some(call), Some(bound)) = (extensions.get_mut::<Call>(), hold.output_bound) {
            *call = call.bound_output(bound);
        }
        let is_bound = call_is_known || self.at_most.is_some();
        let hold = hold.amounts;
        let all_open = limits.iter().all(|limit| self.is_open(limit));
        let later = all_open.then(|| Later { store: Arc::clone(&self.store), limits: Arc::clone(&limits) });
        let lasting = extensions.get::<Call>().is_some_and(|call| call.endpoint().makes_job());
        let reservation = Reservation {
            caller,
            modality,
            model,
            hold,
            limits,
            lasting,
            record: meter.record_id(),
            now: self.clock.now(),
        };
        let known = if is_bound { hold } else { Amounts::ONE_REQUEST };
        Ok(Asked { meter, hold, known, later, decision: self.store.reserve(reservation) })
    }

    /// What the store's answer means for the request.
    pub(super) fn decide(
        answer: StoreResult<Decision>,
        hold: Amounts,
        later: Option<Later>,
    ) -> Result<Admission, Refused> {
        match (answer, later) {
            (Ok(Decision::Admitted { grant, headroom }), _) => Ok(Admission { grant, headroom }),
            (Ok(Decision::Refused(refused)), _) => Err((refusal::error(&refused, &hold), refused.headroom)),
            (Err(error), Some(later)) => {
                log::store_failed("the quota store cannot be reached, and its limits are open", &error);
                Ok(Admission { grant: Grant::new(hold, later), headroom: Headroom::default() })
            }
            (Err(error), None) => Err((unavailable(&error), Headroom::default())),
        }
    }

    /// Whether a limit lets requests pass while the store cannot be reached.
    fn is_open(&self, limit: &Limit) -> bool {
        let policy = limit.on_store_failure.unwrap_or(self.on_store_failure);
        limit.mode == Mode::Shadow || !limit.key.always_closed() && policy == OnStoreFailure::Open
    }
}

/// The request's meter; one of our own where no metering layer stands outside. An error comes with another one: the call
/// that the meter follows has nothing to do with it.
fn meter_of(extensions: &mut Extensions) -> Result<Meter, (Meter, Error)> {
    let call = extensions.get::<Call>();
    let new = || Meter::new(Abandoned::default());
    if let Some(meter) = extensions.get::<Meter>() {
        return meter.begin(call).map(|()| meter.clone()).map_err(|error| (new(), error));
    }
    let meter = new();
    if let Some(call) = call {
        meter.begin(Some(call)).map_err(|error| (new(), error))?;
    }
    extensions.insert(meter.clone());
    Ok(meter)
}

fn nobody() -> Error {
    let message =
        "This server is not wired right: AuthLayer must stand outside of QuotaLayer. Its operator has to look into it.";
    Error::new(Code::InternalError, message).cause("QuotaLayer found no Caller in the request's extensions")
}

fn unavailable(error: &StoreError) -> Error {
    Error::new(Code::QuotaUnavailable, "The limits of this key cannot be checked at the moment. Try again shortly.")
        .retry_after(Duration::from_secs(1))
        .cause(format!("the quota store failed: {error}"))
}

impl<S> Layer<S> for QuotaLayer {
    type Service = QuotaService<S>;

    fn layer(&self, inner: S) -> QuotaService<S> {
        QuotaService::new(inner, self.clone())
    }
}

impl fmt::Debug for QuotaLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuotaLayer")
            .field("store", &self.store)
            .field("on_store_failure", &self.on_store_failure)
            .finish_non_exhaustive()
    }
}

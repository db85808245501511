//! What the guard does: the record of a request, made from the caller, the meter and the clock.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use http::Response;

use crate::base::clock::Timestamp;
use crate::base::id::{RequestId, new_id_at};
use crate::base::log;
use crate::base::money::Money;
use crate::base::short_id::Id;
use crate::base::store_future::StoreFuture;
use crate::domain::caller::Caller;
use crate::domain::endpoint::Endpoint;
use crate::domain::limit::Amounts;
use crate::domain::modality::Modality;
use crate::domain::record::{Outcome, UsageRecord};
use crate::domain::usage::Usage;
use crate::http::closing::Closing;
use crate::http::finish::{Ended, Finish};
use crate::http::headers::set_request_id;
use crate::http::meter::{Journal, Journaled, Learnt, Meter, Routed};
use crate::store::error::StoreResult;

use super::layer::Settings;

/// The longest path that is kept, in characters.
const LONGEST_PATH: usize = 256;

/// What is known of a request before anything is learnt of it.
pub(super) struct Entry {
    settings: Arc<Settings>,
    id: Id,
    request_id: RequestId,
    time: Timestamp,
    caller: Caller,
    endpoint: Arc<str>,
    modality: Option<Modality>,
}

impl Entry {
    pub(super) fn new(settings: Arc<Settings>, caller: Caller, request_id: RequestId, path: &str) -> Self {
        let time = settings.clock.now();
        let route = Endpoint::of(path);
        let endpoint = match route {
            Some(route) => route.shared_path(),
            None => path.chars().take(LONGEST_PATH).collect::<String>().into(),
        };
        let id = new_id_at("rec_", time);
        Self { settings, id, request_id, time, caller, endpoint, modality: route.map(Endpoint::modality) }
    }

    /// The record as it stands while the request runs.
    fn running(&self, learnt: &Learnt) -> UsageRecord {
        self.record(learnt, learnt.routed.clone(), learnt.upstream_request_id.clone())
    }

    fn record(&self, learnt: &Learnt, routed: Option<Routed>, upstream_request_id: Option<Arc<str>>) -> UsageRecord {
        let (provider, upstream_model) = routed.map(|to| (to.provider, to.upstream)).unzip();
        UsageRecord {
            id: self.id.clone(),
            request_id: self.request_id.id().clone(),
            time: self.time,
            home: self.caller.shared_home(),
            key_id: self.caller.shared_key_id(),
            endpoint: Arc::clone(&self.endpoint),
            modality: learnt.terms.as_ref().map(|t| t.modality).or(self.modality),
            model: learnt.terms.as_ref().map(|t| Arc::clone(&t.id)),
            provider,
            upstream_model,
            upstream_request_id,
            status: learnt.status,
            code: learnt.failure.map(|(code, _)| code.as_str().into()),
            outcome: None,
            streamed: learnt.streamed,
            latency_ms: None,
            first_byte_ms: learnt.first_byte.map(|at| self.millis_to(at)),
            usage: Usage::NONE,
            estimated: false,
            cost: Money::ZERO,
            held: Some(learnt.held.unwrap_or(Amounts::ONE_REQUEST)),
        }
    }

    /// The record of the request that is over.
    fn ended(&self, meter: &Meter, head: Option<u16>, ended: Ended) -> UsageRecord {
        let now = self.settings.clock.now();
        meter.close(ended, |booked, learnt| {
            if let Some(status) = head {
                learnt.tell(status);
            }
            let cut = matches!(booked.outcome, Outcome::ClientClosed | Outcome::Failed);
            let (routed, upstream_request_id) = (learnt.routed.take(), learnt.upstream_request_id.take());
            let mut record = self.record(learnt, routed, upstream_request_id);
            record.outcome = Some(booked.outcome);
            record.latency_ms = Some(self.millis_to(now));
            record.usage = booked.usage;
            record.estimated = booked.estimated;
            record.cost = booked.cost;
            record.held = (cut && !learnt.was_admitted()).then(Amounts::default);
            record
        })
    }

    /// Hands the record over; what comes back is ready when it is durable.
    fn commit(&self, meter: &Meter, head: Option<u16>, ended: Ended) -> Option<StoreFuture<()>> {
        let told = |committed: StoreResult<()>| {
            if let Err(error) = committed {
                log::store_failed("a usage record is not durable", &error);
            }
        };
        let record = self.ended(meter, head, ended);
        // A panic here may come in the middle of another one, where it would end the process.
        let Ok(committing) = catch_unwind(AssertUnwindSafe(|| self.settings.sink.record(record))) else {
            log::store_failed("a usage record is lost", &"the sink panicked");
            return None;
        };
        // The answer goes out whether the commit succeeds or not: the sink has the record, and tries again on its own.
        match committing.now() {
            Ok(committed) => {
                told(committed);
                None
            }
            Err(committing) => Some(StoreFuture::new(async move { told(committing.await) })),
        }
    }

    fn millis_to(&self, at: Timestamp) -> u64 {
        u64::try_from(at.since(self.time).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Journal for Entry {
    fn running(&self, meter: &Meter) -> Option<UsageRecord> {
        Some(meter.learnt(|learnt| Self::running(self, learnt)))
    }

    fn open(&self, meter: &Meter) -> StoreFuture<bool> {
        match self.settings.sink.open(&meter.learnt(|learnt| self.running(learnt))).now() {
            Ok(opened) => StoreFuture::ready(opened.is_ok()),
            Err(opening) => StoreFuture::new(async move {
                let opened = opening.await;
                if let Err(error) = &opened {
                    log::store_failed("a hold cannot be written: the request is refused", error);
                }
                opened.is_ok()
            }),
        }
    }

    fn record_id(&self) -> Option<Id> {
        Some(self.id.clone())
    }

    fn closing(&self) -> Option<&Closing> {
        Some(&self.settings.closing)
    }
}

/// Where the entry lies: with the meter that was made for it, or behind one that a layer further out has made.
enum Place {
    Own(Journaled<Entry>),
    Behind(Arc<Entry>),
}

impl Place {
    fn entry(&self) -> &Entry {
        match self {
            Self::Own(journaled) => journaled.journal(),
            Self::Behind(entry) => entry,
        }
    }
}

/// The finish of a metered request.
pub(super) struct Record {
    place: Place,
    meter: Meter,
    /// Whether the request id was made here, so that the answer must tell it.
    tells_id: bool,
    has_data: bool,
    /// The status of the head that went out.
    head: Option<u16>,
}

impl Record {
    pub(super) fn new(entry: Entry, tells_id: bool) -> Self {
        let own = Journaled::new(entry.settings.abandoned, entry);
        let meter = own.meter();
        Self { place: Place::Own(own), meter, tells_id, has_data: false, head: None }
    }

    /// Takes over the meter of a layer further out; `None` where another one was faster.
    pub(super) fn behind(meter: Meter, entry: Entry, tells_id: bool) -> Option<Self> {
        let entry = Arc::new(entry);
        let is_ours = meter.keep_in(entry.settings.abandoned, entry.clone());
        is_ours.then(|| Self { place: Place::Behind(entry), meter, tells_id, has_data: false, head: None })
    }

    fn entry(&self) -> &Entry {
        self.place.entry()
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    pub(super) fn on_head<B>(&mut self, response: &mut Response<B>) {
        self.head = Some(response.status().as_u16());
        if self.tells_id {
            set_request_id(response.headers_mut(), &self.place.entry().request_id);
        }
    }
}

impl Finish for Record {
    fn is_complete(&self) -> bool {
        self.meter.is_complete()
    }

    fn on_data(&mut self, _: &Bytes) {
        if !self.has_data {
            self.has_data = true;
            self.meter.first_byte(self.entry().settings.clock.now());
        }
    }

    fn finish(self, ended: Ended) -> Option<StoreFuture<()>> {
        let Self { place, meter, head, .. } = self;
        if !meter.is_handed_on() {
            return place.entry().commit(&meter, head, ended);
        }
        let drained = meter.clone();
        // Given back when there is no drain to wait for.
        let commit = meter.defer(move |ended| place.entry().commit(&drained, head, ended)).err()?;
        commit(ended)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("id", &self.entry().id).finish_non_exhaustive()
    }
}

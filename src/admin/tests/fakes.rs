//! Stand-in stores, where a test must see what was asked or choose what is answered.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::money::Money;
use crate::base::store_future::StoreFuture;
use crate::domain::alert::Alert;
use crate::domain::caller::Home;
use crate::domain::hold::LastingHold;
use crate::domain::limit::{Amounts, Limit, LimitKey, Measure, Per, Scope};
use crate::domain::modality::Modality;
use crate::domain::name::Name;
use crate::domain::record::{Outcome, UsageRecord};
use crate::domain::usage::Usage;
use crate::store::error::{StoreError, StoreResult};
use crate::store::ledger::{GroupBy, PostedQuery, RecordFilter, UsageRow, UsageStore};
use crate::store::quota::{Decision, LimitState, QuotaStore, Reservation};
use crate::store::tables::{AlertStore, LimitStore, Page, PageOf};

fn ready<T>(value: T) -> StoreFuture<StoreResult<T>> {
    StoreFuture::ready(Ok(value))
}

/// Limits as stored; and one that another instance will put in their place as soon as any are.
#[derive(Debug, Default)]
pub(super) struct Limits(pub(super) Mutex<Vec<Limit>>, pub(super) Mutex<Option<Limit>>);

impl LimitStore for Limits {
    fn all(&self) -> StoreFuture<StoreResult<Vec<Limit>>> {
        ready(self.0.lock().unwrap().clone())
    }

    fn put(&self, scope: Scope, limits: Vec<Limit>) -> StoreFuture<StoreResult<()>> {
        let mut held = self.0.lock().unwrap();
        held.retain(|limit| limit.key.scope != scope);
        match self.1.lock().unwrap().take() {
            Some(theirs) => held.push(theirs),
            None => held.extend(limits),
        }
        ready(())
    }
}

#[derive(Debug)]
pub(super) struct Quota;

impl QuotaStore for Quota {
    fn reserve(&self, _: Reservation) -> StoreFuture<StoreResult<Decision>> {
        StoreFuture::ready(Err(StoreError::unavailable("not part of the tests")))
    }

    fn keep(&self, _: Vec<LastingHold>, _: Duration) -> StoreFuture<StoreResult<()>> {
        ready(())
    }

    fn settle(&self, _: LastingHold, _: Option<Amounts>) -> StoreFuture<StoreResult<()>> {
        ready(())
    }

    fn state(&self, limits: Vec<Arc<Limit>>, now: Timestamp) -> StoreFuture<StoreResult<Vec<LimitState>>> {
        let resets_at = Some(Timestamp::from_nanos(now.as_nanos() + 1));
        ready(
            limits
                .into_iter()
                .map(|limit| LimitState { limit, used: 1, reserved: 2, remaining: 3, resets_at })
                .collect(),
        )
    }
}

/// One record and one row, whatever is asked.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    asked: Mutex<(RecordFilter, Vec<GroupBy>)>,
    down: Mutex<bool>,
}

impl Ledger {
    pub(super) fn filter(&self) -> RecordFilter {
        self.asked.lock().unwrap().0.clone()
    }

    pub(super) fn groups(&self) -> Vec<GroupBy> {
        self.asked.lock().unwrap().1.clone()
    }

    pub(super) fn fail(&self) {
        *self.down.lock().unwrap() = true;
    }

    fn answer<T>(&self, value: T) -> StoreFuture<StoreResult<T>> {
        let down = *self.down.lock().unwrap();
        StoreFuture::ready(if down { Err(StoreError::unavailable("disk full")) } else { Ok(value) })
    }
}

const USED: Usage =
    Usage { input_tokens: 10, cached_input_tokens: 4, output_tokens: 5, reasoning_tokens: 1, ..Usage::NONE };

impl UsageStore for Ledger {
    fn records(&self, filter: RecordFilter, _: Page) -> StoreFuture<StoreResult<PageOf<UsageRecord>>> {
        self.asked.lock().unwrap().0 = filter;
        let name = |text| Name::new(text).unwrap();
        let record = UsageRecord {
            id: "rec_1".into(),
            request_id: "req_1".into(),
            time: Timestamp::from_nanos(1_800_000_000_250_999_999),
            home: Arc::new(Home { workspace: name("acme"), project: name("site"), team: None, environment: None }),
            key_id: "k".into(),
            endpoint: "/v1/chat/completions".into(),
            modality: Some(Modality::Text),
            model: Some("gpt-4o".into()),
            provider: Some("openai".into()),
            upstream_model: Some("gpt-4o".into()),
            upstream_request_id: None,
            status: Some(200),
            code: None,
            outcome: Some(Outcome::Completed),
            streamed: true,
            latency_ms: Some(12),
            first_byte_ms: Some(3),
            usage: Usage { image_input_tokens: 2, ..USED },
            estimated: false,
            cost: Money::from_nanos(75),
            held: None,
        };
        self.answer(PageOf { items: vec![record], next: Some("n".to_owned()) })
    }

    fn usage(&self, filter: RecordFilter, by: Vec<GroupBy>) -> StoreFuture<StoreResult<Vec<UsageRow>>> {
        let group = by.iter().map(|by| (*by == GroupBy::Day).then(|| "2027-01-15".to_owned())).collect();
        *self.asked.lock().unwrap() = (filter, by);
        self.answer(vec![UsageRow { group, requests: 2, errors: 1, usage: USED, cost: Money::from_nanos(75) }])
    }

    fn posted(&self, _: PostedQuery) -> StoreFuture<StoreResult<Vec<(Timestamp, Amounts)>>> {
        ready(Vec::new())
    }
}

#[derive(Debug)]
pub(super) struct Alerts;

impl AlertStore for Alerts {
    fn raise(&self, _: Alert) {}

    fn list(&self, _: Page) -> StoreFuture<StoreResult<PageOf<Alert>>> {
        let scope = "workspace:acme".parse().unwrap();
        let key = LimitKey { scope, modality: None, model: None, measure: Measure::Spend, per: Some(Per::Day) };
        let alert = Alert {
            id: "alert_1".into(),
            time: Timestamp::from_secs(1_800_000_000),
            limit: Arc::new(Limit::new(key, 1_000_000_000)),
            window_start: Some(Timestamp::from_secs(1_799_971_200)),
            threshold: 800,
            used: 800_000_001,
        };
        ready(PageOf { items: vec![alert], next: None })
    }
}

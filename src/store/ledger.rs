//! The ledger: usage records written by the metering layer and read by reports, and by quota stores that start anew.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::base::clock::Timestamp;
use crate::base::money::Money;
use crate::base::store_future::StoreFuture;
use crate::domain::limit::{Amounts, LimitKey};
use crate::domain::record::UsageRecord;
use crate::domain::usage::Usage;

use super::error::StoreResult;
use super::tables::{Page, PageOf};

/// Takes usage records.
///
/// Three rules, as the layer can do nothing for a sink that breaks them:
/// - *Neither call blocks.* They run where the answer is made: hand what takes time to a thread or a task of your own.
/// - *A record that `record` was called with is the sink's*, even if its future is never polled, as for a caller who has
///   left. An error is for the operator's log alone: nobody hands the record over once more. Keep it, try again, and let
///   [`open`](Self::open) fail meanwhile, so that nothing more is spent.
/// - *The future of `record` is ready at some time*, and does not panic. The last bytes of the answer wait for it: bound
///   what may hang.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a sink of usage records",
    note = "use `MemoryLedger`, or implement `UsageSink` and run `contract::ledger` on it"
)]
pub trait UsageSink: fmt::Debug + Send + Sync + 'static {
    /// Notes a request that is about to reach its vendor, with what it holds. A durable ledger is ready when the row is
    /// on disk; after a crash, rows that were opened and never recorded are posted at their hold. An error keeps
    /// the request from its vendor.
    fn open(&self, record: &UsageRecord) -> StoreFuture<StoreResult<()>>;

    /// Takes a finished record, replacing the opened one of the same `id`; one that has ended stays as it is, so that a
    /// replay changes nothing. The record is accepted when this returns,
    /// without blocking, even if the future is dropped; the future is ready when it is durable.
    fn record(&self, record: UsageRecord) -> StoreFuture<StoreResult<()>>;
}

/// Which records a listing shows; `from` inclusive, `to` exclusive, by arrival.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the filters of CONTRACT section 6")]
pub struct RecordFilter {
    pub workspace: Option<String>,
    pub project: Option<String>,
    pub team: Option<String>,
    pub environment: Option<String>,
    pub key: Option<String>,
    pub model: Option<String>,
    pub status: Option<u16>,
    pub outcome: Option<String>,
    pub id: Option<String>,
    pub request_id: Option<String>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

/// What usage is grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the words of CONTRACT section 6")]
pub enum GroupBy {
    Day,
    Workspace,
    Project,
    Team,
    Environment,
    Key,
    Model,
    Provider,
    Modality,
}

/// One group of a usage report.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the columns of `GET /usage`")]
pub struct UsageRow {
    /// The group's values, in the order asked for; `None` where records have none (a key without a team).
    pub group: Vec<Option<String>>,
    pub requests: u64,
    pub errors: u64,
    pub usage: Usage,
    pub cost: Money,
}

/// What has counted against a limit since a moment.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "a counter's filter and its start")]
pub struct PostedQuery {
    pub key: LimitKey,
    pub from: Timestamp,
    /// Wanted one by one, oldest first (to refill a rate), instead of as one sum.
    pub each: bool,
}

/// Reads the ledger. A query sees every record that was handed to the sink before it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a readable ledger",
    note = "use `MemoryLedger`, or implement `UsageStore` and run `contract::ledger` on it"
)]
pub trait UsageStore: fmt::Debug + Send + Sync + 'static {
    /// Records, newest arrival first, running ones included. A cursor that is none is refused.
    fn records(&self, filter: RecordFilter, page: Page) -> StoreFuture<StoreResult<PageOf<UsageRecord>>>;

    /// Usage by group, running requests included; no row where there is no record.
    fn usage(&self, filter: RecordFilter, by: Vec<GroupBy>) -> StoreFuture<StoreResult<Vec<UsageRow>>>;

    /// What finished records post to a limit's counter: their [`UsageRecord::amounts`]; running ones are left out.
    fn posted(&self, query: PostedQuery) -> StoreFuture<StoreResult<Vec<(Timestamp, Amounts)>>>;

    /// A number that grows whenever records of an instance that is gone were ended here in its stead: counters may have
    /// been told something else, and are to be brought up from the ledger. It stays as it is where that cannot happen.
    fn corrections(&self) -> u64 {
        0
    }
}

impl<T: UsageSink + ?Sized> UsageSink for Arc<T> {
    fn open(&self, record: &UsageRecord) -> StoreFuture<StoreResult<()>> {
        (**self).open(record)
    }

    fn record(&self, record: UsageRecord) -> StoreFuture<StoreResult<()>> {
        (**self).record(record)
    }
}

impl<T: UsageStore + ?Sized> UsageStore for Arc<T> {
    fn records(&self, filter: RecordFilter, page: Page) -> StoreFuture<StoreResult<PageOf<UsageRecord>>> {
        (**self).records(filter, page)
    }

    fn usage(&self, filter: RecordFilter, by: Vec<GroupBy>) -> StoreFuture<StoreResult<Vec<UsageRow>>> {
        (**self).usage(filter, by)
    }

    fn posted(&self, query: PostedQuery) -> StoreFuture<StoreResult<Vec<(Timestamp, Amounts)>>> {
        (**self).posted(query)
    }

    fn corrections(&self) -> u64 {
        (**self).corrections()
    }
}

//! Reading the ledger: listings, sums by group, and what counts against limits.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::base::clock::Timestamp;
use crate::base::money::Money;
use crate::base::store_future::StoreFuture;
use crate::domain::limit::{Amounts, LimitKey, Scope};
use crate::domain::record::UsageRecord;
use crate::store::error::{StoreError, StoreErrorKind, StoreResult};
use crate::store::ledger::{GroupBy, PostedQuery, RecordFilter, UsageRow, UsageStore};
use crate::store::sql::{UNITS, unsigned};
use crate::store::tables::{Page, PageOf};
use crate::store::units::usage;

use super::ledger::Ledger;
use super::row::{SELECTED, read};
use super::{PATIENCE, PostgresStore, Shared, failed, nanos, patient};

impl UsageStore for PostgresStore {
    fn records(&self, filter: RecordFilter, page: Page) -> StoreFuture<StoreResult<PageOf<UsageRecord>>> {
        let reports = self.reports();
        StoreFuture::new(async move { reports.records(&filter, &page).await })
    }

    fn usage(&self, filter: RecordFilter, by: Vec<GroupBy>) -> StoreFuture<StoreResult<Vec<UsageRow>>> {
        let reports = self.reports();
        StoreFuture::new(async move { reports.usage(&filter, &by).await })
    }

    fn posted(&self, query: PostedQuery) -> StoreFuture<StoreResult<Vec<(Timestamp, Amounts)>>> {
        let reports = self.reports();
        StoreFuture::new(async move { reports.posted(&query, Vec::new()).await })
    }

    fn corrections(&self) -> u64 {
        self.0.shared.corrections.load(Ordering::Acquire)
    }
}

/// The readable side of the ledger. Each query sees all that this instance handed over before it.
pub(super) struct Reports {
    pub(super) shared: Arc<Shared>,
    pub(super) ledger: Arc<Ledger>,
}

/// A `WHERE` in the making: its text and what is bound to its places.
struct Condition {
    sql: String,
    values: Vec<Box<dyn ToSql + Send + Sync>>,
}

impl Condition {
    fn new(sql: &str) -> Self {
        Self { sql: sql.to_owned(), values: Vec::new() }
    }

    /// Wants `test` of `value` (such as `status =`), where there is one.
    fn and(&mut self, test: &str, value: Option<impl ToSql + Send + Sync + 'static>) {
        if let Some(value) = value {
            self.values.push(Box::new(value));
            self.sql.push_str(&format!(" AND {test} ${}", self.values.len()));
        }
    }

    fn of(filter: &RecordFilter) -> Self {
        let mut condition = Self::new("true");
        for (test, wanted) in [
            ("workspace =", &filter.workspace),
            ("project =", &filter.project),
            ("team =", &filter.team),
            ("environment =", &filter.environment),
            ("key_id =", &filter.key),
            ("model =", &filter.model),
            ("outcome =", &filter.outcome),
            ("id =", &filter.id),
            ("request_id =", &filter.request_id),
        ] {
            condition.and(test, wanted.clone());
        }
        condition.and("status =", filter.status.map(i32::from));
        condition.and("\"time\" >=", filter.from.map(nanos));
        condition.and("\"time\" <", filter.to.map(nanos));
        condition
    }

    /// What is posted against `key`: what ended and was not refused.
    fn of_limit(key: &LimitKey, from: Timestamp) -> Self {
        let mut condition = Self::new("outcome IS NOT NULL AND outcome <> 'refused' AND held IS NULL");
        let mut names = |tests: &[&str], names: &[&str]| {
            tests.iter().zip(names).for_each(|(test, name)| condition.and(test, Some((*name).to_owned())));
        };
        match &key.scope {
            Scope::Workspace(w) => names(&["workspace ="], &[w.as_str()]),
            Scope::Team(w, t) => names(&["workspace =", "team ="], &[w.as_str(), t.as_str()]),
            Scope::Project(w, p) => names(&["workspace =", "project ="], &[w.as_str(), p.as_str()]),
            Scope::Environment(w, p, e) => {
                names(&["workspace =", "project =", "environment ="], &[w.as_str(), p.as_str(), e.as_str()]);
            }
            Scope::Key(id) => names(&["key_id ="], &[id]),
        }
        condition.and("modality =", key.modality.map(|m| m.as_str()));
        condition.and("model =", key.model.as_deref().map(str::to_owned));
        condition.and("\"time\" >=", Some(nanos(from)));
        condition
    }
}

impl Reports {
    async fn query(&self, sql: &str, condition: &Condition) -> StoreResult<Vec<Row>> {
        patient(async {
            self.ledger.flush().await;
            let client = self.shared.client().await?;
            let values: Vec<&(dyn ToSql + Sync)> = condition.values.iter().map(|v| &**v as _).collect();
            client.query(sql, &values).await.map_err(|e| failed(&e))
        })
        .await
    }

    /// As [`query`](Self::query), for people: they take turns.
    async fn report(&self, sql: &str, condition: &Condition) -> StoreResult<Vec<Row>> {
        let turn = timeout(PATIENCE, self.shared.reporting.acquire()).await;
        let _turn = turn.map_err(|_| StoreError::unavailable("PostgreSQL is busy with other reports"))?;
        self.query(sql, condition).await
    }

    async fn records(&self, filter: &RecordFilter, page: &Page) -> StoreResult<PageOf<UsageRecord>> {
        let mut condition = Condition::of(filter);
        if let Some(cursor) = &page.after {
            let (time, seq) = parse(cursor)?;
            condition.and("(\"time\", seq) < (", Some(time));
            condition.values.push(Box::new(seq));
            condition.sql.push_str(&format!(", ${})", condition.values.len()));
        }
        let (selected, most) = (&*SELECTED, page.limit.saturating_add(1));
        let sql = format!(
            "SELECT {selected} FROM kancy_ledger WHERE {} ORDER BY \"time\" DESC, seq DESC LIMIT {most}",
            condition.sql
        );
        let rows = self.report(&sql, &condition).await?;
        let more = rows.len() > page.limit;
        let mut next = None;
        let mut items = Vec::with_capacity(rows.len());
        for row in rows.iter().take(page.limit) {
            let (record, seq) = read(row)?;
            next = Some(format!("{}-{seq}", nanos(record.time)));
            items.push(record);
        }
        Ok(PageOf { items, next: next.filter(|_| more) })
    }

    async fn usage(&self, filter: &RecordFilter, by: &[GroupBy]) -> StoreResult<Vec<UsageRow>> {
        let condition = Condition::of(filter);
        let groups: Vec<_> = by.iter().map(|group| column(*group).to_owned()).collect();
        let sums = UNITS.iter().chain(&["cost"]).map(|c| sum(c));
        let counts =
            ["count(*)".to_owned(), "count(*) FILTER (WHERE outcome NOT IN ('completed', 'client_closed'))".to_owned()];
        let shown: Vec<_> = groups.iter().cloned().chain(sums).chain(counts).collect();
        let mut sql = format!("SELECT {} FROM kancy_ledger WHERE {}", shown.join(", "), condition.sql);
        if !groups.is_empty() {
            let places: Vec<_> = (1..=groups.len()).map(|n| n.to_string()).collect();
            sql.push_str(&format!(" GROUP BY {0} ORDER BY {0}", places.join(", ")));
        }
        let rows = self.report(&sql, &condition).await?;
        let first = by.len();
        let read = |row: &Row| UsageRow {
            group: (0..first).map(|n| row.get(n)).collect(),
            usage: usage(std::array::from_fn(|n| unsigned(row.get(first + n)))),
            cost: Money::from_nanos(unsigned(row.get(first + UNITS.len()))),
            requests: unsigned(row.get(first + UNITS.len() + 1)),
            errors: unsigned(row.get(first + UNITS.len() + 2)),
        };
        Ok(rows.iter().map(read).filter(|row| row.requests > 0).collect())
    }

    /// See [`UsageStore::posted`]. Records in `without` are left out: they are counted otherwise.
    pub(super) async fn posted(
        &self,
        query: &PostedQuery,
        without: Vec<String>,
    ) -> StoreResult<Vec<(Timestamp, Amounts)>> {
        const COUNTED: [&str; 7] =
            ["input_tokens", "output_tokens", "images", "video_seconds", "audio_seconds", "characters", "cost"];
        let mut condition = Condition::of_limit(&query.key, query.from);
        if !without.is_empty() {
            condition.values.push(Box::new(without));
            condition.sql.push_str(&format!(" AND id <> ALL (${})", condition.values.len()));
        }
        let sql = if query.each {
            let counted = COUNTED.join(", ");
            format!("SELECT \"time\", 1::bigint, {counted} FROM kancy_ledger WHERE {} ORDER BY \"time\"", condition.sql)
        } else {
            let sums = COUNTED.map(sum).join(", ");
            format!("SELECT coalesce(max(\"time\"), 0), count(*), {sums} FROM kancy_ledger WHERE {}", condition.sql)
        };
        let rows = self.query(&sql, &condition).await?;
        let read = |row: &Row| {
            let [time, requests, input_tokens, output_tokens, images, video_seconds, audio_seconds, characters, cost] =
                std::array::from_fn(|n| unsigned(row.get(n)));
            let spend = Money::from_nanos(cost);
            let amounts = Amounts {
                requests,
                input_tokens,
                output_tokens,
                spend,
                images,
                video_seconds,
                audio_seconds,
                characters,
            };
            (Timestamp::from_nanos(time), amounts)
        };
        Ok(rows.iter().map(read).filter(|(_, amounts)| amounts.requests > 0).collect())
    }
}

/// The sum of a column, which saturates.
fn sum(column: &str) -> String {
    format!("least(coalesce(sum({column}), 0), 9223372036854775807)::bigint")
}

fn column(group: GroupBy) -> &'static str {
    match group {
        GroupBy::Day => "to_char(to_timestamp(\"time\" / 1000000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
        GroupBy::Workspace => "workspace",
        GroupBy::Project => "project",
        GroupBy::Team => "team",
        GroupBy::Environment => "environment",
        GroupBy::Key => "key_id",
        GroupBy::Model => "model",
        GroupBy::Provider => "provider",
        GroupBy::Modality => "modality",
    }
}

fn parse(cursor: &str) -> StoreResult<(i64, i64)> {
    let place = cursor.split_once('-').and_then(|(time, seq)| Some((time.parse().ok()?, seq.parse().ok()?)));
    place.ok_or_else(|| {
        StoreError::new(StoreErrorKind::Refused, "This cursor is not known: use the `next` of the page before.")
    })
}

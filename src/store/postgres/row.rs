//! A usage record as a row of the ledger: into columns of arrays, as PostgreSQL takes many at a time, and back.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::base::clock::Timestamp;
use crate::base::money::Money;
use crate::domain::caller::Home;
use crate::domain::name::Name;
use crate::domain::record::{Outcome, UsageRecord};
use crate::store::error::{StoreError, StoreResult};
use crate::store::sql::{UNITS, signed, unsigned};
use crate::store::units::{units, usage};

use super::nanos;

/// Every column but `seq` with its type, in the order in which [`arrays`] gives and [`read`] takes them.
const COLUMNS: [(&str, &str); 38] = [
    ("id", "text"),
    ("instance", "text"),
    ("request_id", "text"),
    ("\"time\"", "bigint"),
    ("workspace", "text"),
    ("project", "text"),
    ("team", "text"),
    ("environment", "text"),
    ("key_id", "text"),
    ("endpoint", "text"),
    ("modality", "text"),
    ("model", "text"),
    ("provider", "text"),
    ("upstream_model", "text"),
    ("upstream_request_id", "text"),
    ("status", "integer"),
    ("code", "text"),
    ("outcome", "text"),
    ("streamed", "boolean"),
    ("latency_ms", "bigint"),
    ("first_byte_ms", "bigint"),
    (UNITS[0], "bigint"),
    (UNITS[1], "bigint"),
    (UNITS[2], "bigint"),
    (UNITS[3], "bigint"),
    (UNITS[4], "bigint"),
    (UNITS[5], "bigint"),
    (UNITS[6], "bigint"),
    (UNITS[7], "bigint"),
    (UNITS[8], "bigint"),
    (UNITS[9], "bigint"),
    (UNITS[10], "bigint"),
    (UNITS[11], "bigint"),
    (UNITS[12], "bigint"),
    (UNITS[13], "bigint"),
    ("estimated", "boolean"),
    ("cost", "bigint"),
    ("held", "jsonb"),
];
const FIRST_UNIT: usize = 21;
const SEQ: usize = COLUMNS.len();

fn joined(column: impl Fn(usize, &str, &str) -> String) -> String {
    let columns = COLUMNS.iter().enumerate().map(|(n, (name, of))| column(n + 1, name, of));
    columns.collect::<Vec<_>>().join(", ")
}

/// The columns that [`read`] takes, `seq` last.
pub(super) static SELECTED: LazyLock<String> = LazyLock::new(|| {
    joined(|_, name, of| if of == "jsonb" { format!("{name}::text") } else { name.to_owned() }) + ", seq"
});

/// Writes rows from [`arrays`]. A row that has ended stays as it is: the first end is the only one.
pub(super) static UPSERT: LazyLock<String> = LazyLock::new(|| {
    let names = joined(|_, name, _| name.to_owned());
    let arrays = joined(|n, _, of| if of == "jsonb" { format!("${n}::text[]") } else { format!("${n}::{of}[]") });
    let values = joined(|_, name, of| if of == "jsonb" { format!("{name}::jsonb") } else { name.to_owned() });
    let updates = joined(|_, name, _| format!("{name} = excluded.{name}"));
    format!(
        "INSERT INTO kancy_ledger ({names}) SELECT {values} FROM unnest({arrays}) AS r ({names}) \
         ON CONFLICT (id) DO UPDATE SET {updates} WHERE kancy_ledger.outcome IS NULL"
    )
});

pub(super) type Array<'a> = Box<dyn ToSql + Sync + Send + 'a>;

/// The columns of `records`, an array for each.
pub(super) fn arrays<'a>(records: &'a [UsageRecord], instance: &'a str) -> Vec<Array<'a>> {
    fn array<'a, T: ToSql + Send + Sync + 'a>(
        records: &'a [UsageRecord],
        of: impl Fn(&'a UsageRecord) -> T,
    ) -> Array<'a> {
        Box::new(records.iter().map(of).collect::<Vec<_>>())
    }
    let text = |of: fn(&UsageRecord) -> &str| array(records, move |r| clean(of(r)));
    let maybe = |of: fn(&UsageRecord) -> Option<&str>| array(records, move |r| of(r).map(clean));
    let mut arrays = vec![
        text(|r| &r.id),
        array(records, |_| instance),
        text(|r| &r.request_id),
        array(records, |r| nanos(r.time)),
        text(|r| r.home.workspace.as_str()),
        text(|r| r.home.project.as_str()),
        maybe(|r| r.home.team.as_ref().map(Name::as_str)),
        maybe(|r| r.home.environment.as_ref().map(Name::as_str)),
        text(|r| &r.key_id),
        text(|r| &r.endpoint),
        maybe(|r| r.modality.map(|modality| modality.as_str())),
        maybe(|r| r.model.as_deref()),
        maybe(|r| r.provider.as_deref()),
        maybe(|r| r.upstream_model.as_deref()),
        maybe(|r| r.upstream_request_id.as_deref()),
        array(records, |r| r.status.map(i32::from)),
        maybe(|r| r.code.as_deref()),
        maybe(|r| r.outcome.map(Outcome::as_str)),
        array(records, |r| r.streamed),
        array(records, |r| r.latency_ms.map(signed)),
        array(records, |r| r.first_byte_ms.map(signed)),
    ];
    let used: Vec<_> = records.iter().map(|r| units(&r.usage).map(signed)).collect();
    for n in 0..UNITS.len() {
        arrays.push(Box::new(used.iter().map(|units| units[n]).collect::<Vec<_>>()));
    }
    arrays.push(array(records, |r| r.estimated));
    arrays.push(array(records, |r| signed(r.cost.as_nanos())));
    arrays.push(array(records, |r| r.held.map(|held| serde_json::to_string(&held).unwrap_or_default())));
    arrays
}

/// PostgreSQL has no text with a NUL, which a model's name may hold.
fn clean(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// A record and its row's number, from the columns of [`SELECTED`].
pub(super) fn read(row: &Row) -> StoreResult<(UsageRecord, i64)> {
    let text = |n: usize| row.get::<_, &str>(n);
    let maybe = |n: usize| row.get::<_, Option<&str>>(n);
    let number = |n: usize| row.get::<_, Option<i64>>(n).map(unsigned);
    let record = UsageRecord {
        id: text(0).into(),
        request_id: text(2).into(),
        time: Timestamp::from_nanos(unsigned(row.get(3))),
        home: Arc::new(Home {
            workspace: word(text(4))?,
            project: word(text(5))?,
            team: maybe(6).map(word).transpose()?,
            environment: maybe(7).map(word).transpose()?,
        }),
        key_id: text(8).into(),
        endpoint: text(9).into(),
        modality: maybe(10).map(word).transpose()?,
        model: maybe(11).map(Into::into),
        provider: maybe(12).map(Into::into),
        upstream_model: maybe(13).map(Into::into),
        upstream_request_id: maybe(14).map(Into::into),
        status: row.get::<_, Option<i32>>(15).and_then(|status| u16::try_from(status).ok()),
        code: maybe(16).map(Into::into),
        outcome: maybe(17).map(word).transpose()?,
        streamed: row.get(18),
        latency_ms: number(19),
        first_byte_ms: number(20),
        usage: usage(std::array::from_fn(|n| unsigned(row.get(FIRST_UNIT + n)))),
        estimated: row.get(FIRST_UNIT + UNITS.len()),
        cost: Money::from_nanos(unsigned(row.get(FIRST_UNIT + UNITS.len() + 1))),
        held: maybe(SEQ - 1).map(serde_json::from_str).transpose().map_err(StoreError::corrupt)?,
    };
    Ok((record, row.get(SEQ)))
}

/// A value kept as its word.
pub(super) fn word<T: DeserializeOwned>(text: &str) -> StoreResult<T> {
    serde_json::from_value(Value::from(text)).map_err(StoreError::corrupt)
}

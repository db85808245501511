//! What was used, and what happened: records, usage, alerts, the audit trail.

use serde_json::json;

use crate::base::error::{Code, Error};
use crate::domain::caller::Home;
use crate::store::ledger::{RecordFilter, UsageStore};
use crate::store::tables::{AlertStore, AuditStore};

use super::answer::{Answer, list_failed};
use super::query::{FILTERS, PAGE, Query};
use super::render;

/// Whose records are shown.
#[derive(Clone, Copy)]
pub(super) enum Reach<'a> {
    /// Everybody's, filtered as asked.
    All,
    /// Those of this workspace and project, whatever is asked.
    Project(&'a Home),
}

impl Reach<'_> {
    fn narrow(self, filter: &mut RecordFilter) {
        if let Self::Project(home) = self {
            filter.workspace = Some(home.workspace.as_str().to_owned());
            filter.project = Some(home.project.as_str().to_owned());
        }
    }

    /// The filters by place that a listing takes: none where the place is given.
    fn places(self) -> &'static [&'static str] {
        match self {
            Self::All => &["workspace", "project"],
            Self::Project(_) => &[],
        }
    }
}

pub(super) async fn requests(store: &dyn UsageStore, reach: Reach<'_>, query: Option<&str>) -> Result<Answer, Error> {
    let mut query = Query::parse(query, &[reach.places(), &FILTERS, &PAGE])?;
    let mut filter = query.filter()?;
    reach.narrow(&mut filter);
    let page = store.records(filter, query.page()?).await;
    let page = page.map_err(|error| list_failed(Code::LedgerUnavailable, error))?;
    Ok(Answer::ok(render::page(page, |record| render::record(&record))))
}

pub(super) async fn usage(store: &dyn UsageStore, reach: Reach<'_>, query: Option<&str>) -> Result<Answer, Error> {
    let mut query = Query::parse(query, &[&["group_by", "from", "to"]])?;
    let by = query.group_by()?;
    let mut filter = query.filter()?;
    reach.narrow(&mut filter);
    let rows = store.usage(filter, by.clone()).await;
    let rows = rows.map_err(|error| super::answer::store_failed(Code::LedgerUnavailable, error))?;
    let data: Vec<_> = rows.into_iter().map(|row| render::usage_row(&by, row)).collect();
    Ok(Answer::ok(json!({ "data": data })))
}

pub(super) async fn alerts(store: &dyn AlertStore, query: Option<&str>) -> Result<Answer, Error> {
    let page = store.list(Query::parse(query, &[&PAGE])?.page()?).await;
    let page = page.map_err(|error| list_failed(Code::InternalError, error))?;
    Ok(Answer::ok(render::page(page, |alert| alert.json())))
}

pub(super) async fn audit(store: &dyn AuditStore, query: Option<&str>) -> Result<Answer, Error> {
    let page = store.list(Query::parse(query, &[&PAGE])?.page()?).await;
    let page = page.map_err(|error| list_failed(Code::InternalError, error))?;
    Ok(Answer::ok(render::page(page, render::audit)))
}

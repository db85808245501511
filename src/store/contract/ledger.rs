//! The contract of ledger stores.
//!
//! ```
//! use kancy::MemoryLedger;
//! use kancy::store::contract::ledger;
//! # tokio_test::block_on(async {
//! ledger::run(async || MemoryLedger::new()).await;
//! # });
//! ```

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::money::Money;
use crate::base::short_id::Id;
use crate::domain::caller::Home;
use crate::domain::limit::{Amounts, LimitKey, Measure, Per, Scope};
use crate::domain::modality::Modality;
use crate::domain::name::Name;
use crate::domain::record::{Outcome, UsageRecord};
use crate::domain::usage::Usage;
use crate::store::ledger::{GroupBy, PostedQuery, RecordFilter, UsageRow, UsageSink, UsageStore};
use crate::store::tables::Page;

/// 2027-01-15T12:00:00Z, a moment in the middle of a day.
pub const NOON: Timestamp = Timestamp::from_secs(1_800_014_400);

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Runs the whole suite, each case on a store that `fresh` makes: an empty one.
///
/// # Panics
/// Where the store breaks the contract.
pub async fn run<S: UsageSink + UsageStore>(fresh: impl AsyncFn() -> S) {
    a_record_replaces_the_opened_one(&fresh().await).await;
    a_replay_changes_nothing(&fresh().await).await;
    records_are_paged_newest_first(&fresh().await).await;
    records_are_filtered(&fresh().await).await;
    usage_is_summed_by_group(&fresh().await).await;
    usage_is_cut_at_the_nanosecond(&fresh().await).await;
    posted_counts_what_was_admitted_and_has_ended(&fresh().await).await;
    posted_goes_by_scope_modality_and_model(&fresh().await).await;
}

/// A completed record of the workspace `acme`: 10 input and 5 output tokens for 7 nano-dollars.
pub fn record(id: &str, time: Timestamp) -> UsageRecord {
    let name = |text: &str| Name::new(text).expect("a name of the suite");
    UsageRecord {
        id: id.into(),
        request_id: format!("req-{id}").into(),
        time,
        home: Arc::new(Home {
            workspace: name("acme"),
            project: name("site"),
            team: Some(name("web")),
            environment: Some(name("production")),
        }),
        key_id: "key1".into(),
        endpoint: "/v1/chat/completions".into(),
        modality: Some(Modality::Text),
        model: Some("gpt-4o".into()),
        provider: Some("openai".into()),
        upstream_model: Some("gpt-4o".into()),
        upstream_request_id: Some("up-1".into()),
        status: Some(200),
        code: None,
        outcome: Some(Outcome::Completed),
        streamed: true,
        latency_ms: Some(1_200),
        first_byte_ms: Some(300),
        usage: USAGE,
        estimated: false,
        cost: Money::from_nanos(7),
        held: None,
    }
}

const USAGE: Usage = Usage { input_tokens: 10, cached_input_tokens: 4, output_tokens: 5, ..Usage::NONE };

/// A limit of the workspace that [`record`] is of.
pub fn workspace_limit() -> LimitKey {
    let scope = Scope::Workspace(Name::new("acme").expect("a name of the suite"));
    LimitKey { scope, modality: None, model: None, measure: Measure::Requests, per: Some(Per::Total) }
}

fn running(id: &str, time: Timestamp) -> UsageRecord {
    UsageRecord {
        status: None,
        outcome: None,
        latency_ms: None,
        usage: Usage::NONE,
        cost: Money::ZERO,
        held: Some(Amounts::ONE_REQUEST),
        ..record(id, time)
    }
}

async fn put<S: UsageSink>(store: &S, records: impl IntoIterator<Item = UsageRecord>) {
    for record in records {
        store.record(record).await.expect("a record is taken");
    }
}

async fn ids<S: UsageStore>(store: &S, filter: RecordFilter) -> Vec<Id> {
    let page = store.records(filter, Page { after: None, limit: 1_000 }).await.expect("records are readable");
    page.items.into_iter().map(|r| r.id).collect()
}

async fn usage<S: UsageStore>(store: &S, filter: RecordFilter, by: &[GroupBy]) -> Vec<UsageRow> {
    let mut rows = store.usage(filter, by.to_vec()).await.expect("usage is readable");
    rows.sort_by(|a, b| a.group.cmp(&b.group));
    rows
}

async fn posted<S: UsageStore>(store: &S, key: LimitKey, from: Timestamp, each: bool) -> Vec<(Timestamp, Amounts)> {
    store.posted(PostedQuery { key, from, each }).await.expect("posted amounts are readable")
}

async fn posted_sum<S: UsageStore>(store: &S, key: LimitKey, from: Timestamp) -> Amounts {
    let parts = posted(store, key, from, false).await;
    parts.into_iter().fold(Amounts::default(), |sum, (_, amounts)| sum.plus(&amounts))
}

async fn a_record_replaces_the_opened_one<S: UsageSink + UsageStore>(store: &S) {
    let opened = running("a", NOON);
    store.open(&opened).await.expect("a record can be opened");
    let page = || Page { after: None, limit: 10 };
    let shown = store.records(RecordFilter::default(), page()).await.expect("records are readable");
    assert_eq!(shown.items, [opened], "a running record is shown as it was opened");
    let ended = [record("a", NOON)];
    put(store, ended.clone()).await;
    let shown = store.records(RecordFilter::default(), page()).await.expect("records are readable");
    assert_eq!(shown.items, ended, "the ended record stands in the place of the opened one");
    assert_eq!(usage(store, RecordFilter::default(), &[]).await[0].requests, 1);
    store.open(&running("a", NOON)).await.expect("a late opening is no error");
    let shown = store.records(RecordFilter::default(), page()).await.expect("records are readable");
    assert_eq!(shown.items, ended, "an opening that comes late changes nothing");
}

async fn a_replay_changes_nothing<S: UsageSink + UsageStore>(store: &S) {
    put(store, [record("a", NOON), record("a", NOON), record("a", NOON)]).await;
    assert_eq!(ids(store, RecordFilter::default()).await, [Id::from("a")]);
    let row = &usage(store, RecordFilter::default(), &[]).await[0];
    assert_eq!((row.requests, row.usage, row.cost), (1, USAGE, Money::from_nanos(7)));
    assert_eq!(posted_sum(store, workspace_limit(), Timestamp::EPOCH).await.requests, 1);
}

async fn records_are_paged_newest_first<S: UsageSink + UsageStore>(store: &S) {
    let at = |n: u64| NOON.plus(Duration::from_secs(n));
    // Out of order, and two of one moment: records come in when requests end.
    put(store, [2, 0, 4, 1, 3].map(|n| record(&format!("r{n}"), at(n)))).await;
    put(store, [record("twin", at(4))]).await;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.records(RecordFilter::default(), Page { after, limit: 2 }).await.expect("a page");
        assert!(page.items.len() <= 2);
        seen.extend(page.items);
        let Some(next) = page.next else { break };
        assert!(next.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b)), "{next:?} is not URL-safe");
        // What comes in between two pages neither repeats nor hides what was there.
        put(store, [record(&format!("new{}", seen.len()), at(100 + seen.len() as u64))]).await;
        after = Some(next);
    }
    assert!(seen.windows(2).all(|pair| pair[0].time >= pair[1].time), "newest first");
    let mut names: Vec<_> = seen.iter().map(|r| &*r.id).collect();
    names.sort_unstable();
    assert_eq!(names, ["r0", "r1", "r2", "r3", "r4", "twin"]);
    let strange = Page { after: Some("no cursor".into()), limit: 2 };
    assert!(store.records(RecordFilter::default(), strange).await.is_err(), "a cursor that is none is an error");
}

async fn records_are_filtered<S: UsageSink + UsageStore>(store: &S) {
    let mut other = record("b", NOON.plus(HOUR));
    other.home = Arc::new(Home {
        workspace: Name::new("beta").expect("a name"),
        project: Name::new("lab").expect("a name"),
        team: None,
        environment: None,
    });
    (other.key_id, other.model, other.status) = ("key2".into(), Some("veo".into()), Some(500));
    other.outcome = Some(Outcome::Failed);
    put(store, [record("a", NOON), other]).await;
    let text = |text: &str| Some(text.to_owned());
    let none = RecordFilter::default;
    for filter in [
        RecordFilter { workspace: text("beta"), ..none() },
        RecordFilter { project: text("lab"), ..none() },
        RecordFilter { key: text("key2"), ..none() },
        RecordFilter { model: text("veo"), ..none() },
        RecordFilter { status: Some(500), ..none() },
        RecordFilter { outcome: text("failed"), ..none() },
        RecordFilter { id: text("b"), ..none() },
        RecordFilter { request_id: text("req-b"), ..none() },
        RecordFilter { from: Some(NOON.plus(HOUR)), ..none() },
    ] {
        assert_eq!(ids(store, filter.clone()).await, [Id::from("b")], "{filter:?}");
        assert_eq!(usage(store, filter.clone(), &[]).await[0].requests, 1, "{filter:?}");
    }
    for filter in [
        RecordFilter { team: text("web"), ..none() },
        RecordFilter { environment: text("production"), ..none() },
        RecordFilter { to: Some(NOON.plus(HOUR)), ..none() },
    ] {
        assert_eq!(ids(store, filter.clone()).await, [Id::from("a")], "{filter:?}");
    }
    let both = RecordFilter { workspace: text("beta"), team: text("web"), ..none() };
    assert!(ids(store, both.clone()).await.is_empty(), "every filter must fit");
    assert!(usage(store, both, &[]).await.is_empty(), "no record, no row");
}

async fn usage_is_summed_by_group<S: UsageSink + UsageStore>(store: &S) {
    let refused =
        |id| UsageRecord { outcome: Some(Outcome::Refused), usage: Usage::NONE, cost: Money::ZERO, ..record(id, NOON) };
    let left = UsageRecord { outcome: Some(Outcome::ClientClosed), ..record("c", NOON.plus(DAY)) };
    let mut teamless = record("d", NOON.plus(DAY));
    Arc::make_mut(&mut teamless.home).team = None;
    put(store, [record("a", NOON), refused("b"), left, teamless]).await;
    store.open(&running("e", NOON.plus(DAY))).await.expect("a record can be opened");

    let rows = usage(store, RecordFilter::default(), &[GroupBy::Day, GroupBy::Team]).await;
    let shown: Vec<_> = rows
        .iter()
        .map(|r| (r.group[0].as_deref(), r.group[1].as_deref(), r.requests, r.errors, r.usage.input_tokens))
        .collect();
    assert_eq!(
        shown,
        [
            (Some("2027-01-15"), Some("web"), 2, 1, 10),
            (Some("2027-01-16"), None, 1, 0, 10),
            (Some("2027-01-16"), Some("web"), 2, 0, 10),
        ]
    );
    let all = &usage(store, RecordFilter::default(), &[]).await[0];
    assert_eq!((all.requests, all.errors, all.cost), (5, 1, Money::from_nanos(21)));
    assert_eq!(all.usage, USAGE.plus(&USAGE).plus(&USAGE));

    use GroupBy::{Environment, Key, Modality, Model, Project, Provider, Workspace};
    let by = [Workspace, Project, Environment, Key, Model, Provider, Modality];
    let rows = usage(store, RecordFilter::default(), &by).await;
    let group: Vec<_> = rows[0].group.iter().map(|g| g.as_deref().unwrap_or_default()).collect();
    assert_eq!(rows.len(), 1);
    assert_eq!(group, ["acme", "site", "production", "key1", "gpt-4o", "openai", "text"]);
}

async fn usage_is_cut_at_the_nanosecond<S: UsageSink + UsageStore>(store: &S) {
    let tick = Duration::from_nanos(1);
    let days = [NOON.minus(DAY), NOON, NOON.plus(DAY), NOON.plus(DAY * 2)];
    put(store, days.iter().enumerate().map(|(n, at)| record(&format!("r{n}"), *at))).await;
    let count = async |from: Timestamp, to: Timestamp| {
        let filter = RecordFilter { from: Some(from), to: Some(to), ..RecordFilter::default() };
        usage(store, filter, &[]).await.first().map_or(0, |row| row.requests)
    };
    assert_eq!(count(days[0], days[3]).await, 3, "`from` is inclusive, `to` exclusive");
    assert_eq!(count(days[0].plus(tick), days[3].plus(tick)).await, 3);
    assert_eq!(count(days[1].plus(tick), days[2].plus(tick)).await, 1);
    assert_eq!(count(days[1], days[1].plus(tick)).await, 1);
    assert_eq!(count(days[1].plus(tick), days[2]).await, 0);
    assert_eq!(count(days[2], days[1]).await, 0, "an empty span holds nothing");
    let sum = posted_sum(store, workspace_limit(), days[1].plus(tick)).await;
    assert_eq!(sum.requests, 2, "posted sums start at their moment, too");
}

async fn posted_counts_what_was_admitted_and_has_ended<S: UsageSink + UsageStore>(store: &S) {
    let refused = UsageRecord { outcome: Some(Outcome::Refused), ..record("refused", NOON) };
    let failed = UsageRecord {
        outcome: Some(Outcome::ProviderFailed),
        usage: Usage::NONE,
        cost: Money::ZERO,
        ..record("failed", NOON.plus(HOUR))
    };
    let never_admitted = UsageRecord {
        outcome: Some(Outcome::ClientClosed),
        held: Some(Amounts::default()),
        usage: Usage::NONE,
        cost: Money::ZERO,
        ..record("early", NOON)
    };
    put(store, [refused, never_admitted, failed, record("whole", NOON.plus(HOUR * 2))]).await;
    store.open(&running("running", NOON)).await.expect("a record can be opened");
    let whole = Amounts::of_request(&USAGE, Money::from_nanos(7));
    let sum = posted_sum(store, workspace_limit(), Timestamp::EPOCH).await;
    assert_eq!(sum, whole.plus(&Amounts::ONE_REQUEST));
    assert_eq!(
        posted(store, workspace_limit(), NOON, true).await,
        [(NOON.plus(HOUR), Amounts::ONE_REQUEST), (NOON.plus(HOUR * 2), whole)],
        "one by one, oldest first"
    );
    assert_eq!(posted(store, workspace_limit(), NOON.plus(HOUR * 2), true).await.len(), 1, "`from` is inclusive");
    assert_eq!(posted_sum(store, workspace_limit(), NOON.plus(DAY)).await, Amounts::default());
}

async fn posted_goes_by_scope_modality_and_model<S: UsageSink + UsageStore>(store: &S) {
    let mut image = record("image", NOON);
    (image.modality, image.model) = (Some(Modality::Image), Some("openai-image".into()));
    put(store, [record("text", NOON), image]).await;
    let sum = async |scope: &str, modality, model: Option<&str>| {
        let scope = scope.parse().expect("a scope of the suite");
        let key = LimitKey { scope, modality, model: model.map(Arc::from), ..workspace_limit() };
        posted_sum(store, key, Timestamp::EPOCH).await.requests
    };
    for scope in
        ["workspace:acme", "team:acme/web", "project:acme/site", "environment:acme/site/production", "key:key1"]
    {
        assert_eq!(sum(scope, None, None).await, 2, "{scope}");
    }
    for scope in ["workspace:beta", "team:acme/ops", "project:beta/site", "environment:acme/site/dev", "key:key2"] {
        assert_eq!(sum(scope, None, None).await, 0, "{scope}");
    }
    assert_eq!(sum("workspace:acme", Some(Modality::Image), None).await, 1);
    assert_eq!(sum("workspace:acme", None, Some("gpt-4o")).await, 1);
    assert_eq!(sum("workspace:acme", Some(Modality::Image), Some("gpt-4o")).await, 0);
}

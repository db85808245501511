//! What goes into the script and what comes out of it.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::aio::ConnectionManager;
use redis::{ErrorKind, Script, ServerErrorKind, Value};
use serde::Serialize;

use crate::base::clock::Timestamp;
use crate::domain::hold::LastingHold;
use crate::domain::limit::{Amounts, Limit, LimitKey, Mode, Per, Scope, Window};
use crate::store::error::{StoreError, StoreResult};
use crate::store::limit_name::limit_name;
use crate::store::quota::Reservation;

use super::{by_measure, failed};

/// The largest number that the script reckons with exactly.
const MOST: u64 = (1 << 53) - 1;
/// Slots of a rate's period, as the script remembers them.
const IN_PERIOD: u64 = 30;

pub(super) static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("quota.lua")));

/// A number as the script takes it.
pub(super) fn number(n: u64) -> String {
    n.min(MOST).to_string()
}

/// A time of the script's.
pub(super) fn micros(at: u64) -> Timestamp {
    Timestamp::from_nanos(at.saturating_mul(1_000))
}

#[derive(Clone, Copy)]
pub(super) enum Op {
    Admit,
    State,
    Settle,
    Renew,
    Meet,
    Seed,
}

impl Op {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::State => "state",
            Self::Settle => "settle",
            Self::Renew => "renew",
            Self::Meet => "meet",
            Self::Seed => "seed",
        }
    }
}

/// What is asked.
#[derive(Serialize)]
pub(super) struct Ask<'a> {
    /// Microseconds for which a grant lives without being renewed.
    pub(super) lease: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) grant: Option<&'a GrantFacts>,
    #[serde(rename = "ls")]
    pub(super) limits: Vec<LimitFacts>,
    pub(super) own: Vec<(String, GrantFacts)>,
    pub(super) ended: Vec<(&'a str, Used)>,
    pub(super) posted: Vec<(String, String)>,
    pub(super) mark: u64,
    pub(super) from: u64,
    pub(super) force: bool,
}

impl Ask<'_> {
    pub(super) fn new(lease: Duration) -> Self {
        Self {
            lease: u64::try_from(lease.as_micros()).unwrap_or(MOST).min(MOST),
            id: None,
            grant: None,
            limits: Vec::new(),
            own: Vec::new(),
            ended: Vec::new(),
            posted: Vec::new(),
            mark: 0,
            from: 0,
            force: false,
        }
    }
}

/// What a grant came to.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Used {
    Amounts(HashMap<&'static str, String>),
    /// `false`: it has never been.
    Void(bool),
}

/// An open grant, as the script keeps it: whom it is of and how much it holds.
#[derive(Clone, Serialize)]
pub(super) struct GrantFacts {
    #[serde(rename = "sc")]
    scopes: Vec<String>,
    #[serde(rename = "md")]
    modality: &'static str,
    #[serde(rename = "mo")]
    model: String,
    #[serde(rename = "am")]
    amounts: HashMap<&'static str, String>,
    /// When it was admitted, by the server's clock.
    at: String,
    /// Whether its end is remembered: others than its instance may settle it, or put it back.
    #[serde(rename = "l")]
    lasting: bool,
}

impl GrantFacts {
    pub(super) fn of(request: &Reservation) -> Self {
        Self {
            scopes: Scope::of(&request.caller).map(|scope| scope.to_string()).collect(),
            modality: request.modality.map_or("", |m| m.as_str()),
            model: request.model.as_deref().unwrap_or_default().to_owned(),
            amounts: by_measure(&request.hold),
            at: number(0),
            lasting: request.lasting,
        }
    }

    pub(super) fn of_hold(hold: &LastingHold) -> Self {
        Self {
            scopes: Scope::around(&hold.home, Arc::clone(&hold.key_id)).map(|scope| scope.to_string()).collect(),
            modality: hold.modality.map_or("", |m| m.as_str()),
            model: hold.model.as_deref().unwrap_or_default().to_owned(),
            amounts: by_measure(&hold.amounts),
            at: number(hold.at.as_nanos() / 1_000),
            lasting: true,
        }
    }

    pub(super) fn at(self, at: u64) -> Self {
        Self { at: number(at), ..self }
    }
}

/// A limit, as the script takes it.
#[derive(Serialize)]
pub(super) struct LimitFacts {
    #[serde(rename = "n")]
    name: String,
    #[serde(rename = "sc")]
    scope: String,
    #[serde(rename = "md")]
    modality: &'static str,
    #[serde(rename = "mo")]
    model: String,
    #[serde(rename = "me")]
    measure: &'static str,
    #[serde(rename = "k")]
    kind: &'static str,
    #[serde(rename = "p")]
    period: u64,
    #[serde(rename = "a")]
    amount: String,
    #[serde(rename = "m")]
    mode: &'static str,
}

impl LimitFacts {
    pub(super) fn of(limit: &Limit) -> Self {
        let key = &limit.key;
        let (kind, period) = match key.per {
            None => ("lease", 0),
            Some(Per::Second) => ("rate", 1_000_000),
            Some(Per::Minute) => ("rate", 60_000_000),
            Some(Per::Hour) => ("rate", 3_600_000_000),
            Some(per) => (per.as_str(), 0),
        };
        Self {
            name: limit_name(limit),
            scope: key.scope.to_string(),
            modality: key.modality.map_or("", |m| m.as_str()),
            model: key.model.as_deref().unwrap_or_default().to_owned(),
            measure: key.measure.as_str(),
            kind,
            period,
            amount: number(limit.amount),
            mode: match limit.mode {
                Mode::Enforce => "enforce",
                Mode::Shadow => "shadow",
            },
        }
    }
}

/// What the ledger posted, by the slots of the limit's rate. A slot counts as taken at its last moment.
pub(super) fn posted(key: &LimitKey, posted: &[(Timestamp, Amounts)]) -> Vec<(String, String)> {
    let slot = match key.window() {
        Window::Rate { period } => period / IN_PERIOD,
        _ => u64::MAX,
    };
    let mut slots: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for (at, amounts) in posted {
        let (last, sum) = slots.entry(at.as_nanos() / slot).or_default();
        *last = at.as_nanos().div_ceil(1_000).max(*last);
        *sum = sum.saturating_add(amounts.of(key.measure));
    }
    slots.into_values().map(|(last, sum)| (number(last), number(sum))).collect()
}

/// The script's answer.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) word: String,
    /// Microseconds of the server's clock.
    pub(super) now: u64,
    /// The refusing limit's place, from 1.
    pub(super) which: u64,
    pub(super) wait: u64,
    /// From when on the ledger is to be asked.
    pub(super) from: Option<u64>,
    pub(super) mark: u64,
    pub(super) shown: Vec<Shown>,
    pub(super) crossed: Vec<Crossed>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) used: u64,
    pub(super) reserved: u64,
    pub(super) remaining: u64,
    pub(super) resets_at: Option<u64>,
}

/// Posted use of a counter has grown.
#[derive(Debug)]
pub(super) struct Crossed {
    pub(super) name: String,
    pub(super) before: u64,
    pub(super) after: u64,
    /// The window's start; none for a rate.
    pub(super) window: Option<u64>,
}

type Row = (i64, i64, i64, i64);

impl Reply {
    fn read(value: Value) -> StoreResult<Self> {
        let bare = |word: String| Self { word, ..Self::default() };
        if let Ok((word,)) = redis::from_redis_value::<(String,)>(value.clone()) {
            return Ok(bare(word));
        }
        type Whole = (String, i64, i64, i64, Vec<Row>, Vec<(String, i64, i64, i64)>);
        let (word, now, third, fourth, shown, crossed): Whole =
            redis::from_redis_value(value).map_err(StoreError::corrupt)?;
        let plain = |n: i64| u64::try_from(n).unwrap_or(0);
        let optional = |n: i64| u64::try_from(n).ok();
        Ok(Self {
            word,
            now: plain(now),
            which: plain(third),
            wait: plain(fourth),
            from: optional(third),
            mark: plain(fourth),
            shown: shown
                .into_iter()
                .map(|(used, reserved, remaining, resets_at)| Shown {
                    used: plain(used),
                    reserved: plain(reserved),
                    remaining: plain(remaining),
                    resets_at: optional(resets_at),
                })
                .collect(),
            crossed: crossed
                .into_iter()
                .map(|(name, before, after, window)| Crossed {
                    name,
                    before: plain(before),
                    after: plain(after),
                    window: optional(window),
                })
                .collect(),
        })
    }
}

/// The command that runs the script, by its digest.
fn command(op: Op, workspace: &str, ask: &Ask<'_>) -> StoreResult<redis::Cmd> {
    let mut command = redis::cmd("EVALSHA");
    command.arg(SCRIPT.get_hash()).arg(3);
    for kind in ["counters", "grants", "leases"] {
        // The braces are the hash tag: all three live on one node.
        command.arg(format!("{{kancy:{workspace}}}:{kind}"));
    }
    command.arg(op.as_str()).arg(serde_json::to_string(ask).map_err(StoreError::corrupt)?);
    Ok(command)
}

fn is_unknown(error: &redis::RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Runs the script for one workspace.
pub(super) async fn call(
    connection: &mut ConnectionManager,
    op: Op,
    workspace: &str,
    ask: &Ask<'_>,
) -> StoreResult<Reply> {
    let command = command(op, workspace, ask)?;
    let answer = match command.query_async::<Value>(connection).await {
        Err(error) if is_unknown(&error) => {
            SCRIPT.load_async(connection).await.map_err(|e| failed(&e))?;
            command.query_async(connection).await
        }
        answer => answer,
    };
    Reply::read(answer.map_err(|e| failed(&e))?)
}

/// Runs the script for several workspaces in one pipeline. What it does must bear to be done twice.
pub(super) async fn call_all(
    connection: &mut ConnectionManager,
    op: Op,
    asks: &[(&str, Ask<'_>)],
) -> StoreResult<Vec<Reply>> {
    let mut pipeline = redis::pipe();
    for (workspace, ask) in asks {
        pipeline.add_command(command(op, workspace, ask)?);
    }
    let answers = match pipeline.query_async::<Vec<Value>>(connection).await {
        Err(error) if is_unknown(&error) => {
            SCRIPT.load_async(connection).await.map_err(|e| failed(&e))?;
            pipeline.query_async(connection).await
        }
        answers => answers,
    };
    answers.map_err(|e| failed(&e))?.into_iter().map(Reply::read).collect()
}

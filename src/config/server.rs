//! `[storage]`, `[gateway]`, `[admin]`, `[jobs]` and `[delivery]`: how the server itself behaves.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use crate::base::secret::Secret;
use crate::domain::limit::OnStoreFailure;
use crate::http::meter::Abandoned;
use crate::jobs::OnUnknown;

use super::section::{Result, Section};
use super::url;

/// `[storage]`: where data is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageConfig {
    /// Keys, ledger, limits, jobs and outbox.
    pub url: StorageUrl,
    /// The Redis URL of counters that many instances share; `None` takes the default for `url`.
    pub quota: Option<Secret>,
    /// Whether a finished response's usage is committed before its last byte leaves.
    pub durable: bool,
    /// What limits without a setting of their own do while the quota store cannot be reached.
    pub on_store_failure: OnStoreFailure,
}

/// The stores that a URL can name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageUrl {
    /// `memory:`, gone with the process.
    Memory,
    /// `sqlite:PATH`, locked to one process.
    Sqlite(PathBuf),
    /// `postgres://…`, the whole URL: it may hold a password.
    Postgres(Secret),
}

/// `[gateway]`: bodies, disconnects and caches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayConfig {
    /// The longest request body, in bytes.
    pub max_body_bytes: usize,
    /// What becomes of the vendor's answer when the caller is gone.
    pub on_disconnect: OnDisconnect,
    /// How long a drained answer is read on.
    pub drain: Duration,
    /// What a request that was stopped is booked at.
    pub abandoned: Abandoned,
    /// How long requests in flight may take to finish at shutdown.
    pub shutdown_grace: Duration,
    /// The longest that a revoked key can still pass where the store cannot tell at once.
    pub key_cache: Duration,
    /// Where vendors can reach this gateway for callbacks on jobs. Without a trailing slash in its text.
    pub public_base_url: Option<Uri>,
}

/// What happens to the vendor's answer when the caller is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDisconnect {
    /// The vendor is stopped, and what was seen is booked.
    #[default]
    Settle,
    /// It is read on in the background, and what the vendor says is booked.
    Drain,
}

/// `[admin]`: without it there are no admin routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// The bearer token of the admin API.
    pub token: Secret,
}

/// `[jobs]`: how video jobs are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobsConfig {
    /// The floor between polls; `None` leaves it to the vendor's own minimum, or 5 seconds where it has none.
    pub poll: Option<Duration>,
    /// The longest wait between polls.
    pub max_poll: Duration,
    /// How long a job may run before it is expired.
    pub deadline: Duration,
    /// What becomes of the hold of a job whose fate the vendor did not tell.
    pub on_unknown: OnUnknown,
}

/// `[delivery]`: how webhooks are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryConfig {
    /// The wait before each attempt, from the event on.
    pub schedule: Vec<Duration>,
    /// How long the receiver may take.
    pub timeout: Duration,
}

const ON_STORE_FAILURE: [(&str, OnStoreFailure); 2] =
    [("closed", OnStoreFailure::Closed), ("open", OnStoreFailure::Open)];

/// `on_store_failure`, of the storage or of one limit.
pub(super) fn on_store_failure(section: &mut Section<'_>) -> Result<Option<OnStoreFailure>> {
    section.word("on_store_failure", &ON_STORE_FAILURE)
}

pub(super) fn storage(section: Section<'_>) -> Result<StorageConfig> {
    let mut section = section.only(&["url", "quota", "durable", "on_store_failure"])?;
    let default = StorageConfig::default();
    // Either URL may hold a password, so that no error shows it.
    let url = match section.string("url")? {
        None => default.url,
        Some(url) => storage_url(&url)
            .ok_or_else(|| section.error("url", "must be \"memory:\", \"sqlite:PATH\" or \"postgres://…\""))?,
    };
    let quota = section.secret("quota")?;
    if quota.as_ref().is_some_and(|url| !["redis://", "rediss://"].iter().any(|s| url.expose().starts_with(s))) {
        return Err(section.error("quota", "must be \"redis://…\" or \"rediss://…\"; leave it out for the default"));
    }
    Ok(StorageConfig {
        url,
        quota,
        durable: section.boolean("durable")?.unwrap_or(default.durable),
        on_store_failure: on_store_failure(&mut section)?.unwrap_or(default.on_store_failure),
    })
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            url: StorageUrl::Sqlite(PathBuf::from("kancy.db")),
            quota: None,
            durable: true,
            on_store_failure: OnStoreFailure::Closed,
        }
    }
}

fn storage_url(text: &str) -> Option<StorageUrl> {
    if text == "memory:" {
        return Some(StorageUrl::Memory);
    }
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return Some(StorageUrl::Postgres(text.into()));
    }
    text.strip_prefix("sqlite:").filter(|path| !path.is_empty()).map(|path| StorageUrl::Sqlite(path.into()))
}

pub(super) fn gateway(section: Section<'_>) -> Result<GatewayConfig> {
    let mut section = section.only(&[
        "max_body_bytes",
        "on_disconnect",
        "drain_seconds",
        "abandoned",
        "shutdown_grace_seconds",
        "key_cache_seconds",
        "public_base_url",
    ])?;
    let default = GatewayConfig::default();
    let max_body = section.number("max_body_bytes", 1)?.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    Ok(GatewayConfig {
        max_body_bytes: max_body.unwrap_or(default.max_body_bytes),
        on_disconnect: section
            .word("on_disconnect", &[("settle", OnDisconnect::Settle), ("drain", OnDisconnect::Drain)])?
            .unwrap_or_default(),
        drain: section.seconds("drain_seconds", 0)?.unwrap_or(default.drain),
        abandoned: section
            .word("abandoned", &[("seen", Abandoned::Seen), ("held", Abandoned::Held)])?
            .unwrap_or_default(),
        shutdown_grace: section.seconds("shutdown_grace_seconds", 0)?.unwrap_or(default.shutdown_grace),
        key_cache: section.seconds("key_cache_seconds", 0)?.unwrap_or(default.key_cache),
        public_base_url: section.parse("public_base_url", url::BASE, url::base)?,
    })
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: 33_554_432,
            on_disconnect: OnDisconnect::Settle,
            drain: Duration::from_secs(30),
            abandoned: Abandoned::Seen,
            shutdown_grace: Duration::from_secs(30),
            key_cache: Duration::from_secs(30),
            public_base_url: None,
        }
    }
}

pub(super) fn admin(section: Section<'_>) -> Result<AdminConfig> {
    let mut section = section.only(&["token"])?;
    let token = section.secret("token")?.ok_or_else(|| section.missing("token"))?;
    Ok(AdminConfig { token })
}

pub(super) fn jobs(section: Section<'_>) -> Result<JobsConfig> {
    let mut section = section.only(&["poll_seconds", "max_poll_seconds", "deadline_seconds", "on_unknown"])?;
    let default = JobsConfig::default();
    let jobs = JobsConfig {
        poll: section.seconds("poll_seconds", 1)?,
        max_poll: section.seconds("max_poll_seconds", 1)?.unwrap_or(default.max_poll),
        deadline: section.seconds("deadline_seconds", 1)?.unwrap_or(default.deadline),
        on_unknown: section
            .word("on_unknown", &[("release", OnUnknown::Release), ("charge", OnUnknown::Charge)])?
            .unwrap_or_default(),
    };
    if jobs.poll.is_some_and(|poll| poll > jobs.max_poll) {
        return Err(section.error("poll_seconds", "is more than max_poll_seconds"));
    }
    Ok(jobs)
}

impl Default for JobsConfig {
    fn default() -> Self {
        Self {
            poll: None,
            max_poll: Duration::from_secs(30),
            deadline: Duration::from_secs(1_800),
            on_unknown: OnUnknown::Release,
        }
    }
}

pub(super) fn delivery(section: Section<'_>) -> Result<DeliveryConfig> {
    let mut section = section.only(&["schedule_seconds", "timeout_seconds"])?;
    let default = DeliveryConfig::default();
    let schedule = section.seconds_list("schedule_seconds")?.unwrap_or(default.schedule);
    if schedule.is_empty() || !schedule.is_sorted() {
        return Err(
            section.error("schedule_seconds", "must hold at least one wait, and never a shorter one after a longer")
        );
    }
    Ok(DeliveryConfig { schedule, timeout: section.seconds("timeout_seconds", 1)?.unwrap_or(default.timeout) })
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        let schedule = [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
        Self { schedule: schedule.map(Duration::from_secs).to_vec(), timeout: Duration::from_secs(20) }
    }
}

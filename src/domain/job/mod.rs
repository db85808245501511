//! A video job: created, followed, ended once, settled once.
//!
//! States only move forward, and the three steps that cost money happen in an order that survives a crash between any
//! two: the job is stored before the vendor is called, ends by compare-and-set on its version, and stays due until its
//! settlement is booked.

mod books;
mod ending;
pub mod json;
mod state;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::money::Money;

use super::caller::Home;
use super::price::Price;
use super::record::Outcome;
use super::usage::Usage;
use super::video::Order;

pub use books::{Held, OpenRecord};
pub use ending::{Ending, JobError, Settlement};
pub use state::JobState;

/// Text that opens something to whoever holds it. It is stored with its job, and `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Unshown(Arc<str>);

impl<T: Into<Arc<str>>> From<T> for Unshown {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl std::ops::Deref for Unshown {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Unshown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[unshown]")
    }
}

/// A finished video as its vendor names it. Never shown to callers: they are given the gateway's own content URL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "what the vendor told")]
pub struct Video {
    /// The vendor's file id or link, in the codec's own terms. A link may be signed.
    pub source: Unshown,
    pub width: Option<u64>,
    pub height: Option<u64>,
    /// When the vendor drops it; `None` = not known.
    pub expires_at: Option<Timestamp>,
}

/// A create that may be asked for twice: the caller's key, and the body that it was first used with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "a key and a hash")]
pub struct Idempotency {
    pub key: Arc<str>,
    /// SHA-256 of the path and the body, in base62.
    pub body: Arc<str>,
}

/// A video job. Holds no prompt, no picture and no credential.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "documented where the name does not say it")]
pub struct Job {
    pub id: Arc<str>,
    /// Grows with every change; what compare-and-set compares.
    pub version: u64,
    pub state: JobState,
    /// Percent; never falls.
    pub progress: u8,
    pub home: Home,
    pub key_id: Arc<str>,
    pub model: Arc<str>,
    pub provider: Arc<str>,
    pub order: Order,
    pub warnings: Vec<String>,
    pub metadata: Option<Box<serde_json::Map<String, serde_json::Value>>>,
    /// Where this one job's events go beside the workspace's endpoints.
    pub webhook_url: Option<Arc<str>>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    /// Past this it is expired.
    pub deadline: Timestamp,
    /// When the driver looks at it next; a lease moves it ahead. `None` = never again.
    pub due_at: Option<Timestamp>,
    /// How often the vendor was asked, for the pace.
    pub polls: u32,
    /// How often in a row the vendor did not know the job.
    pub misses: u8,
    /// The vendor's own name of the job; `None` while it is being created.
    pub handle: Option<Arc<str>>,
    /// The unguessable part of the vendor's callback URL.
    pub callback: Option<Unshown>,
    /// Frozen when the job was made.
    pub price: Arc<Price>,
    /// The open usage record, completed at the end.
    pub record: Option<Box<OpenRecord>>,
    /// What it holds of the limits until it is settled.
    #[serde(default)]
    pub hold: Option<Held>,
    pub idempotency: Option<Idempotency>,
    pub videos: Vec<Video>,
    pub error: Option<Box<JobError>>,
    /// `None` while it is open.
    pub usage: Option<Box<Usage>>,
    pub cost: Money,
    /// Its fate at the vendor is not known; usage and cost are by rule.
    pub estimated: bool,
    /// The settlement is booked.
    pub settled: bool,
}

impl Job {
    /// A queued job at its very beginning, free of charge until a price is set; due at once, with no time until its deadline.
    pub fn new(id: Arc<str>, home: Home, key_id: Arc<str>, model: Arc<str>, order: Order, now: Timestamp) -> Self {
        Self {
            id,
            version: 0,
            state: JobState::Queued,
            progress: 0,
            home,
            key_id,
            model,
            provider: Arc::default(),
            order,
            warnings: Vec::new(),
            metadata: None,
            webhook_url: None,
            created_at: now,
            started_at: None,
            completed_at: None,
            deadline: now,
            due_at: Some(now),
            polls: 0,
            misses: 0,
            handle: None,
            callback: None,
            price: Arc::new(Price::Free),
            record: None,
            hold: None,
            idempotency: None,
            videos: Vec::new(),
            error: None,
            usage: None,
            cost: Money::ZERO,
            estimated: false,
            settled: false,
        }
    }

    /// Notes what the vendor says of a running job. Neither state nor progress ever falls back; `true` when anything changed.
    pub fn advance(&mut self, running: bool, progress: Option<u8>, now: Timestamp) -> bool {
        if self.state.is_terminal() {
            return false;
        }
        let before = (self.state, self.progress);
        if running && self.state == JobState::Queued {
            self.state = JobState::InProgress;
            self.started_at = Some(now);
        }
        if self.state == JobState::InProgress {
            self.progress = self.progress.max(progress.unwrap_or(0).min(95));
        }
        before != (self.state, self.progress)
    }

    /// Ends the job; `false` when it had ended before. `charge` is what the operator wants of an unknown fate.
    pub fn end(&mut self, ending: Ending, charge: bool, now: Timestamp) -> bool {
        if self.state.is_terminal() {
            return false;
        }
        let (state, error) = match ending {
            Ending::Completed(videos, told) => {
                let (used, guessed) = self.counted(told);
                (self.usage, self.estimated) = (Some(Box::new(used)), guessed);
                (self.videos, self.progress) = (videos, 100);
                (JobState::Completed, None)
            }
            Ending::Failed(error) => (JobState::Failed, Some(error)),
            Ending::Cancelled => (JobState::Cancelled, None),
            Ending::Expired(error) => (JobState::Expired, Some(error)),
            Ending::Unknown(state, error) => {
                self.estimated = true;
                self.usage = charge.then(|| Box::new(self.asked()));
                (state, Some(error))
            }
        };
        self.cost = self.cost_of_usage();
        self.state = state;
        self.error = error.map(Box::new);
        self.completed_at = Some(now);
        // Due at once and until it is settled, so that a crash in between loses nothing.
        self.due_at = Some(now);
        true
    }

    /// What the order comes to when the vendor does not count for itself.
    pub fn asked(&self) -> Usage {
        let billed_by_tokens = self.price.prices_tokens();
        let output_tokens = if billed_by_tokens { self.order.tokens } else { 0 };
        Usage { video_seconds: self.order.duration, videos: 1, output_tokens, ..Usage::NONE }
    }

    /// What the vendor's count comes to, and whether it had to be guessed. A length that it does not tell is the order's.
    fn counted(&self, told: Usage) -> (Usage, bool) {
        let asked = self.asked();
        if !told.is_plausible() {
            return (asked, true);
        }
        let or = |told: u64, asked: u64| if told == 0 { asked } else { told };
        let usage = Usage {
            video_seconds: or(told.video_seconds, asked.video_seconds),
            output_tokens: or(told.output_tokens, asked.output_tokens),
            videos: or(told.videos, asked.videos),
            ..told
        };
        (usage, usage.output_tokens != told.output_tokens)
    }

    /// Tokens that the vendor counts and the operator does not bill by are counted beside what is billed.
    fn cost_of_usage(&self) -> Money {
        let used = self.used();
        if used == Usage::NONE {
            return Money::ZERO;
        }
        let no_input = Usage { input_tokens: 0, ..used };
        let no_tokens = Usage { output_tokens: 0, reasoning_tokens: 0, ..no_input };
        let options = self.order.price_options();
        let costs = [used, no_input, no_tokens].map(|usage| self.price.cost(&usage, &options));
        costs.into_iter().flatten().next().unwrap_or_default()
    }

    /// What it used; nothing while it is open.
    pub fn used(&self) -> Usage {
        self.usage.as_deref().copied().unwrap_or_default()
    }

    /// Whether it ended without the vendor's word.
    pub fn is_lost(&self) -> bool {
        self.estimated && matches!(self.state, JobState::Failed | JobState::Expired)
    }

    /// What a terminal job comes to; `None` while it runs.
    pub fn settlement(&self) -> Option<Settlement> {
        let outcome = match self.state {
            JobState::Queued | JobState::InProgress => return None,
            JobState::Completed => Outcome::Completed,
            JobState::Cancelled => Outcome::ClientClosed,
            JobState::Failed | JobState::Expired => Outcome::ProviderFailed,
        };
        Some(Settlement { outcome, usage: self.used(), estimated: self.estimated, cost: self.cost })
    }

    /// The settlement is booked: nothing is left to do.
    pub fn settle(&mut self) {
        self.settled = true;
        self.due_at = None;
        self.hold = None;
    }

    /// Whether the vendor's files are past their time.
    pub fn is_content_gone(&self, index: usize, now: Timestamp) -> bool {
        self.videos.get(index).and_then(|video| video.expires_at).is_some_and(|end| now >= end)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::base::money::Rate;
    use crate::domain::name::Name;
    use crate::domain::price::Rates;

    pub(crate) fn job(id: &str) -> Job {
        let name = |text| Name::new(text).unwrap();
        let home = Home { workspace: name("acme"), project: name("site"), team: None, environment: None };
        let order = Order { duration: 6, resolution: "720p".into(), ..Order::default() };
        let price = Price::flat(Rates { per_video_second: Rate::per_unit("0.40").ok(), ..Rates::default() });
        let job = Job::new(id.into(), home, "key".into(), "m".into(), order, Timestamp::from_secs(100));
        Job { price: Arc::new(price), ..job }
    }

    fn lost() -> JobError {
        JobError { code: "provider_timeout".into(), kind: "api_error".into(), message: "lost".into() }
    }

    #[test]
    fn state_and_progress_never_fall_back() {
        let (mut job, now) = (job("j"), Timestamp::from_secs(101));
        assert!(job.advance(true, Some(40), now));
        assert!(!job.advance(false, Some(10), now));
        assert_eq!((job.state, job.progress), (JobState::InProgress, 40));
        assert!(job.advance(true, Some(100), now));
        assert_eq!(job.progress, 95, "a hundred is for the end");
    }

    #[test]
    fn a_job_ends_once_at_its_frozen_price() {
        let (mut job, now) = (job("j"), Timestamp::from_secs(160));
        assert!(job.end(Ending::Completed(Vec::new(), job.asked()), false, now));
        assert!(!job.end(Ending::Failed(lost()), false, now) && !job.advance(true, None, now));
        let end = job.settlement().unwrap();
        assert_eq!((end.outcome, end.cost, end.estimated), (Outcome::Completed, "2.40".parse().unwrap(), false));
    }

    #[test]
    fn tokens_are_billed_where_they_have_a_price_and_are_those_of_the_order_where_the_vendor_tells_none() {
        let by_token = Arc::new(Price::flat(Rates { output: Rate::per_million("2").ok(), ..Rates::default() }));
        let order = Order { tokens: 1_000_000, ..job("j").order };
        for (price, told, want) in [
            (job("j").price, 500_000, ("2.40", 500_000, false)),
            (Arc::clone(&by_token), 500_000, ("1", 500_000, false)),
            (Arc::clone(&by_token), 0, ("2", 1_000_000, true)),
            (by_token, u64::MAX, ("2", 1_000_000, true)),
        ] {
            let mut job = Job { price, order: order.clone(), ..job("j") };
            let told = Usage { videos: 1, output_tokens: told, ..Usage::NONE };
            assert!(job.end(Ending::Completed(Vec::new(), told), false, Timestamp::from_secs(160)));
            let end = job.settlement().unwrap();
            assert_eq!((end.cost, end.usage.output_tokens, end.estimated), (want.0.parse().unwrap(), want.1, want.2));
            assert_eq!(end.usage.video_seconds, 6);
        }
    }

    #[test]
    fn an_unknown_fate_is_marked_and_charged_by_rule_alone() {
        for (charge, cost) in [(false, "0"), (true, "2.40")] {
            let mut job = job("j");
            job.end(Ending::Unknown(JobState::Expired, lost()), charge, Timestamp::from_secs(2_000));
            let end = job.settlement().unwrap();
            assert_eq!((end.estimated, end.cost, end.outcome), (true, cost.parse().unwrap(), Outcome::ProviderFailed));
        }
    }

    #[test]
    fn a_job_is_the_same_after_it_was_stored() {
        let source = "https://cdn.example/v.mp4?signature=secret".into();
        let video = Video { source, width: None, height: None, expires_at: None };
        let job = Job { callback: Some("secret".into()), videos: vec![video], ..job("j") };
        let text = serde_json::to_string(&job).unwrap();
        assert!(text.len() < 2_048);
        assert_eq!(serde_json::from_str::<Job>(&text).unwrap(), job);
        assert!(text.contains("secret") && !format!("{job:?}").contains("secret"));
    }
}

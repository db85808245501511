//! Alerts in this process's memory: the newest ones, each once.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::clock::Timestamp;
use crate::base::store_future::StoreFuture;
use crate::domain::alert::Alert;
use crate::domain::limit::{LimitKey, LimitSource};
use crate::store::error::{StoreError, StoreErrorKind, StoreResult};
use crate::store::tables::{AlertStore, Page, PageOf};

/// Alerts that are kept; the oldest give way.
const KEPT: usize = 10_000;

/// An [`AlertStore`] that keeps the newest 10,000 alerts in memory.
///
/// ```
/// use std::sync::Arc;
/// use kancy::store::memory::{alerts::MemoryAlerts, quota::MemoryQuota};
///
/// let alerts = Arc::new(MemoryAlerts::new());
/// let quota = MemoryQuota::new().alerts(alerts.clone());
/// # let _ = quota;
/// ```
#[derive(Default)]
pub struct MemoryAlerts(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// Oldest first.
    alerts: VecDeque<Alert>,
    /// The number of the oldest one; numbers are never given again.
    first: u64,
    raised: HashSet<Occasion>,
}

/// What an alert is raised once for.
#[derive(PartialEq, Eq, Hash)]
struct Occasion {
    key: LimitKey,
    from_config: bool,
    window_start: Option<Timestamp>,
    threshold: u32,
}

impl Occasion {
    fn of(alert: &Alert) -> Self {
        Self {
            key: alert.limit.key.clone(),
            from_config: alert.limit.source == LimitSource::Config,
            window_start: alert.window_start,
            threshold: alert.threshold,
        }
    }
}

impl MemoryAlerts {
    /// No alerts yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AlertStore for MemoryAlerts {
    fn raise(&self, alert: Alert) {
        let mut kept = self.lock();
        if !kept.raised.insert(Occasion::of(&alert)) {
            return;
        }
        kept.alerts.push_back(alert);
        if kept.alerts.len() > KEPT
            && let Some(oldest) = kept.alerts.pop_front()
        {
            kept.raised.remove(&Occasion::of(&oldest));
            kept.first += 1;
        }
    }

    fn list(&self, page: Page) -> StoreFuture<StoreResult<PageOf<Alert>>> {
        StoreFuture::ready(self.lock().page(&page))
    }
}

impl Kept {
    /// The cursor is the number of the last alert shown.
    fn page(&self, page: &Page) -> StoreResult<PageOf<Alert>> {
        let wrong =
            || StoreError::new(StoreErrorKind::Refused, "`after` is no cursor of this list: use a page's `next`");
        let end = match &page.after {
            Some(cursor) => cursor.parse::<u64>().map_err(|_| wrong())?.saturating_sub(self.first),
            None => u64::MAX,
        };
        let end = usize::try_from(end).unwrap_or(usize::MAX).min(self.alerts.len());
        let start = end.saturating_sub(page.limit);
        let items = self.alerts.range(start..end).rev().cloned().collect();
        let next = (start > 0 && start < end).then(|| (self.first + start as u64).to_string());
        Ok(PageOf { items, next })
    }
}

impl fmt::Debug for MemoryAlerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryAlerts").field("alerts", &self.lock().alerts.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::limit::{Limit, Measure, Per};

    fn alert(window: u64, threshold: u32) -> Alert {
        let key = LimitKey {
            scope: "workspace:acme".parse().unwrap(),
            modality: None,
            model: None,
            measure: Measure::Spend,
            per: Some(Per::Day),
        };
        Alert {
            id: format!("alert_{window}_{threshold}").into(),
            time: Timestamp::from_secs(window),
            limit: Arc::new(Limit::new(key, 100)),
            window_start: Some(Timestamp::from_secs(window)),
            threshold,
            used: 50,
        }
    }

    fn page(alerts: &MemoryAlerts, after: Option<String>, limit: usize) -> PageOf<Alert> {
        alerts.list(Page { after, limit }).now().unwrap().unwrap()
    }

    #[test]
    fn an_alert_of_the_same_limit_window_and_threshold_is_kept_once() {
        let alerts = MemoryAlerts::new();
        for (window, threshold) in [(1, 500), (1, 500), (1, 800), (2, 500)] {
            alerts.raise(alert(window, threshold));
        }
        assert_eq!(page(&alerts, None, 100).items.len(), 3);
    }

    #[test]
    fn pages_run_from_the_newest_to_the_oldest_without_a_gap_while_more_are_raised() {
        let alerts = MemoryAlerts::new();
        (0..5).for_each(|window| alerts.raise(alert(window, 500)));
        let first = page(&alerts, None, 2);
        alerts.raise(alert(5, 500));
        let second = page(&alerts, first.next.clone(), 2);
        let third = page(&alerts, second.next.clone(), 2);
        let seen: Vec<_> = [first, second, third.clone()].into_iter().flat_map(|p| p.items).collect();
        assert_eq!(seen.iter().map(|a| a.time.as_secs()).collect::<Vec<_>>(), [4, 3, 2, 1, 0]);
        assert_eq!(third.next, None);
    }

    #[test]
    fn only_the_newest_are_kept() {
        let alerts = MemoryAlerts::new();
        (0..KEPT as u64 + 10).for_each(|window| alerts.raise(alert(window, 500)));
        assert_eq!(alerts.lock().alerts.len(), KEPT);
        assert_eq!(alerts.lock().raised.len(), KEPT);
        let oldest = page(&alerts, Some("11".to_owned()), 100);
        assert_eq!(oldest.items.len(), 1);
        assert_eq!(oldest.next, None);
    }

    #[test]
    fn a_cursor_that_is_none_is_refused() {
        let refused = MemoryAlerts::new().list(Page { after: Some("x".to_owned()), limit: 1 }).now().unwrap();
        assert_eq!(refused.unwrap_err().kind(), StoreErrorKind::Refused);
    }
}

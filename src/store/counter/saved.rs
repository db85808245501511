//! A counter as text, for stores that keep it elsewhere.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::store::error::StoreResult;
use crate::store::kept::{KeptLimit, corrupt};

use super::{Alerted, Counter, Tally};

#[derive(Serialize, Deserialize)]
struct Saved {
    limit: KeptLimit,
    tally: Tally,
    held: u64,
    open: usize,
    alerted: Alerted,
    touched: Timestamp,
    seeded: bool,
}

impl Counter {
    /// The counter and its limit, as JSON.
    pub(crate) fn save(&self) -> String {
        let saved = Saved {
            limit: KeptLimit::of(&self.limit),
            tally: self.tally.clone(),
            held: self.held,
            open: self.open,
            alerted: self.alerted.clone(),
            touched: self.touched,
            seeded: self.seeded,
        };
        serde_json::to_string(&saved).unwrap_or_default()
    }

    /// What [`save`](Self::save) wrote.
    pub(crate) fn restore(text: &str) -> StoreResult<Self> {
        let Saved { limit, tally, held, open, alerted, touched, seeded } =
            serde_json::from_str(text).map_err(corrupt)?;
        let limit = Arc::new(limit.limit()?);
        Ok(Self { limit, tally, held, open, fresh: 0, alerted, touched, seeded })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::limit::{Amounts, Limit, LimitKey, Measure, Per};

    #[test]
    fn a_saved_counter_is_the_same_to_the_last_fraction() {
        for per in [Some(Per::Minute), Some(Per::Day), Some(Per::Total), None] {
            let scope = "workspace:acme".parse().unwrap();
            let measure = if per.is_some() { Measure::Requests } else { Measure::Concurrency };
            let limit = Arc::new(Limit::new(LimitKey { scope, modality: None, model: None, measure, per }, 7));
            let now = Timestamp::from_nanos(1_800_000_000_123_456_789);
            let mut counter = Counter::new(Arc::clone(&limit), now);
            for taken in 0..7 {
                assert!(counter.refuses(&Amounts::ONE_REQUEST, now).is_none(), "{per:?} after {taken}");
                counter.place(0, &Amounts::ONE_REQUEST, now);
                counter = Counter::restore(&counter.save()).unwrap();
            }
            assert!(counter.refuses(&Amounts::ONE_REQUEST, now).is_some(), "{per:?}");
        }
    }
}

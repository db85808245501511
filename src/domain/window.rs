//! Calendar windows in UTC: where the day or month of a moment starts and ends.

use std::time::Duration;

use crate::base::clock::Timestamp;

use super::limit::Per;

const DAY: u64 = 86_400;

/// The start of the calendar window that holds `at`; the epoch for windows without an end.
pub fn start(per: Per, at: Timestamp) -> Timestamp {
    let day = at.as_secs() / DAY;
    match per {
        Per::Second => Timestamp::from_secs(at.as_secs()),
        Per::Minute => Timestamp::from_secs(at.as_secs() / 60 * 60),
        Per::Hour => Timestamp::from_secs(at.as_secs() / 3_600 * 3_600),
        Per::Day => Timestamp::from_secs(day * DAY),
        Per::Month => {
            let (year, month, _) = civil(day);
            Timestamp::from_secs(days(year, month) * DAY)
        }
        Per::Total => Timestamp::EPOCH,
    }
}

/// The end of the calendar window that holds `at`, itself outside of it; `None` for a total.
pub fn end(per: Per, at: Timestamp) -> Option<Timestamp> {
    let from = start(per, at);
    let length = match per {
        Per::Second => 1,
        Per::Minute => 60,
        Per::Hour => 3_600,
        Per::Day => DAY,
        Per::Month => {
            let (year, month, _) = civil(at.as_secs() / DAY);
            let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            (days(next_year, next_month) - days(year, month)) * DAY
        }
        Per::Total => return None,
    };
    Some(from.plus(Duration::from_secs(length)))
}

/// The UTC date of `at` as `YYYY-MM-DD`.
pub fn date(at: Timestamp) -> String {
    let (year, month, day) = civil(at.as_secs() / DAY);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `at` as RFC 3339 writes it, to the millisecond: `2025-12-12T03:35:59.123Z`.
pub fn rfc3339(at: Timestamp) -> String {
    let (second, millis) = (at.as_secs() % DAY, at.as_nanos() / 1_000_000 % 1_000);
    format!("{}T{:02}:{:02}:{:02}.{millis:03}Z", date(at), second / 3_600, second / 60 % 60, second % 60)
}

/// Year, month and day of the `day`-th day after 1970-01-01 (Hinnant's `civil_from_days`, for days from the epoch on).
fn civil(day: u64) -> (u64, u64, u64) {
    let shifted = day + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Days from 1970-01-01 to the first of `month` in `year`.
pub(crate) fn days(year: u64, month: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let era = year / 400;
    let year_of_era = year % 400;
    let shifted_month = (month + 9) % 12;
    let of_year = (153 * shifted_month + 2) / 5;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_have_their_true_lengths() {
        let cases = [
            (1_709_164_800, "2024-02-29", 1_706_745_600, 1_709_251_200),
            (1_735_689_599, "2024-12-31", 1_733_011_200, 1_735_689_600),
            (1_735_689_600, "2025-01-01", 1_735_689_600, 1_738_368_000),
            (0, "1970-01-01", 0, 2_678_400),
        ];
        for (at, shown, from, to) in cases {
            let at = Timestamp::from_secs(at);
            assert_eq!(date(at), shown);
            assert_eq!(start(Per::Month, at).as_secs(), from);
            assert_eq!(end(Per::Month, at).unwrap().as_secs(), to);
        }
    }
}

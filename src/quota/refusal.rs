//! How a refusal reads, and the `x-ratelimit-*` headers.

use std::fmt::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::base::error::{Code, Error};
use crate::base::id::RequestId;
use crate::base::money::Money;
use crate::domain::limit::{Amounts, Limit, Measure, Per};
use crate::http::headers::{GoDuration, REQUEST_ID};
use crate::store::quota::{Headroom, Refusal, RefusalWait};

/// The error that tells a caller why `hold` was refused.
pub(super) fn error(refusal: &Refusal, hold: &Amounts) -> Error {
    let limit = &*refusal.limit;
    let mut error = Error::new(code(limit), message(refusal, hold)).limit(limit.refused());
    if limit.key.measure == Measure::Spend || limit.key.per == Some(Per::Total) {
        error = error.should_retry(false);
    }
    match refusal.wait {
        RefusalWait::After(wait) => error.retry_after(wait),
        RefusalWait::Soon => error.retry_after(Duration::from_secs(1)),
        RefusalWait::Never | RefusalWait::TooLarge => error.should_retry(false),
    }
}

fn code(limit: &Limit) -> Code {
    match (limit.key.measure, limit.key.per) {
        (Measure::Spend, _) => Code::SpendCapExceeded,
        (_, None) => Code::ConcurrencyExceeded,
        (_, Some(Per::Second | Per::Minute | Per::Hour)) => Code::RateLimitExceeded,
        (_, Some(Per::Day | Per::Month | Per::Total)) => Code::QuotaExceeded,
    }
}

fn message(refusal: &Refusal, hold: &Amounts) -> String {
    let limit = &*refusal.limit;
    let (scope, measure) = (&limit.key.scope, limit.key.measure);
    let allows = format!("{scope} allows {}", amount(limit));
    let asked = quantity(measure, hold.of(measure));
    match refusal.wait {
        RefusalWait::TooLarge if limit.amount == 0 => {
            format!("{allows}: nothing is admitted. Ask whoever manages its limits to raise this one.")
        }
        RefusalWait::TooLarge => format!(
            "{allows}, and this request alone may come to {asked}. Make it smaller (fewer or shorter outputs), or have the limit raised."
        ),
        RefusalWait::Soon => format!("{allows}, and all of them are taken. Wait for one to finish."),
        RefusalWait::After(wait) => format!(
            "{allows}, and too little is left for this request, which may come to {asked}. Try again in {}.",
            GoDuration(wait)
        ),
        RefusalWait::Never => format!(
            "{allows}, and too little is left for this request, which may come to {asked}. Waiting does not help: have the limit raised."
        ),
    }
}

/// `60 requests per minute`, `12.50 USD per month`, `5 requests at a time`.
fn amount(limit: &Limit) -> String {
    let quantity = quantity(limit.key.measure, limit.amount);
    match limit.key.per {
        None => format!("{quantity} at a time"),
        Some(Per::Total) => format!("{quantity} in total"),
        Some(per) => format!("{quantity} per {}", per.as_str()),
    }
}

fn quantity(measure: Measure, n: u64) -> String {
    match measure {
        Measure::Spend => format!("{} USD", Money::from_nanos(n)),
        Measure::Concurrency => format!("{n} requests"),
        _ => format!("{n} {}", measure.as_str().replace('_', " ")),
    }
}

static REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
static TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

/// Sets `x-ratelimit-*`, and the request's id with them: where the layer that tells it finds it told, it has less to do.
pub(super) fn set_headroom(headroom: &Headroom, request_id: &RequestId, headers: &mut HeaderMap) {
    if headroom.requests.is_none() && headroom.tokens.is_none() {
        return;
    }
    let mut values = Values::new();
    let id = request_id.id().as_bytes();
    if id.len() <= LONGEST_ID {
        values.text(&REQUEST_ID, id);
    }
    for (names, room) in [(&REQUESTS, &headroom.requests), (&TOKENS, &headroom.tokens)] {
        let Some(room) = room else { continue };
        let [limit, remaining, reset] = names;
        values.number(limit, room.limit.amount);
        values.number(remaining, room.remaining);
        if let Some(wait) = room.resets_in {
            values.time(reset, wait);
        }
    }
    values.set(headers);
}

/// Longer than the numbers and times of all six limit headers can be, and an id.
const TEXT: usize = 192;
/// Those that are made here are shorter.
const LONGEST_ID: usize = 32;

/// Header values that are slices of one text: together they cost one allocation.
struct Values {
    text: Text,
    /// Each name, and where its value ends.
    named: [Option<(&'static HeaderName, usize)>; 1 + REQUESTS.len() + TOKENS.len()],
    count: usize,
}

impl Values {
    fn new() -> Self {
        Self { text: Text { bytes: [0; TEXT], len: 0 }, named: [None; _], count: 0 }
    }

    fn number(&mut self, name: &'static HeaderName, number: u64) {
        self.text.push(itoa::Buffer::new().format(number).as_bytes());
        self.end(name);
    }

    fn text(&mut self, name: &'static HeaderName, value: &[u8]) {
        self.text.push(value);
        self.end(name);
    }

    fn time(&mut self, name: &'static HeaderName, time: Duration) {
        // A text takes all that is written to it.
        let _ = GoDuration(time).write(&mut self.text);
        self.end(name);
    }

    fn end(&mut self, name: &'static HeaderName) {
        self.named[self.count] = Some((name, self.text.len));
        self.count += 1;
    }

    fn set(self, headers: &mut HeaderMap) {
        headers.reserve(self.count);
        let mut text = Bytes::from_owner(self.text);
        let mut from = 0;
        for (name, end) in self.named.into_iter().flatten() {
            // The last one takes what is left, and needs no count of its own.
            if let Ok(value) = HeaderValue::from_maybe_shared(text.split_to(end - from)) {
                headers.insert(name, value);
            }
            from = end;
        }
    }
}

/// A text of bounded length. What does not fit is left out.
struct Text {
    bytes: [u8; TEXT],
    len: usize,
}

impl Text {
    fn push(&mut self, part: &[u8]) {
        if let Some(room) = self.bytes[self.len..].get_mut(..part.len()) {
            room.copy_from_slice(part);
            self.len += part.len();
        }
    }
}

impl Write for Text {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.push(part.as_bytes());
        Ok(())
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

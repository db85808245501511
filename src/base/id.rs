//! Ids: base62 text of random bits, and the request id that a caller may choose.

use std::cell::RefCell;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use super::clock::Timestamp;
use super::short_id::Id;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// `bytes` as one big-endian number in base62, left-padded with `0` to `width` digits.
pub(crate) fn base62(bytes: &[u8], width: usize) -> String {
    let mut number = bytes.to_vec();
    let mut digits = vec![b'0'; width];
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0u32;
        for byte in &mut number {
            let value = (remainder << 8) | u32::from(*byte);
            *byte = (value / 62) as u8;
            remainder = value % 62;
        }
        *digit = ALPHABET[remainder as usize];
    }
    digits.into_iter().map(char::from).collect()
}

/// `number` in base62, left-padded with `0` to `N` digits, without an allocation.
pub(crate) fn base62_u32<const N: usize>(mut number: u32) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(number % 62) as usize];
        number /= 62;
    }
    digits
}

/// Whether `text` consists of base62 digits alone.
pub(crate) fn is_base62(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// `N` random bytes from the operating system, for secrets.
///
/// # Panics
/// When the operating system has no randomness to give: a gateway must not mint guessable ids.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}

fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system has no randomness to give");
}

/// The digits of an id.
pub(crate) const DIGITS: usize = 22;

/// Digits that tell the millisecond: enough for some thousands of years.
const TIMED: usize = 8;

/// Random digits. They are fetched many at a time: a system call for each id would cost more than all else about it.
fn random_digits() -> [u8; DIGITS - TIMED] {
    const AT_ONCE: usize = 64;
    const NONE: [u8; DIGITS - TIMED] = [0; DIGITS - TIMED];
    thread_local! {
        static FETCHED: RefCell<([[u8; DIGITS - TIMED]; AT_ONCE], usize)> = const { RefCell::new(([NONE; AT_ONCE], 0)) };
    }
    FETCHED.with_borrow_mut(|(fetched, left)| {
        if *left == 0 {
            fill(fetched.as_flattened_mut());
            *left = AT_ONCE;
        }
        *left -= 1;
        fetched[*left].map(|byte| ALPHABET[(usize::from(byte) * ALPHABET.len()) >> 8])
    })
}

/// Milliseconds since the epoch.
fn time_digits(mut millis: u64) -> [u8; TIMED] {
    let mut digits = [b'0'; TIMED];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(millis % 62) as usize];
        millis /= 62;
    }
    digits
}

/// A new id: `prefix`, 8 base62 digits of the time and 14 random ones, some 80 bits. For naming things; no secret.
///
/// Ids that are made one after another stand beside each other in an index: a database then writes few pages for many.
pub fn new_id<T: for<'a> From<&'a str>>(prefix: &str) -> T {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    with_millis(prefix, u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The same, for whoever has looked at the clock already.
pub(crate) fn new_id_at<T: for<'a> From<&'a str>>(prefix: &str, now: Timestamp) -> T {
    with_millis(prefix, now.as_nanos() / 1_000_000)
}

fn with_millis<T: for<'a> From<&'a str>>(prefix: &str, millis: u64) -> T {
    const LONGEST: usize = 32;
    let (time, random) = (time_digits(millis), random_digits());
    let mut id = [0; LONGEST];
    let length = prefix.len() + DIGITS;
    let Some(room) = id.get_mut(..length) else {
        let digits: String = time.into_iter().chain(random).map(char::from).collect();
        return T::from(&format!("{prefix}{digits}"));
    };
    let (head, digits) = room.split_at_mut(prefix.len());
    head.copy_from_slice(prefix.as_bytes());
    digits[..TIMED].copy_from_slice(&time);
    digits[TIMED..].copy_from_slice(&random);
    T::from(std::str::from_utf8(room).unwrap_or_default())
}

/// The id that a request is known by: in `x-request-id`, in errors, in records.
///
/// The caller's own when it is 1 to 128 of `[A-Za-z0-9._-]`, else minted here.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Id);

impl RequestId {
    /// The caller's id, or a minted one where that will not do.
    pub fn accept(offered: Option<&http::HeaderValue>) -> Self {
        offered.and_then(Self::offered).unwrap_or_else(Self::mint)
    }

    /// The same, for whoever has looked at the clock already.
    pub(crate) fn accept_at(offered: Option<&http::HeaderValue>, now: Timestamp) -> Self {
        offered.and_then(Self::offered).unwrap_or_else(|| Self(new_id_at("req_", now)))
    }

    fn offered(value: &http::HeaderValue) -> Option<Self> {
        let fits = |text: &&str| {
            (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        value.to_str().ok().filter(fits).map(|text| Self(text.into()))
    }

    /// A new random id.
    pub fn mint() -> Self {
        Self(new_id("req_"))
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id itself.
    pub fn id(&self) -> &Id {
        &self.0
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({})", self.0)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base62_is_most_significant_digit_first_and_padded() {
        let id: Vec<u8> = (0x00..=0x0f).collect();
        assert_eq!(base62(&id, 22), "000SYW7RiJxkEgOGusQGwp");
        assert_eq!(base62(&[61], 2), "0z");
    }

    #[test]
    fn ids_sort_by_the_millisecond_that_they_were_made_in() {
        let at = |millis: u64| new_id_at::<String>("", Timestamp::from_nanos(millis * 1_000_000));
        let (now, far) = (1_800_000_000_000, 18_000_000_000_000);
        assert!(at(now) < at(now + 1) && at(now + 61) < at(now + 62) && at(far) < at(far + 1));
        assert!(new_id::<String>("").as_str() > &*at(now - 400_000_000_000), "the present, unless told another");
        assert_eq!(&at(now)[..1], "0", "there is room for the next few thousand years");
    }

    #[test]
    fn no_id_comes_twice() {
        let ids: std::collections::HashSet<String> = (0..1_000).map(|_| new_id("x_")).collect();
        assert_eq!(ids.len(), 1_000);
        assert_eq!(new_id::<String>("a prefix of some length_").len(), 24 + DIGITS);
        assert!(ids.iter().all(|id| id.len() == 2 + DIGITS && id.strip_prefix("x_").is_some_and(is_base62)));
    }

    #[test]
    fn a_request_id_that_could_forge_a_log_line_is_replaced() {
        let accept = |bytes: &[u8]| RequestId::accept(http::HeaderValue::from_bytes(bytes).ok().as_ref());
        assert_eq!(accept(b"trace-1.2_3").as_str(), "trace-1.2_3");
        for bad in [&b""[..], b"a b", b"a\tb", "ü".as_bytes(), &[b'a'; 129]] {
            assert!(accept(bad).as_str().starts_with("req_"), "{bad:?}");
        }
    }
}

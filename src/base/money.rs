//! Money without a float: costs in whole nano-dollars, prices in whole pico-dollars a unit.
//!
//! A published price such as `0.8625` USD per million tokens is 862 500 pico-dollars a token, exactly. A cost is
//! summed in pico-dollars and rounded up once, to the next nano-dollar, for each record.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const NANOS_PER_USD: u64 = 1_000_000_000;
const PICOS_PER_NANO: u128 = 1_000;

/// An amount of US dollars, in whole nano-dollars. Never negative.
///
/// Shown and serialised as a decimal string with nine places.
///
/// ```
/// use kancy::Money;
/// let cap: Money = "12.50".parse()?;
/// assert_eq!(cap.as_nanos(), 12_500_000_000);
/// assert_eq!(cap.to_string(), "12.500000000");
/// # Ok::<(), kancy::ParseMoneyError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(u64);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From whole nano-dollars.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From pico-dollars, rounded up to the next nano-dollar; saturates at 18 billion dollars.
    pub fn from_picos_rounded_up(picos: u128) -> Self {
        Self(u64::try_from(picos.div_ceil(PICOS_PER_NANO)).unwrap_or(u64::MAX))
    }

    /// Whole nano-dollars.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The sum; saturates.
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / NANOS_PER_USD, self.0 % NANOS_PER_USD)
    }
}

/// Why a text is no amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseMoneyError {
    /// Not a plain decimal number such as `12.50`.
    NotDecimal,
    /// Below zero.
    Negative,
    /// Finer than the smallest unit that is kept.
    TooFine,
    /// Larger than can be kept.
    TooLarge,
}

impl fmt::Display for ParseMoneyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotDecimal => "is not a decimal number such as \"12.50\"",
            Self::Negative => "is negative",
            Self::TooFine => "has more decimal places than are kept",
            Self::TooLarge => "is too large",
        })
    }
}

impl std::error::Error for ParseMoneyError {}

impl std::str::FromStr for Money {
    type Err = ParseMoneyError;

    fn from_str(text: &str) -> Result<Self, ParseMoneyError> {
        let scaled = parse_decimal(text, 9)?;
        u64::try_from(scaled).map(Self).map_err(|_| ParseMoneyError::TooLarge)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|e| serde::de::Error::custom(format!("{text:?} {e}")))
    }
}

/// The price of one unit, in whole pico-dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rate(u64);

impl Rate {
    /// From whole pico-dollars a unit.
    pub const fn from_picos(picos: u64) -> Self {
        Self(picos)
    }

    /// From US dollars per million units, as vendors print token prices; at most six decimal places.
    pub fn per_million(text: &str) -> Result<Self, ParseMoneyError> {
        let scaled = parse_decimal(text, 6)?;
        u64::try_from(scaled).map(Self).map_err(|_| ParseMoneyError::TooLarge)
    }

    /// From US dollars per single unit (an image, a second, a character); at most twelve decimal places.
    pub fn per_unit(text: &str) -> Result<Self, ParseMoneyError> {
        let scaled = parse_decimal(text, 12)?;
        u64::try_from(scaled).map(Self).map_err(|_| ParseMoneyError::TooLarge)
    }

    /// Whole pico-dollars a unit.
    pub const fn as_picos(self) -> u64 {
        self.0
    }

    /// Pico-dollars of `units`; cannot overflow.
    pub const fn times(self, units: u64) -> u128 {
        self.0 as u128 * units as u128
    }
}

/// The decimal `text` times ten to the `places`, exactly.
fn parse_decimal(text: &str, places: u32) -> Result<u128, ParseMoneyError> {
    if text.starts_with('-') {
        return Err(ParseMoneyError::Negative);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || (fraction.is_empty() && text.contains('.')) {
        return Err(ParseMoneyError::NotDecimal);
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > places as usize {
        return Err(ParseMoneyError::TooFine);
    }
    if whole.len() > 20 {
        return Err(ParseMoneyError::TooLarge);
    }
    let number = |s: &str| s.bytes().fold(0u128, |n, b| n * 10 + u128::from(b - b'0'));
    let scale = 10u128.pow(places);
    Ok(number(whole) * scale + number(fraction) * 10u128.pow(places - fraction.len() as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_prices_are_exact() {
        assert_eq!(Rate::per_million("0.8625").unwrap().as_picos(), 862_500);
        assert_eq!(Rate::per_million("15").unwrap().as_picos(), 15_000_000);
        assert_eq!(Rate::per_unit("0.000015").unwrap().as_picos(), 15_000_000);
        assert_eq!(Rate::per_million("0.0000001"), Err(ParseMoneyError::TooFine));
    }

    #[test]
    fn a_cost_is_rounded_up_once() {
        assert_eq!(Money::from_picos_rounded_up(1).as_nanos(), 1);
        assert_eq!(Money::from_picos_rounded_up(2_000).as_nanos(), 2);
        assert_eq!(Money::from_picos_rounded_up(2_001).as_nanos(), 3);
    }

    #[test]
    fn what_is_no_amount_says_why() {
        for (text, why) in [
            ("", ParseMoneyError::NotDecimal),
            (".5", ParseMoneyError::NotDecimal),
            ("5.", ParseMoneyError::NotDecimal),
            ("1e3", ParseMoneyError::NotDecimal),
            ("-1", ParseMoneyError::Negative),
            ("0.0000000001", ParseMoneyError::TooFine),
            ("99999999999999999999", ParseMoneyError::TooLarge),
            ("999999999999999999999999999", ParseMoneyError::TooLarge),
        ] {
            assert_eq!(text.parse::<Money>(), Err(why), "{text}");
        }
        assert_eq!("1.2300000000000".parse::<Money>().unwrap().to_string(), "1.230000000");
    }
}

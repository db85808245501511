//! What the words of a limit may say, wherever it is set: in the configuration file or by the admin API.
//!
//! The errors are reasons (`is negative`) to be put behind the field's path.

use crate::base::money::Money;

use super::limit::{Measure, Per};

/// An amount as it was written.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the two forms")]
pub enum Written<'a> {
    Integer(i128),
    Text(&'a str),
}

/// The amount in the measure's unit (spend: nano-dollars).
pub fn amount(measure: Measure, written: Written<'_>) -> Result<u64, String> {
    match (measure, written) {
        (Measure::Spend, Written::Text(text)) => text.parse().map(Money::as_nanos).map_err(|why| why.to_string()),
        (Measure::Spend, Written::Integer(n)) if n < 0 => Err("is negative".to_owned()),
        (Measure::Spend, Written::Integer(_)) => {
            Err("is a number; write an amount of spend as a decimal string of US dollars such as \"12.50\"".to_owned())
        }
        (_, Written::Integer(n)) if n < 0 => Err("is negative; 0 blocks all".to_owned()),
        (_, Written::Integer(n)) => u64::try_from(n).map_err(|_| "is too large".to_owned()),
        (_, Written::Text(_)) => Err(format!("is a string; {} are counted in whole numbers", measure.as_str())),
    }
}

/// The window, which every measure but concurrency must have.
pub fn window(measure: Measure, per: Option<Per>) -> Result<Option<Per>, &'static str> {
    match (measure, per) {
        (Measure::Concurrency, Some(_)) => Err("does not go with concurrency, which has no window: leave it out"),
        (Measure::Concurrency, None) => Ok(None),
        (_, None) => Err("is missing: use second, minute, hour, day, month or total"),
        (_, per) => Ok(per),
    }
}

/// Alert thresholds, written as parts of the amount, in thousandths, ascending and each once.
pub fn thresholds(parts: &[f64]) -> Result<Vec<u32>, &'static str> {
    let mut found = parts.iter().map(|part| thousandths(*part)).collect::<Option<Vec<_>>>().ok_or(
        "holds a number that is no threshold: use parts of the amount such as 0.8, above 0 and at most 10, \
         to three decimal places",
    )?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn thousandths(part: f64) -> Option<u32> {
    let scaled = part * 1_000.0;
    let whole = scaled.round();
    // A float of three decimal places is this near to its whole thousandths; NaN is near to nothing.
    let fits = (scaled - whole).abs() < 1e-6 && (1.0..=10_000.0).contains(&whole);
    fits.then_some(whole as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_whole_numbers_and_spend_is_a_decimal_string() {
        assert_eq!(amount(Measure::Tokens, Written::Integer(0)), Ok(0));
        assert_eq!(amount(Measure::Spend, Written::Text("0.000000001")), Ok(1));
        assert!(amount(Measure::Tokens, Written::Integer(-1)).unwrap_err().contains("negative"));
        assert!(amount(Measure::Spend, Written::Text("-1")).unwrap_err().contains("negative"));
        assert!(amount(Measure::Spend, Written::Integer(5)).unwrap_err().contains("decimal string"));
        assert!(amount(Measure::Images, Written::Text("5")).unwrap_err().contains("whole numbers"));
        assert!(amount(Measure::Images, Written::Integer(i128::from(u64::MAX) + 1)).is_err());
    }

    #[test]
    fn thresholds_are_sorted_thousandths() {
        assert_eq!(thresholds(&[1.0, 0.5, 0.8, 0.5]), Ok(vec![500, 800, 1_000]));
        for wrong in [0.0, -0.5, 0.0001, f64::NAN, f64::INFINITY, 11.0] {
            assert!(thresholds(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_concurrency_goes_without_a_window() {
        assert_eq!(window(Measure::Concurrency, None), Ok(None));
        assert!(window(Measure::Concurrency, Some(Per::Day)).is_err());
        assert!(window(Measure::Requests, None).is_err());
    }
}

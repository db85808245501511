//! Sizes, and which of a vendor's is nearest.

use std::fmt;

use crate::base::error::Error;
use crate::wire::openai_request::invalid;

/// The longest side that anybody draws, in pixels.
const LONGEST: u32 = 16_384;

/// A picture's size in pixels; no side is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Size {
    pub(crate) const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// Reads `1536x1024`; `None` for `auto`.
    pub(crate) fn read(text: &str) -> Result<Option<Self>, Error> {
        if text == "auto" {
            return Ok(None);
        }
        let side = |text: &str| {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|side| digits && (1..=LONGEST).contains(side))
        };
        let sides = text.split_once('x').and_then(|(width, height)| Some((side(width)?, side(height)?)));
        let (width, height) = sides.ok_or_else(|| {
            invalid(
                "size",
                format_args!("give WIDTHxHEIGHT in pixels, up to {LONGEST} a side, as \"1536x1024\", or \"auto\""),
            )
        })?;
        Ok(Some(Self { width, height }))
    }

    pub(crate) fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Width by height.
    pub(crate) fn ratio(self) -> f64 {
        f64::from(self.width) / f64::from(self.height)
    }

    /// How unlike the shape of another is, whatever their sizes: 0 for the same ratio.
    fn unlike(self, other: Self) -> f64 {
        (self.ratio() / other.ratio()).ln().abs()
    }

    /// Whether the two are of one shape, as far as anybody sees.
    pub(crate) fn is_like(self, other: Self) -> bool {
        self.unlike(other) < 0.02
    }

    /// The same shape within `least..=most` pixels, sides whole multiples of `step`.
    pub(crate) fn within(self, least: u64, most: u64, step: u32) -> Self {
        let pixels = self.pixels().clamp(least, most) as f64;
        let height = (pixels / self.ratio()).sqrt();
        let up = self.pixels() < least;
        let side = |pixels: f64| {
            let steps = pixels / f64::from(step);
            (if up { steps.ceil() } else { steps.floor() }).max(1.0) as u32 * step
        };
        Self::new(side(height * self.ratio()), side(height))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// Of `sizes`, the one of the likest shape; of several as like, the one with the nearest number of pixels.
pub(crate) fn nearest<T>(wanted: Size, sizes: &'static [T], size: impl Fn(&T) -> Size) -> Option<&'static T> {
    let apart = |other: &T| {
        let other = size(other);
        let shape = (wanted.unlike(other) * 1_000.0).round() as u64;
        (shape, wanted.pixels().abs_diff(other.pixels()))
    };
    sizes.iter().min_by_key(|other| apart(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_size_is_two_numbers_or_auto() {
        assert_eq!(Size::read("1536x1024").unwrap(), Some(Size::new(1536, 1024)));
        assert_eq!(Size::read("auto").unwrap(), None);
        for bad in
            ["", "x", "1024", "0x5", "5x0", "1024X1024", "1024x", "-1x5", "+1x5", "1e3x5", "99999x1", "big", "1x1x1"]
        {
            let error = Size::read(bad).unwrap_err();
            assert_eq!(error.param_name(), Some("size"), "{bad}");
            assert!(error.message().contains("1536x1024"));
        }
    }

    #[test]
    fn the_nearest_is_first_of_the_same_shape_then_of_the_same_size() {
        const SIZES: &[Size] =
            &[Size::new(256, 256), Size::new(1024, 1024), Size::new(1536, 1024), Size::new(1024, 1536)];
        for (wanted, want) in [((300, 300), 0), ((4000, 4000), 1), ((1792, 1024), 2), ((720, 1280), 3), ((3, 2), 2)] {
            assert_eq!(nearest(Size::new(wanted.0, wanted.1), SIZES, |s| *s), Some(&SIZES[want]), "{wanted:?}");
        }
    }

    proptest! {
        #[test]
        fn scaling_keeps_within_its_bounds_and_near_the_shape(width in 64u32..9_000, height in 64u32..9_000) {
            let size = Size::new(width, height);
            prop_assume!((1.0 / 8.0..8.0).contains(&size.ratio()));
            let scaled = size.within(921_600, 4_194_304, 8);
            prop_assert!(scaled.pixels() <= 4_300_000 && scaled.pixels() >= 900_000, "{scaled}");
            prop_assert!(scaled.unlike(size) < 0.05, "{size} became {scaled}");
        }
    }
}

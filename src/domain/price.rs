//! What a model's units cost, and the exact cost of a request.

use serde::{Deserialize, Serialize};

use crate::base::money::{Money, ParseMoneyError, Rate};

use super::usage::Usage;

/// A model's price. Without one a model is unpriced: refused under a spend cap, cost 0 otherwise.
///
/// Serialisable, as a job freezes its price at creation and outlives the process.
#[allow(clippy::large_enum_variant, reason = "one for each model, behind an `Arc`; a box would buy nothing")]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Price {
    /// Nobody said what it costs.
    #[default]
    Unpriced,
    /// Said to cost nothing.
    Free,
    /// Costs by unit, with tiers: the first that fits the request wins, else `base`.
    Rates {
        /// Where no tier fits.
        base: Rates,
        /// In the order of the configuration.
        tiers: Vec<Tier>,
    },
}

/// Prices a unit; `None` is "not priced", which is not zero.
///
/// `cached_input`, `cache_write`, `image_input` and `audio_input` fall back to `input`; `reasoning`, `image_output` and
/// `audio_output` to `output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the price keys of CONTRACT section 2")]
pub struct Rates {
    pub input: Option<Rate>,
    pub cached_input: Option<Rate>,
    pub cache_write: Option<Rate>,
    pub output: Option<Rate>,
    pub reasoning: Option<Rate>,
    pub image_input: Option<Rate>,
    pub image_output: Option<Rate>,
    pub audio_input: Option<Rate>,
    pub audio_output: Option<Rate>,
    pub per_image: Option<Rate>,
    pub per_video_second: Option<Rate>,
    pub per_video: Option<Rate>,
    pub per_audio_second: Option<Rate>,
    pub per_character: Option<Rate>,
    pub per_request: Option<Rate>,
}

/// A price for requests of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "a condition and its prices")]
pub struct Tier {
    pub when: When,
    pub rates: Rates,
}

/// The condition of a tier: every field that is set must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "the keys of `when` in CONTRACT section 2")]
pub struct When {
    pub size: Option<String>,
    pub quality: Option<String>,
    pub resolution: Option<String>,
    pub audio: Option<bool>,
    pub mode: Option<String>,
    /// Fits when the request's input tokens are more than this.
    pub input_over: Option<u64>,
}

/// What of a request a tier may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the facts that `When` compares with")]
pub struct Options {
    pub size: Option<String>,
    pub quality: Option<String>,
    pub resolution: Option<String>,
    pub audio: Option<bool>,
    pub mode: Option<String>,
}

/// What of a picture the request does not settle: a quality that it leaves to the vendor, or a size that no tier names,
/// as the vendor may make it another. A size that a tier names is the operator's word for what it costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Open {
    size: bool,
    quality: bool,
}

impl Open {
    fn of(options: &Options, tiers: &[Tier]) -> Self {
        let is_named = |size: &String| tiers.iter().any(|tier| tier.when.size.as_ref() == Some(size));
        let is_left = |quality: &String| quality == "auto";
        Self {
            size: !options.size.as_ref().is_some_and(is_named),
            quality: options.quality.as_ref().is_none_or(is_left),
        }
    }
}

impl When {
    fn fits(&self, options: &Options, input_tokens: u64) -> bool {
        self.may_fit(options, input_tokens, Open::default())
    }

    /// Whether it fits, or may in the end.
    fn may_fit(&self, options: &Options, input_tokens: u64, open: Open) -> bool {
        fn same<T: PartialEq>(want: &Option<T>, have: &Option<T>) -> bool {
            want.is_none() || want == have
        }
        (open.size || same(&self.size, &options.size))
            && (open.quality || same(&self.quality, &options.quality))
            && same(&self.resolution, &options.resolution)
            && same(&self.audio, &options.audio)
            && same(&self.mode, &options.mode)
            && self.input_over.is_none_or(|floor| input_tokens > floor)
    }
}

impl Price {
    /// Prices without tiers.
    pub fn flat(base: Rates) -> Self {
        Self::Rates { base, tiers: Vec::new() }
    }

    /// The rates for a request with these options and so many input tokens; `None` when free or unpriced.
    pub fn rates(&self, options: &Options, input_tokens: u64) -> Option<&Rates> {
        match self {
            Self::Unpriced | Self::Free => None,
            Self::Rates { base, tiers } => {
                Some(tiers.iter().find(|t| t.when.fits(options, input_tokens)).map_or(base, |t| &t.rates))
            }
        }
    }

    /// The options that count for a picture of this size and quality: what was made, unless a tier names what was asked.
    pub(crate) fn made_as(&self, asked: &Options, size: Option<&str>, quality: Option<&str>) -> Options {
        let Self::Rates { tiers, .. } = self else { return asked.clone() };
        let counts = |asked: &Option<String>, made: Option<&str>, named: fn(&When) -> &Option<String>| {
            let is_named = asked.is_some() && tiers.iter().any(|tier| named(&tier.when) == asked);
            made.filter(|_| !is_named).map(str::to_owned).or_else(|| asked.clone())
        };
        Options {
            size: counts(&asked.size, size, |when| &when.size),
            quality: counts(&asked.quality, quality, |when| &when.quality),
            ..asked.clone()
        }
    }

    /// Whether any tier prices a token.
    pub fn prices_tokens(&self) -> bool {
        match self {
            Self::Unpriced | Self::Free => false,
            Self::Rates { base, tiers } => tiers.iter().map(|t| &t.rates).chain([base]).any(Rates::price_tokens),
        }
    }

    /// The exact cost of `usage`, rounded up once. `None` when a used unit has no price: then the model counts as unpriced.
    pub fn cost(&self, usage: &Usage, options: &Options) -> Option<Money> {
        match self {
            Self::Unpriced => None,
            Self::Free => Some(Money::ZERO),
            Self::Rates { .. } => {
                let rates = self.rates(options, usage.input_tokens)?;
                rates.picos(usage).map(Money::from_picos_rounded_up)
            }
        }
    }

    /// The most that `usage` can cost, whatever tier it ends up in and however its tokens split into cached, written,
    /// reasoning, image and audio ones. A size that no tier names may become any, and so may a quality that is not given. `None` when a used unit has no price.
    pub fn ceiling(&self, usage: &Usage, options: &Options) -> Option<Money> {
        match self {
            Self::Unpriced => None,
            Self::Free => Some(Money::ZERO),
            Self::Rates { base, tiers } => {
                // Input is a bound, so any `input_over` tier at or under it may be the one that applies in the end.
                let open = Open::of(options, tiers);
                let reachable = tiers.iter().filter(|t| t.when.may_fit(options, usage.input_tokens, open));
                let reachable = reachable.map(|t| &t.rates);
                let mut worst = 0u128;
                for rates in reachable.chain(std::iter::once(base)) {
                    worst = worst.max(rates.worst_picos(usage)?);
                }
                Some(Money::from_picos_rounded_up(worst))
            }
        }
    }
}

impl Rates {
    /// Nothing priced.
    pub const NONE: Self = Self {
        input: None,
        cached_input: None,
        cache_write: None,
        output: None,
        reasoning: None,
        image_input: None,
        image_output: None,
        audio_input: None,
        audio_output: None,
        per_image: None,
        per_video_second: None,
        per_video: None,
        per_audio_second: None,
        per_character: None,
        per_request: None,
    };

    /// The price keys, as configuration writes them.
    pub const KEYS: [&'static str; 15] = [
        "input",
        "cached_input",
        "cache_write",
        "output",
        "reasoning",
        "image_input",
        "image_output",
        "audio_input",
        "audio_output",
        "per_image",
        "per_video_second",
        "per_video",
        "per_audio_second",
        "per_character",
        "per_request",
    ];

    /// Sets the price of one of [`KEYS`](Self::KEYS) from decimal US dollars: per million for tokens, else a unit.
    /// An unknown key sets nothing.
    pub fn set(&mut self, key: &str, dollars: &str) -> Result<(), ParseMoneyError> {
        let rate = if key.starts_with("per_") { Rate::per_unit(dollars) } else { Rate::per_million(dollars) }?;
        let slot = match key {
            "input" => &mut self.input,
            "cached_input" => &mut self.cached_input,
            "cache_write" => &mut self.cache_write,
            "output" => &mut self.output,
            "reasoning" => &mut self.reasoning,
            "image_input" => &mut self.image_input,
            "image_output" => &mut self.image_output,
            "audio_input" => &mut self.audio_input,
            "audio_output" => &mut self.audio_output,
            "per_image" => &mut self.per_image,
            "per_video_second" => &mut self.per_video_second,
            "per_video" => &mut self.per_video,
            "per_audio_second" => &mut self.per_audio_second,
            "per_character" => &mut self.per_character,
            "per_request" => &mut self.per_request,
            _ => return Ok(()),
        };
        *slot = Some(rate);
        Ok(())
    }

    fn price_tokens(&self) -> bool {
        [
            self.input,
            self.cached_input,
            self.cache_write,
            self.output,
            self.reasoning,
            self.image_input,
            self.image_output,
            self.audio_input,
            self.audio_output,
        ]
        .iter()
        .any(Option::is_some)
    }

    /// Pico-dollars of `usage`, each part priced once; `None` when a used unit has no price.
    fn picos(&self, usage: &Usage) -> Option<u128> {
        let inputs = [
            (usage.cached_input_tokens, self.cached_input.or(self.input)),
            (usage.cache_write_tokens, self.cache_write.or(self.input)),
            (usage.image_input_tokens, self.image_input.or(self.input)),
            (usage.audio_input_tokens, self.audio_input.or(self.input)),
        ];
        let outputs = [
            (usage.reasoning_tokens, self.reasoning.or(self.output)),
            (usage.image_output_tokens, self.image_output.or(self.output)),
            (usage.audio_output_tokens, self.audio_output.or(self.output)),
        ];
        let plain = |whole: u64, parts: &[(u64, Option<Rate>)]| {
            parts.iter().fold(whole, |left, (n, _)| left.saturating_sub(*n))
        };
        let plain_input = [(plain(usage.input_tokens, &inputs), self.input)];
        let plain_output = [(plain(usage.output_tokens, &outputs), self.output)];
        let mut total = self.other_picos(usage)?;
        for (units, rate) in inputs.into_iter().chain(outputs).chain(plain_input).chain(plain_output) {
            if units > 0 {
                total = total.saturating_add(rate?.times(units));
            }
        }
        Some(total)
    }

    /// Pico-dollars of `usage` when every token is of the dearest kind that it can be.
    fn worst_picos(&self, usage: &Usage) -> Option<u128> {
        let dearest = |rates: &[Option<Rate>]| rates.iter().flatten().max().copied();
        let input = dearest(&[self.input, self.cached_input, self.cache_write, self.image_input, self.audio_input]);
        let output = dearest(&[self.output, self.reasoning, self.image_output, self.audio_output]);
        let mut total = self.other_picos(usage)?;
        for (units, rate) in [(usage.input_tokens, input), (usage.output_tokens, output)] {
            if units > 0 {
                total = total.saturating_add(rate?.times(units));
            }
        }
        Some(total)
    }

    /// Pico-dollars of all that is no token, `per_request` included.
    fn other_picos(&self, usage: &Usage) -> Option<u128> {
        let mut total = self.per_request.map_or(0, |rate| rate.times(1));
        for (units, rate, other) in [
            (usage.images, self.per_image, self.image_output.or(self.output)),
            (usage.video_seconds, self.per_video_second, self.per_video.or(self.output)),
            (usage.audio_seconds, self.per_audio_second, self.audio_input.or(self.input)),
            (usage.characters, self.per_character, self.input),
            (usage.videos, self.per_video, self.per_video_second.or(self.output)),
        ] {
            match (units, rate) {
                (0, _) => {}
                (units, Some(rate)) => total = total.saturating_add(rate.times(units)),
                // Counted beside the unit that is billed (the images of a model priced by token): no price of its own.
                (_, None) if other.is_some() => {}
                (_, None) => self.per_request.map(|_| ())?,
            }
        }
        Some(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opus() -> Price {
        Price::flat(Rates {
            input: Rate::per_million("15").ok(),
            cached_input: Rate::per_million("1.50").ok(),
            cache_write: Rate::per_million("18.75").ok(),
            output: Rate::per_million("75").ok(),
            ..Rates::default()
        })
    }

    #[test]
    fn cached_and_written_tokens_are_priced_once() {
        let usage = Usage {
            input_tokens: 1_000,
            cached_input_tokens: 600,
            cache_write_tokens: 300,
            output_tokens: 10,
            ..Usage::NONE
        };
        // 100 × 15 + 600 × 1.5 + 300 × 18.75 + 10 × 75, in micro-dollars
        let cost = opus().cost(&usage, &Options::default()).unwrap();
        assert_eq!(cost.as_nanos(), (1_500 + 900 + 5_625 + 750) * 1_000);
    }

    #[test]
    fn the_ceiling_is_never_below_the_cost() {
        let bound = Usage { input_tokens: 1_000, output_tokens: 10, ..Usage::NONE };
        let all_written = Usage { cache_write_tokens: 1_000, ..bound };
        let price = opus();
        let options = Options::default();
        assert!(price.ceiling(&bound, &options) >= price.cost(&all_written, &options));
    }

    /// A picture of one of these sizes and qualities, at a price of its own each.
    fn by_size_and_quality() -> Price {
        let per_image = |cents: u64| Rates { per_image: Some(Rate::from_picos(cents * 10_000_000_000)), ..Rates::NONE };
        let tier = |size: Option<&str>, quality: Option<&str>, cents| Tier {
            when: When { size: size.map(str::to_owned), quality: quality.map(str::to_owned), ..When::default() },
            rates: per_image(cents),
        };
        let tiers =
            vec![tier(Some("1024x1792"), Some("hd"), 12), tier(None, Some("hd"), 8), tier(Some("1024x1792"), None, 7)];
        Price::Rates { base: per_image(4), tiers }
    }

    #[test]
    fn the_ceiling_of_a_picture_is_its_own_tier_where_the_request_settles_it_and_else_the_dearest_that_it_may_become() {
        for (size, quality, cents) in [
            (Some("1024x1792"), Some("hd"), 12),
            (Some("1024x1024"), Some("hd"), 12),
            (Some("1024x1792"), Some("standard"), 7),
            (Some("1024x1024"), Some("standard"), 7),
            (Some("1024x1024"), None, 12),
            (None, None, 12),
            (Some("auto"), Some("auto"), 12),
        ] {
            let options =
                Options { size: size.map(str::to_owned), quality: quality.map(str::to_owned), ..Options::default() };
            let three = Usage { images: 3, ..Usage::NONE };
            let held = by_size_and_quality().ceiling(&three, &options).unwrap();
            assert_eq!(held.as_nanos(), 3 * cents * 10_000_000, "{size:?} {quality:?}");
        }
    }

    #[test]
    fn a_picture_is_priced_as_what_was_made_unless_what_was_asked_has_a_price() {
        let price = by_size_and_quality();
        let asked = |size: &str, quality: &str| Options {
            size: Some(size.to_owned()),
            quality: Some(quality.to_owned()),
            ..Options::default()
        };
        let cents = |options: &Options| {
            price.cost(&Usage { images: 1, ..Usage::NONE }, options).unwrap().as_nanos() / 10_000_000
        };
        let made = price.made_as(&asked("1024x1536", "medium"), Some("1024x1792"), Some("hd"));
        assert_eq!((cents(&asked("1024x1536", "medium")), cents(&made)), (4, 12));
        assert_eq!(cents(&price.made_as(&asked("1024x1792", "hd"), Some("2048x2048"), None)), 12);
        assert_eq!(cents(&price.made_as(&Options::default(), None, Some("hd"))), 8);
    }

    #[test]
    fn a_used_unit_without_a_price_makes_the_model_unpriced() {
        let seconds = Usage { audio_seconds: 3, ..Usage::NONE };
        let image_only = Price::flat(Rates { per_image: Rate::per_unit("0.039").ok(), ..Rates::default() });
        assert_eq!(image_only.cost(&seconds, &Options::default()), None);
        assert_eq!(Price::Free.cost(&seconds, &Options::default()), Some(Money::ZERO));
        assert_eq!(Price::Unpriced.cost(&Usage::NONE, &Options::default()), None);
    }

    #[test]
    fn the_first_tier_that_fits_wins_and_its_edge_is_exclusive() {
        let dear = Rates { input: Rate::per_million("2.50").ok(), ..Rates::default() };
        let base = Rates { input: Rate::per_million("1.25").ok(), ..Rates::default() };
        let when = When { input_over: Some(128_000), ..When::default() };
        let price = Price::Rates { base, tiers: vec![Tier { when, rates: dear }] };
        let cost = |n| price.cost(&Usage { input_tokens: n, ..Usage::NONE }, &Options::default()).unwrap().as_nanos();
        assert_eq!(cost(128_000), 128_000 * 1_250);
        assert_eq!(cost(128_001), 128_001 * 2_500);
    }
}

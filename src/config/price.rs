//! `price` and `[[models."ID".price_tier]]`: decimal strings, never floats.

use crate::domain::price::{Price, Rates, Tier, When};

use super::section::{Result, Section};

/// The price of a model whose price is `builtin` where the file does not say. A `price` of the file replaces all of it.
pub(super) fn price(model: &mut Section<'_>, builtin: Price) -> Result<Price> {
    let given = given(model)?;
    let tiers = model.each("price_tier")?.into_iter().map(tier).collect::<Result<Vec<_>>>()?;
    if tiers.is_empty() {
        return Ok(given.unwrap_or(builtin));
    }
    match given.unwrap_or(builtin) {
        Price::Free => Err(model.error("price_tier", "does not go with a price that is \"free\"")),
        Price::Unpriced => Ok(Price::Rates { base: Rates::NONE, tiers }),
        Price::Rates { base, .. } => Ok(Price::Rates { base, tiers }),
    }
}

fn given(model: &mut Section<'_>) -> Result<Option<Price>> {
    if model.is_table("price") {
        return Ok(Some(Price::flat(rates(model.section("price")?)?)));
    }
    model.parse("price", "a price: write \"free\", or a table of decimal strings", |text| {
        (text == "free").then_some(Price::Free)
    })
}

fn rates(section: Section<'_>) -> Result<Rates> {
    let mut section = section.only(&Rates::KEYS)?;
    let mut rates = Rates::NONE;
    for key in Rates::KEYS {
        if let Some(dollars) = section.string(key)? {
            rates.set(key, &dollars).map_err(|why| section.error(key, why.to_string()))?;
        }
    }
    Ok(rates)
}

fn tier(section: Section<'_>) -> Result<Tier> {
    let mut section = section.only(&["when", "price"])?;
    for key in ["when", "price"] {
        if !section.has(key) {
            return Err(section.missing(key));
        }
    }
    Ok(Tier { when: when(section.section("when")?)?, rates: rates(section.section("price")?)? })
}

fn when(section: Section<'_>) -> Result<When> {
    let mut section = section.only(&["size", "quality", "resolution", "audio", "mode", "input_over"])?;
    Ok(When {
        size: section.string("size")?,
        quality: section.string("quality")?,
        resolution: section.string("resolution")?,
        audio: section.boolean("audio")?,
        mode: section.string("mode")?,
        input_over: section.number("input_over", 0)?,
    })
}

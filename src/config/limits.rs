//! `[[limits]]`: the read-only limits of the file.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::domain::key::{KeyId, KeyRecord};
use crate::domain::limit::{Limit, LimitKey, LimitSource, Measure, Mode, Per, Scope};
use crate::domain::limit_rules::{self, Written};

use super::error::ConfigError;
use super::models::MODALITY;
use super::section::{IntegerOrText, Result, Section};
use super::server::on_store_failure;

const SCOPE: &str = "a scope: use workspace:W, team:W/T, project:W/P, environment:W/P/E, \
                     key:ID or key:NAME of a key of this file";

pub(super) fn limits(sections: Vec<Section<'_>>, keys: &[KeyRecord]) -> Result<Vec<Limit>> {
    let mut seen = BTreeSet::new();
    let mut limits = Vec::with_capacity(sections.len());
    for section in sections {
        let path = section.path("scope");
        let limit = limit(section, keys)?;
        if !seen.insert(limit.key.clone()) {
            let same = "names a limit twice: scope, modality, model, measure and per are those of one above";
            return Err(ConfigError::new(path, same));
        }
        limits.push(limit);
    }
    Ok(limits)
}

fn limit(section: Section<'_>, keys: &[KeyRecord]) -> Result<Limit> {
    let mut section = section.only(&[
        "scope",
        "modality",
        "model",
        "measure",
        "amount",
        "per",
        "mode",
        "alert_at",
        "on_store_failure",
    ])?;
    let scope = section.parse("scope", SCOPE, |text| text.parse().ok())?.ok_or_else(|| section.missing("scope"))?;
    let scope = resolve(scope, keys).map_err(|why| section.error("scope", why))?;
    let measures = Measure::ALL.map(|measure| (measure.as_str(), measure));
    let measure = section.word("measure", &measures)?.ok_or_else(|| section.missing("measure"))?;
    let pers = Per::ALL.map(|per| (per.as_str(), per));
    let per = section.word("per", &pers)?;
    let per = limit_rules::window(measure, per).map_err(|why| section.error("per", why))?;
    let key = LimitKey {
        scope,
        modality: section.parse("modality", MODALITY, |text| text.parse().ok())?,
        model: section.string("model")?.map(Arc::from),
        measure,
        per,
    };
    Ok(Limit {
        key,
        amount: amount(&mut section, measure)?,
        mode: section
            .word("mode", &[Mode::Enforce, Mode::Shadow].map(|mode| (mode.as_str(), mode)))?
            .unwrap_or_default(),
        alert_at: limit_rules::thresholds(&section.fractions("alert_at")?.unwrap_or_default())
            .map_err(|why| section.error("alert_at", why))?,
        on_store_failure: on_store_failure(&mut section)?,
        source: LimitSource::Config,
    })
}

fn amount(section: &mut Section<'_>, measure: Measure) -> Result<u64> {
    let want = match measure {
        Measure::Spend => "a decimal string of US dollars such as \"12.50\"",
        _ => "a whole number",
    };
    let given = section.integer_or_text("amount", want)?.ok_or_else(|| section.missing("amount"))?;
    let written = match &given {
        IntegerOrText::Integer(n) => Written::Integer(i128::from(*n)),
        IntegerOrText::Text(text) => Written::Text(text),
    };
    limit_rules::amount(measure, written).map_err(|why| section.error("amount", why))
}

/// `key:NAME` as the id of the key of this file that has the name; other scopes as they are.
fn resolve(scope: Scope, keys: &[KeyRecord]) -> std::result::Result<Scope, &'static str> {
    let Scope::Key(text) = scope else { return Ok(scope) };
    let mut named = keys.iter().filter(|key| key.name.as_ref().is_some_and(|name| *name.as_str() == *text));
    match (named.next(), named.next()) {
        (Some(key), None) => Ok(Scope::Key(key.id.shared())),
        (Some(_), Some(_)) => Err("names more than one key of this file: write the key's id"),
        (None, _) if KeyId::new(&text).is_some() => Ok(Scope::Key(text)),
        (None, _) => Err("names no key of this file, and is no key's id (22 letters and digits)"),
    }
}

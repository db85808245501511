//! A limit's name, as shared stores know its counter by.

use crate::domain::limit::{Limit, LimitKey, LimitSource, Per};
use crate::domain::modality::Modality;

/// The limit's name, in one line: what tells it from others, and where it was set (a limit of the configuration and one
/// set by API may have the same key; each counts for itself).
pub(super) fn limit_name(limit: &Limit) -> String {
    let LimitKey { scope, modality, model, measure, per } = &limit.key;
    let modality = modality.map_or("*", Modality::as_str);
    let per = per.map_or("-", Per::as_str);
    let source = match limit.source {
        LimitSource::Config => "config",
        LimitSource::Api => "api",
    };
    // The model stands last: it alone may hold any character; PostgreSQL takes all but NUL.
    let model = model.as_deref().unwrap_or_default().replace('\0', "\u{fffd}");
    format!("{scope} {modality} {} {per} {source} {model}", measure.as_str())
}

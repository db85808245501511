//! What operators should hear of. With the feature `tracing` these are its events, under the target `kancy`; without it, nothing.
//!
//! No event holds a prompt, an answer, a secret or an address.

use super::error::Error;
use super::id::RequestId;

/// A vendor failed, and what only the operator may know about it. The record of `request_id` names vendor and model.
pub(crate) fn vendor_failed(request_id: &RequestId, error: &Error) {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        target: "kancy",
        request_id = request_id.as_str(),
        code = error.code().as_str(),
        cause = error.operator_cause(),
        "the vendor failed: {}",
        error.message()
    );
    #[cfg(not(feature = "tracing"))]
    let _ = (request_id, error);
}

/// A failure of our own, of which the caller is not told all.
pub(crate) fn failed(request_id: &RequestId, error: &Error) {
    #[cfg(feature = "tracing")]
    tracing::error!(
        target: "kancy",
        request_id = request_id.as_str(),
        code = error.code().as_str(),
        cause = error.operator_cause(),
        "{}",
        error.message()
    );
    #[cfg(not(feature = "tracing"))]
    let _ = (request_id, error);
}

/// A request went past the metering layer because nobody knows who makes it. Told once.
pub(crate) fn not_metered() {
    #[cfg(feature = "tracing")]
    tracing::error!(
        target: "kancy",
        "a request without a Caller is on no record: AuthLayer must stand outside of MeteringLayer"
    );
}

/// A store failed, and what became of it.
pub(crate) fn store_failed(what: &str, error: &dyn std::fmt::Display) {
    #[cfg(feature = "tracing")]
    tracing::error!(target: "kancy", %error, "{what}");
    #[cfg(not(feature = "tracing"))]
    let _ = (what, error);
}

/// The log of a database that is gone was found beside a new one.
#[cfg(feature = "sqlite")]
pub(crate) fn log_put_aside(aside: &std::path::Path) {
    #[cfg(feature = "tracing")]
    tracing::warn!(target: "kancy", aside = %aside.display(), "the log of a database that is gone was put aside");
    #[cfg(not(feature = "tracing"))]
    let _ = aside;
}

/// What became of a video job at its vendor is not known: the operator may want to look there.
pub(crate) fn job_lost(id: &str, model: &str, why: &str) {
    #[cfg(feature = "tracing")]
    tracing::warn!(target: "kancy", job = id, model, "the fate of a video job is not known: {why}");
    #[cfg(not(feature = "tracing"))]
    let _ = (id, model, why);
}

/// A vendor could not be asked how a job stands.
pub(crate) fn poll_failed(id: &str, error: &Error) {
    #[cfg(feature = "tracing")]
    if error.operator_cause().is_some() {
        tracing::warn!(target: "kancy", job = id, code = error.code().as_str(), cause = error.operator_cause(), "a video job cannot be followed");
    }
    #[cfg(not(feature = "tracing"))]
    let _ = (id, error);
}

/// A vendor told a state of a job that there is no word for.
pub(crate) fn job_unclear(id: &str, provider: &str) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target: "kancy", job = id, provider, "the vendor told an unknown state of a video job");
    #[cfg(not(feature = "tracing"))]
    let _ = (id, provider);
}

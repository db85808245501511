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

/// A store failed, and what became of it.
pub(crate) fn store_failed(what: &str, error: &dyn std::fmt::Display) {
    #[cfg(feature = "tracing")]
    tracing::error!(target: "kancy", %error, "{what}");
    #[cfg(not(feature = "tracing"))]
    let _ = (what, error);
}

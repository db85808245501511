//! Metering: exactly one usage record for every model request.

//! One table from cause to what the caller sees: HTTP status, `type`, stable `code`, gRPC status.
//!
//! Every failure of the gateway is an [`Error`] with a [`Code`]; how it looks on the wire (the JSON envelope, the SSE
//! event, the gRPC headers) is decided in `http::reply`, never by whoever raises it.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::StatusCode;

/// The stable codes that a client may match on. The table of the whole crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is its own text: see `Code::as_str` and CONTRACT section 4")]
pub enum Code {
    InvalidJson,
    MissingParameter,
    InvalidParameter,
    UnsupportedParameter,
    ModelNotFound,
    ModelNotPriced,
    ContentPolicyViolation,
    ContextLengthExceeded,
    RequestTooLarge,
    IdempotencyKeyReused,
    VideoNotReady,
    VideoNotCancellable,
    VideoExpired,
    CallbacksNotEnabled,
    ProviderRejected,
    InvalidApiKey,
    KeyExpired,
    KeyRevoked,
    InsufficientPermissions,
    NotFound,
    MethodNotAllowed,
    RateLimitExceeded,
    QuotaExceeded,
    SpendCapExceeded,
    ConcurrencyExceeded,
    ProviderRateLimited,
    InternalError,
    ProviderError,
    ProviderTimeout,
    ProviderOverloaded,
    ProviderAuthError,
    ProviderQuotaExhausted,
    ProviderModelUnavailable,
    AuthUnavailable,
    QuotaUnavailable,
    LedgerUnavailable,
}

/// The numbers of gRPC's status codes that this crate answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
#[allow(missing_docs, reason = "gRPC's own names")]
pub enum GrpcStatus {
    InvalidArgument = 3,
    NotFound = 5,
    ResourceExhausted = 8,
    Internal = 13,
    Unauthenticated = 16,
}

impl Code {
    /// Every code, in the table's order.
    pub const ALL: &'static [Self] = &[
        Self::InvalidJson,
        Self::MissingParameter,
        Self::InvalidParameter,
        Self::UnsupportedParameter,
        Self::ModelNotFound,
        Self::ModelNotPriced,
        Self::ContentPolicyViolation,
        Self::ContextLengthExceeded,
        Self::RequestTooLarge,
        Self::IdempotencyKeyReused,
        Self::VideoNotReady,
        Self::VideoNotCancellable,
        Self::VideoExpired,
        Self::CallbacksNotEnabled,
        Self::ProviderRejected,
        Self::InvalidApiKey,
        Self::KeyExpired,
        Self::KeyRevoked,
        Self::InsufficientPermissions,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RateLimitExceeded,
        Self::QuotaExceeded,
        Self::SpendCapExceeded,
        Self::ConcurrencyExceeded,
        Self::ProviderRateLimited,
        Self::InternalError,
        Self::ProviderError,
        Self::ProviderTimeout,
        Self::ProviderOverloaded,
        Self::ProviderAuthError,
        Self::ProviderQuotaExhausted,
        Self::ProviderModelUnavailable,
        Self::AuthUnavailable,
        Self::QuotaUnavailable,
        Self::LedgerUnavailable,
    ];

    /// The row of the table: the code's text, the HTTP status, the envelope's `type`.
    const fn row(self) -> (&'static str, u16, &'static str) {
        const INVALID: &str = "invalid_request_error";
        const AUTH: &str = "authentication_error";
        const LIMIT: &str = "rate_limit_error";
        const API: &str = "api_error";
        match self {
            Self::InvalidJson => ("invalid_json", 400, INVALID),
            Self::MissingParameter => ("missing_parameter", 400, INVALID),
            Self::InvalidParameter => ("invalid_parameter", 400, INVALID),
            Self::UnsupportedParameter => ("unsupported_parameter", 400, INVALID),
            Self::ModelNotFound => ("model_not_found", 400, INVALID),
            Self::ModelNotPriced => ("model_not_priced", 400, INVALID),
            Self::ContentPolicyViolation => ("content_policy_violation", 400, INVALID),
            Self::ContextLengthExceeded => ("context_length_exceeded", 400, INVALID),
            Self::RequestTooLarge => ("request_too_large", 400, INVALID),
            Self::IdempotencyKeyReused => ("idempotency_key_reused", 400, INVALID),
            Self::VideoNotReady => ("video_not_ready", 400, INVALID),
            Self::VideoNotCancellable => ("video_not_cancellable", 400, INVALID),
            Self::VideoExpired => ("video_expired", 400, INVALID),
            Self::CallbacksNotEnabled => ("callbacks_not_enabled", 400, INVALID),
            Self::ProviderRejected => ("provider_rejected", 400, INVALID),
            Self::InvalidApiKey => ("invalid_api_key", 401, AUTH),
            Self::KeyExpired => ("key_expired", 401, AUTH),
            Self::KeyRevoked => ("key_revoked", 401, AUTH),
            Self::InsufficientPermissions => ("insufficient_permissions", 401, AUTH),
            Self::NotFound => ("not_found", 404, INVALID),
            Self::MethodNotAllowed => ("method_not_allowed", 405, INVALID),
            Self::RateLimitExceeded => ("rate_limit_exceeded", 429, LIMIT),
            Self::QuotaExceeded => ("quota_exceeded", 429, LIMIT),
            Self::SpendCapExceeded => ("spend_cap_exceeded", 429, LIMIT),
            Self::ConcurrencyExceeded => ("concurrency_exceeded", 429, LIMIT),
            Self::ProviderRateLimited => ("provider_rate_limited", 429, LIMIT),
            Self::InternalError => ("internal_error", 500, API),
            Self::ProviderError => ("provider_error", 500, API),
            Self::ProviderTimeout => ("provider_timeout", 500, API),
            Self::ProviderOverloaded => ("provider_overloaded", 500, API),
            Self::ProviderAuthError => ("provider_auth_error", 500, API),
            Self::ProviderQuotaExhausted => ("provider_quota_exhausted", 500, API),
            Self::ProviderModelUnavailable => ("provider_model_unavailable", 500, API),
            Self::AuthUnavailable => ("auth_unavailable", 500, API),
            Self::QuotaUnavailable => ("quota_unavailable", 500, API),
            Self::LedgerUnavailable => ("ledger_unavailable", 500, API),
        }
    }

    /// The stable text, as in `error.code`.
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().1).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The envelope's `type`.
    pub const fn kind(self) -> &'static str {
        self.row().2
    }

    /// The gRPC status of the same category.
    pub const fn grpc(self) -> GrpcStatus {
        match self.row().1 {
            400 | 405 => GrpcStatus::InvalidArgument,
            401 => GrpcStatus::Unauthenticated,
            404 => GrpcStatus::NotFound,
            429 => GrpcStatus::ResourceExhausted,
            _ => GrpcStatus::Internal,
        }
    }
}

/// Who caused a failure, as the envelope's `origin` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The gateway itself.
    Gateway,
    /// The vendor, or the way to it.
    Provider,
}

impl Origin {
    /// `gateway` or `provider`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Provider => "provider",
        }
    }
}

/// The limit that refused a request, as `error.limit` shows it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[allow(missing_docs, reason = "the fields of CONTRACT section 2, in its words")]
pub struct RefusedLimit {
    pub scope: String,
    pub measure: &'static str,
    pub modality: Option<&'static str>,
    pub model: Option<String>,
    pub amount: serde_json::Value,
    pub per: Option<&'static str>,
}

/// A failure that a caller will see. One word wide; cheap to pass on.
///
/// ```
/// use kancy::{Code, Error};
/// let error = Error::new(Code::MissingParameter, "Name the model: the field \"model\" is missing.").param("model");
/// assert_eq!(error.code().status(), 400);
/// ```
#[derive(Clone, PartialEq)]
pub struct Error(Box<Inner>);

#[derive(Clone, PartialEq)]
struct Inner {
    code: Code,
    origin: Origin,
    message: Cow<'static, str>,
    param: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
    should_retry: Option<bool>,
    limit: Option<RefusedLimit>,
    allow: Option<&'static str>,
    cause: Option<String>,
}

/// The longest message that is passed on, in characters.
const MAX_MESSAGE: usize = 1_000;

impl Error {
    /// A failure of the gateway's own. `message` says what to do next; longer than 1,000 characters is cut.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            code,
            origin: Origin::Gateway,
            message: cut(message.into()),
            param: None,
            retry_after: None,
            should_retry: None,
            limit: None,
            allow: None,
            cause: None,
        }))
    }

    /// A failure of the vendor or of the way to it.
    pub fn provider(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        let mut error = Self::new(code, message);
        error.0.origin = Origin::Provider;
        error
    }

    /// Names the request's field at fault: `model`, `messages[2].content`.
    #[must_use]
    pub fn param(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.0.param = Some(param.into());
        self
    }

    /// When the caller may come again; goes out as `retry-after` and `retry-after-ms`.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Tells SDKs outright whether a retry makes sense (`x-should-retry`).
    #[must_use]
    pub fn should_retry(mut self, retry: bool) -> Self {
        self.0.should_retry = Some(retry);
        self
    }

    /// The limit that refused.
    #[must_use]
    pub fn limit(mut self, limit: RefusedLimit) -> Self {
        self.0.limit = Some(limit);
        self
    }

    /// The methods that the URL does take, for `method_not_allowed`.
    #[must_use]
    pub fn allow(mut self, methods: &'static str) -> Self {
        self.0.allow = Some(methods);
        self
    }

    /// What the operator should know and the caller should not see. Kept free of secrets by whoever sets it.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// Who caused it.
    pub fn origin(&self) -> Origin {
        self.0.origin
    }

    /// What the caller reads.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The field at fault.
    pub fn param_name(&self) -> Option<&str> {
        self.0.param.as_deref()
    }

    /// How long to wait.
    pub fn wait(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// What `x-should-retry` will say, if anything.
    pub fn retry_hint(&self) -> Option<bool> {
        self.0.should_retry
    }

    /// The limit that refused, if one did.
    pub fn refused_limit(&self) -> Option<&RefusedLimit> {
        self.0.limit.as_ref()
    }

    /// The methods for `allow`.
    pub fn allowed_methods(&self) -> Option<&'static str> {
        self.0.allow
    }

    /// What the operator should know.
    pub fn operator_cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }
}

fn cut(message: Cow<'static, str>) -> Cow<'static, str> {
    match message.char_indices().nth(MAX_MESSAGE) {
        Some((at, _)) => Cow::Owned(message[..at].to_owned()),
        None => message,
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.0.code.as_str())
            .field("origin", &self.0.origin.as_str())
            .field("message", &self.0.message)
            .field("param", &self.0.param)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.as_str(), self.0.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_their_type_follows_their_status() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()));
            let kind = match code.status().as_u16() {
                400 | 404 | 405 => "invalid_request_error",
                401 => "authentication_error",
                429 => "rate_limit_error",
                500 => "api_error",
                other => panic!("no class for {other}"),
            };
            assert_eq!(code.kind(), kind);
        }
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let error = Error::new(Code::ProviderError, "ü".repeat(2_000));
        assert_eq!(error.message().chars().count(), 1_000);
    }

    #[test]
    fn an_error_is_one_word_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}

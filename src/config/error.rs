//! Why a configuration does not do.

use std::fmt;

/// What is wrong with a configuration: one line that names the key and the reason. Never shows a secret, nor anything
/// that came from the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    path: String,
    reason: String,
}

impl ConfigError {
    pub(super) fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into() }
    }

    /// The text is no TOML at all.
    pub(super) fn syntax(text: &str, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.get(..at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let mut reason = error.message().replace('\n', " ");
        // Of all that TOML complains about, this names a key; other spans may hold a secret.
        if let (true, Some(key)) = (reason == "duplicate key", error.span().and_then(|span| text.get(span))) {
            reason = format!("{key} stands twice");
        }
        Self::new(format!("line {line}"), reason)
    }

    /// The key at fault: `limits[0].amount`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong with it.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

impl std::error::Error for ConfigError {}

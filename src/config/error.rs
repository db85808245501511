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
        } else if let Some(key) = key_of_value(before) {
            if reason.starts_with("invalid type: integer") {
                reason = "is a number larger than any that is allowed".to_owned();
            }
            reason = format!("{key}: {reason}");
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

/// The key whose value begins right behind `before`. A word that may be a value itself is none: it may be a secret.
fn key_of_value(before: &str) -> Option<&str> {
    let word = before.trim_end().strip_suffix('=')?.trim_end();
    let is_bare = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let key = &word[word.trim_end_matches(is_bare).len()..];
    let ahead = word[..word.len() - key.len()].trim_end_matches([' ', '\t']);
    let begins = ahead.is_empty() || ahead.ends_with(['\n', '{', ',']);
    Some(key).filter(|key| begins && !key.is_empty())
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::key_of_value;

    #[test]
    fn a_key_is_what_stands_at_the_beginning_before_an_equals_sign() {
        for (before, key) in [
            ("amount = ", Some("amount")),
            ("a = 1\r\n  limits.x =", Some("limits.x")),
            ("a = { b = 1, c_d=", Some("c_d")),
            ("token = top-secret = ", None),
            ("\"quoted key\" = ", None),
            ("a = [top-secret =", None),
            ("= ", None),
            ("amount", None),
        ] {
            assert_eq!(key_of_value(before), key, "{before}");
        }
    }
}

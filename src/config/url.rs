//! URLs and hosts as the file may name them.

use http::Uri;
use http::uri::Authority;

/// What [`base`] takes, for errors.
pub(super) const BASE: &str = "an http or https URL without user, query and fragment";

/// A URL that routes are appended to. A trailing slash is taken off; one that holds a user or password is refused, since
/// URLs reach logs.
pub(super) fn base(text: &str) -> Option<Uri> {
    if text.contains(['#', '@']) {
        return None;
    }
    let url: Uri = text.trim_end_matches('/').parse().ok()?;
    let web = matches!(url.scheme_str(), Some("http" | "https"));
    (web && url.host().is_some_and(|host| !host.is_empty()) && url.query().is_none()).then_some(url)
}

/// `host` or `host:port`, in lower case.
pub(super) fn host(text: &str) -> Option<String> {
    let authority: Authority = text.parse().ok()?;
    let port_is_whole = authority.port_u16().is_some() == text.rsplit_once(':').is_some_and(|(_, p)| !p.ends_with(']'));
    (!text.contains('@') && !authority.host().is_empty() && port_is_whole).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_carries_no_credential_and_no_query() {
        for good in ["http://127.0.0.1:9000/v1", "https://api.example.com", "https://[::1]:8080/x/"] {
            assert!(base(good).is_some(), "{good}");
        }
        for bad in ["", "api.example.com", "ftp://a/b", "https://", "https://u:p@a", "https://a/?k=v", "https://a/#f"] {
            assert!(base(bad).is_none(), "{bad}");
        }
        assert_eq!(base("https://a.example/v1//").unwrap().path(), "/v1");
    }

    #[test]
    fn a_host_is_a_name_with_or_without_a_port() {
        for good in ["cdn.example.com", "127.0.0.1:9000", "[::1]", "[::1]:80"] {
            assert!(host(good).is_some(), "{good}");
        }
        for bad in ["", "https://a", "a/b", "a:", "a:99999", "u@a"] {
            assert!(host(bad).is_none(), "{bad}");
        }
    }
}

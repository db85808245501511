//! Where a vendor's routes begin.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use bytes::Bytes;
use http::uri::{Authority, InvalidUri, PathAndQuery};
use http::{Uri, uri};

/// More than a model has.
const ROUTES: usize = 4;

/// A vendor's base URL. Routes are appended to it as they are; it is taken without its trailing slashes.
///
/// ```
/// use kancy::provider::base_url::BaseUrl;
///
/// let base: BaseUrl = "https://vendor.test/v1/".parse()?;
/// assert_eq!(base.join("/files?id=7").unwrap(), "https://vendor.test/v1/files?id=7");
/// # Ok::<(), http::uri::InvalidUri>(())
/// ```
#[derive(Default)]
pub struct BaseUrl {
    uri: Uri,
    /// The URLs of routes that were asked for: putting one together costs more than all else about a request's head.
    routes: [OnceLock<(&'static str, Uri)>; ROUTES],
}

impl BaseUrl {
    /// Host and port.
    pub fn authority(&self) -> Option<&Authority> {
        self.uri.authority()
    }

    /// The URL of one of the routes that every request to a model takes: it is put together once. `None` when the text
    /// cannot stand in a URL.
    pub fn route(&self, route: &'static str) -> Option<Uri> {
        for known in &self.routes {
            let Some((name, uri)) = known.get() else {
                let uri = self.join(route)?;
                // Another thread may have been here first, with this route or another.
                let _ = known.set((route, uri.clone()));
                return Some(uri);
            };
            if *name == route {
                return Some(uri.clone());
            }
        }
        self.join(route)
    }

    /// The URL of any route. `None` when the text cannot stand in a URL.
    pub fn join(&self, route: &str) -> Option<Uri> {
        let path = [self.uri.path().trim_end_matches('/'), route].concat();
        let mut parts: uri::Parts = self.uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::from_maybe_shared(Bytes::from(path)).ok()?);
        Uri::from_parts(parts).ok()
    }
}

impl From<Uri> for BaseUrl {
    fn from(uri: Uri) -> Self {
        Self { uri, ..Self::default() }
    }
}

impl FromStr for BaseUrl {
    type Err = InvalidUri;

    fn from_str(text: &str) -> Result<Self, InvalidUri> {
        text.parse::<Uri>().map(Self::from)
    }
}

/// Without a user and a password, should someone have written them in.
impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let host = authority.rsplit('@').next().unwrap_or_default();
        write!(f, "BaseUrl({}://{host}{})", self.uri.scheme_str().unwrap_or_default(), self.uri.path())
    }
}

impl Clone for BaseUrl {
    fn clone(&self) -> Self {
        self.uri.clone().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_has_its_own_url_however_many_are_asked_for() {
        let base: BaseUrl = "http://vendor.test/v1//".parse().unwrap();
        let routes = ["/a", "/b", "/c", "/d", "/e", "/f"];
        for route in routes.into_iter().chain(routes) {
            assert_eq!(base.route(route).unwrap().to_string(), format!("http://vendor.test/v1{route}"));
        }
        assert_eq!(base.route("/with a space"), None);
    }

    #[test]
    fn a_password_that_somebody_wrote_in_does_not_show() {
        let base: BaseUrl = "http://user:hunter2@vendor.test:8080/v1".parse().unwrap();
        assert_eq!(format!("{base:?}"), "BaseUrl(http://vendor.test:8080/v1)");
    }
}

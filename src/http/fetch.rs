//! Requests to addresses that a vendor's answer names: the guard around them.
//!
//! Where a result lies is the vendor's word, not the operator's. So it is fetched from hosts of a list alone, without any
//! credential, over https, and never from inside the operator's own network, unless the operator named the host.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::LOCATION;
use http::uri::Authority;
use http::{Request, StatusCode, Uri, response};

use crate::base::address::is_public;
use crate::base::error::{Code, Error};

use super::body::CallBody;

/// Redirects that are followed, to hosts of the list alone.
const MAX_REDIRECTS: u8 = 3;

/// The hosts from which results may be fetched.
#[derive(Clone, Debug)]
pub struct ContentHosts {
    /// The vendor's own: a host, or `*.` and its end.
    vendor: &'static [&'static str],
    /// Those that the operator named: `host` or `host:port`, in lower case.
    named: Arc<[String]>,
}

/// Marks a request for a result in its extensions.
///
/// A client of your own must not dial an address that is not [public](crate::base::address::is_public) for a request that
/// bears this, unless it [may be private](Self::may_be_private): look at the address that is dialled, not at the name. It
/// must follow no redirect either; the route does, where one leads to a host of the list.
#[derive(Clone, Debug)]
pub struct Fetch {
    hosts: ContentHosts,
    private: bool,
    redirects: u8,
}

impl ContentHosts {
    /// The `vendor`'s own hosts (`*.example.com` stands for all below), and those that the operator `named`, which alone
    /// may lie in private networks.
    pub fn new(vendor: &'static [&'static str], named: Arc<[String]>) -> Self {
        Self { vendor, named }
    }

    /// A request for what lies at `url`. It carries a [`Fetch`] and no credential.
    ///
    /// # Errors
    /// `provider_error` where the URL leads to a host that is not of the list.
    pub fn get(&self, url: &str) -> Result<Request<CallBody>, Error> {
        self.request(url.parse().map_err(|_| refused("it is no URL"))?, MAX_REDIRECTS)
    }

    fn request(&self, url: Uri, redirects: u8) -> Result<Request<CallBody>, Error> {
        let authority = url.authority().ok_or_else(|| refused("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(refused("it names a user"));
        }
        let private = is_named(&url, &self.named);
        if !private {
            self.admit(authority, url.scheme_str())?;
        }
        let fetch = Fetch { hosts: self.clone(), private, redirects };
        let mut request = Request::new(CallBody::empty());
        *request.uri_mut() = url;
        request.extensions_mut().insert(fetch);
        Ok(request)
    }

    /// Whether one of the vendor's own hosts may be asked. They are all on the public internet and speak https.
    fn admit(&self, authority: &Authority, scheme: Option<&str>) -> Result<(), Error> {
        let host = authority.host().to_ascii_lowercase();
        if let Some(address) = literal(&host) {
            let why = if is_public(address) { "its address is not of the list" } else { "its address is private" };
            return Err(refused(why));
        }
        let known = self.vendor.iter().any(|known| match known.strip_prefix('*') {
            Some(end) => host.len() > end.len() && host.ends_with(end),
            None => host == *known,
        });
        match (known, scheme, authority.port_u16()) {
            (true, Some("https"), None | Some(443)) => Ok(()),
            (true, ..) => Err(refused("it is no https URL")),
            (false, ..) => Err(refused("its host is not of the list; its operator names it in content_hosts")),
        }
    }
}

impl Fetch {
    /// Whether the operator named the host, so that it may lie in a private network.
    pub fn may_be_private(&self) -> bool {
        self.private
    }

    /// The request that follows an answer which is no success, or why there is none.
    pub(crate) fn redirected(&self, answer: &response::Parts) -> Result<Request<CallBody>, Error> {
        use StatusCode as S;
        let moved = matches!(
            answer.status,
            S::MOVED_PERMANENTLY | S::FOUND | S::SEE_OTHER | S::TEMPORARY_REDIRECT | S::PERMANENT_REDIRECT
        );
        if !moved {
            return Err(refused("its host did not give it out"));
        }
        let left = self.redirects.checked_sub(1).ok_or_else(|| refused("it was redirected too often"))?;
        let to = answer.headers.get(LOCATION).and_then(|to| to.to_str().ok()).and_then(|to| to.parse().ok());
        // A relative one has no host, and is refused with the rest.
        self.hosts.request(to.ok_or_else(|| refused("it was redirected to no URL"))?, left)
    }
}

/// Whether the operator `named` the host of a URL, or that host with its port. A host alone stands for any port.
pub(crate) fn is_named(url: &Uri, named: &[String]) -> bool {
    let (Some(authority), Some(scheme @ ("http" | "https"))) = (url.authority(), url.scheme_str()) else {
        return false;
    };
    let host = authority.host().to_ascii_lowercase();
    let port = authority.port_u16().unwrap_or(if scheme == "http" { 80 } else { 443 });
    let with_port = format!("{host}:{port}");
    named.iter().any(|named| *named == with_port || *named == host)
}

/// The address that a URL's host is, where it is no name.
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn refused(why: &'static str) -> Error {
    Error::provider(Code::ProviderError, format!("The vendor's result could not be fetched: {why}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Response;

    fn hosts(named: &[&str]) -> ContentHosts {
        ContentHosts::new(&["*.vendor.test", "cdn.test"], named.iter().map(|n| (*n).to_owned()).collect())
    }

    #[test]
    fn only_hosts_of_the_list_are_asked_and_only_over_https() {
        let listed = hosts(&["127.0.0.1:9000", "inner.test", "[::1]:80"]);
        for good in [
            "https://a.vendor.test/x?sig=1",
            "https://A.B.Vendor.Test:443/x",
            "https://cdn.test/x",
            "http://127.0.0.1:9000/x",
            "https://inner.test/",
            "http://inner.test/",
            "http://inner.test:8080/",
            "http://[::1]/x",
        ] {
            let request = listed.get(good).expect(good);
            assert!(request.headers().is_empty(), "a fetch carries no header, so no credential");
        }
        for bad in [
            "https://vendor.test/",
            "https://evilvendor.test/",
            "https://a.vendor.test.evil.test/",
            "http://a.vendor.test/",
            "https://a.vendor.test:8443/",
            "https://u:p@a.vendor.test/",
            "https://cdn.test@evil.test/",
            "https://127.0.0.1/",
            "http://127.0.0.1:9001/",
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/",
            "https://8.8.8.8/",
            "ftp://inner.test/",
            "/x",
            "",
            "https://",
        ] {
            assert!(listed.get(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_host_that_the_operator_named_may_be_private() {
        let private =
            |hosts: &ContentHosts, url| hosts.get(url).unwrap().extensions().get::<Fetch>().unwrap().may_be_private();
        assert!(!private(&hosts(&[]), "https://a.vendor.test/"));
        assert!(private(&hosts(&["a.vendor.test"]), "https://a.vendor.test/"));
    }

    #[test]
    fn a_redirect_is_followed_to_the_list_alone_and_not_for_ever() {
        let answer = |status: u16, to: &str| {
            Response::builder().status(status).header("location", to).body(()).unwrap().into_parts().0
        };
        let mut request = hosts(&[]).get("https://cdn.test/x").unwrap();
        let fetch = |request: &Request<CallBody>| request.extensions().get::<Fetch>().unwrap().clone();
        for to in ["https://evil.test/", "http://cdn.test/", "https://127.0.0.1/", "/relative", "https://"] {
            assert!(fetch(&request).redirected(&answer(302, to)).is_err(), "{to}");
        }
        assert!(fetch(&request).redirected(&answer(404, "https://cdn.test/y")).is_err());
        for _ in 0..MAX_REDIRECTS {
            request = fetch(&request).redirected(&answer(307, "https://cdn.test/y")).unwrap();
        }
        assert!(fetch(&request).redirected(&answer(307, "https://cdn.test/y")).is_err());
    }
}

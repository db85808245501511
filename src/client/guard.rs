//! The guard on dialled addresses: names may lead anywhere, so it is what they resolve to that is looked at.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Uri;
use hyper_util::client::legacy::connect::dns::{GaiFuture, GaiResolver, Name};
use tower_service::Service;

use crate::base::address::is_public;
use crate::http::fetch::literal;

/// Resolves names, and leaves out what is not on the public internet. The connection is made to what is left: there is no
/// second look-up that could tell otherwise.
#[derive(Clone, Debug)]
pub(super) struct PublicOnly(GaiResolver);

impl PublicOnly {
    pub(super) fn new() -> Self {
        Self(GaiResolver::new())
    }

    /// Whether a URL names an address outright, which no resolver sees, and that is a private one.
    pub(super) fn refuses(url: &Uri) -> bool {
        url.host().and_then(literal).is_some_and(|address| !is_public(address))
    }
}

impl Service<Name> for PublicOnly {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Box<dyn StdError + Send + Sync>;
    type Future = Resolving;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Resolving {
        Resolving(self.0.call(name))
    }
}

/// A look-up under way.
#[derive(Debug)]
pub(super) struct Resolving(GaiFuture);

impl Future for Resolving {
    type Output = Result<std::vec::IntoIter<SocketAddr>, Box<dyn StdError + Send + Sync>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let found = ready!(Pin::new(&mut self.0).poll(cx))?;
        let public: Vec<_> = found.filter(|address| is_public(address.ip())).collect();
        Poll::Ready(if public.is_empty() { Err(PrivateAddress.into()) } else { Ok(public.into_iter()) })
    }
}

/// A result was to be fetched from inside the operator's own network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrivateAddress;

impl fmt::Display for PrivateAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the host's address is not on the public internet; its operator may name the host in content_hosts")
    }
}

impl StdError for PrivateAddress {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use tower::ServiceExt;

    use crate::client::HyperClient;
    use crate::http::fetch::ContentHosts;

    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_resolved() {
        let refused = PublicOnly::new().call("localhost".parse().unwrap()).await;
        assert!(refused.unwrap_err().is::<PrivateAddress>());
    }

    #[tokio::test]
    async fn the_client_dials_inside_only_where_the_operator_named_the_host() {
        // A vendor's name may lead inside; the address tells.
        let vendors = ContentHosts::new(&["localhost"], Arc::new([]));
        let error = HyperClient::new().oneshot(vendors.get("https://localhost/x").unwrap()).await.unwrap_err();
        let mut cause: Option<&(dyn StdError + 'static)> = Some(&*error);
        while let Some(inner) = cause.filter(|error| !error.is::<PrivateAddress>()) {
            cause = inner.source();
        }
        assert!(cause.is_some(), "{error:?}");

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let request = ContentHosts::new(&[], Arc::new([host.clone()])).get(&format!("http://{host}/x")).unwrap();
        let asked = tokio::spawn(HyperClient::new().oneshot(request));
        assert!(listener.accept().await.is_ok(), "the operator's own host is dialled");
        asked.abort();
    }

    #[test]
    fn an_address_in_the_url_is_looked_at_too() {
        for (url, refused) in [
            ("https://127.0.0.1/", true),
            ("https://[::ffff:10.0.0.1]:8443/", true),
            ("https://100.64.0.1/", true),
            ("https://[64:ff9b::a00:1]/", true),
            ("https://[64:ff9b:1::a00:1]/", true),
            ("https://[2002:a00:1::1]/", true),
            ("https://[fec0::1]/", true),
            ("https://[fe80::1]/", true),
            ("https://1.1.1.1/", false),
            ("https://name.test/", false),
        ] {
            assert_eq!(PublicOnly::refuses(&url.parse().unwrap()), refused, "{url}");
        }
    }
}

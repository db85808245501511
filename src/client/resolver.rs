//! Name resolution that gives out public addresses alone.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

use crate::http::dial::is_public;

/// The system's resolver, without the addresses that lead inside. What it gives is what is dialled: there is no second
/// look-up in which a name could change its mind. Hosts written as addresses never come here; `dial::refusal` sees them.
#[derive(Clone, Debug)]
pub(super) struct PublicResolver(GaiResolver);

impl PublicResolver {
    pub(super) fn new() -> Self {
        Self(GaiResolver::new())
    }
}

type BoxError = Box<dyn StdError + Send + Sync>;

impl Service<Name> for PublicResolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Service::poll_ready(&mut self.0, cx).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = Service::call(&mut self.0, name);
        Box::pin(async move {
            let public: Vec<_> = found.await?.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, "no public address").into());
            }
            Ok(public.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_dialled() {
        let error = PublicResolver::new().call("localhost".parse().unwrap()).await.unwrap_err();
        assert_eq!(error.to_string(), "no public address");
    }
}

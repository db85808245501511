//! Connections to vendors, kept between requests: of HTTP/1.1 as many as there are requests at once, of HTTP/2 one.
//!
//! hyper-util's own client would do, at a price that a gateway pays with each request: it makes a future of three
//! kilobytes, copies what it would need to connect, and spawns a task that waits for the connection to be free again.
//! Here a request takes a free connection off a pile and its answer's body puts it back.

mod arriving;
mod dial;
mod lease;
mod origin;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::Uri;
use http::uri::Scheme;

pub(super) use arriving::Arriving;
#[cfg(test)]
pub(super) use dial::Dialled;
pub(super) use dial::{Answer, Dial};
pub(super) use lease::Lease;
pub(super) use origin::{Found, Origin};

use super::BoxError;

/// The connections that are made in one way, by the origin that they lead to.
pub(super) struct Pool {
    dial: Arc<dyn Dial>,
    origins: Mutex<Origins>,
}

#[derive(Default)]
struct Origins {
    http: HashMap<Box<str>, Arc<Origin>>,
    https: HashMap<Box<str>, Arc<Origin>>,
}

impl Pool {
    pub(super) fn new(dial: impl Dial) -> Self {
        Self { dial: Arc::new(dial), origins: Mutex::default() }
    }

    /// Where `url` leads. Fails where that is neither http nor https.
    pub(super) fn origin(&self, url: &Uri) -> Result<Arc<Origin>, BoxError> {
        let (Some(scheme), Some(authority)) = (url.scheme(), url.authority()) else {
            return Err("a vendor's URL has to be absolute".into());
        };
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        let origins = match scheme {
            s if *s == Scheme::HTTP => &mut origins.http,
            s if *s == Scheme::HTTPS => &mut origins.https,
            _ => return Err("a vendor's URL has to begin with http:// or https://".into()),
        };
        if let Some(origin) = origins.get(authority.as_str()) {
            return Ok(origin.clone());
        }
        // A vendor's links may name hosts without end.
        origins.retain(|_, origin| Arc::strong_count(origin) > 1 || !origin.is_empty());
        let origin = Arc::new(Origin::new(scheme.clone(), authority.clone(), self.dial.clone())?);
        origins.insert(authority.as_str().into(), origin.clone());
        Ok(origin)
    }
}

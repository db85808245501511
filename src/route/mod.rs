//! Routing: model id → registered provider → sans-IO codec → any tower HTTP client.
//!
//! [`ProviderRouteService`] is the innermost service of the stack. It takes the [`Call`](crate::http::call::Call) that
//! the inspect layer put into the request's extensions, finds the model in the [`Registry`](crate::provider::registry::Registry),
//! has its codec make the vendor's request, sends that once through the client `C`, and hands the caller what the codec
//! makes of the answer. The model that the caller names is the model that runs: nothing is retried, substituted or
//! fallen back to.
//!
//! An exchange may take several steps: more of the vendor's calls, or a fetch of a result from where the vendor says that it
//! lies. The caller's answer begins with the last one.
//!
//! A vendor's failure before the first byte becomes a response with its real status: the first piece of the answer is
//! awaited before the head is sent. After that, a failure ends an event stream with one error event, and breaks off
//! anything else.
//!
//! The service never fails itself (`Error = Infallible`): whatever goes wrong is a response in the error envelope.

mod body;
mod drain;
mod fan;
mod future;
mod making;
mod models;
mod pump;
mod service;
mod trip;

#[cfg(test)]
mod tests;

pub use crate::http::vendor::{VendorBody, VendorClient};
pub use body::RouteBody;
pub use drain::Drain;
pub use future::RouteFuture;
pub use models::models_reply;
pub use service::ProviderRouteService;

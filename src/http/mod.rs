//! What all layers share on the wire side: bodies, the once-guard, the meter, replies and headers.

pub mod body;
mod books;
pub mod call;
pub mod closing;
pub mod dial;
pub mod fetch;
pub mod finish;
pub mod headers;
pub mod meter;
pub mod reply;
pub mod timeout;
pub mod vendor;

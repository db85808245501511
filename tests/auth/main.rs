//! Authentication, from the outside.

mod cache;
mod credential;
mod flight;
mod pepper;
mod service;
mod setup;
mod time;

//! Authentication, from the outside.

mod cache;
mod credential;
mod flight;
mod service;
mod setup;
mod time;

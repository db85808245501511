//! Pictures and voices through the whole gateway, over stand-in vendors that play what the real ones say.

mod bad_input;
mod beside;
mod faults;
mod money;
mod variants;
mod world;

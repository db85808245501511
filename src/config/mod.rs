//! The configuration file (CONTRACT section 2) as a gateway.

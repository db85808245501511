//! The builder that stacks what lies below.

//! `echo`: the offline provider that answers in this process.

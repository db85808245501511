//! The example of a team's own store, run: it passes the suites that the crate's own stores pass.

#[path = "../examples/custom_store.rs"]
#[allow(dead_code, reason = "its `main` is the example's")]
mod custom_store;

#[test]
fn a_store_of_a_teams_own_keeps_the_contract() {
    custom_store::main().unwrap();
}

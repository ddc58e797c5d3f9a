//! Each example runs.

#[path = "../../examples/injected.rs"]
mod injected;

#[test]
fn injected_runs() {
    injected::main();
}

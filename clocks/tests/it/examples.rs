//! Each example runs.

#[path = "../../examples/hlc.rs"]
mod hlc;
#[path = "../../examples/injected.rs"]
mod injected;
#[path = "../../examples/restart.rs"]
mod restart;

#[test]
fn hlc_runs() {
    hlc::main();
}

#[test]
fn injected_runs() {
    injected::main();
}

#[test]
fn restart_runs() {
    restart::main().unwrap();
}

//! Each example runs.

#[path = "../../examples/commit_wait.rs"]
mod commit_wait;
#[path = "../../examples/doctor.rs"]
mod doctor;
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
fn commit_wait_runs() {
    commit_wait::main().unwrap();
}

#[test]
fn doctor_runs() {
    doctor::main();
}

#[test]
fn injected_runs() {
    injected::main();
}

#[test]
fn restart_runs() {
    restart::main().unwrap();
}

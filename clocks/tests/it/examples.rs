//! Each example runs.

#[path = "../../examples/commit_wait.rs"]
mod commit_wait;
#[path = "../../examples/doctor.rs"]
mod doctor;
#[path = "../../examples/injected.rs"]
mod injected;

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

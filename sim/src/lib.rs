//! Deterministic simulation of your own distributed application.

#![forbid(unsafe_code)]

// The world.
mod rng;
mod time;
// The disk.
mod disk;
// Judging.
mod exhaust;
mod history;
mod linearizable;
mod plant;
pub mod specs;

pub use exhaust::{Exhausted, Gen, exhaust};
pub use history::error::HistoryError;
pub use history::form::{Fields, Form, Value};
pub use history::recorder::Recorder;
pub use history::{Event, History, OpId, Operation, Outcome};
pub use linearizable::{
    Counterexample, STEPS_MAX, Spec, Verdict, linearizable, linearizable_steps,
};
pub use rng::Rng;
pub use time::SimTime;

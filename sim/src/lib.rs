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
pub mod specs;

pub use rng::Rng;
pub use time::SimTime;

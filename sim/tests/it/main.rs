//! The tests of the crate: one binary.

mod disk;
mod hazards;

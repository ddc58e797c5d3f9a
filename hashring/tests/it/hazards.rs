//! Each hazard of the field has a test, named after it.

mod handover;
mod placement;
mod ranges;
mod routing;
mod solver;

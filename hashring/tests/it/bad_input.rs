//! Bad input: a typed error with its numbers, and nothing changed. One test for each row of the
//! table in the design.

mod handover;
mod placement;
mod ranges;
mod routing;

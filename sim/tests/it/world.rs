//! The world: busy time, crashes and starts, limits, and what a test may do to it.

mod counters;
mod limits;
mod lives;
mod time;
mod told;

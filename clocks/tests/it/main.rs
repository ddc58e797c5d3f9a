//! Integration tests of quorate-clocks, one binary.

mod clock;
mod drift;
mod examples;
mod manual;
mod system;
mod time;

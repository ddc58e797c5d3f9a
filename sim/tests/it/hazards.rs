//! Hazards that other tools shipped, each a test.

mod judging;

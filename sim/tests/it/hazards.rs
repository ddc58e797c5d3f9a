//! The hazards of the design, each by its number.

mod disk;
mod judging;
mod tasks;
mod world;

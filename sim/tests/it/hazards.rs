//! The hazards of the design, each by its number.

mod campaigns;
mod disk;
mod judging;
mod tasks;

//! Each hazard of the field has a test, named after it.

mod ranges;
mod routing;

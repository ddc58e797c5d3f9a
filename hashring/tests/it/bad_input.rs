//! Bad input: each is a typed error that changes nothing.

mod ranges;
mod routing;

//! Properties over many random cases.

mod ranges;
mod routing;

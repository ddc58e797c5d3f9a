//! Properties over many random inputs.

pub(crate) mod codec;
mod placement;
mod ranges;
mod routing;

//! Properties over many random inputs.

pub(crate) mod codec;
mod diff;
mod handover;
mod placement;
mod ranges;
mod routing;

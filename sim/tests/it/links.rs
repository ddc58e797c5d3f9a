//! Lanes between nodes (G3): a log of everything sent and heard, held against the contract.

mod coverage;
mod log;
mod model;
mod shapes;

//! Campaigns: a register that has to bear everything, and what campaigns do with failures, threads
//! and the environment.

pub(crate) mod child;
mod composed;
mod environment;
mod findings;
mod order;
mod replay;
mod subjects;

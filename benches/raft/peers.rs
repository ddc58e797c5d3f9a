//! Peers: cores driven like ours (three nodes, one thread, messages handed over), and whole groups.

mod omni;
pub(crate) mod openraft09;
pub(crate) mod openraft10;
mod raft_rs;
pub(crate) mod store;

pub(crate) use omni::Omni;
pub(crate) use raft_rs::{Propose, RawNodes};

pub(crate) const OPENRAFT09: &str = "openraft 0.9";
pub(crate) const OPENRAFT10: &str = "openraft 0.10";

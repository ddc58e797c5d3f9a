//! Cores of others, driven like ours: three nodes, one thread, messages handed over.

mod omni;
mod raft_rs;

pub(crate) use omni::Omni;
pub(crate) use raft_rs::{Propose, RawNodes};

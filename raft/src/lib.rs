//! Raft (draft docs).
pub mod quorum;
mod block;
mod config;
mod core;
mod entry;
mod error;
mod ids;
mod inflight;
mod log_view;
mod membership;
mod message;
mod plant;
mod progress;
mod machine;
mod rng;
mod stats;
mod store;
mod sync;
#[cfg(feature = "tokio")]
mod driver;
pub mod wire;

pub use crate::core::*;
pub use crate::core::{Boot, Raft, Role};
pub use block::{Block, Limits, Proposal, TooLarge};
pub use config::{CommitNotify, Config, ConfigDraft, ConfigError};
pub use entry::{Entry, EntryBody, EntryKind};
pub use error::*;
pub use ids::{GroupId, LogId, LogIndex, ReadId, StoreId, Term};
pub use log_view::TermRun;
pub use membership::Membership;
pub use message::{Ballot, Body, Envelope, Message, SnapshotMeta};
pub use progress::ProgressState;
#[cfg(feature = "tokio")]
pub use driver::*;
pub use machine::*;
pub use stats::Stats;
pub use store::*;

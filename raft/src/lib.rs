//! Raft (draft docs).
mod block;
mod config;
mod core;
#[cfg(feature = "tokio")]
mod driver;
mod entry;
mod error;
mod ids;
mod inflight;
mod log_view;
mod machine;
mod membership;
mod message;
mod plant;
mod progress;
pub mod quorum;
mod rng;
mod stats;
mod store;
mod sync;
pub mod wire;

pub use crate::core::*;
pub use crate::core::{Boot, Raft, Role};
pub use block::{Block, Limits, Proposal, TooLarge};
pub use config::{CommitNotify, Config, ConfigDraft, ConfigError};
#[cfg(feature = "tokio")]
pub use driver::*;
pub use entry::{Entry, EntryBody, EntryKind};
pub use error::*;
pub use ids::{GroupId, LogId, LogIndex, ReadId, StoreId, Term};
pub use log_view::TermRun;
pub use machine::*;
pub use membership::Membership;
pub use message::{Ballot, Body, Envelope, Message, SnapshotMeta};
pub use progress::ProgressState;
pub use stats::Stats;
pub use store::*;

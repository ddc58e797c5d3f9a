//! Deterministic simulation of your own distributed application.

#![forbid(unsafe_code)]

// The world.
mod rng;
mod time;
// The disk.
mod disk;
// Judging.
mod exhaust;
mod history;
mod linearizable;
pub mod specs;

pub use disk::{
    Cost, CrashDisk, CrashReport, CrashStates, DiskConfig, DiskConfigBuilder, DiskConfigError,
    DiskFault, DiskLimit, DiskStats, FaultCount, SimDisk, SimVfs,
};
pub use quorate_wal::vfs::{DirOrder as DirModel, FsyncFailure};
pub use rng::Rng;
pub use time::SimTime;

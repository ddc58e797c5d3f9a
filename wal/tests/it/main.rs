//! The one integration binary.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "tests stop at the first surprise, print what they saw, and know their numbers"
)]

mod alloc;
// The very files of the crate, over loom's locks and threads.
#[cfg(loom)]
#[expect(dead_code, reason = "the models use a part of it")]
#[path = "../../src/sync.rs"]
mod sync;
#[cfg(loom)]
#[expect(dead_code, reason = "the models use a part of it")]
#[path = "../../src/waiters.rs"]
mod waiters;
#[cfg(loom)]
mod error {
    pub(crate) use quorate_wal::Failure;
}
#[cfg(loom)]
mod loom;
#[cfg(loom)]
#[expect(dead_code, reason = "named by the file above, not by the models")]
mod lsn {
    /// As in the crate, and exhaustive here.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum ReadBound {
        Durable,
        High,
        Written,
    }
}
mod rig;

mod bad_input;
mod basics;
mod batches;
mod cancel;
mod carry;
mod checkpoint;
mod cli;
mod crash;
mod damage;
mod during;
mod examples;
mod flush;
mod full_disk;
mod golden;
mod hazards;
mod hazards_modes;
mod hazards_more;
mod hazards_reads;
mod kill;
mod limits;
mod model;
mod mutations;
mod planted;
mod props;
mod read_only;
mod reference;
mod script;
mod scrub;
mod sync_errors;
mod tail;
mod vfs;
mod vfs_power;
mod windows;
mod zero_alloc;

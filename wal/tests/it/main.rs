//! The one integration binary.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "tests stop at the first surprise, print what they saw, and know their numbers"
)]

mod rig;

mod bad_input;
mod basics;
mod cancel;
mod carry;
mod checkpoint;
mod cli;
mod crash;
mod damage;
mod examples;
mod full_disk;
mod golden;
mod hazards;
mod hazards_more;
mod hazards_reads;
mod kill;
mod model;
mod planted;
mod props;
mod read_only;
mod reference;
mod script;
mod scrub;
mod sync_errors;
mod tail;
mod vfs;
mod windows;

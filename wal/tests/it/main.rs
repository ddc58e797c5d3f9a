//! The one integration binary.

mod rig;

mod bad_input;
mod basics;
mod cancel;
mod crash;
mod damage;
mod examples;
mod full_disk;
mod golden;
mod hazards;
mod hazards_more;
mod kill;
mod planted;
mod props;
mod sync_errors;
mod vfs;

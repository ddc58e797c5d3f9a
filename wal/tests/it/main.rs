//! The one integration binary.

mod rig;

mod basics;
mod cancel;
mod crash;
mod damage;
mod full_disk;
mod golden;
mod hazards;
mod sync_errors;
mod vfs;

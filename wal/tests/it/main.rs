//! The one integration binary.

mod rig;

mod basics;
mod crash;
mod damage;
mod full_disk;
mod sync_errors;
mod vfs;

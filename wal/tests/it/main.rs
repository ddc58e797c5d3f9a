//! The one integration binary.

mod rig;

mod basics;
mod crash;
mod damage;
mod vfs;

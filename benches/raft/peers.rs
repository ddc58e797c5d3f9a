//! Peers whose whole groups are measured.

pub(crate) mod openraft09;
pub(crate) mod openraft10;
pub(crate) mod store;

pub(crate) const OPENRAFT09: &str = "openraft 0.9";
pub(crate) const OPENRAFT10: &str = "openraft 0.10";

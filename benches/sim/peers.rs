//! The peers, each doing the same as ours.

pub(crate) mod echo;
pub(crate) mod madsim;
pub(crate) mod moonpool;
pub(crate) mod turmoil;

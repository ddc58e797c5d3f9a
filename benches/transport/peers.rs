//! The other ways to make a call, each behind one [`Caller`](crate::subject::Caller).

pub(crate) mod framed;
pub(crate) mod moonpool;
pub(crate) mod quinn;
pub(crate) mod tarpc;
pub(crate) mod tonic;
pub(crate) mod zeromq;

pub(crate) const TARPC: &str = "tarpc (TCP, bincode)";
pub(crate) const TONIC: &str = "tonic (raw bytes)";

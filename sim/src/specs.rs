//! What services promise: six models for [`linearizable`](crate::linearizable).
//!
//! | model | operations | as `qcheck --model` |
//! |---|---|---|
//! | [`CasRegister`] | read, write, compare and set | `cas-register` |
//! | [`Kv`] | the same for each key, and delete | `kv` |
//! | [`Counter`] | add, read | `counter` |
//! | [`FencedLock`] | acquire (which answers a fence), release | `lock` |
//! | [`Queue`] | enqueue, dequeue: first in, first out | `queue` |
//! | [`Set`] | add, read all | `set` |
//!
//! Each begins empty. Your own is an implementation of [`Spec`](crate::Spec) in some twenty
//! lines.

mod cas_register;
mod counter;
mod fenced_lock;
mod kv;
mod queue;
mod set;

pub use cas_register::{CasRegister, RegisterOp, RegisterRet};
pub use counter::{Counter, CounterOp, CounterRet};
pub use fenced_lock::{FencedLock, LockOp, LockRet, LockState};
pub use kv::{Kv, KvOp, KvRet};
pub use queue::{Queue, QueueOp, QueueRet};
pub use set::{Set, SetOp, SetRet};

//! Bytes and answers that must never change.

mod ranges;
mod routing;

//! Two pages on what the API means: [durability] and [streams].

#[doc = include_str!("../docs/durability.md")]
pub mod durability {}

#[doc = include_str!("../docs/streams.md")]
pub mod streams {}

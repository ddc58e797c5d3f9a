//! The checker beside opinions that share no code with it.

pub(crate) mod agreement;
pub(crate) mod generator;
mod long;
pub(crate) mod models;
mod oracle;
#[cfg(mutant)]
mod plants;
mod second_opinion;

//! Integration tests of quorate-raft, one binary.

mod cluster;
#[cfg(mutant)]
mod mutants;
mod scripts;
mod sim;
mod store;

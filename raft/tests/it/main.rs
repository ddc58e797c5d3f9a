//! Integration tests of quorate-raft, one binary.

#[cfg(mutant)]
mod mutants;
mod scripts;
mod sim;

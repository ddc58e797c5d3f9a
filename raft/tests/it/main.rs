//! Integration tests of quorate-raft, one binary.

mod scripts;

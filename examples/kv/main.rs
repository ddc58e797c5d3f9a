//! The program: `kv --help` says what it does. Everything else is in `lib.rs`, so that tests can
//! use it.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(kv::run(std::env::args_os()))
}

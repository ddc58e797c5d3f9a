//! The disk: what it may lose, by an oracle written apart; what its faults do; a log on it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests stop at the first surprise, and say what they saw"
)]

mod campaign;
mod example;
mod faults;
mod lives;
mod oracle;
pub(crate) mod seeds;

use std::path::PathBuf;
use std::sync::Arc;

use quorate_sim::{DiskConfig, SimDisk};
use quorate_wal::vfs::{Vfs, conformance};

#[test]
fn it_is_a_file_system_like_every_other() {
    for config in [DiskConfig::ssd(), DiskConfig::instant().delayed_allocation(true)] {
        conformance::run(&|| {
            let vfs = SimDisk::new(7, config.build().unwrap()).vfs();
            vfs.create_dir_all("d".as_ref()).unwrap();
            (Arc::new(vfs), PathBuf::from("d"))
        });
    }
}

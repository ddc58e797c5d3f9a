//! Lane S5: the disk of the simulator, beside what moving its bytes costs.

use std::sync::Arc;

use quorate_benches::{Candidate, Lane, Table, Target};
use quorate_sim::{DiskConfig, SimDisk};
use quorate_wal::vfs::{OpenMode, Vfs, VfsFile};

const BLOCK: usize = 4096;
const BLOCKS: usize = 256;
const SYNC_EVERY: usize = 16;

/// Both lines of S5.
pub fn measure(table: &mut Table) {
    writes(table);
    states(table);
}

fn create(disk: &SimDisk, name: &str) -> Arc<dyn VfsFile> {
    disk.vfs().open(name.as_ref(), OpenMode::CreateNew).expect("a new name")
}

/// The data of the `n`th block: no two blocks in a row are alike.
fn blocks() -> Vec<Vec<u8>> {
    (1..8).map(|n| vec![n; BLOCK]).collect()
}

fn writes(table: &mut Table) {
    let disk = SimDisk::new(1, DiskConfig::default());
    let file = create(&disk, "f");
    let data = blocks();
    let (mut copy, mut copied) = (vec![0; BLOCK * BLOCKS], 0);
    let mut written = 0_usize;
    table.measure(Lane {
        name: "S5 write of 4 KiB to a `SimDisk`, sync each 16",
        ours: Candidate::each("ours", || {
            let at = written % BLOCKS * BLOCK;
            let n = file.write_at(&data[written % data.len()], at as u64).expect("room");
            written += 1;
            if written.is_multiple_of(SYNC_EVERY) {
                file.sync_data().expect("no fault");
            }
            n
        }),
        floor: Candidate::each("memcpy of 4 KiB", || {
            let at = copied % BLOCKS * BLOCK;
            copy[at..at + BLOCK].copy_from_slice(&data[copied % data.len()]);
            copied += 1;
            copy[at]
        }),
        peers: vec![],
        targets: vec![Target::Nanos(1_000.0)],
    });
}

/// Eight sectors written over, four names made: 12 units, 1,280 states.
fn states(table: &mut Table) {
    let disk = SimDisk::new(1, DiskConfig::default());
    let file = create(&disk, "f");
    file.write_at(&[1; BLOCK], 0).expect("room");
    file.sync_all().expect("no fault");
    disk.vfs().sync_dir("".as_ref()).expect("no fault");
    file.write_at(&[2; BLOCK], 0).expect("room");
    for name in ["a", "b", "c", "d"] {
        create(&disk, name);
    }
    assert!(disk.crash_states(4096).is_exhaustive());
    assert_eq!(disk.crash_states(4096).count(), 1_280);
    let (source, mut copy) = (vec![1; BLOCK], vec![0; BLOCK]);
    table.measure(Lane {
        name: "S5 a crash state of a `SimDisk` with 12 units",
        ours: Candidate::run("ours", |count| {
            let mut done = 0;
            while done < count {
                let states = disk.crash_states(4096).take((count - done) as usize);
                done += states.map(std::hint::black_box).count() as u64;
            }
            done
        }),
        floor: Candidate::each("memcpy of 4 KiB", || {
            copy.copy_from_slice(&source);
            copy[0]
        }),
        peers: vec![],
        targets: vec![Target::Nanos(10_000.0)],
    });
}

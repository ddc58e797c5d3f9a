//! Any bytes as MANIFEST and one segment: opened read-only, read, then opened for writing.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use quorate_wal::vfs::{MemVfs, OpenMode, Vfs};
use quorate_wal::{Config, Driver, Lsn, ReadBound, Recovery, Wal, WalReader};

fuzz_target!(|data: &[u8]| {
    let (manifest, segment) = data.split_at(data.len().min(8192));
    let (disk, dir) = (MemVfs::new(), Path::new("log"));
    disk.create_dir_all(dir).expect("an empty disk takes a directory");
    for (name, bytes) in [("MANIFEST", manifest), ("00000000000000000001.qwal", segment)] {
        let file = disk.open(&dir.join(name), OpenMode::CreateNew).expect("a new name");
        file.write_at(bytes, 0).expect("room without end");
    }
    if let Ok((reader, _)) = WalReader::open_read_only(Arc::new(disk.clone()), dir) {
        reader.read(Lsn::new(1), ReadBound::Written).take(100).for_each(drop);
    }
    let config = Config::embedded().recovery(Recovery::Salvage).driver(Driver::manual(|| {}));
    let config = config.segment_bytes(16 << 10).batch_bytes_max(4096).staged_bytes_max(16 << 10);
    let config = config.build().expect("a configuration within its ranges");
    drop(Wal::open_on(Arc::new(disk), dir, config, None));
});

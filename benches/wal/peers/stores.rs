//! A broker's log, and two stores as yardsticks: what a user who has one would use instead.

use super::RECORD;
use quorate_benches::crew::Op;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Where walrus-rust puts its files: it takes no directory but this variable.
pub(crate) const WALRUS_DIR: &str = "WALRUS_DATA_DIR";

/// Topics are written by one writer at a time: each writer has its own.
pub(crate) fn walrus(key: &str) -> Op {
    use walrus_rust::{FsyncSchedule, ReadConsistency, Walrus};
    let reads = ReadConsistency::AtLeastOnce { persist_every: 1_000 };
    let schedule = FsyncSchedule::SyncEach;
    let wal = Walrus::with_consistency_and_schedule_for_key(key, reads, schedule);
    let wal = wal.expect("walrus-rust opens");
    let topics: Vec<String> = (0..64).map(|writer| format!("t{writer}")).collect();
    Arc::new(move |writer| wal.append_for_topic(&topics[writer], &RECORD).expect("synced"))
}

pub(crate) fn fjall(dir: &Path) -> Op {
    let db = fjall::Database::builder(dir).open().expect("fjall opens");
    let items = db.keyspace("log", fjall::KeyspaceCreateOptions::default);
    let items = items.expect("a keyspace");
    let next = AtomicU64::new(0);
    Arc::new(move |_| {
        let key = next.fetch_add(1, Relaxed).to_be_bytes();
        items.insert(key, RECORD).expect("written");
        db.persist(fjall::PersistMode::SyncData).expect("synced");
    })
}

pub(crate) fn rusqlite(dir: &Path) -> Op {
    let db = rusqlite::Connection::open(dir.join("db")).expect("rusqlite opens");
    db.pragma_update(None, "journal_mode", "WAL").expect("WAL");
    db.pragma_update(None, "synchronous", "FULL").expect("FULL");
    db.execute("CREATE TABLE log (n INTEGER PRIMARY KEY, v BLOB)", ()).expect("a table");
    let db = Mutex::new(db);
    Arc::new(move |_| {
        let db = db.lock().expect("no panic under it");
        let mut insert = db.prepare_cached("INSERT INTO log (v) VALUES (?1)").expect("SQL");
        insert.execute([&RECORD[..]]).expect("committed");
    })
}

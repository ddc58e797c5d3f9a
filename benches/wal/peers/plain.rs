//! Logs of records.

use super::{RECORD, Wait};
use quorate_benches::crew::Op;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) fn wal_db(dir: &Path, wait: Wait) -> Op {
    let wal = wal_db::Wal::open(dir.join("log")).expect("wal-db opens");
    match wait {
        Wait::Durable => Arc::new(move |_| {
            let _ = wal.append_and_sync(&RECORD).expect("synced");
        }),
        Wait::Written => Arc::new(move |_| {
            let _ = wal.append(&RECORD).expect("written");
        }),
    }
}

/// One writer by its types: behind a mutex.
pub(crate) fn open_wal(dir: &Path) -> Op {
    let config = open_wal::WalConfig { segment_size: 64 << 20, ..Default::default() };
    let wal = open_wal::Wal::open(dir, config).expect("open-wal opens").0;
    let wal = Mutex::new(wal);
    Arc::new(move |_| {
        let mut wal = wal.lock().expect("no panic under it");
        wal.append(&RECORD).expect("fits");
        wal.commit().expect("synced");
    })
}

/// Its append is memory only, as staging is: so many of 128 B, and then one commit.
pub(crate) fn staged_open_wal(dir: &Path) -> (impl FnMut() + use<>, impl FnMut() + use<>) {
    let config = open_wal::WalConfig { segment_size: 64 << 20, ..Default::default() };
    let wal = open_wal::Wal::open(dir, config).expect("open-wal opens").0;
    let wal = std::rc::Rc::new(std::cell::RefCell::new(wal));
    let other = wal.clone();
    let append = move || {
        wal.borrow_mut().append(&RECORD[..128]).expect("fits");
    };
    (append, move || {
        other.borrow_mut().commit().expect("synced");
    })
}

/// With segments as it chooses them (1 MiB), or of 64 MiB.
pub(crate) fn okay(dir: &Path, large: bool) -> Op {
    let mut config = okaywal::Configuration::default_for(dir);
    if large {
        config = config.preallocate_bytes(64 << 20).checkpoint_after_bytes(48 << 20);
    }
    let log = config.open(okaywal::LogVoid).expect("okaywal opens");
    Arc::new(move |_| {
        let mut entry = log.begin_entry().expect("begun");
        entry.write_chunk(&RECORD).expect("written");
        entry.commit().expect("synced");
    })
}

pub(crate) fn nano(dir: &Path, wait: Wait) -> Op {
    let hour = Duration::from_secs(3_600);
    let options = nano_wal::WalOptions { retention: hour, segment_duration: hour };
    let wal = nano_wal::Wal::new(dir, "log", options).expect("nano-wal opens");
    Arc::new(move |_| {
        wal.append(None, &RECORD, 0, wait == Wait::Durable).expect("written");
    })
}

/// Never syncs. One writer by its types.
pub(crate) fn commitlog(dir: &Path) -> Op {
    let options = commitlog::LogOptions::new(dir);
    let log = Mutex::new(commitlog::CommitLog::new(options).expect("commitlog opens"));
    Arc::new(move |_| {
        log.lock().expect("no panic under it").append_msg(RECORD).expect("written");
    })
}

/// Never syncs. One writer by its types.
pub(crate) fn simple(dir: &Path) -> Op {
    let log = simple_wal::LogFile::open(dir.join("log")).expect("simple_wal opens");
    let log = Mutex::new(log);
    Arc::new(move |_| {
        log.lock().expect("no panic under it").write(&mut RECORD.clone()).expect("written");
    })
}

/// Its sync flushes a buffer and asks the medium for nothing. Async over tokio's files.
pub(crate) fn mrecordlog(dir: &Path) -> Op {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let open = async {
        let mut log = mrecordlog::MultiRecordLog::open(dir).await.expect("mrecordlog opens");
        log.create_queue("q").await.expect("a queue");
        log
    };
    let log = Mutex::new(runtime.block_on(open));
    Arc::new(move |_| {
        let mut log = log.lock().expect("no panic under it");
        let append = log.append_record("q", None, &RECORD[..]);
        runtime.block_on(append).expect("written");
    })
}

/// The types its log is made of.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Bytes;

/// Bytes behind the number that its actions must begin with.
#[derive(Debug, Clone)]
struct Action(Vec<u8>);

const ACTION: u32 = 1;

impl codeq::Encode for Action {
    fn encode<W: std::io::Write>(&self, mut to: W) -> Result<usize, std::io::Error> {
        Ok(ACTION.encode(&mut to)? + self.0.encode(&mut to)?)
    }

    fn type_id(&self) -> Option<u32> {
        Some(ACTION)
    }
}

impl codeq::Decode for Action {
    fn decode<R: std::io::Read>(mut from: R) -> Result<Self, std::io::Error> {
        u32::decode(&mut from)?;
        Ok(Self(Vec::decode(&mut from)?))
    }
}

impl chunked_wal::WalTypes for Bytes {
    type Action = Action;
    type Checkpoint = u64;
    type Callback = SyncSender<Result<(), std::io::Error>>;
}

/// State that is nothing.
struct Nothing;

impl chunked_wal::StateMachine<Bytes> for Nothing {
    type Error = std::io::Error;

    fn apply(
        &mut self,
        _record: &chunked_wal::WALRecord<Bytes>,
        _chunk: chunked_wal::ChunkId,
        _segment: chunked_wal::Segment,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    fn checkpoint(&self) -> u64 {
        0
    }
}

/// With the wait for company that it chooses, or with none. One writer by its types; the lock is
/// not held while it syncs.
pub(crate) fn chunked(dir: &Path, wait: Option<Duration>) -> Op {
    let mut config = chunked_wal::Config::new(dir.display());
    config.flush_batch_wait = wait;
    let persisted: chunked_wal::ChunkPersistedFn<Bytes> = Arc::new(|_, _| {});
    let wal = chunked_wal::ChunkedWal::open(Arc::new(config), &mut Nothing, persisted);
    let wal = Mutex::new(wal.expect("chunked-wal opens"));
    let record = chunked_wal::WALRecord::Action(Action(RECORD.to_vec()));
    Arc::new(move |_| {
        let (tx, rx) = sync_channel(1);
        {
            let mut wal = wal.lock().expect("no panic under it");
            chunked_wal::WAL::append(&mut *wal, &record).expect("fits");
            wal.try_close_full_chunk(&Nothing).expect("rotated");
            wal.send_pending(true, Some(tx)).expect("sent");
        }
        rx.recv().expect("an answer").expect("synced");
    })
}

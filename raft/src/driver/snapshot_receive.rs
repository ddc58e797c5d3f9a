//! Taking a snapshot in: a thread writes the pieces in order and verifies the whole; only then does
//! the core hear of it. (5.8)

use super::calls::{self, Chunk, ChunkAnswer, refusal};
use super::mailbox::{Mailbox, Report};
use super::shard::Shard;
use crate::machine::StateMachine;
use crate::store::{SnapshotFile, SnapshotReceiver, read_machine, read_sessions};
use crate::sync::lock;
use crate::{LogId, Membership, SnapshotMeta, StoreId};
use bytes::Bytes;
use quorate_transport::{NodeId, Responder};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Pieces waiting for the disk.
const PIECES_MAX: usize = 4;

type Piece = (Chunk, NodeId, Responder);

/// The snapshot that is arriving.
pub(super) struct Receiving {
    last: LogId,
    maker: StoreId,
    pieces: SyncSender<Piece>,
}

impl<M: StateMachine> Shard<M> {
    pub(super) fn serve_chunk(&mut self, from: NodeId, chunk: Chunk, reply: Responder) {
        let answer = |reply: Responder, answer| {
            // A sender that went away will ask again.
            let _ = reply.reply(calls::encode_chunk_answer(answer));
        };
        // While the founders are being recorded the log begins with them; a snapshot under way
        // would be undone by that. It is offered again.
        let unready = self.stopped.is_some() || self.founding.is_some();
        if unready || chunk.leader_term < self.raft.progress().term {
            answer(reply, ChunkAnswer::Refused);
            return;
        }
        if chunk.last.index <= self.raft.commit() {
            answer(reply, ChunkAnswer::Done); // already here
            return;
        }
        let same = |r: &Receiving| r.last == chunk.last && r.maker == chunk.maker;
        if !self.receiving.as_ref().is_some_and(same)
            && let Err(error) = self.begin_receiving(&chunk)
        {
            let node = self.raft.id();
            tracing::warn!(%node, peer = %from, %error, "cannot take a snapshot in");
            answer(reply, ChunkAnswer::Refused);
            return;
        }
        let Some(receiving) = &self.receiving else { return };
        if let Err(full_or_ended) = receiving.pieces.try_send((chunk, from, reply)) {
            use std::sync::mpsc::TrySendError::{Disconnected, Full};
            match full_or_ended {
                Full((_, _, reply)) => reply.reject(refusal::BUSY, Bytes::new()),
                Disconnected((_, _, reply)) => {
                    // The thread ended with an error: the next piece begins anew.
                    self.receiving = None;
                    answer(reply, ChunkAnswer::Restart);
                }
            }
        }
    }

    fn begin_receiving(&mut self, chunk: &Chunk) -> io::Result<()> {
        let mut id = SnapshotMeta::new(chunk.last, Membership::default());
        id.maker = chunk.maker;
        let (pieces, arriving) = sync_channel(PIECES_MAX);
        let (mailbox, snapshots) = (self.mailbox.clone(), Arc::clone(&self.snapshots));
        std::thread::Builder::new().name("raft-snapshot-receive".to_owned()).spawn(move || {
            // What arrived of it earlier is read again here, not on the task that owns the core.
            let opened = lock(&snapshots).receive(&id);
            match opened {
                Ok(receiver) => receive(receiver, &arriving, &mailbox),
                Err(error) => tracing::warn!(%error, "cannot take a snapshot in"),
            }
        })?;
        self.receiving = Some(Receiving { last: chunk.last, maker: chunk.maker, pieces });
        Ok(())
    }

    /// The log is reset to the snapshot and durable: now the machine becomes its state.
    pub(super) fn begin_restore(&mut self, meta: SnapshotMeta, file: Box<dyn SnapshotFile>) {
        self.restoring = true;
        let (machine, mailbox) = (self.machine.clone(), self.mailbox.clone());
        let spawned = std::thread::Builder::new().name("raft-restore".to_owned()).spawn({
            let mailbox = mailbox.clone();
            move || {
                let restored = read_sessions(&*file).and_then(|sessions| {
                    machine.restore(&meta, sessions, &mut read_machine(&*file)?)
                });
                mailbox.push(match restored {
                    Ok(()) => Report::Restored(meta),
                    Err(e) => Report::MachineFailed(format!("snapshot not restored: {e}").into()),
                });
            }
        });
        if let Err(error) = spawned {
            mailbox.push(Report::MachineFailed(error.to_string().into()));
        }
    }
}

/// Writes pieces until the last, or until the sender gave up: what arrived is kept for resuming.
fn receive(mut receiver: Box<dyn SnapshotReceiver>, arriving: &Receiver<Piece>, mailbox: &Mailbox) {
    while let Ok((chunk, from, reply)) = arriving.recv() {
        let answer = take_piece(&mut *receiver, &chunk);
        let complete = matches!(answer, Ok(ChunkAnswer::Done));
        if complete {
            let finished = receiver.finish();
            let answer = match finished {
                Ok(meta) => {
                    let term = chunk.leader_term;
                    mailbox.push(Report::SnapshotReceived { from, term, meta });
                    ChunkAnswer::Done
                }
                Err(error) => {
                    tracing::warn!(peer = %from, %error, "snapshot refused");
                    ChunkAnswer::Restart
                }
            };
            let _ = reply.reply(calls::encode_chunk_answer(answer));
            return;
        }
        let answer = answer.unwrap_or(ChunkAnswer::Refused);
        let _ = reply.reply(calls::encode_chunk_answer(answer));
    }
}

/// Writes a piece if it is the one that is wanted. `Done`: it was the last.
fn take_piece(receiver: &mut dyn SnapshotReceiver, chunk: &Chunk) -> io::Result<ChunkAnswer> {
    let wanted = receiver.offset();
    if wanted > chunk.total {
        receiver.restart()?;
        return Ok(ChunkAnswer::Restart);
    }
    if chunk.offset != wanted {
        return Ok(ChunkAnswer::Continue(wanted));
    }
    receiver.write(&chunk.bytes)?;
    if receiver.crc()? != chunk.running_crc {
        receiver.restart()?;
        return Ok(ChunkAnswer::Restart);
    }
    let done = chunk.is_last && receiver.offset() == chunk.total;
    Ok(if done { ChunkAnswer::Done } else { ChunkAnswer::Continue(receiver.offset()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemorySnapshots, SnapshotStore as _, write_snapshot};

    fn file() -> (SnapshotMeta, Vec<u8>) {
        let meta = SnapshotMeta::new(LogId::new(1, 9), Membership::default());
        let mut bytes = Vec::new();
        let state = Box::new(|w: &mut dyn io::Write| w.write_all(&[7; 1_000]));
        write_snapshot(&mut bytes, &meta, state).unwrap();
        (meta, bytes)
    }

    fn piece(file: &[u8], from: usize, to: usize) -> Chunk {
        Chunk {
            leader_term: crate::Term::new(1),
            last: LogId::new(1, 9),
            maker: StoreId::ZERO,
            offset: from as u64,
            total: file.len() as u64,
            running_crc: crc32fast::hash(&file[..to]),
            is_last: to == file.len(),
            bytes: Bytes::copy_from_slice(&file[from..to]),
        }
    }

    #[test]
    fn pieces_are_taken_in_order_and_only_if_they_add_up() {
        let (meta, file) = file();
        let mut store = MemorySnapshots::new();
        let mut receiver = store.receive(&meta).unwrap();
        let mut take = |chunk: &Chunk| take_piece(&mut *receiver, chunk).unwrap();
        assert_eq!(take(&piece(&file, 300, 600)), ChunkAnswer::Continue(0), "a hole");
        assert_eq!(take(&piece(&file, 0, 300)), ChunkAnswer::Continue(300));
        assert_eq!(take(&piece(&file, 0, 300)), ChunkAnswer::Continue(300), "a duplicate");
        let mut altered = piece(&file, 300, 600);
        altered.running_crc ^= 1;
        assert_eq!(take(&altered), ChunkAnswer::Restart);
        assert_eq!(take(&piece(&file, 300, 600)), ChunkAnswer::Continue(0), "begins anew");
        assert_eq!(take(&piece(&file, 0, 600)), ChunkAnswer::Continue(600));
        let mut other_size = piece(&file, 600, 700);
        other_size.total = 500;
        assert_eq!(take(&other_size), ChunkAnswer::Restart);
        assert_eq!(take(&piece(&file, 0, 700)), ChunkAnswer::Continue(700));
        let mut early_end = piece(&file, 700, 800);
        early_end.is_last = true;
        assert_eq!(take(&early_end), ChunkAnswer::Continue(800), "short of its size");
        assert_eq!(take(&piece(&file, 800, file.len())), ChunkAnswer::Done);
        assert_eq!(receiver.finish().unwrap(), meta);
    }
}

//! Sending a snapshot to a member that needs one: its file, piece by piece, by calls on the Bulk
//! lane. The receiver says which offset it wants next, so a broken transfer goes on where it was.
//! All transfers of a node share one rate. (5.8)

use super::calls::{self, Call, Chunk, ChunkAnswer};
use super::mailbox::Report;
use super::shard::Shard;
use crate::machine::StateMachine;
use crate::store::SnapshotFile;
use crate::sync::lock;
use crate::{Config, GroupId, SnapshotMeta, Term};
use bytes::BytesMut;
use core::time::Duration;
use quorate_clocks::Monotonic;
use quorate_transport::{CallOptions, ChannelSender, Lane, NodeId, Runtime};
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

/// Times that a receiver may ask to begin anew before the transfer is given up.
const RESTARTS_MAX: u32 = 3;

/// The transfers that are under way.
pub(super) struct Sending {
    to: BTreeSet<NodeId>,
    pace: Arc<Pace>,
}

impl Sending {
    pub(super) fn new(config: &Config) -> Self {
        Self { to: BTreeSet::new(), pace: Arc::new(Pace::new(config.snapshot_rate)) }
    }

    pub(super) fn ended(&mut self, to: NodeId) {
        self.to.remove(&to);
    }
}

struct Transfer {
    group: GroupId,
    sender: ChannelSender,
    to: NodeId,
    leader_term: Term,
    meta: SnapshotMeta,
    file: Box<dyn SnapshotFile>,
    chunk_bytes: usize,
    patience: Duration,
    pace: Arc<Pace>,
    runtime: Arc<dyn Runtime>,
}

impl<M: StateMachine> Shard<M> {
    /// Starts a transfer unless one to that member is under way. If too many are, the member's
    /// next answer to a heartbeat makes the core ask again.
    pub(super) fn send_snapshot(&mut self, to: NodeId, leader_term: Term, meta: SnapshotMeta) {
        if self.sending.to.contains(&to) {
            return;
        }
        if self.sending.to.len() >= self.config.snapshots_sending_max {
            self.counts.snapshots_postponed += 1;
            self.mailbox.push(Report::SnapshotPostponed { to });
            return;
        }
        self.sending.to.insert(to);
        let opened = lock(&self.snapshots).open(&meta);
        let file = match opened {
            Ok(file) => file,
            Err(error) => {
                tracing::warn!(node = %self.raft.id(), peer = %to, %error, "snapshot unreadable");
                self.mailbox.push(Report::SnapshotSent { to, ok: false });
                // It may have been replaced by one that arrived and was not wanted any more.
                self.make_snapshot();
                return;
            }
        };
        let transfer = Transfer {
            group: self.group,
            sender: self.sender.clone(),
            to,
            leader_term,
            meta,
            file,
            chunk_bytes: self.config.snapshot_chunk_bytes as usize,
            patience: self.config.propose_deadline,
            pace: Arc::clone(&self.sending.pace),
            runtime: Arc::clone(&self.runtime),
        };
        let mailbox = self.mailbox.clone();
        self.runtime.spawn(
            "raft-snapshot-send",
            Box::pin(async move {
                let ok = transfer.run().await.unwrap_or(false);
                mailbox.push(Report::SnapshotSent { to, ok });
            }),
        );
    }
}

impl Transfer {
    /// True if the receiver has it all.
    async fn run(&self) -> io::Result<bool> {
        let mut crc = RunningCrc::default();
        // An empty piece first: the answer says where an earlier transfer ended, and nothing that
        // arrived then is sent again.
        let (mut offset, mut bytes_max, mut restarts) = (0, 0, 0);
        loop {
            let chunk = self.chunk(offset, bytes_max, &mut crc)?;
            bytes_max = self.chunk_bytes;
            let goes_at = self.pace.book(self.runtime.now(), chunk.bytes.len());
            sleep_until(&*self.runtime, goes_at).await;
            let body = calls::encode(self.group, &Call::Chunk(chunk));
            let options = CallOptions::within(self.patience).lane(Lane::Bulk);
            let Ok(answer) = self.sender.call(self.to, body, options).await else {
                return Ok(false);
            };
            match calls::decode_chunk_answer(&answer) {
                Some(ChunkAnswer::Continue(next)) if next <= self.file.bytes() => offset = next,
                Some(ChunkAnswer::Restart) if restarts < RESTARTS_MAX => {
                    restarts += 1;
                    offset = 0;
                }
                Some(ChunkAnswer::Done) => return Ok(true),
                _ => return Ok(false),
            }
        }
    }

    fn chunk(&self, offset: u64, bytes_max: usize, crc: &mut RunningCrc) -> io::Result<Chunk> {
        let total = self.file.bytes();
        let want = usize::try_from(total - offset).unwrap_or(usize::MAX).min(bytes_max);
        let mut bytes = BytesMut::zeroed(want);
        let mut read = 0;
        while read < want {
            match self.file.read_at(&mut bytes[read..], offset + read as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => read += n,
            }
        }
        let running_crc = crc.up_to(&*self.file, offset, &bytes)?;
        let is_last = offset + want as u64 == total;
        Ok(Chunk {
            leader_term: self.leader_term,
            last: self.meta.last,
            maker: self.meta.maker,
            offset,
            total,
            running_crc,
            is_last,
            bytes: bytes.freeze(),
        })
    }
}

/// When bytes of snapshots may leave, so that together they keep to a rate.
struct Pace {
    /// Bytes a second; 0: no limit.
    rate: u64,
    /// When what was booked so far is through.
    free_at: Mutex<Monotonic>,
}

impl Pace {
    const fn new(rate: u64) -> Self {
        Self { rate, free_at: Mutex::new(Monotonic::ZERO) }
    }

    /// When these bytes may leave. Whoever booked before goes first; time that nobody used is not
    /// saved up.
    fn book(&self, now: Monotonic, bytes: usize) -> Monotonic {
        if self.rate == 0 {
            return now;
        }
        let mut free_at = lock(&self.free_at);
        let begin = now.max(*free_at);
        let nanos = (bytes as u64).saturating_mul(1_000_000_000) / self.rate;
        *free_at = begin.saturating_add(Duration::from_nanos(nanos));
        begin
    }
}

async fn sleep_until(runtime: &dyn Runtime, at: Monotonic) {
    let wait = at.since(runtime.now());
    if !wait.is_zero() {
        quorate_transport::sleep(runtime, wait).await;
    }
}

/// The CRC of a file's beginning, extended piece by piece; read again if the receiver jumps.
#[derive(Default)]
struct RunningCrc {
    hasher: crc32fast::Hasher,
    offset: u64,
}

impl RunningCrc {
    /// The CRC up to the end of `piece`, which stands at `offset`.
    fn up_to(&mut self, file: &dyn SnapshotFile, offset: u64, piece: &[u8]) -> io::Result<u32> {
        if offset < self.offset {
            *self = Self::default();
        }
        let mut buf = vec![0_u8; 64 << 10];
        while self.offset < offset {
            let left = usize::try_from(offset - self.offset).unwrap_or(usize::MAX);
            let want = left.min(buf.len());
            match file.read_at(&mut buf[..want], self.offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => {
                    self.hasher.update(&buf[..n]);
                    self.offset += n as u64;
                }
            }
        }
        self.hasher.update(piece);
        self.offset += piece.len() as u64;
        Ok(self.hasher.clone().finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Monotonic {
        Monotonic::ZERO.saturating_add(Duration::from_millis(n))
    }

    #[test]
    fn bytes_leave_no_faster_than_the_rate() {
        let pace = Pace::new(1 << 20);
        let quarter = 256 << 10;
        assert_eq!(pace.book(ms(0), quarter), ms(0));
        assert_eq!(pace.book(ms(0), quarter), ms(250), "of another transfer, maybe");
        assert_eq!(pace.book(ms(100), quarter), ms(500));
        assert_eq!(pace.book(ms(5_000), quarter), ms(5_000), "what was not used is gone");
        assert_eq!(pace.book(ms(5_000), 0), ms(5_250));
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let pace = Pace::new(0);
        for _ in 0..3 {
            assert_eq!(pace.book(ms(7), usize::MAX), ms(7));
        }
    }
}

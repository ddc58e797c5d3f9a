//! One connection: its settings, and the order of its commands.

use super::{Requests, Server, Taken};
use crate::command::{Client, Command, Op, Query, Reply, Write, parse};
use bytes::{Bytes, BytesMut};
use quorate_raft::{LogIndex, Outcome, ProposeError, Read, ReadError};
use redis_protocol::resp2::encode::extend_encode as encode2;
use redis_protocol::resp2::types::BytesFrame as Frame2;
use redis_protocol::resp3::encode::complete::extend_encode as encode3;
use redis_protocol::resp3::types::BytesFrame as Frame3;
use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Commands taken off a connection at a time; what lies behind waits in the socket, which slows
/// down a client that sends without reading.
const BATCH_MAX: usize = 512;
/// Consecutive writes share an entry up to this size.
const ENTRY_BYTES: usize = 256 << 10;
/// Answers are sent when they are this many, or at the end of a batch.
const FLUSH_BYTES: usize = 64 << 10;
const READ_BYTES: usize = 16 << 10;
/// What `READONLY` allows.
const STALE_MAX: Duration = Duration::from_secs(1);
/// `WAIT n 0` waits for ever in Redis; here this long.
const WAIT_MAX: Duration = Duration::from_secs(60);

pub(super) struct Session {
    server: Arc<Server>,
    id: u64,
    requests: Requests,
    answers: BytesMut,
    resp3: bool,
    name: Bytes,
    stale_reads: bool,
    /// The connection's last write.
    last_write: LogIndex,
    closing: bool,
}

impl Session {
    pub(super) fn new(server: Arc<Server>, id: u64) -> Self {
        Self {
            server,
            id,
            requests: Requests::default(),
            answers: BytesMut::new(),
            resp3: false,
            name: Bytes::new(),
            stale_reads: false,
            last_write: LogIndex::ZERO,
            closing: false,
        }
    }

    /// Serves until the client leaves, or breaks the protocol.
    pub(super) async fn run(&mut self, mut stream: TcpStream) -> io::Result<()> {
        while !self.closing {
            let batch = self.take_batch();
            if !batch.is_empty() {
                self.serve(batch, &mut stream).await?;
            } else if !self.closing {
                self.requests.buffer.reserve(READ_BYTES);
                if stream.read_buf(&mut self.requests.buffer).await? == 0 {
                    break;
                }
            }
            self.flush(&mut stream).await?;
        }
        self.flush(&mut stream).await?;
        stream.shutdown().await
    }

    async fn flush(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        if !self.answers.is_empty() {
            stream.write_all(&self.answers).await?;
            self.answers.clear();
        }
        // An idle connection keeps no large buffer.
        if self.requests.buffer.is_empty() && self.requests.buffer.capacity() > 4 * READ_BYTES {
            self.requests.buffer = BytesMut::new();
        }
        if self.answers.capacity() > 2 * FLUSH_BYTES {
            self.answers = BytesMut::new();
        }
        Ok(())
    }

    fn now_ms(&self) -> u64 {
        self.server.clock.wall().as_millis()
    }

    /// The commands at hand, each parsed.
    fn take_batch(&mut self) -> Vec<Command> {
        let now = self.now_ms();
        let mut batch = Vec::new();
        while batch.len() < BATCH_MAX {
            match self.requests.take() {
                Taken::Request(args) if args.is_empty() => {}
                Taken::Request(args) => batch.push(parse(&args, now)),
                Taken::Incomplete => break,
                Taken::Broken(why) => {
                    batch.push(Command::Answer(Reply::Error(why)));
                    self.closing = true;
                    break;
                }
            }
        }
        batch
    }

    /// Carries a batch out in order, run by run.
    async fn serve(&mut self, batch: Vec<Command>, stream: &mut TcpStream) -> io::Result<()> {
        let mut commands = batch.into_iter().peekable();
        while let Some(command) = commands.next() {
            match command {
                Command::Write(op) => self.write(run_of_writes(op, &mut commands)).await,
                Command::Read(query) => {
                    for reply in self.read(run_of_reads(query, &mut commands)).await {
                        self.answer(reply);
                        self.flush_if_large(stream).await?;
                    }
                }
                Command::Answer(reply) => self.answer(reply),
                Command::Client(client) => self.client(client).await,
            }
            self.flush_if_large(stream).await?;
        }
        Ok(())
    }

    async fn flush_if_large(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        if self.answers.len() > FLUSH_BYTES { self.flush(stream).await } else { Ok(()) }
    }

    async fn write(&mut self, ops: Vec<Op>) {
        let count = ops.len();
        let write = Write { now_ms: self.now_ms(), ops };
        let failed = match self.server.node.propose(write.encode()).await {
            Outcome::Applied { id, reply } => {
                self.last_write = id.index;
                match Reply::decode_all(&reply) {
                    Ok(replies) if replies.len() == count => {
                        replies.into_iter().for_each(|reply| self.answer(reply));
                        return;
                    }
                    _ => "ERR the replicas answered something else than was asked".to_owned(),
                }
            }
            Outcome::Rejected(error) => refusal(&error),
            // Never "OK", and never like a plain failure.
            _ => "UNKNOWN outcome: the write may have been applied".to_owned(),
        };
        for _ in 0..count {
            self.answer(Reply::Error(failed.clone()));
        }
    }

    async fn read(&self, queries: Vec<Query>) -> Vec<Reply> {
        let mode = if self.stale_reads { Read::MaxStale(STALE_MAX) } else { Read::Linearizable };
        let (now, count) = (self.now_ms(), queries.len());
        let ask = |machine: &crate::machine::Machine| {
            queries.iter().map(|query| machine.query(query, now)).collect()
        };
        match self.server.node.read(mode, ask).await {
            Ok(replies) => replies,
            Err(error) => vec![Reply::Error(read_refusal(&error)); count],
        }
    }

    async fn client(&mut self, client: Client) {
        match client {
            Client::Hello { version, name } => {
                self.resp3 = version.map_or(self.resp3, |v| v == 3);
                self.name = name.map_or_else(|| self.name.clone(), |n| Bytes::copy_from_slice(&n));
                let reply = self.hello();
                self.answer(reply);
            }
            Client::SetName(name) => {
                // A copy: a slice would keep the whole request in memory.
                self.name = Bytes::copy_from_slice(&name);
                self.answer(Reply::Ok);
            }
            Client::GetName => {
                let name = Some(self.name.clone()).filter(|n| !n.is_empty());
                self.answer(Reply::bulk(name));
            }
            Client::Id => self.answer(Reply::Int(i64::try_from(self.id).unwrap_or(i64::MAX))),
            Client::ReadOnly(on) => {
                self.stale_reads = on;
                self.answer(Reply::Ok);
            }
            Client::Wait { voters, millis } => {
                let reply = self.wait(voters, millis).await;
                self.answer(reply);
            }
            Client::Info => {
                let reply = self.info();
                self.answer(reply);
            }
            Client::Reset => {
                self.resp3 = false;
                self.name = Bytes::new();
                self.stale_reads = false;
                self.answer(Reply::simple("RESET"));
            }
            Client::Quit => {
                self.answer(Reply::Ok);
                self.closing = true;
            }
        }
    }

    fn hello(&self) -> Reply {
        let leads = self.server.node.state().leader == Some(self.server.node.id());
        let proto = if self.resp3 { 3 } else { 2 };
        Reply::Map(vec![
            (Reply::text("server"), Reply::text("quorate-kv")),
            (Reply::text("version"), Reply::text(env!("CARGO_PKG_VERSION"))),
            (Reply::text("proto"), Reply::Int(proto)),
            (Reply::text("id"), Reply::Int(i64::try_from(self.id).unwrap_or(i64::MAX))),
            (Reply::text("mode"), Reply::text("standalone")),
            (Reply::text("role"), Reply::text(if leads { "master" } else { "replica" })),
            (Reply::text("modules"), Reply::Array(Vec::new())),
        ])
    }

    /// How many voters hold the log up to this connection's last write.
    async fn wait(&self, voters: u32, millis: u64) -> Reply {
        let within =
            if millis == 0 { WAIT_MAX } else { Duration::from_millis(millis).min(WAIT_MAX) };
        let wanted = NonZeroU32::new(voters).unwrap_or(NonZeroU32::MIN);
        match self.server.node.replicated(self.last_write, wanted, within).await {
            Ok(count) => Reply::Int(i64::from(count)),
            Err(error) => Reply::Error(read_refusal(&error)),
        }
    }

    fn info(&self) -> Reply {
        let (node, stats) = (&self.server.node, self.server.node.stats());
        let leader = stats.leader.map_or(0, quorate_transport::NodeId::value);
        let role = if leader == node.id().value() { "master" } else { "slave" };
        let lines = [
            "# Server".to_owned(),
            format!("quorate_kv_version:{}", env!("CARGO_PKG_VERSION")),
            format!("process_id:{}", std::process::id()),
            "# Clients".to_owned(),
            format!("connected_clients:{}", self.server.connections()),
            "# Replication".to_owned(),
            format!("role:{role}"),
            format!("node:{}", node.id()),
            format!("leader:{leader}"),
            format!("term:{}", stats.term),
            format!("commit:{}", stats.commit),
            format!("applied:{}", stats.applied),
            format!("log_first:{}", stats.first),
            format!("log_last:{}", stats.last),
            "# Stats".to_owned(),
            format!("proposals_applied:{}", stats.proposals_applied),
            format!("proposals_rejected:{}", stats.proposals_rejected),
            format!("proposals_unknown:{}", stats.proposals_unknown),
            format!("entries_proposed:{}", stats.entries_proposed),
            format!("blocks_proposed:{}", stats.blocks_proposed),
            format!("reads:{}", stats.reads),
            format!("snapshots_made:{}", stats.snapshots_made),
            format!("snapshots_received:{}", stats.snapshots_received),
        ];
        Reply::Bulk((lines.join("\r\n") + "\r\n").into())
    }

    fn answer(&mut self, reply: Reply) {
        let encoded = if self.resp3 {
            encode3(&mut self.answers, &frame3(reply), false)
        } else {
            encode2(&mut self.answers, &frame2(reply), false)
        };
        if let Err(error) = encoded {
            // Nothing we answer is unencodable; a client that waits for an answer must not wait for
            // ever.
            tracing::error!(%error, "answer not encodable");
            self.closing = true;
        }
    }
}

type Commands = std::iter::Peekable<std::vec::IntoIter<Command>>;

/// The write and those right behind it that fit one entry.
fn run_of_writes(first: Op, commands: &mut Commands) -> Vec<Op> {
    let mut size = op_bytes(&first);
    let mut ops = vec![first];
    while let Some(Command::Write(op)) = commands.next_if(|next| match next {
        Command::Write(op) => {
            size += op_bytes(op);
            size <= ENTRY_BYTES
        }
        _ => false,
    }) {
        ops.push(op);
    }
    ops
}

/// The read and those right behind it.
fn run_of_reads(first: Query, commands: &mut Commands) -> Vec<Query> {
    let mut queries = vec![first];
    while let Some(Command::Read(query)) = commands.next_if(|next| matches!(next, Command::Read(_)))
    {
        queries.push(query);
    }
    queries
}

/// Roughly what an operation adds to an entry, or its answer to the answers: what returns a value
/// may return the largest there is, and so has an entry of its own.
fn op_bytes(op: &Op) -> usize {
    let returns_value = match op {
        Op::Set { get, .. } => *get,
        Op::GetDelete { .. } | Op::GetExpire { .. } => true,
        _ => false,
    };
    if returns_value {
        return super::VALUE_BYTES_MAX;
    }
    let sum = |pairs: &[(Bytes, Bytes)]| pairs.iter().map(|(k, v)| k.len() + v.len() + 16).sum();
    32 + match op {
        Op::Set { key, data, .. } | Op::Append { key, data } => key.len() + data.len(),
        Op::SetMany { pairs, .. } => sum(pairs),
        Op::Delete { keys } => keys.iter().map(|key| key.len() + 8).sum(),
        Op::Add { key, .. }
        | Op::GetDelete { key }
        | Op::GetExpire { key, .. }
        | Op::Expire { key, .. } => key.len(),
        Op::Clear => 0,
    }
}

/// Definite: nothing was written.
fn refusal(error: &ProposeError) -> String {
    match error {
        ProposeError::NoSpace => "OOM disk full".to_owned(),
        ProposeError::TooLarge { max } => {
            format!("ERR request exceeds the limit of {max} bytes")
        }
        ProposeError::Busy { .. } => format!("TRYAGAIN {error}"),
        ProposeError::Stopped => "ERR this node has stopped".to_owned(),
        _ => "TRYAGAIN no quorum".to_owned(),
    }
}

fn read_refusal(error: &ReadError) -> String {
    match error {
        ReadError::Stopped => "ERR this node has stopped".to_owned(),
        ReadError::Busy => format!("TRYAGAIN {error}"),
        _ => "TRYAGAIN no quorum".to_owned(),
    }
}

fn frame2(reply: Reply) -> Frame2 {
    match reply {
        Reply::Ok => Frame2::SimpleString(Bytes::from_static(b"OK")),
        Reply::Simple(text) => Frame2::SimpleString(text.into()),
        Reply::Error(text) => Frame2::Error(text.into()),
        Reply::Int(n) => Frame2::Integer(n),
        Reply::Bulk(data) => Frame2::BulkString(data),
        Reply::Null => Frame2::Null,
        Reply::Array(items) => Frame2::Array(items.into_iter().map(frame2).collect()),
        // RESP2 has no maps: keys and values in turn.
        Reply::Map(pairs) => {
            Frame2::Array(pairs.into_iter().flat_map(|(k, v)| [frame2(k), frame2(v)]).collect())
        }
    }
}

fn frame3(reply: Reply) -> Frame3 {
    let attributes = None;
    match reply {
        Reply::Ok => Frame3::SimpleString { data: Bytes::from_static(b"OK"), attributes },
        Reply::Simple(text) => Frame3::SimpleString { data: text.into(), attributes },
        Reply::Error(text) => Frame3::SimpleError { data: text.into(), attributes },
        Reply::Int(data) => Frame3::Number { data, attributes },
        Reply::Bulk(data) => Frame3::BlobString { data, attributes },
        Reply::Null => Frame3::Null,
        Reply::Array(items) => {
            Frame3::Array { data: items.into_iter().map(frame3).collect(), attributes }
        }
        Reply::Map(pairs) => {
            let data = pairs.into_iter().map(|(k, v)| (frame3(k), frame3(v))).collect();
            Frame3::Map { data, attributes }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_raft::BusyWhy;

    /// Definite answers never say OK, and only a stopped node or a request that is too large is
    /// final.
    #[test]
    fn refusals_say_whether_to_try_again() {
        for (error, expected) in [
            (ProposeError::NoSpace, "OOM disk full"),
            (ProposeError::NoLeader, "TRYAGAIN no quorum"),
            (ProposeError::TooLarge { max: 7 }, "ERR request exceeds the limit of 7 bytes"),
            (ProposeError::Busy { why: BusyWhy::Queue }, "TRYAGAIN busy: proposal queue"),
            (ProposeError::Stopped, "ERR this node has stopped"),
        ] {
            assert_eq!(refusal(&error), expected);
        }
    }

    /// Consecutive writes share an entry until it is large; other commands end the run.
    #[test]
    fn runs_of_writes_are_bounded() {
        let set = |bytes: usize| {
            let (key, data) = (Bytes::from_static(b"k"), Bytes::from(vec![0; bytes]));
            Command::Write(Op::Append { key, data })
        };
        let take = |commands: Vec<Command>| {
            let mut commands = commands.into_iter().peekable();
            let Some(Command::Write(first)) = commands.next() else { return (0, 0) };
            (run_of_writes(first, &mut commands).len(), commands.len())
        };
        assert_eq!(take(vec![set(1), set(1), set(1)]), (3, 0));
        assert_eq!(take(vec![set(1), Command::Answer(Reply::Ok), set(1)]), (1, 2));
        assert_eq!(take(vec![set(ENTRY_BYTES), set(1)]), (1, 1));
        assert_eq!(
            take(vec![set(ENTRY_BYTES / 2), set(ENTRY_BYTES / 4), set(ENTRY_BYTES)]),
            (2, 1)
        );
    }
}

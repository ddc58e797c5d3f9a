//! The state machine: a map of keys to values with expiry. Deterministic: time is the time stamped
//! on the command by its proposer, never a clock read here.

use crate::command::{Condition, Expiry, Op, Query, Reply, Write};
use bytes::Bytes;
use quorate_raft::{Batch, Replies, SnapshotSource, StateMachine};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write as _};
use std::sync::Arc;

/// Expired keys that one command clears away besides its own work.
const SWEEP_MAX: usize = 16;
/// Of all values that one command returns.
const ANSWER_BYTES_MAX: usize = 64 << 20;
const SNAPSHOT_MAGIC: &[u8; 8] = b"KVSNAP01";
/// No key or value of a snapshot is longer: what a corrupt length may make us allocate.
const FIELD_BYTES_MAX: u32 = 16 << 20;

/// Keys in the order of their hash, so that `SCAN` has a cursor that survives changes.
type Key = (u64, Bytes);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Value {
    data: Bytes,
    /// Milliseconds since 1970; none: never.
    expires: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Store {
    keys: BTreeMap<Key, Value>,
    /// Whatever expires, soonest first.
    expiring: BTreeSet<(u64, Key)>,
    /// The newest time a command carried: time does not go back when the leader changes.
    now: u64,
}

/// The replicated map. A snapshot shares the store with the machine; the next write then copies it.
#[derive(Debug, Default)]
pub(crate) struct Machine {
    store: Arc<Store>,
}

/// FNV-1a: fixed for ever, so that cursors mean the same on every node.
fn hash(key: &[u8]) -> u64 {
    key.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn key_of(key: &Bytes) -> Key {
    (hash(key), key.clone())
}

impl StateMachine for Machine {
    fn apply(&mut self, batch: Batch<'_>, out: &mut Replies) {
        let store = Arc::make_mut(&mut self.store);
        for entry in batch {
            let replies = match Write::decode(entry.data) {
                Ok(write) => {
                    store.advance(write.now_ms);
                    write.ops.into_iter().map(|op| store.apply(op)).collect()
                }
                // Written by a version this one does not understand: the same answer on every node.
                Err(why) => vec![Reply::Error(format!("ERR {why}"))],
            };
            out.push(Reply::encode_all(&replies));
        }
    }

    fn snapshot(&self) -> io::Result<Box<dyn SnapshotSource>> {
        let frozen = Arc::clone(&self.store);
        Ok(Box::new(move |w: &mut dyn io::Write| frozen.write_to(w)))
    }

    fn restore(&mut self, r: &mut dyn Read) -> io::Result<()> {
        self.store = Arc::new(Store::read_from(r)?);
        Ok(())
    }
}

impl Machine {
    /// Answers a query as of `now_ms`, or of the newest command if that is later.
    pub(crate) fn query(&self, query: &Query, now_ms: u64) -> Reply {
        self.store.query(query, now_ms.max(self.store.now))
    }
}

impl Store {
    /// Time goes on; some of what has expired is cleared away.
    fn advance(&mut self, now: u64) {
        self.now = self.now.max(now);
        for _ in 0..SWEEP_MAX {
            match self.expiring.first() {
                Some((at, key)) if *at <= self.now => {
                    let key = key.clone();
                    self.remove(&key);
                }
                _ => break,
            }
        }
    }

    fn live(&self, key: &Key, now: u64) -> Option<&Value> {
        self.keys.get(key).filter(|value| value.expires.is_none_or(|at| at > now))
    }

    fn get(&self, key: &Key) -> Option<&Value> {
        self.live(key, self.now)
    }

    fn put(&mut self, key: Key, data: Bytes, expires: Option<u64>) {
        self.remove(&key);
        if let Some(at) = expires {
            self.expiring.insert((at, key.clone()));
        }
        self.keys.insert(key, Value { data, expires });
    }

    fn remove(&mut self, key: &Key) -> Option<Value> {
        let value = self.keys.remove(key)?;
        if let Some(at) = value.expires {
            self.expiring.remove(&(at, key.clone()));
        }
        Some(value)
    }

    fn apply(&mut self, op: Op) -> Reply {
        match op {
            Op::Set { key, data, condition, expiry, get } => {
                self.set(&key_of(&key), data, condition, expiry, get)
            }
            Op::SetMany { pairs, only_new } => {
                let taken = pairs.iter().any(|(key, _)| self.get(&key_of(key)).is_some());
                if only_new && taken {
                    return Reply::Int(0);
                }
                pairs.into_iter().for_each(|(key, data)| self.put(key_of(&key), data, None));
                if only_new { Reply::Int(1) } else { Reply::Ok }
            }
            Op::Append { key, data } => self.append(&key_of(&key), &data),
            Op::Add { key, by } => self.add(&key_of(&key), by),
            Op::Delete { keys } => {
                let gone = |key: &Bytes| {
                    let key = key_of(key);
                    let was_live = self.get(&key).is_some();
                    self.remove(&key);
                    was_live
                };
                Reply::count(keys.iter().map(gone).filter(|live| *live).count())
            }
            Op::GetDelete { key } => {
                let key = key_of(&key);
                let data = self.get(&key).map(|v| v.data.clone());
                self.remove(&key);
                Reply::bulk(data)
            }
            Op::GetExpire { key, expiry } => {
                let key = key_of(&key);
                let Some(value) = self.get(&key).cloned() else { return Reply::Null };
                self.put(key, value.data.clone(), expiry.resolve(value.expires));
                Reply::bulk(Some(value.data))
            }
            Op::Expire { key, expiry } => {
                let key = key_of(&key);
                let Some(value) = self.get(&key).cloned() else { return Reply::Int(0) };
                let expires = expiry.resolve(value.expires);
                let persists_already = expiry == Expiry::Never && value.expires.is_none();
                self.put(key, value.data, expires);
                Reply::Int(i64::from(!persists_already))
            }
            Op::Clear => {
                *self = Self { now: self.now, ..Self::default() };
                Reply::Ok
            }
        }
    }

    fn set(
        &mut self,
        key: &Key,
        data: Bytes,
        condition: Condition,
        expiry: Expiry,
        get: bool,
    ) -> Reply {
        let before = self.get(key).cloned();
        let allowed = match condition {
            Condition::Always => true,
            Condition::IfMissing => before.is_none(),
            Condition::IfPresent => before.is_some(),
        };
        if allowed {
            let expires = expiry.resolve(before.as_ref().and_then(|v| v.expires));
            self.put(key.clone(), data, expires);
        }
        match (get, allowed) {
            (true, _) => Reply::bulk(before.map(|v| v.data)),
            (false, true) => Reply::Ok,
            (false, false) => Reply::Null,
        }
    }

    fn append(&mut self, key: &Key, data: &Bytes) -> Reply {
        let (mut joined, expires) = match self.get(key) {
            Some(value) => (value.data.to_vec(), value.expires),
            None => (Vec::new(), None),
        };
        if joined.len() + data.len() > crate::resp::VALUE_BYTES_MAX {
            return Reply::too_large("value", crate::resp::VALUE_BYTES_MAX);
        }
        joined.extend_from_slice(data);
        let len = joined.len();
        self.put(key.clone(), joined.into(), expires);
        Reply::count(len)
    }

    fn add(&mut self, key: &Key, by: i64) -> Reply {
        let (before, expires) = match self.get(key) {
            None => (0, None),
            Some(value) => match crate::command::integer(&value.data) {
                Some(n) => (n, value.expires),
                None => return Reply::not_an_integer(),
            },
        };
        let Some(sum) = before.checked_add(by) else {
            return Reply::Error("ERR increment or decrement would overflow".to_owned());
        };
        self.put(key.clone(), sum.to_string().into(), expires);
        Reply::Int(sum)
    }

    fn query(&self, query: &Query, now: u64) -> Reply {
        let get = |key: &Bytes| self.live(&key_of(key), now);
        match query {
            Query::Get { key } => Reply::bulk(get(key).map(|v| v.data.clone())),
            Query::GetMany { keys } => {
                let bytes: usize = keys.iter().filter_map(get).map(|v| v.data.len()).sum();
                if bytes > ANSWER_BYTES_MAX {
                    return Reply::too_large("answer", ANSWER_BYTES_MAX);
                }
                let values = keys.iter().map(|key| Reply::bulk(get(key).map(|v| v.data.clone())));
                Reply::Array(values.collect())
            }
            Query::Length { key } => Reply::count(get(key).map_or(0, |v| v.data.len())),
            Query::Exists { keys } => {
                Reply::count(keys.iter().filter(|k| get(k).is_some()).count())
            }
            Query::Type { key } => {
                Reply::simple(if get(key).is_some() { "string" } else { "none" })
            }
            Query::TimeToLive { key, millis } => Reply::Int(match get(key).map(|v| v.expires) {
                None => -2,
                Some(None) => -1,
                Some(Some(at)) => {
                    let left = at - now; // live, so it lies ahead
                    i64::try_from(if *millis { left } else { left.div_ceil(1_000) })
                        .unwrap_or(i64::MAX)
                }
            }),
            Query::Size => Reply::count(self.live_keys(now).count()),
            Query::Keys { pattern } => {
                let matching = self.live_keys(now).filter(|key| pattern.matches(key));
                Reply::Array(matching.map(|key| Reply::Bulk(key.clone())).collect())
            }
            Query::Scan { cursor, pattern, count, strings } => {
                self.scan(*cursor, *count, now, |key| *strings && pattern.matches(key))
            }
        }
    }

    fn live_keys(&self, now: u64) -> impl Iterator<Item = &Bytes> {
        let live = move |value: &Value| value.expires.is_none_or(|at| at > now);
        self.keys.iter().filter(move |(_, value)| live(value)).map(|((_, key), _)| key)
    }

    /// Keys whose hash is at or above the cursor. Keys of one hash are never split over two calls,
    /// so whatever is there all the time is returned.
    fn scan(&self, cursor: u64, count: usize, now: u64, wanted: impl Fn(&Bytes) -> bool) -> Reply {
        let mut found = Vec::new();
        let mut next = 0;
        let mut last_hash = None;
        let from_cursor = self.keys.range((cursor, Bytes::new())..);
        for (seen, ((hash, key), value)) in from_cursor.enumerate() {
            if seen >= count && last_hash != Some(*hash) {
                next = *hash;
                break;
            }
            last_hash = Some(*hash);
            if value.expires.is_none_or(|at| at > now) && wanted(key) {
                found.push(Reply::Bulk(key.clone()));
            }
        }
        Reply::Array(vec![Reply::Bulk(next.to_string().into()), Reply::Array(found)])
    }

    // --- snapshots: magic, time, count, then key, value, expiry, sorted; the file around it has a
    // CRC ---

    fn write_to(&self, w: &mut dyn io::Write) -> io::Result<()> {
        let mut w = io::BufWriter::new(w);
        w.write_all(SNAPSHOT_MAGIC)?;
        w.write_all(&self.now.to_le_bytes())?;
        w.write_all(&(self.keys.len() as u64).to_le_bytes())?;
        for ((_, key), value) in &self.keys {
            for field in [key, &value.data] {
                let len = u32::try_from(field.len()).map_err(io::Error::other)?;
                w.write_all(&len.to_le_bytes())?;
                w.write_all(field)?;
            }
            w.write_all(&value.expires.unwrap_or(0).to_le_bytes())?;
        }
        w.flush()
    }

    fn read_from(r: &mut dyn Read) -> io::Result<Self> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut r = io::BufReader::new(r);
        let mut magic = [0; 8];
        r.read_exact(&mut magic)?;
        if &magic != SNAPSHOT_MAGIC {
            return Err(invalid("not a snapshot of this store"));
        }
        let mut store = Self { now: read_u64(&mut r)?, ..Self::default() };
        for _ in 0..read_u64(&mut r)? {
            let (key, data) = (read_field(&mut r)?, read_field(&mut r)?);
            let expires = Some(read_u64(&mut r)?).filter(|at| *at > 0);
            store.put(key_of(&key), data, expires);
        }
        if r.read(&mut [0])? > 0 {
            return Err(invalid("trailing bytes in the snapshot"));
        }
        Ok(store)
    }
}

fn read_u64(r: &mut dyn Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    r.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn read_field(r: &mut dyn Read) -> io::Result<Bytes> {
    let mut len = [0; 4];
    r.read_exact(&mut len)?;
    let len = u32::from_le_bytes(len);
    if len > FIELD_BYTES_MAX {
        let what = format!("field of {len} bytes, limit {FIELD_BYTES_MAX}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let mut field = vec![0; len as usize];
    r.read_exact(&mut field)?;
    Ok(field.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    fn set(key: &str, expiry: Expiry) -> Op {
        let (key, data, condition) = (bytes(key), bytes("v"), Condition::Always);
        Op::Set { key, data, condition, expiry, get: false }
    }

    fn snapshot(store: &Store) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        store.write_to(&mut out)?;
        Ok(out)
    }

    #[test]
    fn a_snapshot_holds_everything_and_is_the_same_for_the_same_state() -> io::Result<()> {
        let (mut a, mut b) = (Store::default(), Store::default());
        let ops = [set("x", Expiry::Never), set("y", Expiry::At(50)), set("z", Expiry::At(9))];
        for op in &ops {
            a.apply(op.clone());
        }
        for op in ops.iter().rev() {
            b.apply(op.clone());
        }
        assert_eq!(snapshot(&a)?, snapshot(&b)?);
        let restored = Store::read_from(&mut &snapshot(&a)?[..])?;
        assert_eq!((restored.keys, restored.expiring), (a.keys, a.expiring));
        Ok(())
    }

    #[test]
    fn a_damaged_snapshot_is_refused_without_a_large_allocation() -> io::Result<()> {
        let mut store = Store::default();
        store.apply(set("key", Expiry::At(7)));
        let whole = snapshot(&store)?;
        for len in 0..whole.len() {
            assert!(Store::read_from(&mut &whole[..len]).is_err(), "cut to {len} bytes");
        }
        let mut trailing = whole.clone();
        trailing.push(0);
        assert!(Store::read_from(&mut &trailing[..]).is_err());
        let mut huge = whole;
        huge[24..28].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Store::read_from(&mut &huge[..]).is_err());
        Ok(())
    }

    /// Time comes with the command, and does not go back with a command of a slower clock.
    #[test]
    fn expiry_follows_stamped_time_only() {
        let mut store = Store::default();
        store.advance(100);
        store.apply(set("k", Expiry::At(150)));
        store.advance(149);
        assert_eq!(store.apply(Op::GetDelete { key: bytes("k") }), Reply::Bulk(bytes("v")));
        store.apply(set("k", Expiry::At(150)));
        store.advance(150);
        store.advance(120);
        assert_eq!(store.apply(Op::GetDelete { key: bytes("k") }), Reply::Null);
        assert!(store.keys.is_empty() && store.expiring.is_empty(), "swept");
    }
}

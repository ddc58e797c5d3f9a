//! From arguments to commands.

use super::{Condition, Expiry, Op, Pattern, Query, Reply, integer};
use crate::resp::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use bytes::Bytes;

/// A command and how it is carried out.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// Through the log.
    Write(Op),
    /// From the state, as fresh as the connection demands.
    Read(Query),
    /// By the connection itself.
    Client(Client),
    /// An answer right away: an error, or something constant.
    Answer(Reply),
}

/// What concerns only the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Hello { version: Option<u8>, name: Option<Bytes> },
    SetName(Bytes),
    GetName,
    Id,
    ReadOnly(bool),
    Wait { voters: u32, millis: u64 },
    Info,
    Reset,
    Quit,
}

type Parsed = Result<Command, Reply>;

/// The command that these arguments are; the first is its name. `now_ms` turns relative expiry into
/// absolute.
pub(crate) fn parse(args: &[Bytes], now_ms: u64) -> Command {
    let Some((name, rest)) = args.split_first() else { return Command::Answer(Reply::syntax()) };
    let upper = String::from_utf8_lossy(name).to_ascii_uppercase();
    let parser = Parser { name: upper.to_ascii_lowercase(), args: rest, now_ms };
    parser
        .sizes()
        .and_then(|()| parser.data(&upper).unwrap_or_else(|| parser.other(&upper, name)))
        .unwrap_or_else(Command::Answer)
}

struct Parser<'a> {
    name: String,
    args: &'a [Bytes],
    now_ms: u64,
}

impl Parser<'_> {
    /// The first argument is a key almost everywhere; whatever is not may be a value.
    fn sizes(&self) -> Result<(), Reply> {
        if self.args.iter().any(|arg| arg.len() > VALUE_BYTES_MAX) {
            return Err(Reply::too_large("value", VALUE_BYTES_MAX));
        }
        let keys = match self.name.as_str() {
            "mset" | "msetnx" => self.args.iter().step_by(2).collect::<Vec<_>>(),
            "mget" | "del" | "unlink" | "exists" => self.args.iter().collect(),
            "echo" | "ping" => Vec::new(),
            _ => self.args.iter().take(1).collect(),
        };
        if keys.iter().any(|key| key.len() > KEY_BYTES_MAX) {
            return Err(Reply::too_large("key", KEY_BYTES_MAX));
        }
        Ok(())
    }

    fn arity(&self) -> Reply {
        Reply::Error(format!("ERR wrong number of arguments for '{}' command", self.name))
    }

    fn exactly<const N: usize>(&self) -> Result<[Bytes; N], Reply> {
        self.args.to_vec().try_into().map_err(|_| self.arity())
    }

    fn some(&self) -> Result<Vec<Bytes>, Reply> {
        if self.args.is_empty() { Err(self.arity()) } else { Ok(self.args.to_vec()) }
    }

    /// Commands about keys; `None` if it is none of them.
    fn data(&self, upper: &str) -> Option<Parsed> {
        Some(match upper {
            "GET" => self.exactly().map(|[key]| read(Query::Get { key })),
            "MGET" => self.some().map(|keys| read(Query::GetMany { keys })),
            "STRLEN" => self.exactly().map(|[key]| read(Query::Length { key })),
            "EXISTS" => self.some().map(|keys| read(Query::Exists { keys })),
            "TYPE" => self.exactly().map(|[key]| read(Query::Type { key })),
            "TTL" | "PTTL" => {
                let millis = upper == "PTTL";
                self.exactly().map(|[key]| read(Query::TimeToLive { key, millis }))
            }
            "DBSIZE" => self.exactly().map(|[]| read(Query::Size)),
            "KEYS" => self.exactly().map(|[p]| read(Query::Keys { pattern: Pattern::new(p) })),
            "SCAN" => self.scan(),
            "SET" => self.set(),
            "SETNX" => self
                .exactly()
                .map(|[key, data]| write(Op::SetMany { pairs: vec![(key, data)], only_new: true })),
            "SETEX" | "PSETEX" => self.set_expiring(upper == "PSETEX"),
            "GETSET" => self.exactly().map(|[key, data]| {
                let (condition, expiry) = (Condition::Always, Expiry::Never);
                write(Op::Set { key, data, condition, expiry, get: true })
            }),
            "GETDEL" => self.exactly().map(|[key]| write(Op::GetDelete { key })),
            "GETEX" => self.get_expiring(),
            "MSET" | "MSETNX" => self.set_many(upper == "MSETNX"),
            "APPEND" => self.exactly().map(|[key, data]| write(Op::Append { key, data })),
            "INCR" => self.exactly().map(|[key]| write(Op::Add { key, by: 1 })),
            "DECR" => self.exactly().map(|[key]| write(Op::Add { key, by: -1 })),
            "INCRBY" => self.add(false),
            "DECRBY" => self.add(true),
            "DEL" | "UNLINK" => self.some().map(|keys| write(Op::Delete { keys })),
            "EXPIRE" | "PEXPIRE" => self.expire(upper == "PEXPIRE"),
            "PERSIST" => {
                self.exactly().map(|[key]| write(Op::Expire { key, expiry: Expiry::Never }))
            }
            "FLUSHALL" => Ok(write(Op::Clear)),
            _ => return None,
        })
    }

    /// Commands about the connection and the server.
    fn other(&self, upper: &str, name: &Bytes) -> Parsed {
        let client = |c| Ok(Command::Client(c));
        match upper {
            "PING" => match self.args {
                [] => answer(Reply::simple("PONG")),
                [text] => answer(Reply::Bulk(text.clone())),
                _ => Err(self.arity()),
            },
            "ECHO" => self.exactly().map(|[text]| Command::Answer(Reply::Bulk(text))),
            "HELLO" => self.hello(),
            "SELECT" => match self.exactly()? {
                [db] if integer(&db) == Some(0) => answer(Reply::Ok),
                [db] if integer(&db).is_some() => {
                    Err(Reply::Error("ERR DB index is out of range".to_owned()))
                }
                [_] => Err(Reply::not_an_integer()),
            },
            "CLIENT" => self.client(),
            "COMMAND" => answer(match self.args.first().map(|sub| sub.to_ascii_uppercase()) {
                Some(sub) if sub == b"COUNT" => Reply::Int(0),
                Some(sub) if sub == b"DOCS" => Reply::Map(Vec::new()),
                _ => Reply::Array(Vec::new()),
            }),
            "CONFIG" => match self.args {
                [sub, patterns @ ..]
                    if sub.eq_ignore_ascii_case(b"GET") && !patterns.is_empty() =>
                {
                    answer(settings(patterns))
                }
                _ => Err(self.unknown(name)),
            },
            "INFO" => client(Client::Info),
            "TIME" => {
                let (seconds, micros) = (self.now_ms / 1_000, self.now_ms % 1_000 * 1_000);
                let fields = [seconds, micros].map(|n| Reply::text(&n.to_string()));
                answer(Reply::Array(fields.to_vec()))
            }
            "WAIT" => {
                let [voters, millis] = self.exactly()?;
                let number = |text: &Bytes| integer(text).and_then(|n| u64::try_from(n).ok());
                let (voters, millis) = (number(&voters), number(&millis));
                let (Some(voters), Some(millis)) = (voters, millis) else {
                    return Err(Reply::not_an_integer());
                };
                client(Client::Wait { voters: voters.try_into().unwrap_or(u32::MAX), millis })
            }
            "READONLY" => client(Client::ReadOnly(true)),
            "READWRITE" => client(Client::ReadOnly(false)),
            "RESET" => client(Client::Reset),
            "QUIT" => client(Client::Quit),
            _ => Err(self.unknown(name)),
        }
    }

    /// As Redis words it.
    fn unknown(&self, name: &Bytes) -> Reply {
        let shorten = |arg: &Bytes| {
            String::from_utf8_lossy(&arg[..arg.len().min(128)]).replace(['\r', '\n'], " ")
        };
        let args: String =
            self.args.iter().take(8).map(|arg| format!("'{}' ", shorten(arg))).collect();
        let name = shorten(name);
        Reply::Error(format!("ERR unknown command '{name}', with args beginning with: {args}"))
    }

    fn hello(&self) -> Parsed {
        let (mut version, mut name) = (None, None);
        let mut rest = self.args;
        if let [first, tail @ ..] = rest {
            let Some(wanted @ (2 | 3)) = integer(first) else {
                return Err(Reply::Error("NOPROTO unsupported protocol version".to_owned()));
            };
            version = u8::try_from(wanted).ok();
            rest = tail;
        }
        while let [option, tail @ ..] = rest {
            match (option.to_ascii_uppercase().as_slice(), tail) {
                (b"SETNAME", [given, tail @ ..]) if is_name(given) => {
                    name = Some(given.clone());
                    rest = tail;
                }
                // There are no users to authenticate.
                (b"AUTH", [_, _, ..]) => {
                    let text = "ERR AUTH called without any password configured";
                    return Err(Reply::Error(text.to_owned()));
                }
                _ => return Err(Reply::syntax()),
            }
        }
        Ok(Command::Client(Client::Hello { version, name }))
    }

    fn client(&self) -> Parsed {
        let sub = self.args.first().ok_or_else(|| self.arity())?.to_ascii_uppercase();
        match (sub.as_slice(), &self.args[1..]) {
            (b"SETNAME", [name]) if is_name(name) => {
                Ok(Command::Client(Client::SetName(name.clone())))
            }
            (b"SETNAME", [_]) => Err(Reply::Error(
                "ERR Client names cannot contain spaces, newlines or special characters."
                    .to_owned(),
            )),
            (b"GETNAME", []) => Ok(Command::Client(Client::GetName)),
            (b"ID", []) => Ok(Command::Client(Client::Id)),
            (b"SETINFO", [_, _]) => answer(Reply::Ok),
            _ => Err(Reply::Error(format!(
                "ERR unknown subcommand or wrong number of arguments for '{}'",
                String::from_utf8_lossy(&sub).to_ascii_lowercase()
            ))),
        }
    }

    fn scan(&self) -> Parsed {
        let (cursor, mut rest) = self.args.split_first().ok_or_else(|| self.arity())?;
        let number =
            |text: &Bytes| std::str::from_utf8(text).ok().and_then(|t| t.parse::<u64>().ok());
        let invalid = || Reply::Error("ERR invalid cursor".to_owned());
        let cursor = number(cursor).ok_or_else(invalid)?;
        let (mut pattern, mut count, mut strings) = (Pattern::any(), 10, true);
        while let [option, value, tail @ ..] = rest {
            match option.to_ascii_uppercase().as_slice() {
                b"MATCH" => pattern = Pattern::new(value.clone()),
                b"COUNT" => {
                    let n = number(value).ok_or_else(Reply::not_an_integer)?;
                    count = usize::try_from(n).unwrap_or(usize::MAX).max(1);
                }
                b"TYPE" => strings = value.eq_ignore_ascii_case(b"string"),
                _ => return Err(Reply::syntax()),
            }
            rest = tail;
        }
        if rest.is_empty() {
            Ok(read(Query::Scan { cursor, pattern, count, strings }))
        } else {
            Err(Reply::syntax())
        }
    }

    fn set(&self) -> Parsed {
        let [key, data, options @ ..] = self.args else { return Err(self.arity()) };
        let (mut condition, mut expiry, mut get) = (Condition::Always, None, false);
        let mut rest = options;
        while let [option, tail @ ..] = rest {
            rest = tail;
            let option = option.to_ascii_uppercase();
            match (option.as_slice(), tail) {
                (b"NX", _) if condition == Condition::Always => condition = Condition::IfMissing,
                (b"XX", _) if condition == Condition::Always => condition = Condition::IfPresent,
                (b"GET", _) => get = true,
                (b"KEEPTTL", _) if expiry.is_none() => expiry = Some(Expiry::Keep),
                (unit @ (b"EX" | b"PX" | b"EXAT" | b"PXAT"), [amount, tail @ ..])
                    if expiry.is_none() =>
                {
                    expiry = Some(self.expiry(unit, amount)?);
                    rest = tail;
                }
                _ => return Err(Reply::syntax()),
            }
        }
        let (key, data) = (key.clone(), data.clone());
        Ok(write(Op::Set { key, data, condition, expiry: expiry.unwrap_or(Expiry::Never), get }))
    }

    fn set_expiring(&self, millis: bool) -> Parsed {
        let [key, amount, data] = self.exactly()?;
        let expiry = self.expiry(if millis { b"PX" } else { b"EX" }, &amount)?;
        Ok(write(Op::Set { key, data, condition: Condition::Always, expiry, get: false }))
    }

    fn get_expiring(&self) -> Parsed {
        let (key, options) = self.args.split_first().ok_or_else(|| self.arity())?;
        let option = options.first().map(|o| o.to_ascii_uppercase());
        let expiry = match (option.as_deref(), options) {
            (None, _) => return Ok(read(Query::Get { key: key.clone() })),
            (Some(b"PERSIST"), [_]) => Expiry::Never,
            (Some(unit @ (b"EX" | b"PX" | b"EXAT" | b"PXAT")), [_, amount]) => {
                self.expiry(unit, amount)?
            }
            _ => return Err(Reply::syntax()),
        };
        Ok(write(Op::GetExpire { key: key.clone(), expiry }))
    }

    fn set_many(&self, only_new: bool) -> Parsed {
        if self.args.is_empty() || !self.args.len().is_multiple_of(2) {
            return Err(self.arity());
        }
        let pairs = self.args.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        Ok(write(Op::SetMany { pairs, only_new }))
    }

    fn add(&self, negate: bool) -> Parsed {
        let [key, by] = self.exactly()?;
        let by = integer(&by).ok_or_else(Reply::not_an_integer)?;
        let overflow = || Reply::Error("ERR decrement would overflow".to_owned());
        let by = if negate { by.checked_neg().ok_or_else(overflow)? } else { by };
        Ok(write(Op::Add { key, by }))
    }

    fn expire(&self, millis: bool) -> Parsed {
        let [key, amount] = self.exactly()?;
        let amount = integer(&amount).ok_or_else(Reply::not_an_integer)?;
        let scale = if millis { 1 } else { 1_000 };
        let at = amount.checked_mul(scale).and_then(|d| d.checked_add_unsigned(self.now_ms));
        match at.map(u64::try_from) {
            // In the past: the key goes.
            Some(Err(_)) => Ok(write(Op::Expire { key, expiry: Expiry::At(0) })),
            Some(Ok(at)) => Ok(write(Op::Expire { key, expiry: Expiry::At(at) })),
            None => Err(self.invalid_expiry()),
        }
    }

    fn invalid_expiry(&self) -> Reply {
        Reply::Error(format!("ERR invalid expire time in '{}' command", self.name))
    }

    /// A positive amount of this unit, as an absolute time.
    fn expiry(&self, unit: &[u8], amount: &Bytes) -> Result<Expiry, Reply> {
        let amount = integer(amount).ok_or_else(Reply::not_an_integer)?;
        let scale = if unit.starts_with(b"E") { 1_000 } else { 1 };
        let base = if unit.ends_with(b"AT") { 0 } else { self.now_ms };
        let amount = u64::try_from(amount).ok().filter(|n| *n > 0);
        let at = amount.and_then(|n| n.checked_mul(scale)).and_then(|n| n.checked_add(base));
        at.filter(|ms| i64::try_from(*ms).is_ok())
            .map(Expiry::At)
            .ok_or_else(|| self.invalid_expiry())
    }
}

/// The few settings that tools ask for: every write is durable, there are no dumps by time.
fn settings(patterns: &[Bytes]) -> Reply {
    let known = [("appendonly", "yes"), ("save", "")];
    let wanted =
        |name: &str| patterns.iter().any(|p| Pattern::new(p.clone()).matches(name.as_bytes()));
    let pairs = known.iter().filter(|(name, _)| wanted(name));
    Reply::Map(pairs.map(|(name, value)| (Reply::text(name), Reply::text(value))).collect())
}

/// No blanks, no control characters, as Redis has it; and short.
fn is_name(name: &[u8]) -> bool {
    name.len() <= 256 && name.iter().all(|b| (b'!'..=b'~').contains(b))
}

const fn write(op: Op) -> Command {
    Command::Write(op)
}

const fn read(query: Query) -> Command {
    Command::Read(query)
}

const fn answer(reply: Reply) -> Parsed {
    Ok(Command::Answer(reply))
}

//! The six services once more, as things that run: written apart from the models of the crate.

use std::fmt::Debug;

use quorate_sim::specs::{
    CasRegister, Counter, CounterOp, CounterRet, FencedLock, Kv, KvOp, KvRet, LockOp, LockRet,
    Queue, QueueOp, QueueRet, RegisterOp, RegisterRet, Set, SetOp, SetRet,
};
use quorate_sim::{Form, Rng, Spec};

/// What the specification of a service asks for.
pub(crate) type Op<M> = <<M as Model>::Spec as Spec>::Op;
/// What it answers.
pub(crate) type Ret<M> = <<M as Model>::Spec as Spec>::Ret;

/// A service that runs.
pub(crate) trait Model: Clone + Default + Debug {
    /// The specification under test.
    type Spec: Spec<Op: Form<Ret = Ret<Self>>, Ret: PartialEq> + Default;

    /// Does it, and answers; `None` if it cannot be done now.
    fn run(&mut self, op: &Op<Self>) -> Option<Ret<Self>>;

    /// Does it, if this may be the answer.
    fn accepts(&mut self, op: &Op<Self>, ret: Option<&Ret<Self>>) -> bool {
        match (self.run(op), ret) {
            (Some(found), Some(ret)) => found == *ret,
            (found, _) => found.is_some(),
        }
    }

    /// Something to ask for.
    fn ask(rng: &mut Rng, process: u64) -> Op<Self>;

    /// Some answer to it.
    fn lie(rng: &mut Rng, op: &Op<Self>) -> Ret<Self>;
}

fn small(rng: &mut Rng) -> i64 {
    rng.below(3).cast_signed()
}

fn perhaps(rng: &mut Rng) -> Option<i64> {
    rng.flip().then(|| small(rng))
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Register(Option<i64>);

impl Model for Register {
    type Spec = CasRegister;

    fn run(&mut self, op: &RegisterOp) -> Option<RegisterRet> {
        Some(match op {
            RegisterOp::Read => RegisterRet::Value(self.0),
            RegisterOp::Write(value) => {
                self.0 = Some(*value);
                RegisterRet::Written
            }
            RegisterOp::Cas { expected, new } => {
                let equal = self.0 == Some(*expected);
                self.0 = if equal { Some(*new) } else { self.0 };
                RegisterRet::Swapped(equal)
            }
        })
    }

    fn ask(rng: &mut Rng, _: u64) -> RegisterOp {
        match rng.below(3) {
            0 => RegisterOp::Write(small(rng)),
            1 => RegisterOp::Cas { expected: small(rng), new: small(rng) },
            _ => RegisterOp::Read,
        }
    }

    fn lie(rng: &mut Rng, op: &RegisterOp) -> RegisterRet {
        match op {
            RegisterOp::Read => RegisterRet::Value(perhaps(rng)),
            RegisterOp::Write(_) => RegisterRet::Written,
            RegisterOp::Cas { .. } => RegisterRet::Swapped(rng.flip()),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Map([Register; 2]);

impl Map {
    fn plain(op: &KvOp) -> Option<RegisterOp> {
        match *op {
            KvOp::Read { .. } => Some(RegisterOp::Read),
            KvOp::Write { value, .. } => Some(RegisterOp::Write(value)),
            KvOp::Cas { expected, new, .. } => Some(RegisterOp::Cas { expected, new }),
            KvOp::Delete { .. } => None,
        }
    }
}

impl Model for Map {
    type Spec = Kv;

    fn run(&mut self, op: &KvOp) -> Option<KvRet> {
        let register = &mut self.0[usize::from(op.key() == "y")];
        let Some(op) = Self::plain(op) else {
            *register = Register(None);
            return Some(KvRet::Done);
        };
        register.run(&op).map(|ret| match ret {
            RegisterRet::Value(value) => KvRet::Value(value),
            RegisterRet::Written => KvRet::Done,
            RegisterRet::Swapped(yes) => KvRet::Swapped(yes),
        })
    }

    fn ask(rng: &mut Rng, _: u64) -> KvOp {
        let key = if rng.flip() { "x" } else { "y" };
        match rng.below(5) {
            0 => KvOp::write(key, small(rng)),
            1 => KvOp::cas(key, small(rng), small(rng)),
            2 => KvOp::delete(key),
            _ => KvOp::read(key),
        }
    }

    fn lie(rng: &mut Rng, op: &KvOp) -> KvRet {
        match op {
            KvOp::Read { .. } => KvRet::Value(perhaps(rng)),
            KvOp::Cas { .. } => KvRet::Swapped(rng.flip()),
            _ => KvRet::Done,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Sum(i64);

impl Model for Sum {
    type Spec = Counter;

    fn run(&mut self, op: &CounterOp) -> Option<CounterRet> {
        Some(match op {
            CounterOp::Add(n) => {
                self.0 += n;
                CounterRet::Added
            }
            CounterOp::Read => CounterRet::Value(self.0),
        })
    }

    fn ask(rng: &mut Rng, _: u64) -> CounterOp {
        if rng.flip() { CounterOp::Read } else { CounterOp::Add(small(rng) - 1) }
    }

    fn lie(rng: &mut Rng, op: &CounterOp) -> CounterRet {
        match op {
            CounterOp::Add(_) => CounterRet::Added,
            CounterOp::Read => CounterRet::Value(small(rng) - 1),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Lock {
    holders: Vec<u64>,
    fences: Vec<u64>,
}

impl Model for Lock {
    type Spec = FencedLock;

    fn run(&mut self, op: &LockOp) -> Option<LockRet> {
        match *op {
            LockOp::Acquire { client } if self.holders.is_empty() => {
                self.holders.push(client);
                self.fences.push(self.fences.last().map_or(3, |fence| fence + 1));
                Some(LockRet::Acquired(self.fences.last().copied()))
            }
            LockOp::Release { client } if self.holders.contains(&client) => {
                self.holders.clear();
                Some(LockRet::Released)
            }
            _ => None,
        }
    }

    /// Any fence will do that was not passed; one that nobody heard used up a number, if the
    /// lock was seen to have fences.
    fn accepts(&mut self, op: &LockOp, ret: Option<&LockRet>) -> bool {
        let fences = self.fences.clone();
        let possible = self.run(op).is_some();
        let LockOp::Acquire { .. } = op else { return possible };
        let heard = match ret {
            Some(LockRet::Acquired(fence)) => *fence,
            _ => fences.last().map(|fence| fence + 1),
        };
        let rises = heard.is_none_or(|heard| fences.iter().all(|fence| *fence < heard));
        self.fences = fences.into_iter().chain(heard).collect();
        possible && rises
    }

    fn ask(rng: &mut Rng, process: u64) -> LockOp {
        if rng.chance(600_000) {
            LockOp::Acquire { client: process }
        } else {
            LockOp::Release { client: process }
        }
    }

    fn lie(rng: &mut Rng, op: &LockOp) -> LockRet {
        match op {
            LockOp::Acquire { .. } => LockRet::Acquired(rng.flip().then(|| 2 + rng.below(4))),
            LockOp::Release { .. } => LockRet::Released,
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Line(Vec<i64>);

impl Model for Line {
    type Spec = Queue;

    fn run(&mut self, op: &QueueOp) -> Option<QueueRet> {
        Some(match op {
            QueueOp::Enqueue(value) => {
                self.0.push(*value);
                QueueRet::Enqueued
            }
            QueueOp::Dequeue if self.0.is_empty() => QueueRet::Dequeued(None),
            QueueOp::Dequeue => QueueRet::Dequeued(Some(self.0.remove(0))),
        })
    }

    fn ask(rng: &mut Rng, _: u64) -> QueueOp {
        if rng.flip() { QueueOp::Dequeue } else { QueueOp::Enqueue(small(rng)) }
    }

    fn lie(rng: &mut Rng, op: &QueueOp) -> QueueRet {
        match op {
            QueueOp::Enqueue(_) => QueueRet::Enqueued,
            QueueOp::Dequeue => QueueRet::Dequeued(perhaps(rng)),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Bits(u64);

impl Bits {
    fn elements(bits: u64) -> SetRet {
        SetRet::Elements((0..64).filter(|bit| bits >> bit & 1 == 1).collect())
    }
}

impl Model for Bits {
    type Spec = Set;

    fn run(&mut self, op: &SetOp) -> Option<SetRet> {
        Some(match op {
            SetOp::Add(value) => {
                self.0 |= 1 << value;
                SetRet::Added
            }
            SetOp::Read => Self::elements(self.0),
        })
    }

    fn ask(rng: &mut Rng, _: u64) -> SetOp {
        if rng.flip() { SetOp::Read } else { SetOp::Add(small(rng)) }
    }

    fn lie(rng: &mut Rng, op: &SetOp) -> SetRet {
        match op {
            SetOp::Add(_) => SetRet::Added,
            SetOp::Read => Self::elements(rng.below(8)),
        }
    }
}

//! [`ClosedLoop`]: a client that asks one thing at a time and writes down what it is told.

use crate::{
    Bytes, CallError, CallToken, ChannelId, Ctx, Lane, Monotonic, Node, NodeId, OpId, Peer,
    Recorder, Rng,
};
use std::time::Duration;

/// What an answer means for the history.
///
/// # Examples
/// See [`ClientWork`].
/// ```
/// use quorate_sim::Answer;
/// assert_ne!(Answer::Ok(1), Answer::Unknown);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer<R> {
    /// It was done, with this result.
    Ok(R),
    /// It was certainly not done, and never will be.
    Failed,
    /// It may have been done, or may still be. // H11
    Unknown,
    /// It was certainly not done; that node may do it.
    Redirect(NodeId),
}

/// What a client asks for, and how it reads the answers.
///
/// # Examples
/// ```
/// use quorate_sim::specs::{RegisterOp, RegisterRet};
/// use quorate_sim::*;
///
/// /// Reads a register, over and over.
/// struct Reads;
/// impl ClientWork for Reads {
///     type Op = RegisterOp;
///     type Ret = RegisterRet;
///     fn servers(&self, _: &RegisterOp) -> Vec<NodeId> {
///         vec![NodeId::new(1)]
///     }
///     fn next(&mut self, _: &mut Rng) -> RegisterOp {
///         RegisterOp::Read
///     }
///     fn request(&mut self, _: &RegisterOp) -> Bytes {
///         Bytes::from_static(b"read")
///     }
///     fn read(&mut self, _: &RegisterOp, body: &Bytes) -> RegisterRet {
///         RegisterRet::Value(body.first().map(|byte| i64::from(*byte)))
///     }
/// }
/// # let _ = Reads;
/// ```
pub trait ClientWork: 'static {
    /// What is asked for.
    type Op: Clone + 'static;
    /// What is answered.
    type Ret: Clone + 'static;

    /// The next operation.
    fn next(&mut self, rng: &mut Rng) -> Self::Op;

    /// Who can be asked for it: one of them by chance.
    fn servers(&self, op: &Self::Op) -> Vec<NodeId>;

    /// It as the body of a call.
    fn request(&mut self, op: &Self::Op) -> Bytes;

    /// The body of an answer.
    fn read(&mut self, op: &Self::Op, body: &Bytes) -> Self::Ret;

    /// What the outcome of the call means. By default every answer is one, a call that was
    /// certainly not executed has failed, and of any other nothing is known.
    fn classify(&mut self, op: &Self::Op, answer: &Result<Bytes, CallError>) -> Answer<Self::Ret> {
        match answer {
            Ok(body) => Answer::Ok(self.read(op, body)),
            Err(error) if error.is_definite() => Answer::Failed,
            Err(_) => Answer::Unknown, // H11
        }
    }

    /// The channel of the calls.
    fn channel(&self) -> ChannelId {
        ChannelId::new(16)
    }

    /// How long the client waits for an answer.
    fn deadline(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// How long it rests between two operations, on average.
    fn think(&self) -> Duration {
        Duration::from_millis(50)
    }
}

/// A client with one outstanding operation, for [`Sim::add_client`](crate::Sim::add_client).
///
/// # Shape
/// Each operation is one process of the history until its outcome is unknown; then the client goes
/// on as another process, as the first may still take effect.
///
/// # Examples
/// See [`ClientWork`].
/// ```
/// use quorate_sim::{ClientWork, ClosedLoop, Recorder, Sim, NodeId};
/// fn add<W: ClientWork + Clone>(sim: &mut Sim, work: W, recorder: Recorder<W::Op, W::Ret>) {
///     sim.add_client(NodeId::new(101), move |ctx| {
///         ClosedLoop::new(ctx, work.clone(), recorder.clone())
///     });
/// }
/// ```
#[derive(Debug)]
pub struct ClosedLoop<W: ClientWork> {
    work: W,
    recorder: Recorder<W::Op, W::Ret>,
    rng: Rng,
    /// Client number and lives of it, so that no process of a history is used twice.
    process: u64,
    open: Option<Open<W::Op>>,
    next: Option<Monotonic>,
    begun: u64,
    finished: u64,
}

#[derive(Debug)]
struct Open<O> {
    id: OpId,
    op: O,
    call: CallToken,
    redirects: u32,
}

/// Redirects of one operation: servers that send a client round in circles are no answer.
const REDIRECTS_MAX: u32 = 8;
/// Processes of one client in a history.
const PROCESSES: u64 = 1_000_000;

impl<W: ClientWork> ClosedLoop<W> {
    /// A client that begins at once.
    pub fn new(ctx: &mut Ctx<'_>, work: W, recorder: Recorder<W::Op, W::Ret>) -> Self {
        let seed = ctx.seed();
        let now = ctx.now();
        Self {
            work,
            recorder,
            rng: Rng::stream(seed, "work", ctx.id().value(), 0),
            process: ctx.id().value().wrapping_mul(PROCESSES),
            open: None,
            next: Some(now),
            begun: 0,
            finished: 0,
        }
    }

    /// Operations that were answered.
    #[must_use]
    pub const fn finished(&self) -> u64 {
        self.finished
    }

    /// Begins no further operation.
    pub const fn stop(&mut self) {
        self.next = None;
    }

    /// Whether an operation is under way.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        self.open.is_some()
    }

    fn begin(&mut self, ctx: &mut Ctx<'_>) {
        if !ctx.may_begin(self.begun) {
            return self.stop();
        }
        let op = self.work.next(&mut self.rng);
        let servers = self.work.servers(&op);
        let Some(to) = self.rng.pick(&servers).copied() else { return self.stop() };
        self.begun += 1;
        let id = self.recorder.invoke(ctx.true_time(), self.process, op.clone());
        let call = self.ask(ctx, to, &op);
        self.open = Some(Open { id, op, call, redirects: 0 });
        self.next = None;
    }

    fn ask(&mut self, ctx: &mut Ctx<'_>, to: NodeId, op: &W::Op) -> CallToken {
        let body = self.work.request(op);
        ctx.call(to, Lane::Data, self.work.channel(), body, self.work.deadline())
    }

    fn rest(&mut self, ctx: &mut Ctx<'_>) {
        let think = u64::try_from(self.work.think().as_nanos()).unwrap_or(u64::MAX);
        let wait = Duration::from_nanos(self.rng.exponential(think));
        self.next = Some(ctx.now().saturating_add(wait));
    }
}

impl<W: ClientWork> Node for ClosedLoop<W> {
    fn on_message(&mut self, _: &mut Ctx<'_>, _: Peer, _: Lane, _: ChannelId, _: Bytes) {}

    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        if self.open.is_none() && self.next.is_some() {
            self.begin(ctx);
        }
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        self.next
    }

    fn on_reply(&mut self, ctx: &mut Ctx<'_>, call: CallToken, result: Result<Bytes, CallError>) {
        let Some(mut open) = self.open.take_if(|open| open.call == call) else { return };
        let at = ctx.true_time();
        match self.work.classify(&open.op, &result) {
            Answer::Ok(ret) => {
                self.recorder.ok(open.id, at, ret);
                self.finished += 1;
            }
            Answer::Redirect(to) if open.redirects < REDIRECTS_MAX => {
                open.redirects += 1;
                open.call = self.ask(ctx, to, &open.op);
                self.open = Some(open);
                return;
            }
            Answer::Failed | Answer::Redirect(_) => self.recorder.fail(open.id, at),
            Answer::Unknown => {
                self.recorder.unknown(open.id, at);
                self.process += 1;
            }
        }
        self.rest(ctx);
    }
}

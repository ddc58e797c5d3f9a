//! A lock that answers with fences.

use crate::history::form::{Fields, Form, Value};
use crate::history::lines::repeated;
use crate::linearizable::Spec;

/// A lock that one client at a time holds; each acquisition may come with a fence, a number that
/// is greater than all before. Without fences it is a plain mutex.
///
/// A hold that may have run out by itself is recorded as a release of unknown outcome, invoked
/// when it may first have run out.
///
/// # Examples
/// ```
/// use quorate_sim::{Spec, specs::{FencedLock, LockOp, LockRet}};
///
/// let free = FencedLock.initial();
/// let (first, second) = (LockOp::Acquire { client: 1 }, LockOp::Acquire { client: 2 });
/// let held = FencedLock.apply(&free, &first, Some(&LockRet::Acquired(Some(7)))).expect("free");
/// assert_eq!(FencedLock.apply(&held, &second, Some(&LockRet::Acquired(Some(8)))), None);
/// let free = FencedLock.apply(&held, &LockOp::Release { client: 1 }, None).expect("held");
/// // A fence that is not greater is no fence.
/// assert_eq!(FencedLock.apply(&free, &second, Some(&LockRet::Acquired(Some(7)))), None);
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a model without settings is named by its type")]
pub struct FencedLock;

/// What a lock is asked for.
///
/// # Examples
/// ```
/// use quorate_sim::specs::LockOp;
/// assert_ne!(LockOp::Acquire { client: 1 }, LockOp::Acquire { client: 2 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the operations are the model")]
pub enum LockOp {
    /// Let this client hold it.
    Acquire {
        /// Who asks; in files the process.
        client: u64,
    },
    /// This client gives it back.
    Release {
        /// Who holds it; in files the process.
        client: u64,
    },
}

/// What a lock answers.
///
/// # Examples
/// ```
/// use quorate_sim::specs::LockRet;
/// assert_ne!(LockRet::Acquired(None), LockRet::Acquired(Some(0)), "a mutex has no fences");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the answers are the model")]
pub enum LockRet {
    /// To an acquire: it is held, with this fence, if the lock has any.
    Acquired(Option<u64>),
    /// To a release: it was held, and is free.
    Released,
}

/// Who holds a lock, and which fences are used up.
///
/// # Examples
/// ```
/// use quorate_sim::{Spec, specs::FencedLock};
/// let free = FencedLock.initial();
/// assert_eq!((free.holder, free.fence), (None, None));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct LockState {
    /// Who holds it.
    pub holder: Option<u64>,
    /// The next fence is greater than this.
    pub fence: Option<u64>,
}

impl Spec for FencedLock {
    type State = LockState;
    type Op = LockOp;
    type Ret = LockRet;

    fn initial(&self) -> LockState {
        LockState::default()
    }

    fn apply(&self, state: &LockState, op: &LockOp, ret: Option<&LockRet>) -> Option<LockState> {
        match *op {
            LockOp::Acquire { client } => {
                let fence = match ret {
                    None => unheard(state.fence),
                    Some(LockRet::Acquired(None)) => state.fence,
                    Some(LockRet::Acquired(fence)) if *fence > state.fence => *fence,
                    Some(_) => return None,
                };
                state.holder.is_none().then_some(LockState { holder: Some(client), fence })
            }
            LockOp::Release { client } => {
                let allowed = matches!(ret, None | Some(LockRet::Released));
                let held = state.holder == Some(client);
                (allowed && held).then_some(LockState { holder: None, ..*state })
            }
        }
    }
}

/// The least that an acquisition used up of which nobody heard the fence.
fn unheard(fence: Option<u64>) -> Option<u64> {
    // Before the first fence there may be none, and it may have been 0.
    fence.map(|fence| fence.saturating_add(1))
}

impl Form for LockOp {
    type Ret = LockRet;

    fn fields(&self) -> Fields {
        match self {
            Self::Acquire { .. } => Fields::new("acquire"),
            Self::Release { .. } => Fields::new("release"),
        }
    }

    fn ret_fields(&self, ret: &LockRet) -> Fields {
        match *ret {
            LockRet::Acquired(fence) => self.fields().value(Value::from(fence)),
            LockRet::Released => self.fields(),
        }
    }

    fn parse(client: u64, fields: &Fields) -> Result<Self, String> {
        match &*fields.f {
            "acquire" => Ok(Self::Acquire { client }),
            "release" => Ok(Self::Release { client }),
            _ => Err("acquire or release".to_owned()),
        }
    }

    fn parse_ret(&self, fields: &Fields) -> Result<LockRet, String> {
        match self {
            Self::Acquire { .. } => fields.value.nullable().map(LockRet::Acquired),
            Self::Release { .. } => {
                repeated(&Value::Null, &fields.value).map(|()| LockRet::Released)
            }
        }
    }
}

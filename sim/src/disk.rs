//! STUB until merge.
use quorate_wal::vfs::MemVfs;
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskConfig;
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CrashDisk {
    Random,
    LoseUnsynced,
    KeepAll,
    State(u64),
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskFault {
    LyingSync,
}
pub(crate) fn class_of(_: &DiskFault) -> Option<crate::Class> {
    None
}
macro_rules! text { ($($t:ident),*) => {$(
impl std::str::FromStr for $t { type Err = (); fn from_str(_: &str) -> Result<Self, ()> { Err(()) } }
impl std::fmt::Display for $t { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "{self:?}") } }
)*} }
text!(CrashDisk, DiskFault);
#[derive(Clone, Debug)]
pub struct SimVfs(MemVfs);
#[derive(Clone, Debug)]
pub struct SimDisk(MemVfs);
#[derive(Debug)]
pub struct CrashReport;
impl CrashReport {
    pub(crate) fn units_lost(&self) -> u64 {
        0
    }
    pub(crate) fn is_torn(&self) -> bool {
        false
    }
}
impl SimDisk {
    pub(crate) fn for_node(_s: u64, _n: u64, _c: DiskConfig) -> Self {
        Self(MemVfs::new())
    }
    pub(crate) fn vfs(&self) -> SimVfs {
        SimVfs(self.0.clone())
    }
    pub(crate) fn is_dying(&self) -> bool {
        false
    }
    pub(crate) fn take_cost(&self) -> std::time::Duration {
        std::time::Duration::ZERO
    }
    pub(crate) fn cost_of(&self, _c: crate::Cost) -> std::time::Duration {
        std::time::Duration::from_millis(1)
    }
    pub(crate) fn take_trace(&self, _f: impl FnMut(u64)) {}
    pub(crate) fn add_to(&self, _c: &mut crate::Coverage) {}
    pub(crate) fn crash(&self, _d: CrashDisk) -> CrashReport {
        CrashReport
    }
    pub(crate) fn wipe(&self) -> bool {
        false
    }
    pub(crate) fn inject(&self, _f: DiskFault) -> bool {
        true
    }
    pub(crate) fn crash_at_operation(&self, _n: u64) {}
}

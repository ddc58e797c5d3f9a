//! Four pages: [which read do I need?](which_read), [what an outcome means](outcomes), [running
//! it](running_it), [writing a `LogStore`](writing_a_log_store).

#[doc = include_str!("../docs/which_read.md")]
pub mod which_read {}

#[doc = include_str!("../docs/outcomes.md")]
pub mod outcomes {}

#[doc = include_str!("../docs/running_it.md")]
pub mod running_it {}

#[doc = include_str!("../docs/writing_a_log_store.md")]
pub mod writing_a_log_store {}

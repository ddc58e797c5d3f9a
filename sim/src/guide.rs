//! Four pages: [simulating your node](simulating_your_node), [what is and is not
//! modelled](fidelity), [reading a failure](reading_a_failure), [writing a
//! checker](writing_a_checker).

#[doc = include_str!("../docs/simulating_your_node.md")]
pub mod simulating_your_node {}

#[doc = include_str!("../docs/fidelity.md")]
pub mod fidelity {}

#[doc = include_str!("../docs/reading_a_failure.md")]
pub mod reading_a_failure {}

#[doc = include_str!("../docs/writing_a_checker.md")]
pub mod writing_a_checker {}

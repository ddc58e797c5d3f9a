//! Three pages: [what is delivered when](delivery), [how to write a
//! transport](writing_a_transport), and [the certificates of a cluster](certificates).

#[doc = include_str!("../docs/delivery.md")]
pub mod delivery {}

#[doc = include_str!("../docs/writing_a_transport.md")]
pub mod writing_a_transport {}

#[doc = include_str!("../docs/certificates.md")]
pub mod certificates {}

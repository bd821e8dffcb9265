//! A generation of a volume is taken: what its bricks tell, and the bytes of what changed into a copy of its own.
//! Never decides when: whoever calls does.

mod bare;
mod bytes;
mod error;
mod held;
pub(in crate::jobs) mod job;
mod run;
mod volume;

pub use error::Error;
pub use run::{Extent, Report, Wish};
pub use volume::take_volume;
pub(in crate::jobs) use volume::{AGENT_DEADLINE, load_started, remove_if_there, take_bare};

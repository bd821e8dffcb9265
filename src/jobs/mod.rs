//! Jobs: what people and programs start, whoever they are.
//!
//! Promises: typed inputs, a typed report out, progress and warnings to a monitor on the way; the same from the command line, a
//! daemon or a server. A job says in its report what it did and what it did not. Never prints, never reads the environment.

mod apply;
pub mod ask;
pub mod forget;
pub mod generations;
pub mod gluster;
pub mod hooks;
pub mod index;
mod kinds;
mod look;
pub mod manifests;
pub mod patience;
pub mod rebuild;
mod report;
pub mod take;

pub use look::is_there;
pub use report::{MovedCopy, When};

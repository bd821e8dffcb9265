//! Taking a generation: what a source is now, its bytes into a copy of its own, indexed and published.
//!
//! Promises: a generation is published when its copy is whole and on the disk, with the cursor from which the next one
//! goes on, in one transaction; a run that ends before that leaves the catalog as it was, and the next one goes on
//! with what it had copied. Nothing of the source is changed. Never decides when: whoever calls does.

pub mod acquire;
mod bare;
mod bytes;
pub mod disk;
mod durable;
mod error;
pub mod hooks;
pub mod libvirt;
pub mod list_file;
pub mod lists;
pub mod pull;
mod run;
pub mod session;
pub mod still;
pub mod stop;
mod volume;
pub mod window;

pub use error::Error;
pub use run::{Extent, Report, Wish};
pub use volume::take_volume;

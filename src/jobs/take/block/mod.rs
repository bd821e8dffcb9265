//! A generation of a disk is taken, or made of an image that is there.
//!
//! [`acquire`] has the run: the guest is held still, the moment is made, its bytes come ([`pull`] from an NBD export, [`libvirt`] by a
//! guest, or a command), the guest goes on ([`still`]); [`disk`] makes a generation of what came.

pub mod acquire;
mod claim;
pub mod disk;
mod disprove;
mod durable;
mod ending;
mod folder;
pub mod guard;
pub(in crate::jobs) mod job;
mod letting_go;
pub mod libvirt;
pub mod moment;
mod names;
pub mod pull;
pub mod still;
pub mod stop;

pub use ending::Ending;

//! The system calls that `std` does not offer, as safe functions; the only room with `unsafe`.
//!
//! Promises: every function takes and returns safe types, reports errors as [`std::io::Error`], and keeps
//! no state. Never decides anything: what a missing call or an error means is for the caller.

pub mod child;
pub mod filesystem;
pub mod group;
pub mod handle;
pub mod lock;
pub mod mount;
pub mod process;
pub mod random;
pub mod read;
pub mod terminal;
pub mod walk;
pub mod write;

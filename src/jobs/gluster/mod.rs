//! Lists of what changed in a volume, for programs that copy the files themselves, in place of glusterfind.
//!
//! Promises: a volume is looked at as [`crate::jobs::take`] does, and no bytes are copied; nothing of it is changed. Never touches the
//! catalog of generations: a session has one of its own.

pub mod lines;
pub mod list_file;
pub mod lists;
pub mod merge;
pub mod session;
pub mod window;

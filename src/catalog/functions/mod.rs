//! What the admin's SQL can ask beside the views: functions that return tables, and views in which a path is a seek.
//!
//! - `files_at(source, date)`: the rows of `files` of one generation; a date is one of the command line.
//! - `history('SOURCE:PATH')`: the versions of the file that the path led to last, through its renames.
//! - `diff(source, date, date)`: what differs between two generations, a line for each thing that happened.
//! - `files` and `versions` themselves, in the place of the views: `path = ...` looks the path up from the top, a seek a level.
//!
//! Promises: answers come from the connection that asks, so they are of the same moment as all else in the statement, and end at its
//! limits. Arguments and conditions are pushed into the views' own seeks; what SQLite compares afterwards it compares once more. A path is
//! text as views show it (escaped where it is not plain), or a BLOB of its bytes. Never writes.

mod over;
mod register;
mod rows;
#[allow(unsafe_code)]
mod table;

pub use over::Dates;
pub(super) use register::register;

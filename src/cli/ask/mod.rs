//! Questions about history: `asof history`, `asof diff`.
//!
//! Each verb reads its arguments, asks the job below it, and prints rows as they come ([`rows`]).

pub(super) mod diff;
pub(super) mod history;
mod rows;

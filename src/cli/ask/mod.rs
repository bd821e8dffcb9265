//! Questions about history: `asof history`, `asof diff`, `asof find`, `asof du`, `asof growth`, `asof churn`, `asof when`.
//!
//! Each verb reads its arguments, asks the job below it, and prints rows as they come ([`rows`]).

pub(super) mod churn;
pub(super) mod diff;
pub(super) mod du;
pub(super) mod find;
pub(super) mod growth;
pub(super) mod history;
mod patch;
mod rows;
pub(super) mod when;

//! What time it is, as an argument: floors below the daemon are told the time and never ask.
//!
//! Promises: `now` is cheap. Never knows a time zone.

use crate::model::Time;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Returns the current time in unix seconds, rounded down.
    fn now(&self) -> Time;
}

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct System;

impl Clock for System {
    fn now(&self) -> Time {
        Time(jiff::Timestamp::now().as_second())
    }
}

/// A clock that stands still, for tests.
#[derive(Debug, Clone, Copy)]
pub struct Fixed(pub Time);

impl Clock for Fixed {
    fn now(&self) -> Time {
        self.0
    }
}

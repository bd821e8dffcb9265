//! Instants of generations (whole seconds) and time stamps of files (with nanoseconds).
//!
//! Promises: both count from 1970-01-01T00:00:00Z, may be negative, and know nothing of time zones;
//! text forms are UTC. Never reads a clock.

use std::fmt;

/// The open end of a span of time: 9999-12-31T23:59:59Z.
pub const FOREVER: Time = Time(253_402_300_799);

/// An instant in unix seconds, UTC; the unit in which generations are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

impl Time {
    /// Returns the name of this instant in a mount, without the `@`: `2026-11-20T020000Z`.
    ///
    /// No colons: rsync takes them for host names and Windows refuses them.
    pub fn view_name(self) -> String {
        match jiff::Timestamp::from_second(self.0) {
            Ok(t) => t.strftime("%Y-%m-%dT%H%M%SZ").to_string(),
            Err(_) => self.0.to_string(),
        }
    }
}

/// RFC 3339 in UTC: `2026-11-20T02:00:00Z`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(t) => write!(f, "{}", t.strftime("%Y-%m-%dT%H:%M:%SZ")),
            Err(_) => write!(f, "{}", self.0),
        }
    }
}

/// A file's time stamp: seconds since the epoch (may be negative) and nanoseconds on top of them.
///
/// Two numbers and not one count of nanoseconds: 64 bits of those end in 2262, file systems do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    pub seconds: i64,
    /// Nanoseconds after that second, 0 to 999,999,999.
    pub nanos: u32,
}

impl Timestamp {
    /// Returns the nanoseconds from `earlier` to `self`, held at the ends of 64 bits.
    pub fn ns_since(self, earlier: Self) -> i64 {
        let ns = (i128::from(self.seconds) - i128::from(earlier.seconds)) * 1_000_000_000 + i128::from(self.nanos)
            - i128::from(earlier.nanos);
        ns.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }

    /// Returns the time stamp `ns` nanoseconds after `self`.
    pub fn plus_ns(self, ns: i64) -> Self {
        let total = i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos) + i128::from(ns);
        Self {
            seconds: total.div_euclid(1_000_000_000).clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64,
            nanos: total.rem_euclid(1_000_000_000) as u32,
        }
    }
}

/// RFC 3339 in UTC with nanoseconds; seconds and nanoseconds where the year has no four digits.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.seconds) {
            Ok(t) => write!(f, "{}.{:09}Z", t.strftime("%Y-%m-%dT%H:%M:%S"), self.nanos),
            Err(_) => write!(f, "{}.{:09}", self.seconds, self.nanos),
        }
    }
}

//! What is said to people, on standard error: how much of it, and in which time zone.
//!
//! Promises: with `--quiet` a run that ends with 0 says nothing; what a person has to look at is always said. Instants are written in
//! the zone of whoever reads them, with their offset, so that each can be given to another verb as it stands. `--json` and SQL have UTC.

use crate::model::{Time, Timestamp};
use jiff::tz::TimeZone;
use std::borrow::Cow;
use std::sync::OnceLock;

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Amount {
    /// What a person has to look at.
    Quiet,
    /// What was done, too.
    #[default]
    Usual,
    /// What was walked again and had not changed, and every finding, too.
    Verbose,
}

static AMOUNT: OnceLock<Amount> = OnceLock::new();
static ZONE: OnceLock<TimeZone> = OnceLock::new();

/// Says how much this run says; before the first line.
pub(super) fn set_amount(amount: Amount) {
    let _ = AMOUNT.set(amount);
}

/// Says in which zone instants are written; before the first one.
pub(super) fn set_zone(zone: &TimeZone) {
    let _ = ZONE.set(zone.clone());
}

/// Returns how much is said.
pub(super) fn amount() -> Amount {
    AMOUNT.get().copied().unwrap_or_default()
}

/// Prints what was done, unless `--quiet` is given.
macro_rules! say {
    ($($text:tt)*) => {
        if $crate::cli::say::amount() > $crate::cli::say::Amount::Quiet {
            eprintln!($($text)*);
        }
    };
}

/// Prints what was walked again and had not changed, if `--verbose` is given.
macro_rules! detail {
    ($($text:tt)*) => {
        if $crate::cli::say::amount() >= $crate::cli::say::Amount::Verbose {
            eprintln!($($text)*);
        }
    };
}

pub(super) use {detail, say};

/// Returns an instant as people read it here: `2026-11-20T03:00:00+01:00`, or `2026-11-20T02:00:00Z` where clocks show UTC.
pub(super) fn local(at: Time) -> String {
    in_zone(at.0, "", zone()).unwrap_or_else(|| at.to_string())
}

/// Returns a time stamp likewise, with its nanoseconds.
pub(super) fn local_stamp(stamp: Timestamp) -> String {
    in_zone(stamp.seconds, &format!(".{:09}", stamp.nanos), zone()).unwrap_or_else(|| stamp.to_string())
}

/// Returns a text of a lower floor, which knows no zones, with its instants in the zone of whoever reads it. What is quoted stays: names and paths
/// may have such in them.
pub(super) fn in_local_time(text: &str) -> Cow<'_, str> {
    told_in(text, &zone())
}

fn told_in<'t>(text: &'t str, zone: &TimeZone) -> Cow<'t, str> {
    if !text.contains('Z') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 32);
    let (mut rest, mut is_quoted) = (text, false);
    while let Some(c) = rest.chars().next() {
        let instant = rest.get(..INSTANT_LENGTH).filter(|_| !is_quoted && !is_in_word(&out)).and_then(instant);
        let (taken, said) = match instant.and_then(|at| in_zone(at.as_second(), "", zone.clone())) {
            Some(local) => (INSTANT_LENGTH, local),
            // What is escaped in a quoted text ends it not.
            None if c == '\\' && is_quoted => {
                let length = c.len_utf8() + rest[1..].chars().next().map_or(0, char::len_utf8);
                (length, rest[..length].to_owned())
            }
            None => (c.len_utf8(), c.to_string()),
        };
        is_quoted ^= c == '"';
        out.push_str(&said);
        rest = &rest[taken..];
    }
    Cow::Owned(out)
}

/// Bytes of `2026-11-20T02:00:00Z`, as [`Time`] is shown.
const INSTANT_LENGTH: usize = 20;

fn instant(text: &str) -> Option<jiff::Timestamp> {
    let is_form = text.bytes().zip(*b"0000-00-00T00:00:00Z").all(|(found, form)| match form {
        b'0' => found.is_ascii_digit(),
        form => found == form,
    });
    text.parse().ok().filter(|_| is_form)
}

/// Tells whether what comes next is the rest of a word or a path: after `homes@` it is none.
fn is_in_word(before: &str) -> bool {
    before.chars().next_back().is_some_and(|c| c.is_alphanumeric() || matches!(c, '/' | '_' | '-' | '.'))
}

fn zone() -> TimeZone {
    ZONE.get().cloned().unwrap_or(TimeZone::UTC)
}

/// Returns an instant with `fraction` after its seconds; none if it is in no year that has four digits.
fn in_zone(seconds: i64, fraction: &str, zone: TimeZone) -> Option<String> {
    let time = jiff::Timestamp::from_second(seconds).ok()?.to_zoned(zone);
    let offset = match time.offset().is_zero() {
        true => "Z".to_owned(),
        false => time.strftime("%:z").to_string(),
    };
    Some(format!("{}{fraction}{offset}", time.strftime("%Y-%m-%dT%H:%M:%S")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_written_in_the_zone_of_whoever_reads_it() {
        let at = |zone| in_zone(1_763_593_200, "", TimeZone::get(zone).unwrap()).unwrap();
        assert_eq!(at("Europe/Berlin"), "2025-11-20T00:00:00+01:00");
        assert_eq!(at("Asia/Kolkata"), "2025-11-20T04:30:00+05:30");
        assert_eq!(at("Europe/London"), "2025-11-19T23:00:00Z");
        assert_eq!(in_zone(1_763_593_200, ".000000007", TimeZone::UTC).unwrap(), "2025-11-19T23:00:00.000000007Z");
        assert_eq!(in_zone(i64::MAX, "", TimeZone::UTC), None);
    }

    #[test]
    fn instants_in_texts_of_lower_floors_are_told_in_the_same_zone_and_names_stay() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let told = |text: &str| told_in(text, &berlin).into_owned();
        assert_eq!(
            told("\"homes\" has no generation of 2025-11-19T23:00:00Z, é; try homes@2026-07-01T00:00:00Z"),
            "\"homes\" has no generation of 2025-11-20T00:00:00+01:00, é; try homes@2026-07-01T02:00:00+02:00"
        );
        for same in [
            "\"a \\\" 2025-11-19T23:00:00Z\": Zzz",
            "x2025-11-19T23:00:00Z",
            "umount /mnt/2025-11-19T23:00:00Z",
            "2025-13-19T23:00:00Z",
            "+025-11-19T23:00:00Z 2025-11-19T230000Z é2025",
            "2025-11-19T23:00:00",
        ] {
            assert_eq!(told(same), same);
        }
        assert_eq!(told_in("of 2025-11-19T23:00:00Z", &TimeZone::UTC), "of 2025-11-19T23:00:00Z");
    }
}

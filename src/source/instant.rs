//! When a copy was taken, as its name or its time of last change tells.
//!
//! Promises: the whole name must match; a name that has the form of a date but names none is refused with the
//! reason. A name without zone is read in the zone of the source; a date alone is the start of
//! that day. A local time that came twice (clocks set back) is the later one: the copy was finished
//! by then in both readings. A local time that never came (clocks set forward) is refused. Never guesses.

use crate::model::{FOREVER, Time};
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// The forms of names that need no settings, after `@` in front and `Z` at the end were taken off.
///
/// `9` is a digit, `T` one of `T`, `_`, space and `-`, `:` is `:` or `-`; all else stands for itself. The
/// digits are year, month, day, hour, minute, second, as far as they go. The last form is the one in
/// which Windows and Samba (`vfs_shadow_copy2`) name snapshots; it is in UTC.
const FORMS: [&str; 10] = [
    "9999-99-99",
    "9999-99-99T9999",
    "9999-99-99T99:99",
    "9999-99-99T99:99:99",
    "9999-99-99T999999",
    "99999999",
    "99999999T9999",
    "99999999T999999",
    "99999999999999",
    GMT_FORM,
];
const GMT_FORM: &str = "GMT-9999.99.99-99.99.99";

/// Returns the instant that `name` tells by one of `patterns`, or by the built-in forms if there are none.
///
/// # Errors
/// The reason, in one line.
pub(super) fn of_name(name: &[u8], patterns: &[String], zone: &TimeZone) -> Result<Time, String> {
    let text = std::str::from_utf8(name).unwrap_or_default();
    if patterns.is_empty() {
        return built_in(text, zone);
    }
    let mut reason = "its name matches no date pattern".to_owned();
    for pattern in patterns {
        match strtime::parse(pattern, text) {
            Ok(parsed) => match by_pattern(&parsed, zone) {
                Ok(time) => return Ok(time),
                Err(why) => reason = format!("its name matches {pattern:?}, but {why}"),
            },
            Err(_) => continue,
        }
    }
    Err(reason)
}

/// Returns the instant of a time of last change, in whole seconds, rounded down.
pub(super) fn of_mtime(seconds: i64) -> Result<Time, String> {
    if (0..FOREVER.0).contains(&seconds) {
        Ok(Time(seconds))
    } else {
        Err(format!("its time of last change, {seconds} seconds after 1970, is no date of a backup"))
    }
}

/// Checks that `pattern` can be read and that names written by it tell a date.
pub(super) fn check_pattern(pattern: &str) -> Result<(), String> {
    let sample = jiff::civil::datetime(2026, 11, 20, 2, 0, 0, 0).to_zoned(TimeZone::UTC);
    let sample = sample.map_err(|e| e.to_string())?;
    let name = strtime::format(pattern, &sample).map_err(|e| e.to_string())?;
    let parsed = strtime::parse(pattern, &name).map_err(|e| e.to_string())?;
    by_pattern(&parsed, &TimeZone::UTC).map(drop)
}

fn by_pattern(parsed: &strtime::BrokenDownTime, zone: &TimeZone) -> Result<Time, String> {
    if let Ok(instant) = parsed.to_timestamp() {
        return in_range(instant);
    }
    let date = parsed.to_date().map_err(|e| e.to_string())?;
    if parsed.hour().is_none() {
        return local(date.to_datetime(jiff::civil::Time::midnight()), zone, Precision::Day);
    }
    let time = parsed.to_time().map_err(|e| e.to_string())?;
    let zone = match parsed.iana_time_zone() {
        Some(name) => TimeZone::get(name).map_err(|e| e.to_string())?,
        None => zone.clone(),
    };
    local(date.to_datetime(time), &zone, Precision::Second)
}

fn built_in(text: &str, zone: &TimeZone) -> Result<Time, String> {
    let core = text.strip_prefix('@').unwrap_or(text);
    let (core, zulu) = match core.strip_suffix('Z') {
        Some(core) => (core, true),
        None => (core, false),
    };
    let Some(form) = FORMS.iter().find(|form| has_form(core, form)) else {
        return Err("its name matches no date pattern".to_owned());
    };
    let digits: String = core.chars().filter(char::is_ascii_digit).collect();
    let zone = if zulu || *form == GMT_FORM { &TimeZone::UTC } else { zone };
    let number = |at: std::ops::Range<usize>| digits.get(at).map_or(0, |d| d.parse::<i16>().unwrap_or(0));
    let [month, day, hour, minute, second] =
        [number(4..6), number(6..8), number(8..10), number(10..12), number(12..14)].map(|n| n as i8);
    let datetime = DateTime::new(number(0..4), month, day, hour, minute, second, 0)
        .map_err(|e| format!("its name has the form of a date but names none: {e}"))?;
    let precision = if digits.len() > 8 { Precision::Second } else { Precision::Day };
    local(datetime, zone, precision)
}

fn has_form(text: &str, form: &str) -> bool {
    // Both places of ':' take the same character, so that a name is not half of one form and half of another.
    let mut colon = None;
    text.len() == form.len()
        && text.bytes().zip(form.bytes()).all(|(byte, wanted)| match wanted {
            b'9' => byte.is_ascii_digit(),
            b'T' if !form.starts_with("GMT") => matches!(byte, b'T' | b'_' | b' ' | b'-'),
            b':' => matches!(byte, b':' | b'-') && *colon.get_or_insert(byte) == byte,
            wanted => byte == wanted,
        })
}

/// What a name tells: a day, or a time of that day.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Precision {
    Day,
    Second,
}

fn local(datetime: DateTime, zone: &TimeZone, precision: Precision) -> Result<Time, String> {
    let ambiguous = zone.to_ambiguous_timestamp(datetime);
    let skipped = matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. });
    // A day whose midnight was skipped still has a start: the first instant after the gap, which is
    // what the offset from before the gap gives.
    if skipped && precision == Precision::Second {
        let zone = zone.iana_name().unwrap_or("the zone of the source");
        return Err(format!("its name tells {datetime}, a time that clocks skipped in {zone}"));
    }
    in_range(ambiguous.later().map_err(|e| e.to_string())?)
}

fn in_range(instant: jiff::Timestamp) -> Result<Time, String> {
    let time = Time(instant.as_second());
    if time < FOREVER { Ok(time) } else { Err(format!("{time} is the end of time in the catalog")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    fn told(name: &str, zone_name: &str) -> String {
        match of_name(name.as_bytes(), &[], &zone(zone_name)) {
            Ok(time) => time.to_string(),
            Err(why) => why,
        }
    }

    #[test]
    fn names_of_the_built_in_forms_tell_their_instant() {
        // Berlin is one hour ahead of UTC in November.
        let table = [
            ("2026-11-20", "2026-11-19T23:00:00Z"),
            ("2026-11-20T0200", "2026-11-20T01:00:00Z"),
            ("2026-11-20_0200", "2026-11-20T01:00:00Z"),
            ("2026-11-20 0200", "2026-11-20T01:00:00Z"),
            ("2026-11-20-0200", "2026-11-20T01:00:00Z"),
            ("2026-11-20T02:00", "2026-11-20T01:00:00Z"),
            ("2026-11-20_02-00", "2026-11-20T01:00:00Z"),
            ("2026-11-20T02:00:30", "2026-11-20T01:00:30Z"),
            ("2026-11-20-02-00-30", "2026-11-20T01:00:30Z"),
            ("2026-11-20T020030", "2026-11-20T01:00:30Z"),
            ("2026-11-20T020030Z", "2026-11-20T02:00:30Z"),
            ("2026-11-20T02:00Z", "2026-11-20T02:00:00Z"),
            ("20261120", "2026-11-19T23:00:00Z"),
            ("20261120T0200", "2026-11-20T01:00:00Z"),
            ("20261120T020030", "2026-11-20T01:00:30Z"),
            ("20261120-020030", "2026-11-20T01:00:30Z"),
            ("20261120_020030Z", "2026-11-20T02:00:30Z"),
            ("20261120020030", "2026-11-20T01:00:30Z"),
            ("@2026-11-20", "2026-11-19T23:00:00Z"),
            ("@2026-11-20T020000Z", "2026-11-20T02:00:00Z"),
            ("@GMT-2026.11.20-02.00.00", "2026-11-20T02:00:00Z"),
        ];
        for (name, instant) in table {
            assert_eq!(told(name, "Europe/Berlin"), instant, "{name}");
        }
    }

    #[test]
    fn other_names_tell_nothing() {
        for name in [
            "",
            "@",
            "Z",
            "latest",
            "2026-11-2",
            "2026-11-200",
            "x2026-11-20",
            "2026-11-20x",
            "2026-11-20T",
            "2026-11-20T02",
            "2026-11-20T02:00-30",
            "2026/11/20",
            "2026-11-20.partial",
            "@@2026-11-20",
            "2026.11.20",
            "GMT_2026.11.20-02.00.00",
            "202611200200",
            "2026-11-20T0200+01",
            "2026-11-20t0200",
        ] {
            assert_eq!(told(name, "UTC"), "its name matches no date pattern", "{name}");
        }
        assert!(of_name(b"2026-11-20\xff", &[], &TimeZone::UTC).is_err());
    }

    #[test]
    fn a_date_that_the_calendar_lacks_is_named_as_such() {
        assert_eq!(
            told("2026-13-01", "UTC"),
            "its name has the form of a date but names none: parameter 'month' is not in the required range of 1..=12"
        );
        for name in ["2026-02-29", "2026-11-20T2400", "2026-11-20T02:60", "20261120T020060", "99999999"] {
            assert!(told(name, "UTC").starts_with("its name has the form of a date but names none"), "{name}");
        }
    }

    #[test]
    fn a_time_that_came_twice_is_the_later_and_one_that_was_skipped_is_refused() {
        assert_eq!(told("2026-10-25T0230", "Europe/Berlin"), "2026-10-25T01:30:00Z");
        assert_eq!(
            told("2026-03-29T0230", "Europe/Berlin"),
            "its name tells 2026-03-29T02:30:00, a time that clocks skipped in Europe/Berlin"
        );
        assert_eq!(told("2026-03-29T0230Z", "Europe/Berlin"), "2026-03-29T02:30:00Z");
    }

    #[test]
    fn a_day_that_has_no_midnight_begins_when_its_first_hour_does() {
        // Brazil set clocks from 00:00 (three hours behind UTC) to 01:00 (two hours behind) on that day.
        assert_eq!(told("2018-11-04", "America/Sao_Paulo"), "2018-11-04T03:00:00Z");
    }

    #[test]
    fn patterns_of_the_admin_replace_the_built_in_forms() {
        let patterns = ["backup-%Y%m%d".to_owned(), "%d.%m.%Y %H:%M%z".to_owned(), "at-%s".to_owned()];
        let told = |name: &str| match of_name(name.as_bytes(), &patterns, &zone("Europe/Berlin")) {
            Ok(time) => time.to_string(),
            Err(why) => why,
        };
        assert_eq!(told("backup-20261120"), "2026-11-19T23:00:00Z");
        assert_eq!(told("20.11.2026 02:00-0500"), "2026-11-20T07:00:00Z");
        assert_eq!(told("at-1763604000"), "2025-11-20T02:00:00Z");
        assert_eq!(told("2026-11-20"), "its name matches no date pattern");
        assert_eq!(told("backup-20261120-old"), "its name matches no date pattern");
    }

    #[test]
    fn a_pattern_must_tell_a_date() {
        assert_eq!(check_pattern("backup-%Y%m%d"), Ok(()));
        assert_eq!(check_pattern("%F_%H-%M"), Ok(()));
        assert_eq!(check_pattern("%s"), Ok(()));
        for pattern in ["backup", "%H%M", "%Y-%m", "%", "%&"] {
            assert!(check_pattern(pattern).is_err(), "{pattern}");
        }
    }
}

//! When a copy was taken, as its name or its time of last change tells.
//!
//! Promises: the whole name must match; a name that has the form of a date and tells none is refused with the
//! reason, and is not the same as a name without that form. A name without zone is read in the zone of the
//! source; a date alone is the start of that day. A local time that came twice (clocks set back) is the later one:
//! the copy was finished by then in both readings. A local time that never came (clocks set forward) is
//! refused. Never guesses.

use crate::model::{Time, nameable_instant, parse_copy_name};
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// Returns the instant that `name` tells by one of `patterns`, or by the forms of [`parse_copy_name`] if there are
/// none; no instant if it has none of these forms.
///
/// # Errors
/// Why a name that has the form of a date tells no time, in one line.
pub(super) fn of_name(name: &[u8], patterns: &[String], zone: &TimeZone) -> Result<Option<Time>, String> {
    let Ok(text) = std::str::from_utf8(name) else { return Ok(None) };
    if patterns.is_empty() {
        return parse_copy_name(text, zone).map_err(|e| e.to_string());
    }
    let mut refused = None;
    for pattern in patterns {
        let told = match strtime::parse(pattern, text) {
            Ok(parsed) => by_pattern(&parsed, zone),
            // It says the same of another name and of a month 13.
            Err(e) if has_form_of(pattern.as_bytes(), name) => Err(e.to_string()),
            Err(_) => continue,
        };
        match told {
            Ok(time) => return Ok(Some(time)),
            Err(why) => refused = Some(format!("its name has the form {pattern:?} and is not a date: {why}")),
        }
    }
    refused.map_or(Ok(None), Err)
}

/// Returns the instant of a time of last change, in whole seconds, rounded down.
pub(super) fn of_mtime(seconds: i64) -> Result<Time, String> {
    in_range(seconds).map_err(|why| format!("its time of last change: {why}"))
}

/// The day of names that are made to see what a pattern tells.
const SAMPLE_DAY: jiff::civil::Date = jiff::civil::date(2026, 11, 20);

/// Checks that `pattern` can be read and that names written by it tell a date.
pub(super) fn check_pattern(pattern: &str) -> Result<(), String> {
    let name = write_sample(pattern)?;
    let parsed = strtime::parse(pattern, &name).map_err(|e| e.to_string())?;
    let told = by_pattern(&parsed, &TimeZone::UTC)?;
    // The afternoon of that day, as far as a name tells it: 14:37:25.
    let whole = [0, 50_400, 52_620, 52_645];
    let day = SAMPLE_DAY.to_zoned(TimeZone::UTC).map_err(|e| e.to_string())?.timestamp().as_second();
    match whole.contains(&(told.0 - day)) {
        true => Ok(()),
        false => Err("it does not distinguish morning and afternoon: %H, or %I with %p".to_owned()),
    }
}

/// Tells whether names of copies are told apart by how they are written: by none of `ours` can a name be written that is a date
/// by `theirs`, nor the other way round. No patterns stand for the built-in forms.
pub(super) fn are_apart(ours: &[String], theirs: &[String]) -> bool {
    /// Names by the built-in forms: a day, a time, and that of Windows.
    const BUILT_IN: [&str; 3] = ["%F", "%Y%m%dT%H%M%S", "GMT-%Y.%m.%d-%H.%M.%S"];
    let is_foreign = |pattern: &str, others: &[String]| {
        let name = write_sample(pattern);
        name.is_ok_and(|name| matches!(of_name(name.as_bytes(), others, &TimeZone::UTC), Ok(None)))
    };
    let all_foreign = |patterns: &[String], others: &[String]| match patterns {
        [] => BUILT_IN.iter().all(|pattern| is_foreign(pattern, others)),
        _ => patterns.iter().all(|pattern| is_foreign(pattern, others)),
    };
    all_foreign(ours, theirs) && all_foreign(theirs, ours)
}

/// Returns the name that a copy has by `pattern`.
fn write_sample(pattern: &str) -> Result<String, String> {
    let sample = SAMPLE_DAY.at(14, 37, 25, 0).to_zoned(TimeZone::UTC);
    let sample = sample.map_err(|e| e.to_string())?;
    strtime::format(pattern, &sample).map_err(|e| e.to_string())
}

fn by_pattern(parsed: &strtime::BrokenDownTime, zone: &TimeZone) -> Result<Time, String> {
    if let Ok(instant) = parsed.to_timestamp() {
        return in_range(instant.as_second());
    }
    let date = parsed.to_date().map_err(|e| e.to_string())?;
    if parsed.hour().is_none() && (parsed.minute().is_some() || parsed.second().is_some()) {
        return Err("it has minutes or seconds, and no hour".to_owned());
    }
    if parsed.hour().is_none() {
        let midnight = date.to_datetime(jiff::civil::Time::midnight());
        // Midnight itself may be skipped (the day then begins later) or doubled (it begins at the first).
        let start = zone.to_ambiguous_timestamp(midnight).compatible().map_err(|e| e.to_string())?;
        return in_range(start.as_second());
    }
    let time = parsed.to_time().map_err(|e| e.to_string())?;
    let zone = match parsed.iana_time_zone() {
        Some(name) => TimeZone::get(name).map_err(|e| e.to_string())?,
        None => zone.clone(),
    };
    local(date.to_datetime(time), &zone)
}

fn local(datetime: DateTime, zone: &TimeZone) -> Result<Time, String> {
    let ambiguous = zone.to_ambiguous_timestamp(datetime);
    if matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. }) {
        let zone = zone.iana_name().unwrap_or("the zone of the source");
        return Err(format!("the clocks skipped {datetime} in {zone}"));
    }
    in_range(ambiguous.later().map_err(|e| e.to_string())?.as_second())
}

fn in_range(seconds: i64) -> Result<Time, String> {
    nameable_instant(seconds).ok_or_else(|| format!("{} lies outside the years 1970 to 9998", Time(seconds)))
}

/// Tells whether `text` is written as `pattern` writes: digits where it has numbers, words where it has words, whatever
/// these are.
fn has_form_of(pattern: &[u8], text: &[u8]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return text.is_empty() };
    if first.is_ascii_whitespace() {
        return has_form_of(rest, text.trim_ascii_start());
    }
    if *first != b'%' {
        return text.split_first().is_some_and(|(byte, text)| byte == first && has_form_of(rest, text));
    }
    // Flags, widths and colons stand between `%` and the letter.
    let Some(at) = rest.iter().position(|b| b.is_ascii_alphabetic() || *b == b'%') else { return false };
    let (letter, rest) = (rest[at], &rest[at + 1..]);
    let expanded = |by: &[u8]| has_form_of(&[by, rest].concat(), text);
    let digits = |longest| has_run(text, longest, u8::is_ascii_digit, rest);
    match letter {
        b'%' => text.strip_prefix(b"%").is_some_and(|text| has_form_of(rest, text)),
        b'D' => expanded(b"%m/%d/%y"),
        b'F' => expanded(b"%Y-%m-%d"),
        b'R' => expanded(b"%H:%M"),
        b'T' => expanded(b"%H:%M:%S"),
        b'n' | b't' => expanded(b" "),
        b'Y' | b'G' => digits(4),
        b'j' => digits(3),
        b'f' | b'N' => digits(9),
        b's' => digits(20),
        b'A' | b'a' | b'B' | b'b' | b'h' | b'P' | b'p' => has_run(text, 9, u8::is_ascii_alphabetic, rest),
        b'Q' | b'Z' | b'z' => has_run(text, 40, |b| b.is_ascii_alphanumeric() || b"+-:/_".contains(b), rest),
        _ => has_run(text.trim_ascii_start(), 2, u8::is_ascii_digit, rest),
    }
}

/// Tells whether `text` begins with one to `longest` bytes of a kind and then goes on as `rest` writes.
fn has_run(text: &[u8], longest: usize, is_of_it: fn(&u8) -> bool, rest: &[u8]) -> bool {
    let length = text.iter().take(longest).take_while(|byte| is_of_it(byte)).count();
    (1..=length).any(|at| has_form_of(rest, &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    fn told_by(name: &str, patterns: &[String], zone_name: &str) -> String {
        match of_name(name.as_bytes(), patterns, &zone(zone_name)) {
            Ok(Some(time)) => time.to_string(),
            Ok(None) => "-".to_owned(),
            Err(why) => why,
        }
    }

    fn told(name: &str, zone_name: &str) -> String {
        told_by(name, &[], zone_name)
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
            ("2026-11-20Z", "2026-11-20T00:00:00Z"),
            ("20261120", "2026-11-19T23:00:00Z"),
            ("20261120T0200", "2026-11-20T01:00:00Z"),
            ("20261120T020030", "2026-11-20T01:00:30Z"),
            ("20261120-020030", "2026-11-20T01:00:30Z"),
            ("20261120_020030Z", "2026-11-20T02:00:30Z"),
            ("20261120020030", "2026-11-20T01:00:30Z"),
            ("@2026-11-20", "2026-11-19T23:00:00Z"),
            ("@2026-11-20T020000Z", "2026-11-20T02:00:00Z"),
            ("@GMT-2026.11.20-02.00.00", "2026-11-20T02:00:00Z"),
            // with the offset from UTC, west of it and east of it
            ("2026-11-20T02:00-0330", "2026-11-20T05:30:00Z"),
            ("2026-11-20T0200+0100", "2026-11-20T01:00:00Z"),
            ("2026-11-20T02:00:30+01:00", "2026-11-20T01:00:30Z"),
            ("2026-11-20_02-00-30-0330", "2026-11-20T05:30:30Z"),
            ("20261120T020030+0545", "2026-11-19T20:15:30Z"),
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
            "2026",
            "2026-11",
            "2026-W47",
            "1763604000",
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
            "2026-11-20+0100",
        ] {
            assert_eq!(told(name, "UTC"), "-", "{name}");
        }
        assert_eq!(of_name(b"2026-11-20\xff", &[], &TimeZone::UTC), Ok(None));
    }

    #[test]
    fn a_name_with_the_form_of_a_date_that_tells_none_is_refused_with_the_reason() {
        for (name, reason) in [
            ("2026-13-01", r#""2026-13-01" is not a date: month 13; write YYYY-MM-DD or YYYY-MM-DDTHH:MM"#),
            ("2026-02-29", r#""2026-02-29" is not a date: day 29, and 2026-02 has 28 days"#),
            ("20260230", r#""20260230" is not a date: day 30, and 2026-02 has 28 days"#),
            ("2026-11-20T2400", r#""2026-11-20T2400" is not a date: hour 24; write YYYY-MM-DD or YYYY-MM-DDTHH:MM"#),
            ("1969-12-31", r#""1969-12-31" lies outside the years 1970 to 9998"#),
            ("9999-01-01", r#""9999-01-01" lies outside the years 1970 to 9998"#),
            (
                "2026-03-29T0230",
                r#""2026-03-29T0230" is not a date: the clock skipped it, going from +01:00 to +02:00; write it with its offset"#,
            ),
        ] {
            assert_eq!(told(name, "Europe/Berlin"), reason);
        }
    }

    #[test]
    fn a_time_that_came_twice_is_the_later_and_one_with_its_zone_is_never_skipped() {
        assert_eq!(told("2026-10-25T0230", "Europe/Berlin"), "2026-10-25T01:30:00Z");
        assert_eq!(told("2026-10-25T0230+0200", "Europe/Berlin"), "2026-10-25T00:30:00Z");
        assert_eq!(told("2026-03-29T0230Z", "Europe/Berlin"), "2026-03-29T02:30:00Z");
    }

    #[test]
    fn a_day_begins_with_its_first_second_whatever_the_clocks_did_at_midnight() {
        let by_pattern = |name: &str, zone: &str| told_by(name, &["%F".to_owned()], zone);
        // Brazil set clocks from 00:00 (three hours behind UTC) to 01:00 (two hours behind) on that day.
        assert_eq!(told("2018-11-04", "America/Sao_Paulo"), "2018-11-04T03:00:00Z");
        assert_eq!(by_pattern("2018-11-04", "America/Sao_Paulo"), "2018-11-04T03:00:00Z");
        // Cuba set them from 01:00 (four hours behind UTC) back to 00:00 (five hours behind).
        assert_eq!(told("2026-11-01", "America/Havana"), "2026-11-01T04:00:00Z");
        assert_eq!(by_pattern("2026-11-01", "America/Havana"), "2026-11-01T04:00:00Z");
    }

    #[test]
    fn patterns_of_the_admin_replace_the_built_in_forms() {
        let patterns = ["backup-%Y%m%d".to_owned(), "%d.%m.%Y %H:%M%z".to_owned(), "at-%s".to_owned()];
        let told = |name: &str| told_by(name, &patterns, "Europe/Berlin");
        assert_eq!(told("backup-20261120"), "2026-11-19T23:00:00Z");
        assert_eq!(told("20.11.2026 02:00-0500"), "2026-11-20T07:00:00Z");
        assert_eq!(told("at-1763604000"), "2025-11-20T02:00:00Z");
        assert_eq!(told("2026-11-20"), "-");
        assert_eq!(told("backup-20261120-old"), "-");
        assert_eq!(told("backup-today"), "-");
    }

    #[test]
    fn a_name_with_the_form_of_a_pattern_that_tells_no_time_is_refused_with_the_reason() {
        let told = |pattern: &str, name: &str| told_by(name, &[pattern.to_owned()], "Europe/Berlin");
        let refused = |pattern: &str, name: &str| {
            let told = told(pattern, name);
            assert!(told.starts_with(&format!("its name has the form {pattern:?} and is not a date: ")), "{told}");
        };
        refused("backup-%Y%m%d", "backup-20260230");
        refused("backup-%Y%m%d", "backup-20261399");
        refused("%d.%m.%Y %H:%M", "20.11.2026 24:00");
        refused("%d.%m.%Y %H:%M", "29.03.2026 02:30");
        refused("%d-%b-%Y", "31-Nov-2026");
        refused("%d-%b-%Y", "20-Foo-2026");
        refused("%F_%T", "2026-11-31_02:00:00");
        refused("at-%s", "at-253402300799");
        refused("%Y%m%d%z", "20261399-0330");
        assert_eq!(
            told("%F", "1969-12-31"),
            "its name has the form \"%F\" and is not a date: 1969-12-30T23:00:00Z lies outside the years 1970 to 9998"
        );
        assert_eq!(
            told("%F %R", "2026-03-29 02:30"),
            "its name has the form \"%F %R\" and is not a date: the clocks skipped 2026-03-29T02:30:00 in Europe/Berlin"
        );
        assert_eq!(told("%d-%b-%Y", "20-11-2026"), "-");
        assert_eq!(told("%Y%m%d", "daily.0"), "-");
        // Another pattern may be the one that is meant.
        let both = ["%Y%m%d".to_owned(), "%d%m%Y".to_owned()];
        assert_eq!(told_by("20112026", &both, "UTC"), "2026-11-20T00:00:00Z");
    }

    #[test]
    fn a_time_of_last_change_outside_of_what_dates_can_name_is_refused() {
        assert_eq!(of_mtime(0), Ok(Time(0)));
        assert_eq!(
            of_mtime(-1),
            Err("its time of last change: 1969-12-31T23:59:59Z lies outside the years 1970 to 9998".to_owned())
        );
        assert!(of_mtime(i64::MAX).is_err());
    }

    #[test]
    fn names_are_apart_if_none_is_a_date_by_the_patterns_of_the_other() {
        let apart = |ours: &[&str], theirs: &[&str]| {
            let owned = |patterns: &[&str]| patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
            are_apart(&owned(ours), &owned(theirs))
        };
        assert!(apart(&["home-%F"], &["etc-%F"]));
        assert!(apart(&["home-%F"], &[]));
        assert!(!apart(&[], &[]));
        assert!(!apart(&["%Y-%m-%d"], &[]));
        assert!(!apart(&[], &["%F"]));
        assert!(!apart(&["home-%F", "etc-%F"], &["etc-%Y-%m-%d"]));
        assert!(!apart(&["%Y%m%d"], &["%d%m%Y"]), "20112026 and 20261120 could be either");
    }

    #[test]
    fn a_pattern_must_tell_a_date() {
        assert_eq!(check_pattern("backup-%Y%m%d"), Ok(()));
        assert_eq!(check_pattern("%F_%H-%M"), Ok(()));
        assert_eq!(check_pattern("%s"), Ok(()));
        assert_eq!(check_pattern("%F_%I%p"), Ok(()));
        for pattern in ["backup", "%H%M", "%Y-%m", "%", "%&", "%F_%I", "%F_%M"] {
            assert!(check_pattern(pattern).is_err(), "{pattern}");
        }
    }
}

//! What a person writes to name a time, and what it means.
//!
//! Promises: the grammar of [`parse_date`] is all there is; a text means one thing or is refused, and the
//! refusal says why. A day or a longer period means its end when something is looked up and its start
//! when something is named. Names of copies ([`parse_copy_name`]) are read by the same grammar. Pure: the
//! current time, the zone and the rule for doubled hours are arguments. Never guesses: no names of weekdays or
//! months, no numbers that could be two things.

mod written;

use super::Time;
use jiff::civil::{Date, DateTime, ISOWeekDate, Weekday};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{Span, Timestamp};
use written::{Written, WrittenOffset, read_calendar, read_samba, read_span};

/// Which generation of a source is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AsOf {
    /// The newest one.
    Latest,
    /// The first one.
    Oldest,
    /// The newest one at or before this second.
    At(Time),
}

/// What to do with a local time that a clock change repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fold {
    /// Refuse it and name both offsets: for a command line, where somebody can choose.
    Refuse,
    /// Take the later one: for the name of a directory, where nobody can.
    Later,
}

/// Why a text is not a date. `text` is always what was given, with its `@` if it had one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DateError {
    /// It has none of the forms.
    #[error("{text:?} is not a date; try yesterday, -7d, 2026-11-20 or 2026-11-20T14:30")]
    Form {
        /// What was given.
        text: String,
    },
    /// It has a form, and one number in it is too large or too small.
    #[error("{text:?} is not a date: {part} {found}; write YYYY-MM-DD or YYYY-MM-DDTHH:MM")]
    Number {
        /// What was given.
        text: String,
        /// Which number: `month`, `hour`, `minute`, `second`, `offset hour`, `offset minute`.
        part: &'static str,
        /// Its value.
        found: u32,
    },
    /// The month has no such day.
    #[error("{text:?} is not a date: day {found}, and {year}-{month:02} has {days} days")]
    Day {
        /// What was given.
        text: String,
        /// The day.
        found: u32,
        /// The year.
        year: u32,
        /// The month, 1 to 12.
        month: u32,
        /// How many days that month has.
        days: i8,
    },
    /// The year has no such week.
    #[error("{text:?} is not a date: week {found}, and {year} has {weeks} weeks")]
    Week {
        /// What was given.
        text: String,
        /// The week.
        found: u32,
        /// The ISO year.
        year: u32,
        /// How many weeks that year has.
        weeks: i8,
    },
    /// The year, or what the text amounts to, lies outside of what a catalog can hold.
    #[error("{text:?} lies outside the years 1970 to 9998")]
    Range {
        /// What was given.
        text: String,
    },
    /// It looks like a span before now, and the span is not one.
    #[error(
        "{text:?} is not a date: a span is numbers with the units y, mo, w, d, h, m, s, in this order; write -2d12h or \"2d12h ago\""
    )]
    Span {
        /// What was given.
        text: String,
    },
    /// A span that does not say in which direction.
    #[error("{text:?} is a time span and not a date; write -{span} or \"{span} ago\"")]
    BareSpan {
        /// What was given.
        text: String,
        /// The same without `@`.
        span: String,
    },
    /// The clock was set back and showed this time twice.
    #[error("{text:?} names two times: {} and {}; write it with its offset", clock(at, *before), clock(at, *after))]
    Fold {
        /// What was given.
        text: String,
        /// What the clock showed.
        at: DateTime,
        /// The offset of the earlier one.
        before: Offset,
        /// The offset of the later one.
        after: Offset,
    },
    /// The clock was set forward and never showed this time.
    #[error("{text:?} is not a date: the clock skipped it, going from {} to {}; write it with its offset", offset_text(*before), offset_text(*after))]
    Gap {
        /// What was given.
        text: String,
        /// The offset before the change.
        before: Offset,
        /// The offset after it.
        after: Offset,
    },
    /// `latest` or `oldest` where a new generation needs its time.
    #[error("{text:?} is a generation and not a date; write YYYY-MM-DD or YYYY-MM-DDTHH:MM")]
    NoInstant {
        /// What was given.
        text: String,
    },
}

/// The first and the last second that a text can name: 1970-01-01T00:00:00Z and 9998-12-31T23:59:59Z.
///
/// Every year in between has four digits in UTC, so the [`Time::view_name`] of a parsed time parses
/// again; and the last one is still before [`super::FOREVER`].
const SECONDS: std::ops::RangeInclusive<i64> = 0..=253_370_764_799;

/// Returns the instant `seconds` after 1970-01-01T00:00:00Z, if a date can name it: one in the years 1970 to 9998, UTC.
///
/// No generation may have another instant: nobody could ask for it.
pub fn nameable_instant(seconds: i64) -> Option<Time> {
    SECONDS.contains(&seconds).then_some(Time(seconds))
}

/// Returns which generation `text` asks for.
///
/// This is the whole grammar. One leading `@` is ignored. Nothing else may stand around it, digits are
/// ASCII, and letters are as shown: `T`, `Z`, `W` and `GMT` in capitals, words and units not.
///
/// | text | means |
/// |---|---|
/// | `2026-11-20T02:00:00Z`, `2026-11-20T02:00:00+01:00` | that instant (RFC 3339) |
/// | `2026-11-20T02:00:00`, `2026-11-20T02:00` | that instant on the clocks of `zone`; without seconds the minute's first |
/// | `2026-11-20`, `20261120` | the end of that day in `zone` |
/// | `2026-11`, `2026` | the end of that month, of that year |
/// | `2026-W47` | the end of that ISO week, which runs from Monday to Sunday |
/// | `1763604000` | unix seconds, 9 to 11 digits |
/// | `now` | this second |
/// | `today`, `yesterday` | the end of that day in `zone` |
/// | `latest`, `oldest` | the newest generation, the first one |
/// | `-2d12h`, `2d12h ago` | now, less that span |
/// | `GMT-2026.11.20-02.00.00` | that instant, UTC (the form of Samba's `shadow_copy2`) |
///
/// - A blank, `_` or `-` may stand for the `T`, and the dashes of a day with a time may be left out (`20261120T0200`); where
///   all that is left out (`20261120020000`) there must be seconds.
/// - The parts of a time of day, and of an offset, may be separated by `:`,
///   by `-` or by nothing (`T02-00-00Z`, `T020000Z`, `T0200+0100`), in one time always by the same.
///   Where `-` could be a separator or begin an offset, it is a separator. A fraction of a second is dropped.
/// - The **end** of a period is its last second, one before the next period starts in `zone`, however
///   long a clock change made it; a period that is not over yet ends `now`. Instants are not capped.
/// - A span is `y` years, `mo` months, `w` weeks, `d` days, `h` hours, `m` minutes, `s` seconds: each at
///   most once, in this order. Years to days count on the calendar of `zone` and keep the time of day (31
///   March less `1mo` is the last of February); then hours to seconds count as time that passed. A span
///   is never refused because of a clock change: a skipped hour is the one after it, a doubled one is
///   the later.
/// - Eight digits are a day and never unix seconds: those were over in March 1973, and no backup is that old.
///
/// # Errors
/// [`DateError`]; [`DateError::Fold`] only with [`Fold::Refuse`].
pub fn parse_date(text: &str, now: Time, zone: &TimeZone, fold: Fold) -> Result<AsOf, DateError> {
    let end_of = |period: Period| {
        let end = start_of(text, period.next, zone)?.as_second() - 1;
        in_range(text, end.min(now.0))
    };
    Ok(match read_meaning(text, now, zone, fold)? {
        Meaning::Latest => AsOf::Latest,
        Meaning::Oldest => AsOf::Oldest,
        Meaning::Instant(time) => AsOf::At(time),
        Meaning::Period(period) => AsOf::At(end_of(period)?),
    })
}

/// Returns the instant that `text` names, for a generation that has none of its own.
///
/// The grammar is that of [`parse_date`], with two differences: a period means its **start**, as a copy
/// named `2026-11-20` was taken when that day began at the earliest; and `latest` and `oldest` are refused.
///
/// # Errors
/// [`DateError`]; [`DateError::Fold`] only with [`Fold::Refuse`].
pub fn parse_instant(text: &str, now: Time, zone: &TimeZone, fold: Fold) -> Result<Time, DateError> {
    read_meaning(text, now, zone, fold)?.start(text, zone)
}

/// Returns the instant that `name` tells as the name of a copy; none if it has no form that tells a day or a time of a day.
///
/// The forms are those of [`parse_instant`] that name a day or an instant on the calendar; `zone` is that of names
/// without an offset. A day is its start (`Z` behind it: in UTC). A time that the clock showed twice is the later one:
/// the copy was finished by then in both readings.
///
/// A name that is digits alone has the form of a day, or of a time, only if it is one or begins like a
/// year of our time (`19`, `20`): numbers of backups are digits, too.
///
/// # Errors
/// [`DateError`] for a name that has the form and tells no time.
pub fn parse_copy_name(name: &str, zone: &TimeZone) -> Result<Option<Time>, DateError> {
    let form = name.strip_prefix('@').unwrap_or(name);
    let day_of_utc = || match read_calendar(form.strip_suffix('Z')?)? {
        day @ Written::Day(..) => Some((day, TimeZone::UTC)),
        _ => None,
    };
    let (written, zone) = match read_samba(form).or_else(|| read_calendar(form)) {
        Some(written @ (Written::Day(..) | Written::Clock { .. })) => (written, zone.clone()),
        Some(Written::Year(..) | Written::Month(..) | Written::Week(..)) => return Ok(None),
        None => match day_of_utc() {
            Some(day) => day,
            None => return Ok(None),
        },
    };
    let told = read_meaning_of_calendar(name, &written, &zone, Fold::Later).and_then(|it| it.start(name, &zone));
    let is_number = form.bytes().all(|b| b.is_ascii_digit()) && !form.starts_with("19") && !form.starts_with("20");
    if is_number { Ok(told.ok()) } else { told.map(Some) }
}

/// What a text can mean before it is known whether a start or an end is wanted.
enum Meaning {
    Latest,
    Oldest,
    Instant(Time),
    Period(Period),
}

impl Meaning {
    /// Returns the instant that is meant where something is named.
    fn start(self, text: &str, zone: &TimeZone) -> Result<Time, DateError> {
        match self {
            Self::Latest | Self::Oldest => Err(DateError::NoInstant { text: text.to_owned() }),
            Self::Instant(time) => Ok(time),
            Self::Period(period) => in_range(text, start_of(text, period.first, zone)?.as_second()),
        }
    }
}

/// The days from `first` up to, and without, `next`.
struct Period {
    first: Date,
    next: Date,
}

fn read_meaning(text: &str, now: Time, zone: &TimeZone, fold: Fold) -> Result<Meaning, DateError> {
    let form = text.strip_prefix('@').unwrap_or(text);
    let today = || Ok::<_, DateError>(zone.to_datetime(as_timestamp(text, now.0)?).date());
    match form {
        "latest" => return Ok(Meaning::Latest),
        "oldest" => return Ok(Meaning::Oldest),
        "now" => return Ok(Meaning::Instant(now)),
        "today" => return period(text, today()?, Span::new().days(1)),
        "yesterday" => return period(text, days_before(text, today()?)?, Span::new().days(1)),
        _ => {}
    }
    if let Some(span) = form.strip_prefix('-').or_else(|| form.strip_suffix(" ago")) {
        return Ok(Meaning::Instant(read_meaning_of_span(text, span, now, zone)?));
    }
    if (9..=11).contains(&form.len()) && form.bytes().all(|b| b.is_ascii_digit()) {
        let seconds = form.parse().expect("at most eleven digits fit");
        return Ok(Meaning::Instant(in_range(text, seconds)?));
    }
    match read_samba(form).or_else(|| read_calendar(form)) {
        Some(written) => read_meaning_of_calendar(text, &written, zone, fold),
        None if matches!(read_span(form), Some(Some(_))) => {
            Err(DateError::BareSpan { text: text.to_owned(), span: form.to_owned() })
        }
        None => Err(DateError::Form { text: text.to_owned() }),
    }
}

fn read_meaning_of_span(text: &str, span: &str, now: Time, zone: &TimeZone) -> Result<Time, DateError> {
    let out_of_range = || DateError::Range { text: text.to_owned() };
    let amounts = read_span(span).ok_or_else(|| DateError::Span { text: text.to_owned() })?;
    let [years, months, weeks, days, hours, minutes, seconds] = amounts.ok_or_else(out_of_range)?;
    let mut from = as_timestamp(text, now.0)?;
    if [years, months, weeks, days] != [0; 4] {
        let calendar = Span::new()
            .try_years(years)
            .and_then(|span| span.try_months(months))
            .and_then(|span| span.try_weeks(weeks))
            .and_then(|span| span.try_days(days))
            .map_err(|_| out_of_range())?;
        let shown = zone.to_datetime(from).checked_sub(calendar).map_err(|_| out_of_range())?;
        from = zone.to_ambiguous_timestamp(shown).later().map_err(|_| out_of_range())?;
    }
    in_range(text, from.as_second() - hours * 3600 - minutes * 60 - seconds)
}

fn read_meaning_of_calendar(text: &str, written: &Written, zone: &TimeZone, fold: Fold) -> Result<Meaning, DateError> {
    match *written {
        Written::Year(year) => period(text, check_day(text, year, 1, 1)?, Span::new().years(1)),
        Written::Month(year, month) => period(text, check_day(text, year, month, 1)?, Span::new().months(1)),
        Written::Week(year, week) => period(text, check_week(text, year, week)?, Span::new().weeks(1)),
        Written::Day(year, month, day) => period(text, check_day(text, year, month, day)?, Span::new().days(1)),
        Written::Clock { day: (year, month, day), time: (hour, minute, second), offset } => {
            let day = check_day(text, year, month, day)?;
            let at = day.at(
                check_number(text, "hour", hour, 23)?,
                check_number(text, "minute", minute, 59)?,
                check_number(text, "second", second, 59)?,
                0,
            );
            let timestamp = match offset {
                Some(offset) => check_offset(text, offset)?
                    .to_timestamp(at)
                    .map_err(|_| DateError::Range { text: text.to_owned() })?,
                None => local(text, at, zone, fold)?,
            };
            Ok(Meaning::Instant(in_range(text, timestamp.as_second())?))
        }
    }
}

/// Returns when the clocks of `zone` showed `at`.
fn local(text: &str, at: DateTime, zone: &TimeZone, fold: Fold) -> Result<Timestamp, DateError> {
    let ambiguous = zone.to_ambiguous_timestamp(at);
    match ambiguous.offset() {
        AmbiguousOffset::Gap { before, after } => {
            return Err(DateError::Gap { text: text.to_owned(), before, after });
        }
        AmbiguousOffset::Fold { before, after } if fold == Fold::Refuse => {
            return Err(DateError::Fold { text: text.to_owned(), at, before, after });
        }
        AmbiguousOffset::Fold { .. } | AmbiguousOffset::Unambiguous { .. } => {}
    }
    ambiguous.later().map_err(|_| DateError::Range { text: text.to_owned() })
}

/// Returns the first second of `day` in `zone`.
///
/// Midnight itself may be skipped (the day then starts at 01:00) or doubled (it starts at the first).
fn start_of(text: &str, day: Date, zone: &TimeZone) -> Result<Timestamp, DateError> {
    zone.to_ambiguous_timestamp(day.at(0, 0, 0, 0)).compatible().map_err(|_| DateError::Range { text: text.to_owned() })
}

fn period(text: &str, first: Date, length: Span) -> Result<Meaning, DateError> {
    let next = first.checked_add(length).map_err(|_| DateError::Range { text: text.to_owned() })?;
    Ok(Meaning::Period(Period { first, next }))
}

fn days_before(text: &str, day: Date) -> Result<Date, DateError> {
    day.yesterday().map_err(|_| DateError::Range { text: text.to_owned() })
}

fn as_timestamp(text: &str, seconds: i64) -> Result<Timestamp, DateError> {
    Timestamp::from_second(seconds).map_err(|_| DateError::Range { text: text.to_owned() })
}

fn in_range(text: &str, seconds: i64) -> Result<Time, DateError> {
    nameable_instant(seconds).ok_or_else(|| DateError::Range { text: text.to_owned() })
}

fn check_number(text: &str, part: &'static str, found: u32, last: u32) -> Result<i8, DateError> {
    match i8::try_from(found) {
        Ok(number) if found <= last => Ok(number),
        _ => Err(DateError::Number { text: text.to_owned(), part, found }),
    }
}

fn check_year(text: &str, year: u32) -> Result<i16, DateError> {
    match i16::try_from(year) {
        Ok(year) if (1970..=9998).contains(&year) => Ok(year),
        _ => Err(DateError::Range { text: text.to_owned() }),
    }
}

fn check_day(text: &str, year: u32, month: u32, day: u32) -> Result<Date, DateError> {
    let checked_year = check_year(text, year)?;
    let first = check_number(text, "month", month, 12).and_then(|number| {
        Date::new(checked_year, number, 1).map_err(|_| DateError::Number {
            text: text.to_owned(),
            part: "month",
            found: month,
        })
    })?;
    let days = first.days_in_month();
    i8::try_from(day)
        .ok()
        .and_then(|number| Date::new(checked_year, first.month(), number).ok())
        .ok_or_else(|| DateError::Day { text: text.to_owned(), found: day, year, month, days })
}

fn check_week(text: &str, year: u32, week: u32) -> Result<Date, DateError> {
    let checked_year = check_year(text, year)?;
    let monday = |week| ISOWeekDate::new(checked_year, week, Weekday::Monday);
    let weeks = monday(1).map_err(|_| DateError::Range { text: text.to_owned() })?.weeks_in_year();
    i8::try_from(week)
        .ok()
        .and_then(|number| monday(number).ok())
        .map(ISOWeekDate::date)
        .ok_or_else(|| DateError::Week { text: text.to_owned(), found: week, year, weeks })
}

fn check_offset(text: &str, written: WrittenOffset) -> Result<Offset, DateError> {
    let hours = i32::from(check_number(text, "offset hour", written.hours, 23)?);
    let minutes = i32::from(check_number(text, "offset minute", written.minutes, 59)?);
    let seconds = hours * 3600 + minutes * 60;
    Offset::from_seconds(if written.west { -seconds } else { seconds })
        .map_err(|_| DateError::Range { text: text.to_owned() })
}

/// Returns `02:30+02:00`, with seconds where there are some.
fn clock(at: &DateTime, offset: Offset) -> String {
    let seconds = if at.second() == 0 { String::new() } else { format!(":{:02}", at.second()) };
    format!("{:02}:{:02}{seconds}{}", at.hour(), at.minute(), offset_text(offset))
}

/// Returns `+02:00`.
fn offset_text(offset: Offset) -> String {
    let sign = if offset.is_negative() { '-' } else { '+' };
    let minutes = offset.seconds().abs() / 60;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-21T00:35:00Z, a Saturday; 01:35 in Berlin.
    const NOW: Time = Time(1_795_221_300);

    /// The rules of central Europe as a POSIX string, so that no zone files are needed.
    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn at(text: &str) -> String {
        match parse_date(text, NOW, &berlin(), Fold::Refuse) {
            Ok(AsOf::At(time)) => time.to_string(),
            Ok(other) => format!("{other:?}"),
            Err(error) => error.to_string(),
        }
    }

    fn start(text: &str) -> String {
        match parse_instant(text, NOW, &berlin(), Fold::Refuse) {
            Ok(time) => time.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Compares all rows before it fails, so that one run shows every wrong one.
    #[track_caller]
    fn assert_rows(read: impl Fn(&str) -> String, rows: &[(&str, &str)]) {
        let wrong: Vec<_> = rows
            .iter()
            .map(|(text, expected)| (*text, read(text), *expected))
            .filter(|(_, found, expected)| found != expected)
            .map(|(text, found, expected)| format!("{text:?}\n     found {found}\n  expected {expected}"))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn the_fixed_now_is_what_the_tables_assume() {
        assert_eq!(NOW.to_string(), "2026-11-21T00:35:00Z");
    }

    #[test]
    fn every_form_of_the_grammar_means_one_time() {
        assert_rows(
            at,
            &[
                // RFC 3339
                ("2026-11-20T02:00:00Z", "2026-11-20T02:00:00Z"),
                ("2026-11-20T02:00:00+01:00", "2026-11-20T01:00:00Z"),
                ("2026-11-20T02:00:00-05:30", "2026-11-20T07:30:00Z"),
                ("2026-11-20T02:00:00-00:00", "2026-11-20T02:00:00Z"),
                ("2026-11-20 02:00:00Z", "2026-11-20T02:00:00Z"),
                ("2026-11-20T02:00:00.999999999Z", "2026-11-20T02:00:00Z"),
                ("2026-11-20T02:00Z", "2026-11-20T02:00:00Z"),
                // the same without colons
                ("2026-11-20T02-00-00Z", "2026-11-20T02:00:00Z"),
                ("2026-11-20T020000Z", "2026-11-20T02:00:00Z"),
                ("2026-11-20T020000+0100", "2026-11-20T01:00:00Z"),
                ("2026-11-20T0200-0100", "2026-11-20T03:00:00Z"),
                ("2026-11-20T02-00-00-01-00", "2026-11-20T03:00:00Z"),
                ("2026-11-20T02:00-01:00", "2026-11-20T03:00:00Z"),
                // local
                ("2026-11-20T02:00:07", "2026-11-20T01:00:07Z"),
                ("2026-11-20T02:00", "2026-11-20T01:00:00Z"),
                ("2026-11-20 02:00", "2026-11-20T01:00:00Z"),
                ("2026-11-20T0200", "2026-11-20T01:00:00Z"),
                ("2026-11-20T02-00", "2026-11-20T01:00:00Z"),
                ("2026-11-20T02-00-01", "2026-11-20T01:00:01Z"),
                ("2026-07-20T02:00", "2026-07-20T00:00:00Z"),
                // as copies are called
                ("2026-11-20_0200", "2026-11-20T01:00:00Z"),
                ("2026-11-20_02-00-01Z", "2026-11-20T02:00:01Z"),
                ("2026-11-20-0200", "2026-11-20T01:00:00Z"),
                ("2026-11-20-02-00-01", "2026-11-20T01:00:01Z"),
                ("20261120T0200", "2026-11-20T01:00:00Z"),
                ("20261120-020001", "2026-11-20T01:00:01Z"),
                ("20261120T020001Z", "2026-11-20T02:00:01Z"),
                ("20261120T02:00-03:30", "2026-11-20T05:30:00Z"),
                ("20261120020001", "2026-11-20T01:00:01Z"),
                // periods
                ("2026-11-20", "2026-11-20T22:59:59Z"),
                ("20261120", "2026-11-20T22:59:59Z"),
                ("2026-10", "2026-10-31T22:59:59Z"),
                ("2026-W46", "2026-11-15T22:59:59Z"),
                ("2025", "2025-12-31T22:59:59Z"),
                ("2024-02-29", "2024-02-29T22:59:59Z"),
                ("1970", "1970-12-31T22:59:59Z"),
                // numbers
                ("1763604000", "2025-11-20T02:00:00Z"),
                ("123456789", "1973-11-29T21:33:09Z"),
                ("000000000", "1970-01-01T00:00:00Z"),
                ("99999999999", "5138-11-16T09:46:39Z"),
                // words
                ("now", "2026-11-21T00:35:00Z"),
                ("today", "2026-11-21T00:35:00Z"),
                ("yesterday", "2026-11-20T22:59:59Z"),
                ("latest", "Latest"),
                ("oldest", "Oldest"),
                // spans
                ("-3d", "2026-11-18T00:35:00Z"),
                ("3d ago", "2026-11-18T00:35:00Z"),
                ("-2w", "2026-11-07T00:35:00Z"),
                ("-1mo", "2026-10-20T23:35:00Z"),
                ("-1y", "2025-11-21T00:35:00Z"),
                ("-36h", "2026-11-19T12:35:00Z"),
                ("-90m", "2026-11-20T23:05:00Z"),
                ("-45s", "2026-11-21T00:34:15Z"),
                ("-2d12h", "2026-11-18T12:35:00Z"),
                ("1y1mo1w1d1h1m1s ago", "2025-10-12T22:33:59Z"),
                ("-0d", "2026-11-21T00:35:00Z"),
                // Samba
                ("GMT-2026.11.20-02.00.00", "2026-11-20T02:00:00Z"),
            ],
        );
    }

    #[test]
    fn one_leading_at_sign_changes_nothing() {
        assert_rows(
            at,
            &[
                ("@2026-11-20", "2026-11-20T22:59:59Z"),
                ("@2026-11-20T020000Z", "2026-11-20T02:00:00Z"),
                ("@1763604000", "2025-11-20T02:00:00Z"),
                ("@-3d", "2026-11-18T00:35:00Z"),
                ("@latest", "Latest"),
                ("@GMT-2026.11.20-02.00.00", "2026-11-20T02:00:00Z"),
                ("@@latest", r#""@@latest" is not a date; try yesterday, -7d, 2026-11-20 or 2026-11-20T14:30"#),
            ],
        );
        assert_eq!(start("@2026-11-20"), "2026-11-19T23:00:00Z");
    }

    #[test]
    fn what_has_no_form_is_refused() {
        let texts = [
            "",
            "@",
            "friday",
            "1",
            "12",
            "202",
            "02:00",
            "tomorrow",
            "Latest",
            "NOW",
            "2026-",
            "2026-1",
            "2026-1-1",
            "2026-11-2",
            "2026-11-20T",
            "2026-11-20T02",
            "2026-11-20T02Z",
            "2026-11-20T2:00",
            "2026-11-20T02:0",
            "2026-11-20T02:00:",
            "2026-11-20T02:0000",
            "2026-11-20T02:00-30",
            "2026-11-20T02-00-01:00",
            "2026-11-20T02:00:00.Z",
            "2026-11-20T02:00.5",
            "2026-11-20T02:00:00,5Z",
            "2026-11-20T02:00:00+01",
            "2026-11-20T02:00:00ZZ",
            "2026-11-20t02:00:00Z",
            "2026-11-20T02:00:00z",
            "2026-11-20Z",
            "2026-11-20+01:00",
            "2026-11-20  02:00",
            "2026-11-20.02:00",
            "2026-11-20-02",
            "2026-11-20--0200",
            "2026-1120",
            "202611-20",
            "202611",
            "20261120T",
            "20261120T02",
            "202611200200",
            "20261120020001Z0",
            "2026-11-20x",
            "2026/11/20",
            "20.11.2026",
            "2026-w47",
            "2026-W4",
            "2026-W47-1",
            "2026W47",
            " 2026-11-20",
            "2026-11-20 ",
            "2026-11-20\n",
            "１９９９",
            "２０２６-11-20",
            "2026-11-2٠",
            "1234567",
            "123456789012",
            "1763604000.5",
            "+1763604000",
            "GMT-2026.11.20",
            "ago",
            "GMT-2026.11.20-02.00.0",
            "GMT-2026.11.20-02.00.00Z",
            "gmt-2026.11.20-02.00.00",
            "GMT-2026-11-20-02.00.00",
            "+2d",
            "2d  ",
            "in 2d",
            "02026-11-20",
            "2026-324",
        ];
        let wrong: Vec<_> = texts
            .into_iter()
            .filter(|text| {
                at(text) != format!("{text:?} is not a date; try yesterday, -7d, 2026-11-20 or 2026-11-20T14:30")
            })
            .map(|text| format!("{text:?}: {}", at(text)))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(at("friday"), r#""friday" is not a date; try yesterday, -7d, 2026-11-20 or 2026-11-20T14:30"#);
        assert_eq!(at("a\nb"), r#""a\nb" is not a date; try yesterday, -7d, 2026-11-20 or 2026-11-20T14:30"#);
    }

    #[test]
    fn a_number_that_no_calendar_has_is_named() {
        assert_rows(
            at,
            &[
                ("2026-13-01", r#""2026-13-01" is not a date: month 13; write YYYY-MM-DD or YYYY-MM-DDTHH:MM"#),
                ("@2026-13-01", r#""@2026-13-01" is not a date: month 13; write YYYY-MM-DD or YYYY-MM-DDTHH:MM"#),
                ("2026-00", r#""2026-00" is not a date: month 0; write YYYY-MM-DD or YYYY-MM-DDTHH:MM"#),
                ("2026-02-29", r#""2026-02-29" is not a date: day 29, and 2026-02 has 28 days"#),
                ("2026-11-31T02:00", r#""2026-11-31T02:00" is not a date: day 31, and 2026-11 has 30 days"#),
                ("2026-11-00", r#""2026-11-00" is not a date: day 0, and 2026-11 has 30 days"#),
                ("2025-W53", r#""2025-W53" is not a date: week 53, and 2025 has 52 weeks"#),
                ("2026-W54", r#""2026-W54" is not a date: week 54, and 2026 has 53 weeks"#),
                ("2026-W00", r#""2026-W00" is not a date: week 0, and 2026 has 53 weeks"#),
                (
                    "2026-11-20T24:00",
                    r#""2026-11-20T24:00" is not a date: hour 24; write YYYY-MM-DD or YYYY-MM-DDTHH:MM"#,
                ),
                (
                    "2026-11-20T02:60",
                    r#""2026-11-20T02:60" is not a date: minute 60; write YYYY-MM-DD or YYYY-MM-DDTHH:MM"#,
                ),
                (
                    "2016-12-31T23:59:60Z",
                    r#""2016-12-31T23:59:60Z" is not a date: second 60; write YYYY-MM-DD or YYYY-MM-DDTHH:MM"#,
                ),
                (
                    "2026-11-20T02:00+24:00",
                    r#""2026-11-20T02:00+24:00" is not a date: offset hour 24; write YYYY-MM-DD or YYYY-MM-DDTHH:MM"#,
                ),
                (
                    "2026-11-20T02:00+01:60",
                    r#""2026-11-20T02:00+01:60" is not a date: offset minute 60; write YYYY-MM-DD or YYYY-MM-DDTHH:MM"#,
                ),
                (
                    "GMT-2026.13.20-02.00.00",
                    r#""GMT-2026.13.20-02.00.00" is not a date: month 13; write YYYY-MM-DD or YYYY-MM-DDTHH:MM"#,
                ),
            ],
        );
    }

    #[test]
    fn what_no_catalog_can_hold_is_refused() {
        assert_rows(
            at,
            &[
                ("1969", r#""1969" lies outside the years 1970 to 9998"#),
                ("9999", r#""9999" lies outside the years 1970 to 9998"#),
                ("0000-01-01", r#""0000-01-01" lies outside the years 1970 to 9998"#),
                ("9999-W01", r#""9999-W01" lies outside the years 1970 to 9998"#),
                ("-57y", r#""-57y" lies outside the years 1970 to 9998"#),
                ("-999999999y", r#""-999999999y" lies outside the years 1970 to 9998"#),
                ("-999999999h", r#""-999999999h" lies outside the years 1970 to 9998"#),
                ("-9999999999s", r#""-9999999999s" lies outside the years 1970 to 9998"#),
                ("-99999999999999999999d", r#""-99999999999999999999d" lies outside the years 1970 to 9998"#),
                ("1970-01-01T00:00+00:01", r#""1970-01-01T00:00+00:01" lies outside the years 1970 to 9998"#),
                ("-9999999999999999h", r#""-9999999999999999h" lies outside the years 1970 to 9998"#),
                ("1970-01-01T00:59:59+01:00", r#""1970-01-01T00:59:59+01:00" lies outside the years 1970 to 9998"#),
                ("9998-12-31T23:00:00-01:00", r#""9998-12-31T23:00:00-01:00" lies outside the years 1970 to 9998"#),
                ("1970-01-01T00:00+00:00", "1970-01-01T00:00:00Z"),
                ("9998-12-31T23:59:59Z", "9998-12-31T23:59:59Z"),
                ("9998-12-31T23:59:59-00:01", r#""9998-12-31T23:59:59-00:01" lies outside the years 1970 to 9998"#),
            ],
        );
        assert_eq!(start("1970"), r#""1970" lies outside the years 1970 to 9998"#);
    }

    #[test]
    fn a_span_needs_a_direction_and_its_units_in_order() {
        let refused = |text: &str| {
            format!(
                "{text:?} is not a date: a span is numbers with the units y, mo, w, d, h, m, s, in this order; \
                 write -2d12h or \"2d12h ago\""
            )
        };
        let texts = [
            "-",
            "-3",
            "-d",
            "-3x",
            "-3D",
            "-1h2d",
            "-1d1d",
            "-1.5d",
            "--3d",
            "- 3d",
            "-3d ago",
            "-3d ",
            "friday ago",
            "3 days ago",
            " ago",
            "2d  ago",
            "-1d-2h",
            "-3min",
        ];
        let wrong: Vec<_> = texts
            .into_iter()
            .filter(|text| at(text) != refused(text))
            .map(|text| format!("{text:?}: {}", at(text)))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_rows(
            at,
            &[
                (
                    "-3",
                    r#""-3" is not a date: a span is numbers with the units y, mo, w, d, h, m, s, in this order; write -2d12h or "2d12h ago""#,
                ),
                ("2d", r#""2d" is a time span and not a date; write -2d or "2d ago""#),
                ("@1y6mo", r#""@1y6mo" is a time span and not a date; write -1y6mo or "1y6mo ago""#),
            ],
        );
    }

    #[test]
    fn eight_digits_are_a_day_and_never_unix_seconds() {
        assert_rows(
            at,
            &[
                ("@20261109", "2026-11-09T22:59:59Z"),
                ("20261320", r#""20261320" is not a date: month 13; write YYYY-MM-DD or YYYY-MM-DDTHH:MM"#),
                ("20260229", r#""20260229" is not a date: day 29, and 2026-02 has 28 days"#),
                ("12345678", r#""12345678" lies outside the years 1970 to 9998"#),
            ],
        );
        assert_eq!(start("20261109"), "2026-11-08T23:00:00Z");
    }

    #[test]
    fn the_name_of_a_copy_tells_a_day_or_a_time_and_nothing_else() {
        let copy = |name: &str| match parse_copy_name(name, &berlin()) {
            Ok(Some(time)) => time.to_string(),
            Ok(None) => "-".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_rows(
            copy,
            &[
                ("2026-11-20", "2026-11-19T23:00:00Z"),
                ("20261120", "2026-11-19T23:00:00Z"),
                ("2026-11-20Z", "2026-11-20T00:00:00Z"),
                ("20261120Z", "2026-11-20T00:00:00Z"),
                ("GMT-2026.11.20-02.00.00", "2026-11-20T02:00:00Z"),
                ("@2026-11-20T0200", "2026-11-20T01:00:00Z"),
                ("2026-11-20T02:00-0330", "2026-11-20T05:30:00Z"),
                ("2026-11-20T0200+0100", "2026-11-20T01:00:00Z"),
                ("20261120020030", "2026-11-20T01:00:30Z"),
                ("2026-10-25T0230", "2026-10-25T01:30:00Z"),
                // What the grammar of dates knows besides is no date of a copy.
                ("2026", "-"),
                ("2026-11", "-"),
                ("2026-W47", "-"),
                ("1763604000", "-"),
                ("latest", "-"),
                ("today", "-"),
                ("-3d", "-"),
                // Numbers of backups; the last one is taken for a date that was mistyped.
                ("12345678", "-"),
                ("00000017", "-"),
                ("99991399999999", "-"),
                ("20261320", r#""20261320" is not a date: month 13; write YYYY-MM-DD or YYYY-MM-DDTHH:MM"#),
                ("2026-02-30", r#""2026-02-30" is not a date: day 30, and 2026-02 has 28 days"#),
                (
                    "2026-11-20T0200+2400",
                    r#""2026-11-20T0200+2400" is not a date: offset hour 24; write YYYY-MM-DD or YYYY-MM-DDTHH:MM"#,
                ),
                ("1969-12-31", r#""1969-12-31" lies outside the years 1970 to 9998"#),
                ("1970-01-01", r#""1970-01-01" lies outside the years 1970 to 9998"#),
                ("9999-01-01", r#""9999-01-01" lies outside the years 1970 to 9998"#),
                (
                    "2026-03-29T0230",
                    r#""2026-03-29T0230" is not a date: the clock skipped it, going from +01:00 to +02:00; write it with its offset"#,
                ),
            ],
        );
    }

    #[test]
    fn a_time_that_the_clock_showed_twice_is_refused_or_the_later() {
        assert_rows(
            at,
            &[
                (
                    "2026-10-25T02:30",
                    r#""2026-10-25T02:30" names two times: 02:30+02:00 and 02:30+01:00; write it with its offset"#,
                ),
                (
                    "2026-10-25T02:30:15",
                    r#""2026-10-25T02:30:15" names two times: 02:30:15+02:00 and 02:30:15+01:00; write it with its offset"#,
                ),
                ("2026-10-25T02:30+02:00", "2026-10-25T00:30:00Z"),
                ("2026-10-25T02:30+01:00", "2026-10-25T01:30:00Z"),
                ("2026-10-25T01:59:59", "2026-10-24T23:59:59Z"),
                ("2026-10-25T03:00", "2026-10-25T02:00:00Z"),
            ],
        );
        let later = |text: &str| parse_date(text, NOW, &berlin(), Fold::Later).map(|as_of| format!("{as_of:?}"));
        assert_eq!(later("2026-10-25T02:30"), Ok("At(Time(1792891800))".to_owned()));
        assert_eq!(Time(1_792_891_800).to_string(), "2026-10-25T01:30:00Z");
        assert_eq!(parse_instant("2026-10-25T02:30", NOW, &berlin(), Fold::Later), Ok(Time(1_792_891_800)));
    }

    #[test]
    fn a_time_that_the_clock_skipped_is_refused_under_both_rules() {
        let expected = r#""2026-03-29T02:30" is not a date: the clock skipped it, going from +01:00 to +02:00; write it with its offset"#;
        for fold in [Fold::Refuse, Fold::Later] {
            let found = parse_date("2026-03-29T02:30", NOW, &berlin(), fold).unwrap_err();
            assert_eq!(found.to_string(), expected);
        }
        assert_rows(
            at,
            &[
                ("2026-03-29T02:30+01:00", "2026-03-29T01:30:00Z"),
                ("2026-03-29T01:59:59", "2026-03-29T00:59:59Z"),
                ("2026-03-29T03:00", "2026-03-29T01:00:00Z"),
            ],
        );
        assert_eq!(start("2026-03-29T02:30"), expected);
    }

    #[test]
    fn a_west_offset_is_written_with_its_sign_and_minutes() {
        let st_johns = TimeZone::posix("NST3:30NDT,M3.2.0,M11.1.0").unwrap();
        assert_eq!(
            parse_date("2026-11-01T01:30", NOW, &st_johns, Fold::Refuse).unwrap_err().to_string(),
            r#""2026-11-01T01:30" names two times: 01:30-02:30 and 01:30-03:30; write it with its offset"#
        );
    }

    #[test]
    fn a_period_ends_one_second_before_the_next_whatever_the_clock_did() {
        assert_rows(
            at,
            &[
                // the day of 23 hours, the day of 25 hours, and their neighbours
                ("2026-03-28", "2026-03-28T22:59:59Z"),
                ("2026-03-29", "2026-03-29T21:59:59Z"),
                ("2026-10-24", "2026-10-24T21:59:59Z"),
                ("2026-10-25", "2026-10-25T22:59:59Z"),
                // months and weeks that a change lies in
                ("2026-03", "2026-03-31T21:59:59Z"),
                ("2026-W13", "2026-03-29T21:59:59Z"),
                ("2026-W43", "2026-10-25T22:59:59Z"),
                // ends of months and years
                ("2024-02", "2024-02-29T22:59:59Z"),
                ("2025-12", "2025-12-31T22:59:59Z"),
                ("2025-12-31", "2025-12-31T22:59:59Z"),
                // weeks that belong to another year than some of their days
                ("2020-W53", "2021-01-03T22:59:59Z"),
                ("2026-W01", "2026-01-04T22:59:59Z"),
            ],
        );
    }

    #[test]
    fn a_day_whose_midnight_is_skipped_starts_at_one() {
        // Clocks go from 24:00 on Saturday to 01:00 on Sunday, as in Beirut or once in Sao Paulo.
        let beirut = TimeZone::posix("EET-2EEST,M3.5.0/0,M10.5.0/0").unwrap();
        let end = parse_date("2026-03-28", NOW, &beirut, Fold::Refuse);
        let begin = parse_instant("2026-03-29", NOW, &beirut, Fold::Refuse).unwrap();
        assert_eq!(begin.to_string(), "2026-03-28T22:00:00Z");
        assert_eq!(end, Ok(AsOf::At(Time(begin.0 - 1))));
    }

    #[test]
    fn a_day_whose_midnight_is_doubled_starts_at_the_first() {
        // Clocks go from 01:00 on Sunday back to 00:00 on Sunday, as in Havana.
        let havana = TimeZone::posix("CST5CDT,M3.2.0/0,M11.1.0/1").unwrap();
        let begin = parse_instant("2026-11-01", NOW, &havana, Fold::Refuse).unwrap();
        assert_eq!(begin.to_string(), "2026-11-01T04:00:00Z");
        assert_eq!(parse_date("2026-10-31", NOW, &havana, Fold::Refuse), Ok(AsOf::At(Time(begin.0 - 1))));
    }

    #[test]
    fn a_period_that_is_not_over_ends_now_and_a_future_instant_stays() {
        assert_rows(
            at,
            &[
                ("2026-11-21", "2026-11-21T00:35:00Z"),
                ("2026-W47", "2026-11-21T00:35:00Z"),
                ("2026-11", "2026-11-21T00:35:00Z"),
                ("2026", "2026-11-21T00:35:00Z"),
                ("2027-01-01", "2026-11-21T00:35:00Z"),
                ("9998", "2026-11-21T00:35:00Z"),
                ("2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
                ("2027-01-01T00:00", "2026-12-31T23:00:00Z"),
            ],
        );
    }

    #[test]
    fn a_span_counts_days_on_the_calendar_and_hours_as_they_pass() {
        let from = |now: &str, span: &str| {
            let now = Time(now.parse::<Timestamp>().unwrap().as_second());
            match parse_date(span, now, &berlin(), Fold::Refuse) {
                Ok(AsOf::At(time)) => time.to_string(),
                other => format!("{other:?}"),
            }
        };
        // The day of 25 hours: a day is longer than 24 hours.
        assert_eq!(from("2026-10-26T11:00:00Z", "-1d"), "2026-10-25T11:00:00Z");
        assert_eq!(from("2026-10-25T11:00:00Z", "-1d"), "2026-10-24T10:00:00Z");
        assert_eq!(from("2026-10-25T11:00:00Z", "-24h"), "2026-10-24T11:00:00Z");
        // A doubled hour is the later, a skipped one the hour after it.
        assert_eq!(from("2026-10-26T01:30:00Z", "-1d"), "2026-10-25T01:30:00Z");
        assert_eq!(from("2026-03-30T00:30:00Z", "-1d"), "2026-03-29T01:30:00Z");
        // A span without days does not pass through the calendar, not even in the doubled hour.
        assert_eq!(from("2026-10-25T00:30:00Z", "-0d"), "2026-10-25T00:30:00Z");
        assert_eq!(from("2026-10-25T00:30:00Z", "-10m"), "2026-10-25T00:20:00Z");
        // The shorter month ends sooner.
        assert_eq!(from("2026-03-31T10:00:00Z", "-1mo"), "2026-02-28T11:00:00Z");
        assert_eq!(from("2024-02-29T11:00:00Z", "-1y"), "2023-02-28T11:00:00Z");
    }

    #[test]
    fn as_an_instant_a_period_means_its_start() {
        assert_rows(
            start,
            &[
                ("2026-11-20", "2026-11-19T23:00:00Z"),
                ("2026-03-29", "2026-03-28T23:00:00Z"),
                ("2026-03-30", "2026-03-29T22:00:00Z"),
                ("2026-11", "2026-10-31T23:00:00Z"),
                ("2026", "2025-12-31T23:00:00Z"),
                ("2026-W01", "2025-12-28T23:00:00Z"),
                ("today", "2026-11-20T23:00:00Z"),
                ("yesterday", "2026-11-19T23:00:00Z"),
                ("now", "2026-11-21T00:35:00Z"),
                ("2027-01-01", "2026-12-31T23:00:00Z"),
                ("2026-11-20T02:00", "2026-11-20T01:00:00Z"),
                ("-1d", "2026-11-20T00:35:00Z"),
                ("1763604000", "2025-11-20T02:00:00Z"),
                ("@GMT-2026.11.20-02.00.00", "2026-11-20T02:00:00Z"),
                ("latest", r#""latest" is a generation and not a date; write YYYY-MM-DD or YYYY-MM-DDTHH:MM"#),
                ("@oldest", r#""@oldest" is a generation and not a date; write YYYY-MM-DD or YYYY-MM-DDTHH:MM"#),
                ("friday", r#""friday" is not a date; try yesterday, -7d, 2026-11-20 or 2026-11-20T14:30"#),
            ],
        );
    }

    #[test]
    fn a_clock_that_jiff_cannot_hold_is_an_error_and_no_panic() {
        for text in ["today", "yesterday", "-1d"] {
            for now in [Time(i64::MIN), Time(i64::MAX)] {
                let found = parse_date(text, now, &berlin(), Fold::Refuse);
                assert_eq!(found, Err(DateError::Range { text: text.to_owned() }), "{text} at {now:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            for fold in [Fold::Refuse, Fold::Later] {
                let _ = parse_date(&text, NOW, &berlin(), fold);
                let _ = parse_instant(&text, NOW, &berlin(), fold);
            }
        }

        /// Who sees a copy's name can ask for it by that name.
        #[test]
        fn what_a_copy_is_called_is_a_date_that_means_it(
            name in "@?[12][0-9]{3}-?[01][0-9]-?[0-3][0-9]([T_ -][0-2][0-9][:-]?[0-5][0-9]([:-]?[0-5][0-9])?([+-][01][0-9]:?[0-5][0-9]|Z)?)?",
        ) {
            if let Ok(Some(time)) = parse_copy_name(&name, &berlin()) {
                prop_assert_eq!(parse_instant(&name, NOW, &berlin(), Fold::Later), Ok(time), "{}", name);
            }
        }

        /// Texts of the right letters come much farther into the parser than any text at all.
        #[test]
        fn a_time_that_was_parsed_parses_again_under_its_view_name(
            text in "@?(-?[0-9]{1,11}|[0-9]{4}-[0-9]{2}(-[0-9]{2}([T ][0-2][0-9][:-]?[0-9]{2}([:-]?[0-9]{2})?([Z+-]([0-9]{2}:?[0-9]{2})?)?)?)?|[0-9]{4}-W[0-9]{2}|-([0-9]{1,4}(y|mo|w|d|h|m|s)){1,3}|GMT-[0-9]{4}(\\.[0-9]{2}){2}-[0-9]{2}(\\.[0-9]{2}){2})",
        ) {
            if let Ok(AsOf::At(time)) = parse_date(&text, NOW, &berlin(), Fold::Later) {
                let again = parse_date(&time.view_name(), NOW, &berlin(), Fold::Refuse);
                prop_assert_eq!(again, Ok(AsOf::At(time)), "{} became {}", text, time.view_name());
            }
            let _ = parse_instant(&text, NOW, &berlin(), Fold::Refuse);
        }

        #[test]
        fn every_view_name_parses_to_its_own_time(seconds in SECONDS) {
            let time = Time(seconds);
            for name in [time.view_name(), format!("@{}", time.view_name()), time.to_string()] {
                prop_assert_eq!(parse_date(&name, NOW, &berlin(), Fold::Refuse), Ok(AsOf::At(time)));
                prop_assert_eq!(parse_instant(&name, NOW, &berlin(), Fold::Refuse), Ok(time));
            }
        }

        /// Days follow each other without a hole and without an overlap.
        #[test]
        fn the_end_of_a_day_is_one_second_before_the_start_of_the_next(days in 1_i64..20_000) {
            let day: Date = Date::constant(1970, 1, 1) + Span::new().days(days);
            let now = Time(*SECONDS.end());
            let end = parse_date(&day.to_string(), now, &berlin(), Fold::Refuse).unwrap();
            let next = parse_instant(&day.tomorrow().unwrap().to_string(), now, &berlin(), Fold::Refuse).unwrap();
            prop_assert_eq!(end, AsOf::At(Time(next.0 - 1)));
        }
    }
}

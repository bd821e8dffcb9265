//! The forms in which a time is written, as the numbers that stand in them.
//!
//! Promises: a form is read whole or not at all; numbers are as long as the form says. Whether there is such a day is for whoever
//! asks.

/// A form with its numbers as they were written, not yet checked.
pub(super) enum Written {
    Year(u32),
    Month(u32, u32),
    Week(u32, u32),
    Day(u32, u32, u32),
    Clock { day: (u32, u32, u32), time: (u32, u32, u32), offset: Option<WrittenOffset> },
}

#[derive(Clone, Copy)]
pub(super) struct WrittenOffset {
    pub(super) west: bool,
    pub(super) hours: u32,
    pub(super) minutes: u32,
}

pub(super) const UTC: WrittenOffset = WrittenOffset { west: false, hours: 0, minutes: 0 };

/// Reads `GMT-YYYY.MM.DD-hh.mm.ss`.
pub(super) fn read_samba(form: &str) -> Option<Written> {
    let mut cursor = Cursor(form.strip_prefix("GMT-")?.as_bytes());
    let mut numbers = [cursor.number(4)?, 0, 0, 0, 0, 0];
    for (number, before) in numbers[1..].iter_mut().zip(b"..-..") {
        cursor.expect(*before)?;
        *number = cursor.number(2)?;
    }
    cursor.end()?;
    let [year, month, day, hour, minute, second] = numbers;
    Some(Written::Clock { day: (year, month, day), time: (hour, minute, second), offset: Some(UTC) })
}

/// Reads `YYYY`, `YYYY-Www`, `YYYY-MM`, `YYYY-MM-DD`, `YYYYMMDD` and these two with a time of day.
pub(super) fn read_calendar(form: &str) -> Option<Written> {
    let mut cursor = Cursor(form.as_bytes());
    let year = cursor.number(4)?;
    if cursor.is_empty() {
        return Some(Written::Year(year));
    }
    let is_dashed = cursor.eat(b'-');
    if is_dashed && cursor.eat(b'W') {
        let week = cursor.number(2)?;
        return cursor.end().map(|()| Written::Week(year, week));
    }
    let month = cursor.number(2)?;
    if is_dashed {
        if cursor.is_empty() {
            return Some(Written::Month(year, month));
        }
        cursor.expect(b'-')?;
    }
    let day = cursor.number(2)?;
    if cursor.is_empty() {
        return Some(Written::Day(year, month, day));
    }
    let is_separated = [b'T', b' ', b'_', b'-'].into_iter().any(|byte| cursor.eat(byte));
    // Twelve digits alone could be too many things (minutes, a number of a backup).
    if !is_separated && (is_dashed || !cursor.starts_with_digits(6)) {
        return None;
    }
    let (time, offset) = read_calendar_clock(&mut cursor)?;
    Some(Written::Clock { day: (year, month, day), time, offset })
}

/// Reads a time of day with or without an offset, up to the end.
fn read_calendar_clock(cursor: &mut Cursor<'_>) -> Option<((u32, u32, u32), Option<WrittenOffset>)> {
    let hour = cursor.number(2)?;
    let separator = cursor.separator();
    let minute = cursor.number(2)?;
    let mut second = 0;
    let has_second = match separator {
        Some(byte) => cursor.eat(byte),
        None => cursor.starts_with_digits(1),
    };
    if has_second {
        second = cursor.number(2)?;
        if cursor.eat(b'.') {
            cursor.digits()?;
        }
    }
    let time = (hour, minute, second);
    if cursor.is_empty() {
        return Some((time, None));
    }
    if cursor.eat(b'Z') {
        return cursor.end().map(|()| (time, Some(UTC)));
    }
    let west = cursor.eat(b'-');
    if !west {
        cursor.expect(b'+')?;
    }
    let hours = cursor.number(2)?;
    cursor.separator();
    let minutes = cursor.number(2)?;
    cursor.end().map(|()| (time, Some(WrittenOffset { west, hours, minutes })))
}

/// The units of a span, in the order in which they may be written.
const UNITS: [&str; 7] = ["y", "mo", "w", "d", "h", "m", "s"];

/// Reads a span into one amount per unit.
///
/// `None` if it is not a span, `Some(None)` if it is one with a number that no calendar has.
pub(super) fn read_span(span: &str) -> Option<Option<[i64; 7]>> {
    let mut cursor = Cursor(span.as_bytes());
    let mut amounts = [0; 7];
    let mut is_countable = true;
    let mut next_unit = 0;
    while next_unit == 0 || !cursor.is_empty() {
        let digits = cursor.digits()?;
        let letters = cursor.letters();
        let unit = UNITS.iter().position(|unit| unit.as_bytes() == letters).filter(|unit| *unit >= next_unit)?;
        next_unit = unit + 1;
        // Nine digits of hours are already 114,000 years, and no product of them leaves 64 bits.
        match std::str::from_utf8(digits).ok().filter(|d| d.len() <= 9).and_then(|d| d.parse().ok()) {
            Some(amount) => amounts[unit] = amount,
            None => is_countable = false,
        }
    }
    Some(is_countable.then_some(amounts))
}

/// What is left to read of a text.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// Takes exactly `width` digits; `None` if there are fewer.
    fn number(&mut self, width: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(width)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.0 = rest;
        Some(digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
    }

    /// Takes all digits that come next, at least one.
    fn digits(&mut self) -> Option<&'a [u8]> {
        Some(self.take_while(u8::is_ascii_digit)).filter(|digits| !digits.is_empty())
    }

    /// Takes all ASCII letters that come next.
    fn letters(&mut self) -> &'a [u8] {
        self.take_while(u8::is_ascii_alphabetic)
    }

    fn take_while(&mut self, wanted: fn(&u8) -> bool) -> &'a [u8] {
        let length = self.0.iter().position(|byte| !wanted(byte)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    /// Takes `:` or `-` if one comes next.
    fn separator(&mut self) -> Option<u8> {
        [b':', b'-'].into_iter().find(|byte| self.eat(*byte))
    }

    /// Takes `byte` if it comes next, and tells whether it did.
    fn eat(&mut self, byte: u8) -> bool {
        let found = self.0.first() == Some(&byte);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.eat(byte).then_some(())
    }

    fn starts_with_digits(&self, count: usize) -> bool {
        self.0.get(..count).is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn end(&self) -> Option<()> {
        self.is_empty().then_some(())
    }
}

//! Tables for people, JSON and CSV for programs.
//!
//! Promises: on a terminal a table with borders of white space, elsewhere the same cells between tabs, so
//! that `cut` and `awk` can read them. Numbers are aligned to the right. Never prints a byte that a terminal
//! would obey, whatever comes here: all that is printed but data in a form of its own (CSV, lists of changes) goes through here.

use super::say::in_local_time;
use crate::model::{printable, printable_json};
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde::Serialize;
use serde_json::Value;
use std::fmt;
use std::io::{IsTerminal, Write};

/// Tells whether standard output is a terminal.
pub(super) fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Prints a line to standard error, with what lower floors say of instants in the reader's zone; [`eprintln!`] of this floor is this.
pub(super) fn say(line: fmt::Arguments<'_>) {
    std::eprintln!("{}", printable(&in_local_time(&line.to_string())));
}

/// Prints a line to standard output.
pub(super) fn line(line: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{}", printable(line))
}

/// Prints cells with tabs between them.
pub(super) fn cells<T: AsRef<str>>(cells: &[T]) -> std::io::Result<()> {
    let cells: Vec<_> = cells.iter().map(|cell| printable(cell.as_ref())).collect();
    writeln!(std::io::stdout(), "{}", cells.join("\t"))
}

/// Prints what clap has to say: an error of usage with arguments in it, help, the version.
pub(super) fn usage(message: &clap::Error) {
    let text = message.render().to_string();
    let is_clean = text.lines().all(|line| matches!(printable(line), std::borrow::Cow::Borrowed(_)));
    if is_clean || !message.use_stderr() {
        // With colours, where it has them.
        let _ = message.print();
    } else {
        text.lines().for_each(|line| say(format_args!("{line}")));
    }
}

/// Prints rows under a header. `right` tells which columns hold numbers.
pub(super) fn table(header: &[&str], right: &[bool], rows: &[Vec<String>]) -> std::io::Result<()> {
    if !is_terminal() {
        cells(header)?;
        return rows.iter().try_for_each(|row| cells(row));
    }
    write_table(&mut std::io::stdout().lock(), header, right, rows)
}

/// Writes rows under a header, aligned.
pub(super) fn write_table(
    out: &mut impl Write,
    header: &[&str],
    right: &[bool],
    rows: &[Vec<String>],
) -> std::io::Result<()> {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.iter().map(|cell| printable(cell)));
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)));
    }
    for (column, right) in table.column_iter_mut().zip(right) {
        column.set_padding((0, 2));
        if *right {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for line in table.to_string().lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Prints one JSON value, indented.
pub(super) fn json(value: &Value) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{}", printable_json(&format!("{value:#}")))
}

/// Prints one JSON value on a line.
pub(super) fn json_line(value: &Value) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{}", printable_json(&value.to_string()))
}

/// Prints the report of a job as JSON.
pub(super) fn report(report: &impl Serialize) -> std::io::Result<()> {
    json(&serde_json::to_value(report)?)
}

/// Prints `key  value` lines.
pub(super) fn facts(facts: &[(&str, String)]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let width = facts.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    for (key, value) in facts {
        writeln!(out, "{key:width$}  {}", printable(value))?;
    }
    Ok(())
}

/// Returns a count with commas: `1,234,567`.
pub(super) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(c);
    }
    text
}

/// Returns a number of things: `1 source`, `1,200 sources`.
pub(super) fn counted(number: u64, thing: &str) -> String {
    number_of(number, thing, &format!("{thing}s"))
}

/// Returns a number of entries: `1 entry`, `1,200 entries`.
pub(super) fn entries(number: u64) -> String {
    number_of(number, "entry", "entries")
}

/// Returns a number of losses: `1 loss`, `2 losses`.
pub(super) fn losses(number: u64) -> String {
    number_of(number, "loss", "losses")
}

/// Returns a number of things whose plural is another word.
pub(super) fn number_of(number: u64, one: &str, many: &str) -> String {
    let thing = if number == 1 { one } else { many };
    format!("{} {thing}", grouped(i64::try_from(number).unwrap_or(i64::MAX)))
}

/// Returns how long something took: `7 ms`, `1.3 s`, `4,000 s`.
pub(super) fn took(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..100_000 => format!("{:.1} s", ms as f64 / 1000.0),
        _ => format!("{} s", grouped((ms / 1000) as i64)),
    }
}

/// Returns bytes in the largest binary unit that keeps a digit before the point: `3.4 GiB`.
pub(super) fn human_bytes(bytes: i64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(-1000), "-1,000");
        assert_eq!(grouped(7), "7");
        assert_eq!(counted(1, "source"), "1 source");
        assert_eq!(counted(1200, "source"), "1,200 sources");
        assert_eq!(entries(1), "1 entry");
        assert_eq!(entries(1200), "1,200 entries");
        assert_eq!(took(7), "7 ms");
        assert_eq!(took(1250), "1.2 s");
        assert_eq!(took(4_000_900), "4,000 s");
        assert_eq!(human_bytes(1023), "1023 B");
        assert_eq!(human_bytes(3_650_722_202), "3.4 GiB");
    }
}

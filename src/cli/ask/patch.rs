//! `asof diff --patch`: below the line of each file whose content is another one, the lines of text that differ.
//!
//! Promises: what stands after `---` and `+++` are the paths below a mount point, and the lines are the bytes themselves, so `patch -p2` takes
//! them; on a terminal nothing passes that it would obey. Where the bytes of one file cannot be had, that is said, and the others follow.

use super::history::cells_of_change;
use crate::cli::output;
use crate::cli::report::Failure;
use crate::jobs::ask::Changed;
use crate::jobs::ask::patch::{Patch, SIZE_MAX, Where, patch};
use crate::model::printable;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;

/// Prints the lines of `rows`; `sides` tells where the files of one are that are to be compared. Returns how many could not be read.
pub(super) fn print<'a>(
    rows: &[Changed],
    sides: impl Fn(usize) -> Option<(Where<'a>, Where<'a>)>,
) -> Result<u64, Failure> {
    let (mut out, is_terminal) = (BufWriter::new(io::stdout().lock()), output::is_terminal());
    let mut unread = 0;
    for (number, row) in rows.iter().enumerate() {
        let cells = cells_of_change(row);
        let cells: Vec<_> = cells.iter().map(|cell| printable(cell)).collect();
        writeln!(out, "{}", cells.join("\t"))?;
        let Some((old, new)) = sides(number) else { continue };
        match patch(old, new) {
            Ok(Patch::Lines(lines)) if lines.is_empty() => {}
            Ok(Patch::Lines(lines)) => {
                for (sign, file) in [("---", old), ("+++", new)] {
                    let name = label(file);
                    let end = if name.contains(' ') { "\t" } else { "" };
                    writeln!(out, "{sign} {}{end}", printable(&name))?;
                }
                write(&mut out, &lines, is_terminal)?;
            }
            Ok(Patch::Binary) => writeln!(out, "it is no text")?,
            Ok(Patch::Large) => writeln!(out, "it is larger than {} MiB", SIZE_MAX >> 20)?,
            Err(e) => {
                unread += 1;
                out.flush()?;
                eprintln!("asof: comparing \"{}:{}\": {}", row.source, row.path, crate::model::chain(&e));
            }
        }
    }
    out.flush()?;
    Ok(unread)
}

/// Returns where a file is, as `diff -u` names it: behind a name with blanks stands a tab, and one that is no plain text is quoted as in C.
fn label(file: Where<'_>) -> String {
    let path = match file {
        Where::Generation(_, source, at, path) => {
            [format!("@{}/{source}/", at.view_name()).as_bytes(), path.as_bytes()].concat()
        }
        Where::Living(top, path) => [top.as_os_str().as_bytes(), b"/", path.as_bytes()].concat(),
    };
    match std::str::from_utf8(&path) {
        Ok(text) if !text.contains(|c: char| c.is_control() || c == '"' || c == '\\') => text.to_owned(),
        _ => {
            let mut quoted = String::from("\"");
            for byte in path {
                match byte {
                    b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
                    b' '..=b'~' => quoted.push(char::from(byte)),
                    byte => quoted.push_str(&format!("\\{byte:03o}")),
                }
            }
            quoted.push('"');
            quoted
        }
    }
}

fn write(out: &mut impl Write, lines: &[u8], is_terminal: bool) -> io::Result<()> {
    if !is_terminal {
        return out.write_all(lines);
    }
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
        let parts: Vec<_> = text.split('\t').map(printable).collect();
        writeln!(out, "{}", parts.join("\t"))?;
    }
    Ok(())
}

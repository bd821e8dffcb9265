//! `asof index NAME --list LIST --data DIR --at DATE`: what another tool listed and copied becomes a generation.
//!
//! Promises: what was indexed is said in one line with counts; lines of the list that do not agree with what was copied
//! are counted, named by `asof show`, and make the exit code 1.

use super::super::World;
use super::super::output::{self, grouped, human_bytes};
use super::super::progress::Terminal;
use super::super::report::{Failure, Outcome};
use super::args::{IndexArgs, ListFormatArg};
use crate::catalog::{Reader, SourceRow, Writer};
use crate::clock::Clock;
use crate::index::{Listed, NewList, index_list};
use crate::model::{Fold, parse_instant};
use crate::monitor::Monitor;
use crate::source::gluster::list::{Form, Format};
use serde_json::json;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub(super) fn run(
    writer: &mut Writer,
    source: &SourceRow,
    list: &Path,
    args: &IndexArgs,
    world: &World,
) -> Result<Outcome, Failure> {
    let more = &args.foreign;
    let (Some(data), Some(date)) = (&more.data, &args.at) else {
        return Err(Failure::new("--list needs --data and --at"));
    };
    let format = Format::new(
        match more.list_format {
            ListFormatArg::Encoded => Form::Encoded,
            ListFormatArg::Plain => Form::Plain,
            ListFormatArg::Nul => Form::Nul,
            ListFormatArg::Json => Form::Json,
        },
        more.field_separator.as_bytes(),
        more.output_prefix.as_deref().map(OsStrExt::as_bytes),
    )
    .map_err(|e| Failure::because("reading the options", &e))?;
    let data = std::fs::canonicalize(data)
        .map_err(|e| Failure::because(format!("looking for the copied files in {data:?}"), &e))?;
    if !data.is_dir() {
        return Err(Failure::new(format!("{data:?} holds no copied files: it is not a directory")));
    }
    let reader = world.reader()?;
    refuse_known(&reader, source, &data)?;
    let at = parse_instant(date, world.clock.now(), &world.zone, Fold::Refuse)?;
    let new = NewList { source, list, format: &format, data: &data, at, full: more.full, may_be_empty: more.empty };
    let monitor = Terminal::new();
    monitor.begin(&format!("{} {at}", source.name), None);
    let listed = index_list(writer, &reader, &new, &world.clock, &monitor);
    monitor.end();
    let listed =
        listed.map_err(|e| Failure::from(e).about(&format!("cannot index generation {at} of \"{}\"", source.name)))?;
    tell(source, &data, &listed);
    if args.json {
        output::json(&vec![as_json(source, &data, &listed)].into())?;
    }
    let counts = &listed.done.counts;
    Ok(if counts.losses + counts.notices > 0 { Outcome::WithFindings } else { Outcome::Done })
}

/// Refuses a directory that is the copy of another generation: whoever filled it again took the bytes of that one away.
fn refuse_known(reader: &Reader, source: &SourceRow, data: &PathBuf) -> Result<(), Failure> {
    for generation in reader.generations(source.id)? {
        let at = generation.taken_at;
        if reader.copies(source.id, at)?.iter().any(|copy| copy.path == *data) {
            return Err(Failure::new(format!("{data:?} is indexed already, as the copy of {at}"))
                .hint("every generation needs a directory of its own, which stays as it is"));
        }
    }
    Ok(())
}

fn tell(source: &SourceRow, data: &Path, listed: &Listed) {
    let counts = &listed.done.counts;
    let mut text = format!(
        "indexed {} of \"{}\" from {data:?} and a list of {} lines: {}, {} entries, {}, {} changed, in {:.1} s",
        listed.done.at,
        source.name,
        grouped(listed.lines as i64),
        listed.level,
        grouped(counts.entries as i64),
        human_bytes(counts.size_bytes as i64),
        grouped(listed.done.changed_nodes as i64),
        counts.index_ms as f64 / 1000.0,
    );
    if counts.losses > 0 {
        text.push_str(&format!("; {} could not be read, the generation is partial", grouped(counts.losses as i64)));
    }
    if counts.notices > 0 {
        text.push_str(&format!("; in {} places list and files do not agree", grouped(counts.notices as i64)));
    }
    eprintln!("{text}");
    if counts.losses + counts.notices > 0 {
        eprintln!("hint: asof show {}@{} lists what was found", source.name, listed.done.at.view_name());
    }
}

fn as_json(source: &SourceRow, data: &Path, listed: &Listed) -> serde_json::Value {
    let counts = &listed.done.counts;
    json!({
        "source": source.name,
        "taken_at": listed.done.at.to_string(),
        "level": listed.level.word(),
        "path": data.to_string_lossy(),
        "lines": listed.lines,
        "entries": counts.entries,
        "size_bytes": counts.size_bytes,
        "changed": listed.done.changed_nodes,
        "losses": counts.losses,
        "notices": counts.notices,
        "index_ms": counts.index_ms,
    })
}

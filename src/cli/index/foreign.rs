//! `asof index NAME --list LIST --data DIR --at DATE`: what another tool listed and copied becomes a generation.
//!
//! Arguments to the job, its report to text. Promises: what was indexed is said in one line with counts; lines of the list that do not
//! agree with what was copied are counted, named by `asof show`, and make the exit code 1.

use super::super::output::{self, grouped, human_bytes};
use super::super::progress::Terminal;
use super::super::report::{Failure, Outcome};
use super::super::say::{local, say};
use super::super::{SourceRun, World};
use super::args::{IndexArgs, ListFormatArg};
use crate::clock::Clock;
use crate::jobs::index::{ListReport, ListWish, check_has_lists, index_list};
use crate::model::{Fold, parse_instant};
use crate::source::gluster::list::{Form, Format};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub(super) fn run(name: &str, list: &Path, args: &IndexArgs, world: &World) -> Result<Outcome, Failure> {
    let SourceRun { lock: _lock, source, mut writer } = world.source_run("index", name)?;
    check_has_lists(&source)?;
    let wish = wish(list, args, world)?;
    let listed = index_list(&mut writer, &world.reader()?, &source, &wish, &world.clock, &Terminal::new())?;
    tell(&listed);
    if args.json {
        output::report(&[&listed])?;
    }
    Ok(if listed.losses + listed.notices > 0 { Outcome::WithFindings } else { Outcome::Done })
}

fn wish(list: &Path, args: &IndexArgs, world: &World) -> Result<ListWish, Failure> {
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
    let at = parse_instant(date, world.clock.now(), &world.zone, Fold::Refuse)?;
    let (list, data) = (list.to_owned(), data.clone());
    Ok(ListWish { list, format, data, at, full: more.full, may_be_empty: more.empty })
}

fn tell(listed: &ListReport) {
    let mut text = format!(
        "indexed {} of \"{}\" from {:?} and a list of {} lines: {}, {}, {}, {} changed, in {}",
        local(listed.when.0),
        listed.source,
        listed.path,
        grouped(listed.lines as i64),
        listed.level,
        output::entries(listed.entries),
        human_bytes(listed.size_bytes as i64),
        grouped(listed.changed as i64),
        output::took(listed.index_ms),
    );
    if listed.losses > 0 {
        text.push_str(&format!("; {} could not be read, the generation is partial", grouped(listed.losses as i64)));
    }
    if listed.notices > 0 {
        text.push_str(&format!("; in {} places list and files do not agree", grouped(listed.notices as i64)));
    }
    if listed.losses + listed.notices == 0 {
        say!("{text}");
    } else {
        eprintln!("{text}");
        eprintln!("hint: asof show {}@{} lists what was found", listed.source, local(listed.when.0));
    }
}

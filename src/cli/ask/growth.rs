//! `asof growth`: how much is in each generation of a source, or in a directory of it, and how much more than before.
//!
//! A whole source was counted when it was indexed; a directory is counted as `asof du` counts it.

use super::find::end;
use super::rows::{FormArgs, Rows, go_on};
use crate::catalog::Scope;
use crate::cli::World;
use crate::cli::complete;
use crate::cli::output::{grouped, human_bytes};
use crate::cli::report::{Failure, Outcome};
use crate::cli::say::local;
use crate::cli::target::Target;
use crate::clock::Clock;
use crate::jobs::ask::amounts::{GrowthRow, growth};
use crate::model::{Fold, RelPath, Time, parse_instant};
use clap::Args;
use clap_complete::ArgValueCompleter;

const HEADER: [&str; 7] = ["taken_at", "size", "bytes", "more_bytes", "entries", "more_entries", "path"];
const RIGHT: [bool; 7] = [false, true, true, true, true, true, false];

#[derive(Debug, Args)]
pub(in crate::cli) struct GrowthArgs {
    /// SOURCE or SOURCE:PATH [default: all sources]
    #[arg(add = ArgValueCompleter::new(complete::targets))]
    target: Option<std::ffi::OsString>,
    /// Leave out generations before this date
    #[arg(long, value_name = "DATE", allow_hyphen_values = true, add = ArgValueCompleter::new(complete::dates))]
    since: Option<String>,
    #[command(flatten)]
    form: FormArgs,
}

pub(in crate::cli) fn run(args: &GrowthArgs, world: &World) -> Result<Outcome, Failure> {
    let reader = world.reader()?;
    let (name, path) = match args.target.as_deref().map(Target::parse).transpose()? {
        None => (String::new(), RelPath::root()),
        Some(Target::Source(name)) => (name, RelPath::root()),
        Some(Target::Entry(name, path)) => (name, path),
        Some(Target::Generation(..)) => {
            return Err(Failure::new("growth is that of all generations").hint("--since DATE leaves out those before"));
        }
    };
    let since = since(args.since.as_deref(), world)?;
    let scopes: Vec<Scope> = match name.as_str() {
        "" => reader.sources()?.into_iter().map(|source| reader.scope(source)).collect::<Result<_, _>>()?,
        name => vec![reader.scope_of(name)?],
    };
    let mut rows = Rows::new(&args.form, &HEADER, &RIGHT);
    let (mut trouble, mut searched) = (Ok(()), Vec::new());
    for scope in &scopes {
        searched.extend(growth(&reader, scope, &path, since, &mut |row| {
            go_on(rows.row(|| cells(&row), &row, row.restore_path.as_bytes()), &mut trouble)
        })?);
    }
    trouble?;
    if !path.is_root() && searched.iter().all(|one| !one.is_there) {
        return Err(Failure::new(format!("no generation has \"{name}:{path}\"")));
    }
    rows.finish()?;
    let mut outcome = Outcome::Done;
    for one in searched.iter().filter(|one| one.is_there) {
        if let Outcome::WithFindings = end(one, &name, &path)? {
            outcome = Outcome::WithFindings;
        }
    }
    Ok(outcome)
}

/// Returns the instant of `--since`, or the beginning of time.
pub(super) fn since(date: Option<&str>, world: &World) -> Result<Time, Failure> {
    let since = date.map(|date| parse_instant(date, world.clock.now(), &world.zone, Fold::Refuse)).transpose()?;
    Ok(since.unwrap_or(Time(i64::MIN)))
}

fn cells(row: &GrowthRow) -> Vec<String> {
    let more = |n: Option<i64>| match n {
        None => "-".to_owned(),
        Some(n) if n > 0 => format!("+{n}"),
        Some(n) => n.to_string(),
    };
    vec![
        local(Time(row.taken_at_unix)),
        human_bytes(row.size_bytes),
        row.size_bytes.to_string(),
        more(row.more_bytes),
        grouped(row.entries),
        more(row.more_entries),
        if row.path == "." { row.source.clone() } else { format!("{}:{}", row.source, row.path) },
    ]
}

//! `asof diff`: what differs between two generations of a source.
//!
//! Without dates: what the newest generation changed. Directories that could not be listed are named in a warning: what is in them is taken
//! to be as it was.

use super::history::{CHANGES, CHANGES_RIGHT, change};
use super::rows::{FormArgs, Rows};
use crate::catalog::{Reader, Scope};
use crate::cli::World;
use crate::cli::complete;
use crate::cli::output;
use crate::cli::report::{Failure, Outcome};
use crate::cli::say::{local, say};
use crate::cli::target::{Target, instant_at};
use crate::jobs::ask::diff::diff;
use crate::model::{RelPath, Time};
use clap::Args;
use clap_complete::ArgValueCompleter;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

#[derive(Debug, Args)]
pub(in crate::cli) struct DiffArgs {
    /// SOURCE, or SOURCE@DATE
    #[arg(add = ArgValueCompleter::new(complete::targets))]
    target: OsString,
    /// Two dates, and a path: @DATE @DATE PATH [default: the newest generation and the one before it; one date: that one and the newest]
    #[arg(value_name = "@DATE|PATH", num_args = 0..=3)]
    rest: Vec<OsString>,
    #[command(flatten)]
    form: FormArgs,
}

/// What is asked for.
struct Wish {
    name: String,
    dates: Vec<String>,
    path: RelPath,
}

pub(in crate::cli) fn run(args: &DiffArgs, world: &World) -> Result<Outcome, Failure> {
    let wish = wish(args)?;
    let reader = world.reader()?;
    let scope = reader.scope_of(&wish.name)?;
    let times = times(&reader, &scope, &wish.dates, world)?;
    for at in [times.0, times.1] {
        say!("{} {}: {}", if at == times.0 { "from" } else { "to" }, scope.source.name, local(at));
    }
    let compared = diff(&reader, &scope, times, &wish.path)?;
    if compared.rows.is_empty() && !wish.path.is_root() {
        let was = reader.stays(&scope, &wish.path)?;
        let is_there = |at: Time| was.iter().any(|s| s.since <= at && s.until.is_none_or(|until| at < until));
        if !is_there(times.0) && !is_there(times.1) {
            let (name, path) = (&scope.source.name, &wish.path);
            return Err(Failure::new(format!("there is no \"{name}/{path}\" in either generation"))
                .hint(format!("asof history {name}:{path} shows when there was")));
        }
    }
    let mut rows = Rows::new(&args.form, &CHANGES, &CHANGES_RIGHT);
    compared.rows.iter().try_for_each(|changed| change(&mut rows, changed))?;
    rows.finish()?;
    if compared.in_doubt == 0 {
        return Ok(Outcome::Done);
    }
    let count = output::number_of(compared.in_doubt, "directory", "directories");
    eprintln!(
        "asof: {count} could not be listed when these generations were indexed: what is in them is taken to be as it was before"
    );
    Ok(Outcome::WithFindings)
}

fn wish(args: &DiffArgs) -> Result<Wish, Failure> {
    let (name, mut dates) = match Target::parse(&args.target)? {
        Target::Source(name) => (name, Vec::new()),
        Target::Generation(name, date) => (name, vec![date]),
        Target::Entry(..) => {
            return Err(Failure::new("the path stands behind the dates").hint("asof diff SOURCE @DATE @DATE PATH"));
        }
    };
    let mut path = None;
    for word in &args.rest {
        match word.as_bytes() {
            [b'@', date @ ..] if path.is_none() => match std::str::from_utf8(date) {
                Ok(date) => dates.push(date.to_owned()),
                Err(_) => return Err(Failure::new(format!("{word:?} is not a date"))),
            },
            bytes if path.is_none() => {
                let parsed = RelPath::parse(bytes);
                path = Some(parsed.map_err(|e| Failure::because(format!("{word:?} is not a path of an entry"), &e))?);
            }
            _ => return Err(Failure::new("more than one path is given").hint("asof diff SOURCE @DATE @DATE PATH")),
        }
    }
    if dates.len() > 2 {
        return Err(Failure::new("more than two dates are given").hint("asof diff SOURCE @DATE @DATE PATH"));
    }
    Ok(Wish { name, dates, path: path.unwrap_or_default() })
}

fn times(reader: &Reader, scope: &Scope, dates: &[String], world: &World) -> Result<(Time, Time), Failure> {
    let at = |date: Option<&String>| instant_at(reader, scope, date.map(String::as_str), world);
    match dates {
        [] => {
            let newest = at(None)?;
            let before = scope.before(newest).ok_or_else(|| {
                Failure::new(format!("source {:?} has one generation, of {}", scope.source.name, local(newest)))
                    .hint("a diff needs two")
            })?;
            Ok((before, newest))
        }
        [first] => Ok((at(Some(first))?, at(None)?)),
        [first, second, ..] => Ok((at(Some(first))?, at(Some(second))?)),
    }
}

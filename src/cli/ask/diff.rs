//! `asof diff`: what differs between two generations of a source.
//!
//! Or between one of its generations and another tree ([`across`]). Without dates: what the newest generation changed. Directories that could not be listed are named in a warning: what is in them is taken
//! to be as it was.

use super::history::{CHANGES, CHANGES_RIGHT, change};
use super::patch;
use super::rows::{FormArgs, Rows};
use crate::catalog::{Reader, Scope};
use crate::cli::World;
use crate::cli::complete;
use crate::cli::mount::absolute;
use crate::cli::output;
use crate::cli::report::{Failure, Outcome};
use crate::cli::say::{local, say};
use crate::cli::target::{Target, instant_at};
use crate::clock::{self, Clock};
use crate::jobs::ask::Changed;
use crate::jobs::ask::diff::diff;
use crate::jobs::ask::patch::Where;
use crate::jobs::ask::trees::{Other, compare};
use crate::model::{RelPath, Time};
use crate::view::Tree;
use clap::Args;
use clap_complete::ArgValueCompleter;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files that are open at one time: one is read after the other.
const FILES_MAX: usize = 4;

#[derive(Debug, Args)]
pub(in crate::cli) struct DiffArgs {
    /// SOURCE, or SOURCE@DATE
    #[arg(add = ArgValueCompleter::new(complete::targets))]
    target: OsString,
    /// Two dates, and a path: @DATE @DATE PATH [default: the newest generation and the one before it; one date: that one and the newest]
    #[arg(value_name = "@DATE|PATH", num_args = 0..=3)]
    rest: Vec<OsString>,
    /// Compare with a generation of another source, path by path: SOURCE, or SOURCE@DATE
    #[arg(long, value_name = "SOURCE@DATE", conflicts_with = "live", add = ArgValueCompleter::new(complete::targets))]
    with: Option<OsString>,
    /// Compare with the tree that lives in this directory, path by path: what happened to it since
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    live: Option<PathBuf>,
    /// Print the lines in which files of text differ, as `diff -u` does
    #[arg(long, conflicts_with_all = ["json", "null"])]
    patch: bool,
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
    if args.with.is_some() || args.live.is_some() {
        return across(args, &reader, &scope, &wish, world);
    }
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
    let (name, tree) = (scope.source.name.as_str(), tree(args, world)?);
    let unread = print(args, &compared.rows, tree.as_ref(), |tree, number| {
        let (was, is) = compared.files[number].as_ref()?;
        Some((Where::Generation(tree, name, times.0, was), Where::Generation(tree, name, times.1, is)))
    })?;
    if compared.in_doubt == 0 {
        return Ok(unread);
    }
    let count = output::number_of(compared.in_doubt, "directory", "directories");
    eprintln!(
        "asof: {count} could not be listed when these generations were indexed: what is in them is taken to be as it was before"
    );
    Ok(Outcome::WithFindings)
}

/// Compares a generation with a tree that has no history in common with it.
fn across(args: &DiffArgs, reader: &Reader, scope: &Scope, wish: &Wish, world: &World) -> Result<Outcome, Failure> {
    let (name, date) = match wish.dates.as_slice() {
        [] => (&scope.source.name, None),
        [date] => (&scope.source.name, Some(date.as_str())),
        _ => {
            return Err(Failure::new("two dates are given, and another tree to compare with")
                .hint("asof diff SOURCE @DATE --with OTHER@DATE, or --live DIR"));
        }
    };
    let at = instant_at(reader, scope, date, world)?;
    let with = match &args.with {
        Some(target) => Some(other(reader, target, world)?),
        None => None,
    };
    let live = absolute(args.live.as_deref().unwrap_or(Path::new(".")))?;
    let other = match &with {
        Some((scope, at)) => Other::Generation(scope, *at),
        None => Other::Living(&live, world.clock.now()),
    };
    say!("from {name}: {}", local(at));
    match other {
        Other::Generation(scope, at) => say!("to {}: {}", scope.source.name, local(at)),
        Other::Living(dir, _) => say!("to {:?}, as it is now", dir),
    }
    if let Other::Living(dir, _) = other
        && !wish.path.is_root()
        && dir.join(std::ffi::OsStr::from_bytes(wish.path.as_bytes())).symlink_metadata().is_err()
    {
        eprintln!("asof: there is no \"{}\" in {dir:?}: --live names what stands for the top of the source", wish.path);
    }
    let compared =
        compare(reader, (scope, at), other, &wish.path).map_err(|e| Failure::from(e).about("comparing two trees"))?;
    let tree = tree(args, world)?;
    let unread = print(args, &compared.rows, tree.as_ref(), |tree, number| {
        let path = compared.files[number].as_ref()?;
        let new = match other {
            Other::Generation(scope, at) => Where::Generation(tree, &scope.source.name, at, path),
            Other::Living(dir, _) => Where::Living(dir, path),
        };
        Some((Where::Generation(tree, name, at, path), new))
    })?;
    if compared.unlisted == 0 {
        return Ok(unread);
    }
    let count = output::number_of(compared.unlisted, "directory", "directories");
    eprintln!("asof: {count} could not be looked into or at: what is there was not compared");
    Ok(Outcome::WithFindings)
}

/// Returns what bytes of files are read from, if they are to be.
fn tree(args: &DiffArgs, world: &World) -> Result<Option<Tree>, Failure> {
    let over = || Tree::over(&world.catalog, FILES_MAX, Arc::new(clock::System), world.zone.clone());
    Ok(args.patch.then(over).transpose()?)
}

/// Prints the lines; with `--patch` also those of the files, where `sides` tells them.
fn print<'a>(
    args: &DiffArgs,
    changed: &[Changed],
    tree: Option<&'a Tree>,
    sides: impl Fn(&'a Tree, usize) -> Option<(Where<'a>, Where<'a>)>,
) -> Result<Outcome, Failure> {
    if let Some(tree) = tree {
        return Ok(match patch::print(changed, |number| sides(tree, number))? {
            0 => Outcome::Done,
            _ => Outcome::WithFindings,
        });
    }
    let mut rows = Rows::new(&args.form, &CHANGES, &CHANGES_RIGHT);
    changed.iter().try_for_each(|changed| change(&mut rows, changed))?;
    rows.finish()?;
    Ok(Outcome::Done)
}

/// Returns the generation that is compared with.
fn other(reader: &Reader, target: &OsString, world: &World) -> Result<(Scope, Time), Failure> {
    let (name, date) = match Target::parse(target)? {
        Target::Source(name) => (name, None),
        Target::Generation(name, date) => (name, Some(date)),
        Target::Entry(..) => {
            return Err(Failure::new("the path stands behind the dates, and is the same in both trees")
                .hint("asof diff SOURCE @DATE PATH --with OTHER@DATE"));
        }
    };
    let scope = reader.scope_of(&name)?;
    let at = instant_at(reader, &scope, date.as_deref(), world)?;
    Ok((scope, at))
}

/// Tells whether a word is `SOURCE@DATE` of this source.
fn is_date_of(word: &[u8], source: &str) -> bool {
    word.strip_prefix(source.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'@'))
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
            // The source once more.
            bytes if path.is_none() && is_date_of(bytes, &name) => {
                let date = std::str::from_utf8(&bytes[name.len() + 1..]);
                dates.push(date.map_err(|_| Failure::new(format!("{word:?} is not a date")))?.to_owned());
            }
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

//! `asof history`: how a file, a directory or a name came to be what it is.
//!
//! Promises: says of every version in which generation it is there first, and when it was gone; of what the oldest generation has
//! already, that nothing is known before that.

use super::rows::{FormArgs, Rows, go_on};
use crate::catalog::{Reader, Scope};
use crate::cli::World;
use crate::cli::complete;
use crate::cli::report::{Failure, Outcome};
use crate::cli::say::local;
use crate::cli::target::{Target, instant_at, is_event};
use crate::clock::Clock;
use crate::jobs::ask::history::{Asked, VersionRow, asked, of_directory, of_file, of_name};
use crate::jobs::ask::{Changed, InMount};
use crate::model::{Fold, RelPath, Time, parse_instant};
use clap::Args;
use clap_complete::ArgValueCompleter;
use std::io;

const VERSIONS: [&str; 7] = ["since", "what", "size", "mode", "owner", "mtime", "path"];
const VERSIONS_RIGHT: [bool; 7] = [false, false, true, false, true, false, false];
pub(super) const CHANGES: [&str; 4] = ["taken_at", "what", "path", "details"];
pub(super) const CHANGES_RIGHT: [bool; 4] = [false; 4];

#[derive(Debug, Args)]
pub(in crate::cli) struct HistoryArgs {
    /// SOURCE:PATH; :PATH asks every source that ever had the path
    #[arg(add = ArgValueCompleter::new(complete::targets))]
    target: std::ffi::OsString,
    /// Which file is meant, if the path led to several: the one as of this date [default: the last one]
    #[arg(long, value_name = "DATE", allow_hyphen_values = true, add = ArgValueCompleter::new(complete::dates))]
    at: Option<String>,
    /// Show whatever the name led to, and not one file through its renames
    #[arg(long, conflicts_with = "at")]
    name: bool,
    /// Of a directory: leave out what changed before this date
    #[arg(long, value_name = "DATE", allow_hyphen_values = true, add = ArgValueCompleter::new(complete::dates))]
    since: Option<String>,
    #[command(flatten)]
    form: FormArgs,
}

pub(in crate::cli) fn run(args: &HistoryArgs, world: &World) -> Result<Outcome, Failure> {
    let reader = world.reader()?;
    let (name, path) = match Target::parse(&args.target)? {
        Target::Entry(name, path) => (name, path),
        Target::Source(name) => (name, RelPath::root()),
        Target::Generation(..) => {
            return Err(
                Failure::new("a history is that of a path").hint("write SOURCE:PATH; --at DATE says which file")
            );
        }
    };
    let scopes = match name.as_str() {
        "" => reader.sources()?.into_iter().map(|source| reader.scope(source)).collect::<Result<_, _>>()?,
        name => vec![reader.scope_of(name)?],
    };
    let since = args.since.as_deref().map(|date| parse_instant(date, world.clock.now(), &world.zone, Fold::Refuse));
    let since = since.transpose()?.unwrap_or(Time(i64::MIN));
    let mut told = 0;
    for scope in &scopes {
        let at = match &args.at {
            Some(date) if name.is_empty() && !is_event(date) => scope.newest(instant(date, world)?),
            // Sources that it never happened in have nothing to show.
            Some(date) if name.is_empty() => instant_at(&reader, scope, Some(date), world).ok(),
            Some(date) => Some(instant_at(&reader, scope, Some(date), world)?),
            None => None,
        };
        if args.at.is_some() && at.is_none() {
            continue;
        }
        told += usize::from(history(args, &reader, scope, &path, (at, since))?);
    }
    match told {
        0 if scopes.len() == 1 && !name.is_empty() => Err(nothing(&reader, &scopes[0], &path, args, world)?),
        0 => Err(Failure::new(format!("no source ever had \"{path}\", as far as its generations go"))),
        _ => Ok(Outcome::Done),
    }
}

fn instant(date: &str, world: &World) -> Result<Time, Failure> {
    use crate::model::{AsOf, FOREVER, parse_date};
    Ok(match parse_date(date, world.clock.now(), &world.zone, Fold::Refuse)? {
        AsOf::Latest => world.clock.now(),
        AsOf::Oldest => Time(i64::MIN),
        AsOf::At(at) => at.min(FOREVER),
    })
}

/// Says that a path never led anywhere.
fn nothing(
    reader: &Reader,
    scope: &Scope,
    path: &RelPath,
    args: &HistoryArgs,
    world: &World,
) -> Result<Failure, Failure> {
    let entry = format!("{}:{path}", scope.source.name);
    Ok(match &args.at {
        Some(date) => {
            let at = instant_at(reader, scope, Some(date), world)?;
            Failure::new(format!("there is no \"{}/{path}\" as of {}", scope.source.name, local(at)))
                .hint(format!("asof history {entry} shows when there was"))
        }
        None if scope.instants().next().is_none() => instant_at(reader, scope, None, world)
            .err()
            .unwrap_or_else(|| Failure::new(format!("source {:?} has no generation up to now", scope.source.name))),
        None => Failure::new(format!("no generation of {:?} has \"{path}\"", scope.source.name))
            .hint(format!("asof ls {} lists what there is", scope.source.name)),
    })
}

/// Prints the history of a path; returns whether it ever led anywhere.
fn history(
    args: &HistoryArgs,
    reader: &Reader,
    scope: &Scope,
    path: &RelPath,
    (at, since): (Option<Time>, Time),
) -> Result<bool, Failure> {
    let versions = match asked(reader, scope, path, at)? {
        Asked::Nothing => return Ok(false),
        Asked::Directory(stay) if !args.name => {
            let mut rows = Rows::new(&args.form, &CHANGES, &CHANGES_RIGHT);
            let mut trouble = Ok(());
            if scope.instants().next() == Some(stay.since) && since <= stay.since {
                rows.remark(|| {
                    vec![local(stay.since), "in the oldest".to_owned(), path_of(scope, path), "-".to_owned()]
                })?;
            }
            of_directory(reader, scope, stay, since, &mut |changed| go_on(change(&mut rows, &changed), &mut trouble))?;
            trouble?;
            return Ok(rows.finish().map(|()| true)?);
        }
        Asked::Directory(_) | Asked::File(_) if args.name => of_name(reader, scope, path)?,
        Asked::Directory(stay) | Asked::File(stay) => of_file(reader, scope, stay, path)?,
    };
    let mut rows = Rows::new(&args.form, &VERSIONS, &VERSIONS_RIGHT);
    for version in &versions {
        rows.row(|| cells(version), version, version.restore_path.as_bytes())?;
        if version.ended == "gone" {
            let gone = local(Time(version.until_unix.unwrap_or_default()));
            let path = format!("{}:{}", version.source, version.path);
            let none = || "-".to_owned();
            rows.remark(|| vec![gone, "gone".to_owned(), none(), none(), none(), none(), path])?;
        }
    }
    rows.finish()?;
    Ok(true)
}

/// Prints a line about what changed.
pub(super) fn change(rows: &mut Rows, changed: &Changed) -> io::Result<()> {
    rows.row(|| cells_of_change(changed), changed, changed.restore_path.as_ref().map_or(&[], InMount::as_bytes))
}

pub(super) fn cells_of_change(changed: &Changed) -> Vec<String> {
    let path = format!("{}:{}", changed.source, changed.path);
    vec![local(changed.when.0), changed.what.to_owned(), path, details(changed)]
}

fn path_of(scope: &Scope, path: &RelPath) -> String {
    format!("{}:{}", scope.source.name, if path.is_root() { ".".to_owned() } else { path.to_string() })
}

/// Returns what there is to say of a change besides what it is.
fn details(changed: &Changed) -> String {
    use crate::cli::output::{entries, human_bytes};
    let mut details = Vec::new();
    details.extend(changed.old_path.as_ref().map(|old| format!("was {old}")));
    if let (Some(was), Some(is)) = (&changed.was, &changed.is) {
        details.extend(changed.fields.iter().map(|field| match *field {
            "size" => format!("size {} > {}", was.size_bytes, is.size_bytes),
            "mode" => format!("mode {} > {}", was.mode, is.mode),
            "owner" => format!("owner {} > {}", was.uid, is.uid),
            "group" => format!("group {} > {}", was.gid, is.gid),
            "links" => format!("links {} > {}", was.nlink, is.nlink),
            field => field.to_owned(),
        }));
    } else if changed.kind == "directory" {
        let bytes = i64::try_from(changed.entries_bytes).unwrap_or(i64::MAX);
        details.push(format!("with {}, {}", entries(changed.entries), human_bytes(bytes)));
    } else if let Some(facts) = changed.is.as_ref().or(changed.was.as_ref()) {
        details.push(match changed.kind {
            "file" => human_bytes(i64::try_from(facts.size_bytes).unwrap_or(i64::MAX)),
            kind => kind.to_owned(),
        });
    }
    if details.is_empty() { "-".to_owned() } else { details.join(", ") }
}

fn cells(version: &VersionRow) -> Vec<String> {
    let facts = &version.facts;
    vec![
        local(Time(version.since_unix)),
        what(version),
        facts.size_bytes.to_string(),
        facts.mode.clone(),
        format!("{}:{}", facts.uid, facts.gid),
        facts.mtime.clone(),
        format!("{}:{}", version.source, version.path),
    ]
}

/// Returns how a version came about, in words.
fn what(version: &VersionRow) -> String {
    let mut what = Vec::new();
    match version.began {
        "oldest" => what.push("in the oldest".to_owned()),
        "changed" => {}
        began => what.push(began.to_owned()),
    }
    what.extend(version.old_path.as_ref().map(|old| format!("renamed from {old}")));
    if !version.fields.is_empty() {
        let word = if version.other_content { "content" } else { "attributes" };
        what.push(format!("{word} ({})", version.fields.join(", ")));
    }
    if version.unseen > 0 {
        what.push(format!("not seen in {} of its generations", version.unseen));
    }
    what.join(", ")
}

//! `asof find`: entries that fulfil tests, as find(1) has them, as of a date or over all time.
//!
//! Promises: tests and operators mean what they mean to find(1). What is printed is `SOURCE:PATH`, which other verbs take. Directories that
//! could not be listed are named in a warning: what nobody saw in them is not found.

use super::rows::{FormArgs, Rows, go_on};
use crate::catalog::{Reader, Scope};
use crate::cli::World;
use crate::cli::complete;
use crate::cli::output;
use crate::cli::report::{Failure, Outcome};
use crate::cli::say::local;
use crate::cli::target::{Target, instant_at};
use crate::clock::Clock;
use crate::jobs::ask::find::{self, Asked, Format, Hit, Searched, When, find};
use crate::model::{Fold, RelPath, Time, Timestamp, parse_instant};
use clap::Args;
use clap_complete::ArgValueCompleter;
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;

pub(super) const HITS: [&str; 6] = ["taken_at", "mode", "owner", "size", "mtime", "path"];
pub(super) const HITS_RIGHT: [bool; 6] = [false, false, true, true, false, false];

#[derive(Debug, Args)]
#[command(
    after_help = "Tests, as in find(1): -name P, -iname P, -path P, -ipath P, -regex R, -iregex R, -size [+-]N[cwbkMG], -mtime [+-]N, \
    -mmin [+-]N, -newer PATH (of the same source), -newermt DATE, -user U, -uid N, -group G, -gid N, -type f,d,l,p,s,c,b, \
    -perm [-/]MODE (octal, or letters), -links N, -empty, -xattr NAME, -acl, -maxdepth N, -mindepth N, -true, -false; with !, -not, -a, -o and parentheses. \
    Ages count from the date of --at, else from now.\n\
    Last may stand -print, -print0 or -printf FORMAT with %p (SOURCE:PATH) %P %f %h %s %m %M %u %U %g %G %n %y %l %d %T@ %T+."
)]
pub(in crate::cli) struct FindArgs {
    /// As of when [default: latest]
    #[arg(long, value_name = "DATE", allow_hyphen_values = true, conflicts_with_all = ["ever", "deleted_since", "changed_since"],
        add = ArgValueCompleter::new(complete::dates))]
    at: Option<String>,
    /// Search all generations; each path is found once, as it was last
    #[arg(long)]
    ever: bool,
    /// Search what was there at this date or later, and is gone
    #[arg(long, value_name = "DATE", allow_hyphen_values = true, conflicts_with = "ever",
        add = ArgValueCompleter::new(complete::dates))]
    deleted_since: Option<String>,
    /// Search what is there, and changed after this date
    #[arg(long, value_name = "DATE", allow_hyphen_values = true, conflicts_with_all = ["ever", "deleted_since"],
        add = ArgValueCompleter::new(complete::dates))]
    changed_since: Option<String>,
    #[command(flatten)]
    form: FormArgs,
    /// SOURCE or SOURCE:PATH [default: all sources], then tests; options stand before
    #[arg(value_name = "TARGET|TEST", trailing_var_arg = true, allow_hyphen_values = true,
        add = ArgValueCompleter::new(complete::targets))]
    words: Vec<OsString>,
}

pub(in crate::cli) fn run(args: &FindArgs, world: &World) -> Result<Outcome, Failure> {
    let reader = world.reader()?;
    let begins_a_test = |word: &OsString| matches!(word.as_bytes(), [b'-', ..] | b"!" | b"(" | b")");
    let (target, words) = match args.words.split_first() {
        Some((first, rest)) if !begins_a_test(first) => (Some(first), rest),
        _ => (None, args.words.as_slice()),
    };
    if let Some(option) = words.iter().find(|word| word.as_bytes().starts_with(b"--")) {
        return Err(Failure::new(format!("{option:?} stands behind the target or a test"))
            .hint("options stand before: asof find --at DATE SOURCE:PATH -name NAME"));
    }
    let (name, path) = match target.map(|target| Target::parse(target)).transpose()? {
        None => (String::new(), RelPath::root()),
        Some(Target::Source(name)) => (name, RelPath::root()),
        Some(Target::Entry(name, path)) => (name, path),
        Some(Target::Generation(..)) => {
            return Err(Failure::new("a date stands with --at").hint("asof find --at DATE SOURCE:PATH"));
        }
    };
    let scopes: Vec<Scope> = match name.as_str() {
        "" => reader.sources()?.into_iter().map(|source| reader.scope(source)).collect::<Result<_, _>>()?,
        name => vec![reader.scope_of(name)?],
    };
    let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    let mut printer = None;
    let mut all = Searched::default();
    for scope in scopes.iter().filter(|scope| !name.is_empty() || scope.instants().next().is_some()) {
        let when = when(args, &reader, scope, world)?;
        let asked = asked(&reader, scope, (&words, when), world)?;
        let printer = match &mut printer {
            Some(printer) => printer,
            None => printer.insert(Printer::new(args, asked.format.clone())?),
        };
        let mut trouble = Ok(());
        let searched = find(&reader, scope, &path, when, &asked, &mut |hit| {
            go_on(printer.print(&reader, world, &hit), &mut trouble)
        })?;
        trouble?;
        all.is_there |= searched.is_there;
        all.in_doubt += searched.in_doubt;
    }
    let outcome = end(&all, &name, &path)?;
    if let Some(printer) = printer {
        printer.finish()?;
    }
    Ok(outcome)
}

/// Says how a search ended.
pub(super) fn end(all: &Searched, name: &str, path: &RelPath) -> Result<Outcome, Failure> {
    if !all.is_there && !path.is_root() {
        return Err(Failure::new(format!("there is no \"{name}:{path}\" in what was searched"))
            .hint(format!("asof history {name}:{path} shows when there was")));
    }
    if all.in_doubt == 0 {
        return Ok(Outcome::Done);
    }
    let count = output::number_of(all.in_doubt, "directory", "directories");
    eprintln!("asof: {count} could not be listed when they were indexed: what nobody saw in them is not here");
    Ok(Outcome::WithFindings)
}

fn when(args: &FindArgs, reader: &Reader, scope: &Scope, world: &World) -> Result<When, Failure> {
    // The generation as of a date, or the first one after it: what is there then counts.
    let since = |date: &str| -> Result<Time, Failure> {
        let at = parse_instant(date, world.clock.now(), &world.zone, Fold::Refuse)?;
        Ok(scope.newest(at).or_else(|| scope.instants().next()).unwrap_or(at))
    };
    Ok(match (&args.deleted_since, &args.changed_since) {
        _ if args.ever => When::Ever,
        (Some(date), _) => When::DeletedSince(since(date)?),
        (_, Some(date)) => When::ChangedSince(since(date)?),
        _ => When::At(instant_at(reader, scope, args.at.as_deref(), world)?),
    })
}

fn asked(reader: &Reader, scope: &Scope, (words, when): (&[Vec<u8>], When), world: &World) -> Result<Asked, Failure> {
    let now = world.clock.now();
    let at = match when {
        When::At(at) => at,
        _ => scope.instants().next_back().unwrap_or(now),
    };
    let counted_from = match when {
        When::At(at) if scope.newest(now) != Some(at) => at,
        _ => now,
    };
    let instant = |date: &str| match parse_instant(date, now, &world.zone, Fold::Refuse) {
        Ok(at) => Ok(Timestamp { seconds: at.0, nanos: 0 }),
        Err(e) => Err(crate::model::chain(&e)),
    };
    let mtime = |path: &[u8]| {
        let path = RelPath::parse(path).map_err(|e| crate::model::chain(&e))?;
        let found =
            crate::cli::target::node_at(reader, &scope.source, &path, at).map_err(|e| e.parts().0.to_owned())?;
        Ok(reader.known_node(found.0, at).map_err(|e| crate::model::chain(&e))?.mtime)
    };
    let words_mean = find::World {
        now: Timestamp { seconds: counted_from.0, nanos: 0 },
        user: &|name| number_of("/etc/passwd", name),
        group: &|name| number_of("/etc/group", name),
        instant: &instant,
        mtime: &mtime,
    };
    find::parse(words, &words_mean).map_err(|what| Failure::new(what).hint("asof find --help lists the tests"))
}

/// Returns the number that a user or group has on this machine.
fn number_of(file: &str, name: &str) -> Option<u32> {
    let text = std::fs::read(file).ok()?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split(':').nth(1)?.parse().ok()
}

/// Prints what is found, in the form that was asked for.
enum Printer {
    Format(Format, BufWriter<io::StdoutLock<'static>>),
    Rows(Rows),
}

impl Printer {
    fn new(args: &FindArgs, format: Option<Format>) -> Result<Self, Failure> {
        Ok(match format {
            Some(_) if args.form.is_given() => {
                return Err(Failure::new("--json and -0 print in a form of their own, -print and -printf in another"));
            }
            Some(format) => Self::Format(format, BufWriter::new(io::stdout().lock())),
            None => Self::Rows(Rows::new(&args.form, &HITS, &HITS_RIGHT)),
        })
    }

    fn print(&mut self, reader: &Reader, world: &World, hit: &Hit) -> Result<(), Failure> {
        match self {
            Self::Format(format, out) => {
                let mut text = Vec::new();
                format.write(hit, &world.zone, output::is_terminal(), &mut text);
                out.write_all(&text)?;
            }
            Self::Rows(rows) => {
                let row = hit.row(reader)?;
                let cells = || {
                    vec![
                        local(hit.at),
                        hit.mode_text(),
                        format!("{}:{}", hit.perm.uid, hit.perm.gid),
                        hit.row.size_bytes.to_string(),
                        local(Time(hit.row.mtime.seconds)),
                        format!("{}:{}", row.source, row.path),
                    ]
                };
                rows.row(cells, &row, row.restore_path.as_bytes())?;
            }
        }
        Ok(())
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Format(_, mut out) => out.flush(),
            Self::Rows(rows) => rows.finish(),
        }
    }
}

//! The command line: arguments to calls, answers to text.
//!
//! Promises: data goes to standard output, everything else to standard error. Exit code 0 done, 1 done with
//! losses or findings, 2 not done (wrong usage included). Every listing has `--json`. This floor alone reads
//! the environment, the home directory and the terminal, and gives what it finds to the floors below as
//! arguments.

mod args;
mod check;
mod forget;
mod generations;
mod gluster;
mod index;
mod init;
mod ls;
mod migrate;
mod mount;
mod output;
mod pages;
mod progress;
mod report;
mod resolve;
mod show;
mod source;
mod sql;
mod take;
mod target;

use crate::catalog::{self, LockWait, Migrated, Reader, SourceLock, SourceRow, Writer};
use crate::clock::Clock;
use args::{Cli, Verb};
use clap::Parser;
use report::{Failure, Outcome};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What every verb is given from outside.
struct World {
    /// The catalog that was named, or the usual one.
    catalog: PathBuf,
    /// The zone of dates without one.
    zone: jiff::tz::TimeZone,
    clock: crate::clock::System,
    /// How long locks are waited for.
    wait: Duration,
}

/// A source that this run alone changes, and its catalog.
struct SourceRun {
    source: SourceRow,
    writer: Writer,
    /// Let go after the catalog's.
    lock: SourceLock,
}

/// Runs the program with `args`, the first of which is its name.
pub fn main(args: Vec<OsString>) -> ExitCode {
    let args = mount::from_helper_form(args);
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are answers, the rest is a usage error.
            let code = if e.use_stderr() { 2 } else { 0 };
            let _ = e.print();
            return ExitCode::from(code);
        }
    };
    let world = match World::new(cli.catalog, cli.wait) {
        Ok(world) => world,
        Err(failure) => return report::end(Err(failure)),
    };
    report::end(run(cli.verb, &world))
}

fn run(verb: Verb, world: &World) -> Result<Outcome, Failure> {
    match verb {
        Verb::Init => init::run(world),
        Verb::Migrate => migrate::run(world),
        Verb::Source(args) => source::run(args, world),
        Verb::Index(args) => index::run(&args, world),
        Verb::Forget(args) => forget::run(&args, world),
        Verb::Take(args) => take::run(&args, world),
        Verb::Generations(args) => generations::run(&args, world),
        Verb::Show(args) => show::run(&args, world),
        Verb::Ls(args) => ls::run(&args, world),
        Verb::Resolve(args) => resolve::run(&args, world),
        Verb::Sql(args) => sql::run(&args, world),
        Verb::Check(args) => check::run(&args, world),
        Verb::Mount(args) => mount::run(&args, world),
        Verb::Umount(args) => mount::umount(&args),
        Verb::Gluster(verb) => gluster::run(verb, world),
        Verb::Man(args) => pages::man(&args),
        Verb::Completions(args) => pages::completions(&args),
    }
}

impl World {
    fn new(catalog: Option<PathBuf>, wait: Duration) -> Result<Self, Failure> {
        let catalog = match catalog {
            Some(path) => path,
            None => default_catalog()?,
        };
        Ok(Self { catalog, zone: local_zone(), clock: crate::clock::System, wait })
    }

    fn reader(&self) -> Result<Reader, Failure> {
        Ok(Reader::open(&self.catalog)?)
    }

    /// Opens the catalog for writing, for what others read as `asof VERB`.
    fn writer(&self, verb: &str) -> Result<Writer, Failure> {
        self.bring_up_to_date(verb)?;
        Ok(self.open_writer(verb)?)
    }

    fn open_writer(&self, verb: &str) -> Result<Writer, catalog::Error> {
        Writer::open_by_turns(&self.catalog, &self.lock_wait(verb), |busy| eprintln!("waiting: {busy}"))
    }

    /// Locks the source `name`, then opens the catalog for writing, for what others read as `asof VERB NAME`.
    fn source_run(&self, verb: &str, name: &str) -> Result<SourceRun, Failure> {
        let verb = &format!("{verb} {name}");
        self.bring_up_to_date(verb)?;
        let (source, lock) = self.lock_source(verb, name)?;
        Ok(SourceRun { writer: self.open_source_writer(verb, &source)?, source, lock })
    }

    /// Opens the catalog for writing to a source that is locked, and removes what a run of it had left that was killed.
    fn open_source_writer(&self, verb: &str, source: &SourceRow) -> Result<Writer, catalog::Error> {
        let mut writer = self.open_writer(verb)?;
        writer.clean_up(source.id)?;
        for (source, at) in writer.cleaned() {
            eprintln!("removed what an interrupted run had left of generation {at} of \"{source}\"");
        }
        Ok(writer)
    }

    fn lock_source(&self, verb: &str, name: &str) -> Result<(SourceRow, SourceLock), catalog::Error> {
        loop {
            let found = Reader::open(&self.catalog)?.source(name)?;
            let lock = SourceLock::acquire(&self.catalog, &found, &self.lock_wait(verb))?;
            // It may have been changed while it was waited for, or removed and added anew.
            let source = Reader::open(&self.catalog)?.source(name)?;
            if source.id == found.id {
                return Ok((source, lock));
            }
        }
    }

    fn bring_up_to_date(&self, verb: &str) -> Result<Option<Migrated>, Failure> {
        let migrated = catalog::migrate(&self.catalog, &self.lock_wait(verb))?;
        if let Some(Migrated { from, to, copy }) = &migrated {
            eprintln!(
                "brought the catalog {:?} from format {from} to {to}; as it was it is kept in {copy:?}",
                self.catalog
            );
        }
        Ok(migrated)
    }

    fn lock_wait<'w>(&self, verb: &'w str) -> LockWait<'w> {
        LockWait { wait: self.wait, verb, now: Some(self.clock.now()), report: &|busy| eprintln!("waiting: {busy}") }
    }
}

/// Returns the zone in which dates are meant, found as tzset(3) does: `TZ`, `/etc/localtime`, UTC. Where one of these is there
/// and is none, it says so.
fn local_zone() -> jiff::tz::TimeZone {
    let zone = jiff::tz::TimeZone::system();
    if !zone.is_unknown() {
        return zone;
    }
    match std::env::var_os("TZ") {
        Some(text) => eprintln!("TZ is {text:?}, which is not a time zone: dates without one are read as UTC"),
        None if std::path::Path::new("/etc/localtime").exists() => {
            eprintln!("/etc/localtime is not a time zone: dates without one are read as UTC");
        }
        None => return jiff::tz::TimeZone::UTC,
    }
    zone
}

fn unknown_kind(source: &SourceRow) -> Failure {
    Failure::new(format!("source {:?} is of kind {:?}, which this asof does not know", source.name, source.kind))
}

/// Returns `/var/lib/asof/catalog.db` for root and the XDG state folder's for others.
fn default_catalog() -> Result<PathBuf, Failure> {
    let (uid, _) = crate::sys::process::effective_ids();
    if uid == 0 {
        return Ok(PathBuf::from("/var/lib/asof/catalog.db"));
    }
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|p: &PathBuf| p.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")));
    match state {
        Some(state) => Ok(state.join("asof/catalog.db")),
        None => Err(Failure::new("no catalog is named, and neither XDG_STATE_HOME nor HOME tells where to look")
            .hint("asof --catalog FILE, or set ASOF_CATALOG")),
    }
}

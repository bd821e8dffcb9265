//! What a verb is given from outside: the catalog, the zone and the clock; and how it comes to write there.
//!
//! Promises: the environment is read here, once; a verb finds the same catalog and zone however often it asks.

use super::output::counted;
use super::report::Failure;
use super::say::{self, detail, local, say};
use crate::catalog::{Checking, LockWait, Migrated, Reader, SourceLock, SourceRow, Writer, migrate};
use crate::clock::{self, Clock};
use crate::jobs::index::ANSWER_WITHIN;
use crate::jobs::manifests::Manifests;
use crate::jobs::patience::Patience;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What every verb is given from outside.
pub(super) struct World {
    /// The catalog that was named, or the usual one.
    pub(super) catalog: PathBuf,
    /// Whether it was named.
    pub(super) is_named: bool,
    /// The zone of dates without one.
    pub(super) zone: jiff::tz::TimeZone,
    pub(super) clock: clock::System,
    /// How long locks are waited for.
    pub(super) wait: Duration,
    /// How long places of manifests are waited for.
    pub(super) patience: Patience,
    /// Whether a second place for manifests lacks some.
    lacking: Arc<AtomicBool>,
}

/// A source that this run alone changes, and its catalog.
pub(super) struct SourceRun {
    pub(super) source: SourceRow,
    pub(super) writer: Writer,
    /// Let go after the catalog's.
    pub(super) lock: SourceLock,
}

impl World {
    pub(super) fn new(catalog: Option<PathBuf>, wait: Duration) -> Result<Self, Failure> {
        let is_named = catalog.is_some();
        let catalog = match catalog {
            Some(path) => path,
            None => default_catalog()?,
        };
        let zone = local_zone();
        say::set_zone(&zone);
        detail!("the catalog is {catalog:?}");
        let patience = Patience::new(ANSWER_WITHIN);
        Ok(Self { catalog, is_named, zone, clock: clock::System, wait, patience, lacking: Arc::default() })
    }

    /// Tells whether a second place for manifests lacks some.
    pub(super) fn is_lacking(&self) -> bool {
        self.lacking.load(Ordering::Relaxed)
    }

    pub(super) fn reader(&self) -> Result<Reader, Failure> {
        Reader::open(&self.catalog).map_err(|e| {
            let is_missing = matches!(e, crate::catalog::Error::Missing { .. });
            match is_missing && self.is_beside_roots() {
                true => Failure::from(e).hint(
                    "that of root, in /var/lib/asof, is for root alone: his backups are in a mount (mount -t fuse.asof); asof init makes one of your own",
                ),
                false => e.into(),
            }
        })
    }

    /// Tells whether it is the catalog of a user that was meant by default, where root has one, too.
    fn is_beside_roots(&self) -> bool {
        let is_default = default_catalog().is_ok_and(|default| default == self.catalog);
        is_default && crate::sys::process::effective_ids().0 != 0 && std::path::Path::new("/var/lib/asof").is_dir()
    }

    /// Opens the catalog for writing, for what others read as `asof VERB`.
    pub(super) fn writer(&self, verb: &str) -> Result<Writer, Failure> {
        self.bring_up_to_date(verb)?;
        Ok(self.open_writer(verb)?)
    }

    pub(super) fn open_writer(&self, verb: &str) -> Result<Writer, crate::catalog::Error> {
        let mut writer = Writer::open_by_turns(&self.catalog, &self.lock_wait(verb), |busy| say!("waiting: {busy}"))?;
        let lacking = Arc::clone(&self.lacking);
        let warn = move |text: &str| {
            eprintln!("asof: {text}");
            lacking.store(true, Ordering::Relaxed);
        };
        let patience = self.patience.clone();
        writer.keep_manifests(Box::new(Manifests::new(&self.catalog, Box::new(clock::System), patience, warn)));
        Ok(writer)
    }

    /// Locks the source `name`, then opens the catalog for writing, for what others read as `asof VERB NAME`.
    pub(super) fn source_run(&self, verb: &str, name: &str) -> Result<SourceRun, Failure> {
        let verb = &format!("{verb} {name}");
        self.bring_up_to_date(verb)?;
        let (source, lock) = self.lock_source(verb, name)?;
        Ok(SourceRun { writer: self.open_source_writer(verb, &source)?, source, lock })
    }

    /// Opens the catalog for writing to a source that is locked, and removes what a run of it had left that was killed.
    pub(super) fn open_source_writer(&self, verb: &str, source: &SourceRow) -> Result<Writer, crate::catalog::Error> {
        let mut writer = self.open_writer(verb)?;
        writer.clean_up(source.id)?;
        for (source, at) in writer.cleaned() {
            say!("removed what an interrupted run had left of generation {} of \"{source}\"", local(*at));
        }
        Ok(writer)
    }

    pub(super) fn lock_source(&self, verb: &str, name: &str) -> Result<(SourceRow, SourceLock), crate::catalog::Error> {
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

    /// Brings a catalog of an older format up to date, and checks it then; returns how much is wrong in it, none if it was of this
    /// format.
    pub(super) fn bring_up_to_date(&self, verb: &str) -> Result<Option<u64>, Failure> {
        self.bring_one_up_to_date(verb, &self.catalog)
    }

    /// Does so with any catalog.
    pub(super) fn bring_one_up_to_date(&self, verb: &str, path: &Path) -> Result<Option<u64>, Failure> {
        let Some(Migrated { from, to, copy }) = migrate(path, &self.lock_wait(verb))? else {
            return Ok(None);
        };
        say!("brought the catalog {path:?} from format {from} to {to}; as it was it is kept in {copy:?}");
        let checked = Reader::open(path)?.check(false, &mut |what| {
            if let Checking::Found(violation) = what {
                eprintln!("{violation}");
            }
        })?;
        checked.untold.iter().for_each(|(check, what, count)| eprintln!("{check}: {what}: {count} more"));
        if checked.violations > 0 {
            let violations = counted(checked.violations, "violation");
            eprintln!("{violations} in the catalog, from before: what they are about may not be what was backed up");
        }
        Ok(Some(checked.violations))
    }

    pub(super) fn lock_wait<'w>(&self, verb: &'w str) -> LockWait<'w> {
        LockWait { wait: self.wait, verb, now: Some(self.clock.now()), report: &|busy| say!("waiting: {busy}") }
    }
}

/// Returns the zone in which dates are meant, found as tzset(3) does: `TZ`, `/etc/localtime`, UTC. Where one of these is there
/// and is none, it says so.
pub(super) fn local_zone() -> jiff::tz::TimeZone {
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

/// Returns `/var/lib/asof/catalog.db` for root and the XDG state folder's for others.
pub(super) fn default_catalog() -> Result<PathBuf, Failure> {
    let (uid, _) = crate::sys::process::effective_ids();
    if uid == 0 {
        return Ok(PathBuf::from("/var/lib/asof/catalog.db"));
    }
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|p: &PathBuf| p.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")));
    match state {
        Some(state) => Ok(state.join("asof/catalog.db")),
        None => Err(Failure::new("no catalog is named, and neither XDG_STATE_HOME nor HOME is set")
            .hint("asof --catalog FILE, or set ASOF_CATALOG")),
    }
}

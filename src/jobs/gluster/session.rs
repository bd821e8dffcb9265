//! Sessions: who was told which changes of a volume, for consumers that copy the files themselves.
//!
//! A session is a small catalog of its own, `CATALOG-sessions/NAME.db` beside the catalog that it belongs to, that knows one volume: names and
//! attributes, no bytes. Every run is a generation of it, so what a run tells is the exact difference of two trees.
//!
//! Promises: the window of a run begins where the last list ended that was **confirmed**: a list is pending from when it is on the disk
//! ([`Session::wrote`]) until whoever used it says so ([`Session::confirm`]). What is not confirmed is told again with the
//! next one, never left out. One run of a session at a time: the catalog's lock. Never touches the catalog that it lies
//! beside, and never changes a volume.
//!
//! Limits: the generations of a session stay, each with the rows that it changed (about 150 bytes a name that comes,
//! goes or changes); `forget-session` and `register` begin anew. A mount of a session's catalog shows trees without
//! bytes. The folder of a session can be taken elsewhere: nothing in it depends on where it lies.

use super::lists::Window;
use crate::catalog::{self, LockWait, NewSource, Reader, SourceRow, Writer};
use crate::clock::Clock;
use crate::jobs::hooks;
use crate::jobs::take::gluster::{self as take, Report, Wish, load_started, take_bare};
use crate::model::{Hinted, Rule, Time};
use crate::monitor::Monitor;
use crate::source;
use crate::source::gluster::{DESCRIPTION, Settings};
use crate::sys::lock::kind_of;
use crate::sys::process;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes of a session's name, at least and at most: those of Gluster's own tools.
const NAME_BYTES: std::ops::RangeInclusive<usize> = 2..=256;
/// Longer names do not fit into the name of a file with what follows them (255 bytes, `-journal` and the like).
const PLAIN_BYTES_MAX: usize = 200;

/// What can go wrong with a session.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No name of a session.
    #[error("{name:?} cannot name a session: {why}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The name is taken.
    #[error("there is a session {0:?} already")]
    Exists(String),
    /// No such session.
    #[error("there is no session {name:?}{}", there_are(.known))]
    NoSuch {
        /// The name asked for.
        name: String,
        /// The names that there are.
        known: Vec<String>,
        /// Where sessions of all catalogs of a folder were, if there are any, and where those of this catalog are.
        older: Option<(PathBuf, PathBuf)>,
    },
    /// Nothing to be told again.
    #[error("session {0:?} has written no list yet")]
    NothingTold(String),
    /// Nothing to be confirmed.
    #[error("session {0:?} has no list that waits to be confirmed")]
    NothingPending(String),
    /// Another list waits to be confirmed.
    #[error("the list of session {name:?} that waits to be confirmed ends at {found}, not at {asked}")]
    OtherPending {
        /// The session.
        name: String,
        /// Where the list ends, in unix seconds.
        found: i64,
        /// Where the one asked for ends.
        asked: i64,
    },
    /// What the session is cannot be read.
    #[error("cannot read what session {name:?} is")]
    Stored {
        /// The session.
        name: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The system refused something.
    #[error("{doing} {path:?}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What with.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Somebody else's session, or folder of sessions.
    #[error("{path:?} {why}")]
    Foreign {
        /// The session, or the folder.
        path: PathBuf,
        /// What it is.
        why: String,
    },
    /// A command to run before or after.
    #[error(transparent)]
    Hook(#[from] hooks::Error),
    /// The settings.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// The session's catalog.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// The run.
    #[error(transparent)]
    Take(#[from] take::Error),
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Catalog(e) => return e.hint(),
            Self::Source(e) => return e.hint(),
            Self::Take(e) => return e.hint(),
            Self::NoSuch { older: Some((from, to)), .. } => {
                return Some(format!(
                    "sessions belong to a catalog now: mv {from:?} {to:?} gives those of before to this one"
                ));
            }
            Self::NoSuch { .. } => "asof gluster register SESSION HOST VOLUME makes one",
            Self::Exists(_) => "asof gluster sessions shows it, asof gluster forget-session forgets it",
            Self::NothingTold(_) => "without --again everything is listed",
            Self::NothingPending(_) => "asof gluster sessions shows which lists wait",
            Self::OtherPending { .. } => "a later run wrote another list, which has all that this one had",
            Self::Foreign { .. } => {
                "sessions of others are not used: chown and chmod make it yours, if you know what it runs"
            }
            Self::Stored { .. } => "it may be of another version of asof; forget-session and register begin anew",
            Self::Name { .. } | Self::Io { .. } | Self::Hook(_) => return None,
        };
        Some(text.to_owned())
    }
}

fn there_are(names: &[String]) -> String {
    match names {
        [] => "; there is none yet".to_owned(),
        names => format!("; known are {}", names.join(", ")),
    }
}

/// What a session is, as it is kept with the source of its catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Its name.
    pub session: String,
    /// How the volume is scanned; the store is not used.
    pub scan: Settings,
    /// The command that runs before each run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre: Option<String>,
    /// The command that runs after each run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post: Option<String>,
    /// The window of the list that was confirmed last: its beginning (none: everything was new) and its end, in unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<(Option<i64>, i64)>,
    /// The window of the list that was written since and is not confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<(Option<i64>, i64)>,
}

impl About {
    /// Returns the window of the list that was confirmed last.
    pub fn confirmed(&self) -> Option<Window> {
        self.told.map(window)
    }

    /// Returns the window of the list that waits to be confirmed.
    pub fn pending(&self) -> Option<Window> {
        self.pending.map(window)
    }
}

fn window((from, until): (Option<i64>, i64)) -> Window {
    Window { from: from.map(Time), until: Time(until) }
}

/// A session in a list of them.
#[derive(Clone, Debug)]
pub struct Listed {
    /// What it is.
    pub about: About,
    /// When it was registered.
    pub registered_at: Time,
    /// Its catalog.
    pub path: PathBuf,
}

/// The sessions of a catalog.
#[derive(Clone, Debug)]
pub struct Sessions {
    folder: PathBuf,
    /// Where sessions of any catalog of the folder were before.
    older: PathBuf,
}

impl Sessions {
    /// Returns those of `catalog`, which need not be there.
    pub fn of(catalog: &Path) -> Self {
        let mut folder = catalog.as_os_str().to_owned();
        folder.push("-sessions");
        Self { folder: folder.into(), older: catalog.parent().unwrap_or(Path::new("")).join("sessions") }
    }

    /// Makes a session. Asks for the volume, so that one that is not there is told now and not tonight, and returns
    /// whether its changelogs are on.
    ///
    /// # Errors
    /// [`Error`]; then nothing was made.
    pub fn register(&self, about: &About, now: Time) -> Result<bool, Error> {
        let name = &about.session;
        check_name(name)?;
        about.scan.check()?;
        for (when, command) in [("pre", &about.pre), ("post", &about.post)] {
            command.as_deref().map_or(Ok(()), |command| hooks::check(when, command))?;
        }
        let path = self.path_of(name);
        if fs::symlink_metadata(&path).is_ok() {
            return Err(Error::Exists(name.clone()));
        }
        let volume = load_started(&about.scan)?;
        self.make_folder()?;
        match Writer::create(&path) {
            Err(catalog::Error::Exists { .. }) => return Err(Error::Exists(name.clone())),
            made => made?,
        }
        let added = Writer::open(&path).and_then(|mut writer| {
            let settings = settings_of(about);
            let new = NewSource {
                name: &about.scan.volume,
                kind: DESCRIPTION.kind,
                settings: &settings,
                rule: Rule::WRITES,
                added_at: now,
            };
            writer.add_source(&new)
        });
        if let Err(e) = added {
            let _ = remove_files(&path);
            return Err(e.into());
        }
        Ok(volume.is_on("changelog.changelog"))
    }

    /// Returns all sessions by name, and what could not be read of them.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be listed.
    pub fn list(&self) -> Result<(Vec<Listed>, Vec<Error>), Error> {
        let io = |source| Error::Io { doing: "listing the folder", path: self.folder.clone(), source };
        let (mut sessions, mut troubles) = (Vec::new(), Vec::new());
        let entries = match fs::read_dir(&self.folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((sessions, troubles)),
            entries => entries.map_err(io)?,
        };
        expect_ours(&self.folder)?;
        for entry in entries {
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|extension| extension == "db") {
                match load(&path) {
                    Ok((_, source, about)) => {
                        sessions.push(Listed { about, registered_at: source.added_at, path });
                    }
                    Err(e) => troubles.push(e),
                }
            }
        }
        sessions.sort_by(|a, b| a.about.session.cmp(&b.about.session));
        Ok((sessions, troubles))
    }

    /// Forgets a session.
    ///
    /// # Errors
    /// [`Error::NoSuch`]; the catalog's `Busy` while a run of it goes on.
    pub fn forget(&self, name: &str, how: &LockWait<'_>) -> Result<(), Error> {
        let path = self.existing(name)?;
        // Held until the files are gone. What is no catalog any more cannot be in use.
        let held = match Writer::open_waiting(&path, how) {
            Err(e @ catalog::Error::Busy { .. }) => return Err(e.into()),
            held => held,
        };
        let removed = remove_files(&path);
        drop(held);
        removed.map_err(|source| Error::Io { doing: "removing", path, source })
    }

    /// Copies a session as it is into the file `to`, where nothing may be: for another machine, or another catalog.
    ///
    /// # Errors
    /// [`Error::NoSuch`]; the catalog's `Busy` while a run of it goes on, and `Exists`.
    pub fn export(&self, name: &str, to: &Path, how: &LockWait<'_>) -> Result<(), Error> {
        let path = self.existing(name)?;
        let _held = Writer::open_waiting(&path, how)?;
        load(&path)?;
        match catalog::copy_catalog(&path, to) {
            Err(catalog::Error::Exists { path }) => {
                Err(Error::Io { doing: "making the file", path, source: io::ErrorKind::AlreadyExists.into() })
            }
            copied => Ok(copied?),
        }
    }

    /// Makes a session of what [`Sessions::export`] wrote; `change` says what is other than it was. Returns what it is.
    ///
    /// # Errors
    /// [`Error::Foreign`] for a file of somebody else; [`Error::Exists`]; [`Error`]. Then nothing was made.
    pub fn import(&self, from: &Path, change: &dyn Fn(&mut About)) -> Result<About, Error> {
        let (reader, source, mut about) = load(from)?;
        drop(reader);
        change(&mut about);
        check_name(&about.session)?;
        about.scan.check()?;
        let path = self.path_of(&about.session);
        if fs::symlink_metadata(&path).is_ok() {
            return Err(Error::Exists(about.session));
        }
        self.make_folder()?;
        catalog::copy_catalog(from, &path)?;
        let changed = Writer::open(&path).and_then(|mut writer| writer.set_settings(source.id, &settings_of(&about)));
        if let Err(e) = changed {
            let _ = remove_files(&path);
            return Err(e.into());
        }
        Ok(about)
    }

    /// Makes the folder of sessions.
    fn make_folder(&self) -> Result<(), Error> {
        let io = |source| Error::Io { doing: "making the folder", path: self.folder.clone(), source };
        fs::create_dir_all(&self.folder).map_err(io)?;
        expect_ours(&self.folder)
    }

    /// Opens a session for a run.
    ///
    /// # Errors
    /// [`Error::NoSuch`]; the catalog's `Busy` while another run of it goes on.
    pub fn open(&self, name: &str, how: &LockWait<'_>) -> Result<Session, Error> {
        let path = self.existing(name)?;
        let writer = Writer::open_waiting(&path, how)?;
        let (reader, source, about) = load(&path)?;
        Ok(Session { writer, reader, source, about, folder: work_folder(&path) })
    }

    fn existing(&self, name: &str) -> Result<PathBuf, Error> {
        check_name(name)?;
        let path = self.path_of(name);
        if fs::symlink_metadata(&path).is_ok() {
            expect_ours(&self.folder)?;
            expect_ours(&path)?;
            return Ok(path);
        }
        let known: Vec<String> = self.list()?.0.into_iter().map(|session| session.about.session).collect();
        let is_older = known.is_empty() && !self.folder.exists() && self.older.is_dir();
        let older = is_older.then(|| (self.older.clone(), self.folder.clone()));
        Err(Error::NoSuch { name: name.to_owned(), known, older })
    }

    /// Returns the catalog of a session. A `+` is in no name of a session.
    fn path_of(&self, name: &str) -> PathBuf {
        match name.len() > PLAIN_BYTES_MAX {
            false => self.folder.join(format!("{name}.db")),
            true => {
                let digest = blake3::hash(name.as_bytes()).to_hex();
                self.folder.join(format!("{}+{}.db", &name[..PLAIN_BYTES_MAX - 64], &digest[..32]))
            }
        }
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    let refuse = |why| Err(Error::Name { name: name.to_owned(), why });
    if !NAME_BYTES.contains(&name.len()) {
        return refuse("it has to have 2 to 256 characters");
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-') {
        return refuse("it may hold letters, digits, dashes and underscores");
    }
    if name == "default" {
        return refuse("the name is reserved");
    }
    Ok(())
}

fn settings_of(about: &About) -> String {
    serde_json::to_string(about).expect("what a session is, is text and numbers")
}

fn load(path: &Path) -> Result<(Reader, SourceRow, About), Error> {
    expect_ours(path)?;
    let reader = Reader::open(path)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let source = match reader.sources()?.into_iter().next() {
        Some(source) => source,
        None => return Err(Error::NoSuch { name, known: Vec::new(), older: None }),
    };
    let about = serde_json::from_str(&source.settings).map_err(|source| Error::Stored { name, source })?;
    // A run writes beside it: its log could not be folded back, and the first list of a volume would leave one of gigabytes.
    reader.rest()?;
    Ok((reader, source, about))
}

/// Refuses a session, or the folder of sessions, that somebody else made or could alter: its commands are run as ours.
fn expect_ours(path: &Path) -> Result<(), Error> {
    let io = |source| Error::Io { doing: "looking at", path: path.to_owned(), source };
    let refused = |why: String| Err(Error::Foreign { path: path.to_owned(), why });
    let (stat, us) = (fs::symlink_metadata(path).map_err(io)?, process::effective_ids().0);
    match (stat.file_type(), stat.uid()) {
        (kind, _) if !kind.is_file() && !kind.is_dir() => refused(format!("is {}", kind_of(kind))),
        (_, owner) if owner != us => {
            refused(format!("belongs to user {owner}, and its commands would be run as user {us}"))
        }
        _ if stat.mode() & 0o022 != 0 => refused("can be written to by others".to_owned()),
        _ => Ok(()),
    }
}

/// Where the answers of bricks lie during a run.
fn work_folder(path: &Path) -> PathBuf {
    path.with_extension("work")
}

/// Removes a catalog with all that is beside it, and what a killed run left. The catalog goes first: without it there is
/// no session.
fn remove_files(path: &Path) -> io::Result<()> {
    catalog::remove(path)?;
    match fs::remove_dir_all(work_folder(path)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// A session in a run.
pub struct Session {
    // Closed first: who only reads and is the last one leaves the log behind, and the next run has to read all of it.
    reader: Reader,
    writer: Writer,
    source: SourceRow,
    about: About,
    folder: PathBuf,
}

impl Session {
    /// Returns what it is.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Returns the catalog and the source in it, for [`super::lists::list`].
    pub fn tree(&self) -> (&Reader, &SourceRow) {
        (&self.reader, &self.source)
    }

    /// Looks at the volume and returns the window that is to be told. `full`: everything is looked at, and all of it is
    /// to be told as new. `program` is this program, for agents on this machine.
    ///
    /// # Errors
    /// [`Error::Take`]; then the session is as before.
    pub fn scan(
        &mut self,
        full: bool,
        program: &Path,
        clock: &dyn Clock,
        monitor: &dyn Monitor,
    ) -> Result<(Window, Report), Error> {
        let from = if full { None } else { self.about.confirmed().map(|told| told.until) };
        let settings = Settings { store: self.folder.clone(), ..self.about.scan.clone() };
        let wish = Wish { rescan: full, ..Wish::default() };
        let report = take_bare(&mut self.writer, &self.source, &settings, wish, (program, clock, monitor));
        // What is left there is of no use to anybody.
        let _ = fs::remove_dir_all(&self.folder);
        let report = report?;
        // Sees what was published just now.
        self.reader.rest()?;
        Ok((Window { from, until: report.done.at }, report))
    }

    /// Returns the window of the list that was written last.
    ///
    /// # Errors
    /// [`Error::NothingTold`].
    pub fn again(&self) -> Result<Window, Error> {
        let last = self.about.pending().or_else(|| self.about.confirmed());
        last.ok_or_else(|| Error::NothingTold(self.about.session.clone()))
    }

    /// Records that a list of `window` was written, which waits to be confirmed. One that was confirmed and is written once more does not.
    ///
    /// # Errors
    /// [`Error::Catalog`]; then it is told again.
    pub fn wrote(&mut self, window: Window) -> Result<(), Error> {
        if self.about.confirmed() != Some(window) {
            self.about.pending = Some((window.from.map(|from| from.0), window.until.0));
        }
        self.save()
    }

    /// Records that the list which waits was used, if it is the one that ends at `until` (any, if none is named): the next one begins at its
    /// end. Returns its window.
    ///
    /// # Errors
    /// [`Error::NothingPending`], [`Error::OtherPending`], [`Error::Catalog`]; then it waits still.
    pub fn confirm(&mut self, until: Option<Time>) -> Result<Window, Error> {
        let name = || self.about.session.clone();
        let pending = match (self.about.pending(), self.about.confirmed()) {
            (Some(pending), _) => pending,
            // Said twice.
            (None, Some(confirmed)) if until == Some(confirmed.until) => return Ok(confirmed),
            (None, _) => return Err(Error::NothingPending(name())),
        };
        if let Some(asked) = until.filter(|until| *until != pending.until) {
            return Err(Error::OtherPending { name: name(), found: pending.until.0, asked: asked.0 });
        }
        self.about.told = self.about.pending.take();
        self.save()?;
        Ok(pending)
    }

    fn save(&mut self) -> Result<(), Error> {
        Ok(self.writer.set_settings(self.source.id, &settings_of(&self.about))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn about(name: &str) -> About {
        let scan = serde_json::from_str(r#"{"host":"server1","volume":"gv0","store":"","gluster":"/no/such/gluster"}"#);
        About { session: name.to_owned(), scan: scan.unwrap(), pre: None, post: None, told: None, pending: None }
    }

    /// Makes a session without asking for its volume.
    fn made(sessions: &Sessions, name: &str) {
        fs::create_dir_all(&sessions.folder).unwrap();
        fs::set_permissions(&sessions.folder, fs::Permissions::from_mode(0o700)).unwrap();
        let path = sessions.path_of(name);
        Writer::create(&path).unwrap();
        let settings = settings_of(&about(name));
        let new = NewSource {
            name: "gv0",
            kind: DESCRIPTION.kind,
            settings: &settings,
            rule: Rule::WRITES,
            added_at: Time(7),
        };
        Writer::open(&path).unwrap().add_source(&new).unwrap();
    }

    #[test]
    fn names_that_are_none_are_refused_and_nothing_is_stored() {
        let dir = tempfile::tempdir().unwrap();
        let sessions = Sessions::of(&dir.path().join("catalog.db"));
        let said = |name: &str| sessions.register(&about(name), Time(0)).unwrap_err().to_string();
        assert_eq!(said("a"), "\"a\" cannot name a session: it has to have 2 to 256 characters");
        assert_eq!(said(""), "\"\" cannot name a session: it has to have 2 to 256 characters");
        assert!(said(&"a".repeat(257)).ends_with("it has to have 2 to 256 characters"));
        assert_eq!(said("a/b"), "\"a/b\" cannot name a session: it may hold letters, digits, dashes and underscores");
        assert_eq!(said("é12"), "\"é12\" cannot name a session: it may hold letters, digits, dashes and underscores");
        assert_eq!(said("default"), "\"default\" cannot name a session: the name is reserved");
        assert!(said("good").starts_with("cannot ask about volume \"gv0\""));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_session_is_registered_once_listed_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let sessions = Sessions::of(&dir.path().join("catalog.db"));
        let long = "L".repeat(256);
        for name in ["nightly", "B2", &long] {
            made(&sessions, name);
        }
        for name in ["nightly", &long] {
            let refused = sessions.register(&about(name), Time(0)).unwrap_err().to_string();
            assert_eq!(refused, format!("there is a session {name:?} already"));
        }
        let (listed, troubles) = sessions.list().unwrap();
        let names: Vec<&str> = listed.iter().map(|session| session.about.session.as_str()).collect();
        assert_eq!((names, troubles.len()), (vec!["B2", &long, "nightly"], 0));
        assert_eq!(listed[0].registered_at, Time(7));
        for name in ["nightly", &long] {
            sessions.forget(name, &LockWait::refuse("")).unwrap();
        }
        assert_eq!(
            sessions.forget("nightly", &LockWait::refuse("")).unwrap_err().to_string(),
            "there is no session \"nightly\"; known are B2"
        );
        let left: Vec<_> = fs::read_dir(&sessions.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name.to_str().unwrap().starts_with("B2.db")), "{left:?}");
    }

    #[test]
    fn a_list_waits_until_it_is_confirmed_and_the_next_begins_at_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let sessions = Sessions::of(&dir.path().join("catalog.db"));
        made(&sessions, "nightly");
        let mut session = sessions.open("nightly", &LockWait::refuse("")).unwrap();
        assert_eq!(session.again().unwrap_err().to_string(), "session \"nightly\" has written no list yet");
        assert_eq!(
            session.confirm(None).unwrap_err().to_string(),
            "session \"nightly\" has no list that waits to be confirmed"
        );
        let first = Window { from: None, until: Time(100) };
        session.wrote(Window { until: Time(90), ..first }).unwrap();
        session.wrote(first).unwrap();
        assert_eq!((session.about.confirmed(), session.again().unwrap()), (None, first));
        assert_eq!(
            session.confirm(Some(Time(90))).unwrap_err().to_string(),
            "the list of session \"nightly\" that waits to be confirmed ends at 100, not at 90"
        );
        assert_eq!(session.confirm(Some(Time(100))).unwrap(), first);
        // Said twice; written once more.
        assert_eq!(session.confirm(Some(Time(100))).unwrap(), first);
        session.wrote(first).unwrap();
        assert_eq!((session.about.confirmed(), session.about.pending()), (Some(first), None));
        session.wrote(Window { from: Some(Time(100)), until: Time(200) }).unwrap();
        assert!(
            sessions
                .open("nightly", &LockWait::refuse(""))
                .is_err_and(|e| matches!(e, Error::Catalog(catalog::Error::Busy { .. })))
        );
        assert!(matches!(
            sessions.forget("nightly", &LockWait::refuse("")),
            Err(Error::Catalog(catalog::Error::Busy { .. }))
        ));
        drop(session);
        let session = sessions.open("nightly", &LockWait::refuse("")).unwrap();
        assert_eq!(session.again().unwrap(), Window { from: Some(Time(100)), until: Time(200) });
        assert_eq!(session.about.confirmed(), Some(first));
    }

    #[test]
    fn sessions_belong_to_one_catalog_and_those_of_a_folder_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let [one, other] = ["one.db", "other.db"].map(|name| Sessions::of(&dir.path().join(name)));
        made(&one, "nightly");
        assert_eq!((one.list().unwrap().0.len(), other.list().unwrap().0.len()), (1, 0));
        let hint = |sessions: &Sessions| sessions.forget("nobody", &LockWait::refuse("")).unwrap_err().hint().unwrap();
        assert_eq!(hint(&other), "asof gluster register SESSION HOST VOLUME makes one");
        let before = dir.path().join("sessions");
        fs::create_dir(&before).unwrap();
        let to = dir.path().join("other.db-sessions");
        assert_eq!(
            hint(&other),
            format!("sessions belong to a catalog now: mv {before:?} {to:?} gives those of before to this one")
        );
        assert_eq!(hint(&one), "asof gluster register SESSION HOST VOLUME makes one");
    }

    #[test]
    fn what_others_made_or_can_alter_is_no_session_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        let sessions = Sessions::of(&dir.path().join("catalog.db"));
        made(&sessions, "nightly");
        let path = sessions.path_of("nightly");
        let refused = |why: &str| {
            let said = sessions.open("nightly", &LockWait::refuse("")).map(drop).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
            let said = sessions.forget("nightly", &LockWait::refuse("")).unwrap_err().to_string();
            assert!(said.contains(why), "{said}");
        };
        for (place, mode) in [(&path, 0o600), (&sessions.folder, 0o700)] {
            std::os::unix::fs::chown(place, Some(1001), None).expect("tests are run as root");
            refused("belongs to user 1001, and its commands would be run as user 0");
            std::os::unix::fs::chown(place, Some(0), None).unwrap();
            fs::set_permissions(place, fs::Permissions::from_mode(mode | 0o022)).unwrap();
            refused("can be written to by others");
            fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
        }
        let aside = dir.path().join("aside");
        fs::rename(&sessions.folder, &aside).unwrap();
        std::os::unix::fs::symlink(&aside, &sessions.folder).unwrap();
        refused("is a symbolic link");
        fs::remove_file(&sessions.folder).unwrap();
        fs::rename(&aside, &sessions.folder).unwrap();
        assert!(sessions.open("nightly", &LockWait::refuse("")).is_ok());
        assert_eq!(sessions.list().unwrap().0.len(), 1);
    }

    #[test]
    fn a_damaged_session_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let sessions = Sessions::of(&dir.path().join("catalog.db"));
        made(&sessions, "good");
        fs::write(sessions.path_of("bad"), "rubbish").unwrap();
        let (listed, troubles) = sessions.list().unwrap();
        assert_eq!((listed.len(), troubles.len()), (1, 1));
        sessions.forget("bad", &LockWait::refuse("")).unwrap();
        assert!(sessions.list().unwrap().1.is_empty());
    }
}

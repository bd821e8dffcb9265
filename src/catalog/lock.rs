//! The locks of a catalog: one for whoever writes the file, one of each source for whoever changes its rows.
//!
//! Promises: a source's lock is taken before the catalog's and never after it (debug builds assert it), so no two runs wait
//! for each other. Whoever finds a lock taken waits for it as long as he is told to, and is told once for whom. A lock that
//! is let go and taken again goes to those first who waited meanwhile. Other users cannot open the files
//! of locks, and programs that are started do not inherit them; reading who holds a lock never waits. Locks are let go by
//! name: a descriptor that a child process of another thread inherited, between `fork` and `exec`, would hold them on.
//!
//! A lock is `flock(2)` on a file: `CATALOG.lock`, and `CATALOG-locks/ID` of the source with that row id. The file holds one
//! line while it is locked: `pid=4711 start=122304 ns=4026531836 since=1763604000 verb=take db01`, where `start` is in ticks
//! since the machine started (the kernel gives process numbers anew), `ns` is the namespace of the number, and `since` is in
//! unix seconds.

use super::error::{Doing, Error};
use super::files::beside;
use super::holder::{Busy, Held, Holder, Locked};
use super::rows::SourceRow;
use crate::model::{Time, escape_bytes};
use crate::sys::lock;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// After how long a wait is reported.
const REPORT_AFTER: Duration = Duration::from_secs(1);
/// The longest time between two looks at a lock: there is no wait for a lock with a deadline. It bounds what is lost when
/// a lock changes hands.
const PAUSE_MAX: Duration = Duration::from_millis(20);
/// Bytes of the line in a lock. It is written over in place, which needs no room on a full disk.
const LINE_BYTES: usize = 512;

const LOCKING: Doing = Doing { with: "locking", inside: "making a lock" };
const LOCKING_SOURCE: Doing = Doing { with: "locking a source of", inside: "making the lock of a source" };

/// The threads that hold locks of catalogs, in debug builds.
static HOLDERS: Mutex<Vec<ThreadId>> = Mutex::new(Vec::new());

fn holders() -> MutexGuard<'static, Vec<ThreadId>> {
    HOLDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a lock is waited for, and by whom.
#[derive(Clone, Copy)]
pub struct LockWait<'a> {
    /// For how long at most; zero refuses at once.
    pub wait: Duration,
    /// What is run, for others to read: `index homes`.
    pub verb: &'a str,
    /// The time, for others to read since when.
    pub now: Option<Time>,
    /// Is called once, after about a second of waiting.
    pub report: &'a dyn Fn(&Busy),
}

impl<'a> LockWait<'a> {
    /// Does not wait.
    pub fn refuse(verb: &'a str) -> Self {
        Self { wait: Duration::ZERO, verb, now: None, report: &|_| () }
    }
}

/// How the lock of a catalog is held by a writer.
pub(super) enum Locking {
    /// From its opening to its end.
    Whole {
        /// The lock.
        _lock: CatalogLock,
    },
    /// For one transaction after the other; between them others write.
    ByTurns {
        /// The file of the lock.
        file: CatalogLockFile,
        /// For how long each turn is waited for.
        wait: Duration,
        /// See [`LockWait::verb`].
        verb: String,
        /// See [`LockWait::now`].
        now: Option<Time>,
        /// See [`LockWait::report`]; the same holder is reported once.
        report: fn(&Busy),
        /// Who was reported last.
        reported: std::cell::RefCell<Option<Busy>>,
    },
}

impl Locking {
    /// Takes the lock for one transaction; nothing where it is held anyway.
    pub(super) fn take(&self) -> Result<Option<CatalogLock>, Error> {
        let Self::ByTurns { file, wait, verb, now, report, reported } = self else { return Ok(None) };
        let report = |busy: &Busy| {
            if reported.replace(Some(busy.clone())).as_ref() != Some(busy) {
                report(busy);
            }
        };
        file.lock(&LockWait { wait: *wait, verb, now: *now, report: &report }).map(Some)
    }
}

/// The file of a catalog's lock, kept open by whoever takes the lock many times.
///
/// Cost: opening it took 60 us on ext4; taking the lock and letting go of it, with nobody else there, 10 us.
pub struct CatalogLockFile(Arc<LockFile>);

impl CatalogLockFile {
    /// Opens the file of the lock of the catalog at `catalog`, and makes it where it is not there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(catalog: &Path) -> Result<Self, Error> {
        let io = |e| LOCKING.io(catalog, e);
        let (real, owner) = real_file(catalog).map_err(io)?;
        let what = Locked::Catalog(catalog.to_owned());
        let file = LockFile::open(beside(&real, ".lock"), owner, catalog, what).map_err(io)?;
        Ok(Self(Arc::new(file)))
    }

    /// Takes the lock.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Io`].
    ///
    /// # Panics
    /// If it was taken through this very file and not let go.
    pub fn lock(&self, how: &LockWait<'_>) -> Result<CatalogLock, Error> {
        self.0.acquire(how)?;
        let thread = thread::current().id();
        if cfg!(debug_assertions) {
            holders().push(thread);
        }
        Ok(CatalogLock { file: Arc::clone(&self.0), thread })
    }
}

/// The lock of a catalog: nobody else writes it until this is dropped.
pub struct CatalogLock {
    file: Arc<LockFile>,
    /// The one that took it.
    thread: ThreadId,
}

impl CatalogLock {
    /// Takes the lock of the catalog at `catalog`.
    ///
    /// # Errors
    /// As [`CatalogLockFile::open`] and [`CatalogLockFile::lock`].
    pub fn acquire(catalog: &Path, how: &LockWait<'_>) -> Result<Self, Error> {
        CatalogLockFile::open(catalog)?.lock(how)
    }
}

impl Drop for CatalogLock {
    fn drop(&mut self) {
        self.file.release();
        if cfg!(debug_assertions) {
            let mut holders = holders();
            let ours = holders.iter().position(|holder| *holder == self.thread);
            ours.map(|at| holders.swap_remove(at));
        }
    }
}

/// The lock of a source: nobody else changes its settings or its rows until this is dropped.
pub struct SourceLock(LockFile);

impl SourceLock {
    /// Takes the lock of `source` in the catalog at `catalog`. What was read of the source before may be old by then.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Io`].
    ///
    /// # Panics
    /// In debug builds, if this thread holds the lock of a catalog.
    pub fn acquire(catalog: &Path, source: &SourceRow, how: &LockWait<'_>) -> Result<Self, Error> {
        debug_assert!(!holders().contains(&thread::current().id()), "a source is locked before its catalog");
        let io = |e| LOCKING_SOURCE.io(catalog, e);
        let (real, owner) = real_file(catalog).map_err(io)?;
        let folder = beside(&real, "-locks");
        loop {
            lock::make_private_folder(&folder, owner).map_err(io)?;
            let what = Locked::Source(source.name.clone());
            let file = LockFile::open(folder.join(source.id.0.to_string()), owner, catalog, what).map_err(io)?;
            file.acquire(how)?;
            let lock = Self(file);
            // Else whoever held it has removed it.
            if lock::is_still_at(&lock.0.file, &lock.0.path).map_err(io)? {
                return Ok(lock);
            }
        }
    }

    /// Removes the file of the lock with the lock: the source is gone.
    pub fn remove(self) {
        // One that stays is as good as one that is made anew.
        let _ = std::fs::remove_file(&self.0.path);
    }
}

impl Drop for SourceLock {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// Returns where a catalog really lies, so that all of its names share its locks (SQLite keeps its log there, too), and whose it is.
fn real_file(catalog: &Path) -> io::Result<(PathBuf, u32)> {
    let real = std::fs::canonicalize(catalog)?;
    let owner = std::fs::metadata(&real)?.uid();
    Ok((real, owner))
}

struct LockFile {
    file: File,
    path: PathBuf,
    catalog: PathBuf,
    what: Locked,
    /// This process, where the kernel tells who it is.
    us: Option<Identity>,
    is_held: AtomicBool,
}

/// A process, as others can tell it from all that had its number before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    pid: u32,
    start: u64,
    namespace: u64,
}

impl Identity {
    fn of_us() -> Option<Self> {
        let pid = std::process::id();
        let start = lock::started_at(pid).ok().flatten()?;
        Some(Self { pid, start, namespace: lock::pid_namespace().ok()? })
    }
}

impl LockFile {
    fn open(path: PathBuf, owner: u32, catalog: &Path, what: Locked) -> io::Result<Self> {
        let file = lock::open_private_file(&path, owner)?;
        let (catalog, us) = (catalog.to_owned(), Identity::of_us());
        Ok(Self { file, path, catalog, what, us, is_held: AtomicBool::new(false) })
    }

    fn acquire(&self, how: &LockWait<'_>) -> Result<(), Error> {
        // The kernel would give it a second time: it belongs to the open file.
        assert!(!self.is_held.swap(true, Ordering::AcqRel), "{:?} is locked twice", self.path);
        self.take(how).inspect_err(|_| self.is_held.store(false, Ordering::Release))
    }

    fn take(&self, how: &LockWait<'_>) -> Result<(), Error> {
        let mut waiting = Waiting::begin(self, how);
        // Whoever waits holds the turn. Else one who lets go and takes again would always be faster than those who look
        // now and then.
        waiting.until(|| lock::try_lock_byte(&self.file))?;
        let taken = waiting.until(|| match self.file.try_lock() {
            Ok(()) => Ok(true),
            Err(std::fs::TryLockError::WouldBlock) => Ok(false),
            Err(std::fs::TryLockError::Error(e)) => Err(e),
        });
        let turn_ended = lock::unlock_byte(&self.file).map_err(|e| self.error(e));
        taken?;
        let waited = i64::try_from(waiting.began.elapsed().as_secs()).unwrap_or(i64::MAX);
        let since = how.now.map(|now| Time(now.0.saturating_add(waited)));
        self.write(&self.us.map(|us| line(us, how.verb, since)).unwrap_or_default());
        turn_ended.inspect_err(|_| self.release())
    }

    fn release(&self) {
        // Whoever reads it next would take us for the holder.
        self.write("");
        // Else it goes with the last descriptor.
        let _ = self.file.unlock();
        self.is_held.store(false, Ordering::Release);
    }

    /// Writes who holds it. That is for messages only: on a full disk the lock holds all the same, and tells nothing.
    fn write(&self, line: &str) {
        let mut bytes = line.as_bytes().to_vec();
        bytes.resize(LINE_BYTES - 1, b' ');
        bytes.push(b'\n');
        if self.file.write_all_at(&bytes, 0).is_err() {
            let _ = self.file.set_len(0);
        }
    }

    fn busy(&self) -> Busy {
        Busy { what: self.what.clone(), holder: self.holder() }
    }

    fn holder(&self) -> Holder {
        let mut bytes = [0; LINE_BYTES];
        let length = self.file.read_at(&mut bytes, 0).unwrap_or(0);
        let Some((who, held)) = parse(&bytes[..length]) else { return Holder::Unknown };
        match self.us {
            Some(us) if us.namespace == who.namespace => {}
            Some(_) => return Holder::Elsewhere(held),
            None => return Holder::Unknown,
        }
        match lock::started_at(who.pid) {
            Ok(Some(start)) if start == who.start => Holder::Process(held),
            Ok(_) => Holder::Ended(held),
            Err(_) => Holder::Unknown,
        }
    }

    fn error(&self, source: io::Error) -> Error {
        let doing = match self.what {
            Locked::Catalog(_) => LOCKING,
            Locked::Source(_) => LOCKING_SOURCE,
        };
        doing.io(&self.catalog, source)
    }
}

fn line(us: Identity, verb: &str, since: Option<Time>) -> String {
    let Identity { pid, start, namespace } = us;
    let since = since.map(|since| since.0.to_string()).unwrap_or_default();
    format!("pid={pid} start={start} ns={namespace} since={since} verb={verb}")
}

/// Reads what [`line()`] wrote; none if it is something else, or was cut.
fn parse(bytes: &[u8]) -> Option<(Identity, Held)> {
    let line = bytes.strip_suffix(b"\n")?;
    let key = b" verb=";
    let at = line.windows(key.len()).position(|window| window == key)?;
    let (numbers, verb) = (std::str::from_utf8(&line[..at]).ok()?, line[at + key.len()..].trim_ascii_end());
    let mut fields = numbers.split(' ');
    let mut field = |key: &str| fields.next()?.strip_prefix(key)?.strip_prefix('=');
    let (pid, start, namespace) =
        (field("pid")?.parse().ok()?, field("start")?.parse().ok()?, field("ns")?.parse().ok()?);
    let since = match field("since")? {
        "" => None,
        seconds => Some(Time(seconds.parse().ok()?)),
    };
    let verb = escape_bytes(verb).into_owned();
    Some((Identity { pid, start, namespace }, Held { pid, verb, since }))
}

/// A wait for one lock.
struct Waiting<'w> {
    lock: &'w LockFile,
    how: &'w LockWait<'w>,
    began: Instant,
    pause: Duration,
    is_reported: bool,
}

impl<'w> Waiting<'w> {
    fn begin(lock: &'w LockFile, how: &'w LockWait<'w>) -> Self {
        Self { lock, how, began: Instant::now(), pause: Duration::from_millis(1), is_reported: false }
    }

    /// Asks again and again until `is_taken`.
    fn until(&mut self, mut is_taken: impl FnMut() -> io::Result<bool>) -> Result<(), Error> {
        while !is_taken().map_err(|e| self.lock.error(e))? {
            let waited = self.began.elapsed();
            if waited >= self.how.wait {
                let waited = self.how.wait;
                return Err(Error::Busy { busy: self.lock.busy(), waited });
            }
            if waited >= REPORT_AFTER && !self.is_reported {
                (self.how.report)(&self.lock.busy());
                self.is_reported = true;
            }
            thread::sleep(self.pause.min(self.how.wait - waited));
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

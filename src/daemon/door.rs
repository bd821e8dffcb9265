//! The door of a daemon: a socket through which other processes ask it, and the asking.
//!
//! Whoever has changed a catalog asks the mounts of it to show that before he goes on, and whoever unmounts waits until the daemon has
//! let go of the files that it had open. One socket a daemon, in the folder that the system has for what runs (`/run/asof`; of other
//! users than root `$XDG_RUNTIME_DIR/asof`), which is closed to others. Its name says which catalog, by its path, and which process. Whoever
//! connects sends one line, `show` or `where`, and gets one line: the number of the process and the mount point.
//!
//! Promises: nothing depends on a door. Without one a mount shows within a second what was published; who asks waits 5 s
//! at most, however many daemons hang. What a daemon left that was killed is cleared away.

use crate::model::escape_bytes;
use crate::sys::{lock, process};
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

/// How long an answer is waited for.
const LIMIT: Duration = Duration::from_secs(5);
/// Longest line.
const LINE_MAX: usize = 8192;
/// What a daemon is asked.
const SHOW: &str = "show\n";
const WHERE: &str = "where\n";

/// The socket of this process. It is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Door {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Door {
    fn drop(&mut self) {
        // One that stays is cleared away by whoever asks next.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Door {
    /// Opens the door of a daemon of `catalog`. To be called inside of the runtime.
    pub(super) fn open(catalog: &Path) -> io::Result<Self> {
        let folder = folder().ok_or_else(|| io::Error::other("the system has no folder for what this user runs"))?;
        lock::make_private_folder(&folder, process::effective_ids().0)?;
        let path = folder.join(format!("{}.{}.sock", mark(catalog)?, std::process::id()));
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        Ok(Self { listener: UnixListener::bind(&path)?, path })
    }

    /// Answers whoever asks, one after the other; `show` is called before it is said that all is shown, and `dir` says where the mount
    /// is at that moment.
    pub(super) async fn answer<F: Future<Output = ()>>(self, dir: impl Fn() -> Option<PathBuf>, show: impl Fn() -> F) {
        loop {
            let asked = match self.listener.accept().await {
                Ok((asked, _)) => asked,
                Err(e) => {
                    tracing::warn!("nobody can ask this mount any more: {e}");
                    return;
                }
            };
            if let Err(e) = tokio::time::timeout(LIMIT, answer_one(asked, &dir, &show)).await.unwrap_or(Ok(())) {
                tracing::debug!("who asked was not answered: {e}");
            }
        }
    }
}

async fn answer_one<F: Future<Output = ()>>(
    mut asked: tokio::net::UnixStream,
    dir: &impl Fn() -> Option<PathBuf>,
    show: &impl Fn() -> F,
) -> io::Result<()> {
    let mut line = Vec::new();
    let mut piece = [0; 16];
    while !line.contains(&b'\n') && line.len() < piece.len() {
        match asked.read(&mut piece).await? {
            0 => return Ok(()),
            count => line.extend(&piece[..count]),
        }
    }
    match line.as_slice() {
        line if line == SHOW.as_bytes() => show().await,
        line if line == WHERE.as_bytes() => {}
        _ => return Ok(()),
    }
    let dir = dir().unwrap_or_default();
    let answer = [format!("{} ", std::process::id()).as_bytes(), dir.as_os_str().as_bytes(), b"\n"].concat();
    asked.write_all(&answer).await
}

/// A mount that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Up {
    /// The process of its daemon.
    pub pid: u32,
    /// Its mount point, where the daemon told it.
    pub dir: Option<PathBuf>,
}

/// Asks the mounts of `catalog` to show what was published, waits until they do, and returns those that did not answer in time.
///
/// # Errors
/// If the folder of sockets cannot be read.
pub fn show(catalog: &Path) -> io::Result<Vec<Up>> {
    let Some(folder) = folder() else { return Ok(Vec::new()) };
    let mark = mark(catalog)?;
    let of_it = doors(&folder)?.into_iter().filter(|door| door.mark == mark);
    Ok(ask(of_it.collect(), SHOW, |_| false).into_iter().filter(|up| up.dir.is_none()).collect())
}

/// The daemons that a mount may be of.
#[derive(Debug, Default)]
pub struct Daemons {
    /// That say so.
    pub of_it: Vec<Daemon>,
    /// That are daemons of its catalog and say nothing.
    pub silent: Vec<Daemon>,
}

/// A daemon that may end.
#[derive(Debug)]
pub struct Daemon {
    /// Its process.
    pub pid: u32,
    watched: process::Watched,
}

/// Returns the daemons of the mount of `catalog` at `dir`, to be waited for once it is unmounted.
///
/// # Errors
/// If the folder of sockets cannot be read.
pub fn up_at(catalog: &Path, dir: &Path) -> io::Result<Daemons> {
    let Some(folder) = folder() else { return Ok(Daemons::default()) };
    // A catalog that is gone has a mark that nobody knows any more.
    let mark = mark(catalog).ok();
    let (of_catalog, others): (Vec<_>, Vec<_>) =
        doors(&folder)?.into_iter().partition(|door| Some(&door.mark) == mark.as_ref());
    let is_of_catalog = !of_catalog.is_empty();
    // Those of other catalogs may hang for all that matters here.
    let asked = if is_of_catalog { of_catalog } else { others };
    let mut daemons = Daemons::default();
    for up in ask(asked, WHERE, |up| up.dir.as_deref() == Some(dir)) {
        // What has ended since is not waited for.
        let Ok(watched) = process::watch(up.pid) else { continue };
        let daemon = Daemon { pid: up.pid, watched };
        match up.dir {
            Some(at) if at == dir => daemons.of_it.push(daemon),
            Some(_) => {}
            None if is_of_catalog => daemons.silent.push(daemon),
            None => {}
        }
    }
    Ok(daemons)
}

/// Waits until each of `daemons` has ended, 5 s for all. Returns those that have not.
pub fn wait_for_end(daemons: &[Daemon]) -> Vec<u32> {
    let until = Instant::now() + LIMIT;
    let has_ended = |one: &Daemon| one.watched.wait(until.saturating_duration_since(Instant::now())).unwrap_or(false);
    daemons.iter().filter(|one| !has_ended(one)).map(|one| one.pid).collect()
}

struct Found {
    path: PathBuf,
    mark: String,
    pid: u32,
}

/// Asks all at once, and waits until all have answered or one has of whom `is_enough` holds: one that hangs holds nobody up but himself.
fn ask(doors: Vec<Found>, what: &'static str, is_enough: impl Fn(&Up) -> bool) -> Vec<Up> {
    let (sender, answers) = mpsc::channel();
    let mut asked = Vec::new();
    for door in doors {
        let sender = sender.clone();
        let Found { path, pid, .. } = door;
        asked.push(pid);
        let ask = move || {
            let answer = ask_one(&path, what);
            // Who asks may not wait any more.
            let _ = sender.send((pid, answer));
        };
        if let Err(e) = std::thread::Builder::new().spawn(ask) {
            tracing::debug!("process {pid} is not asked: {e}");
        }
    }
    drop(sender);
    let until = Instant::now() + LIMIT;
    let mut up = Vec::new();
    while let Ok((pid, answer)) = answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
        asked.retain(|one| *one != pid);
        match answer {
            Ok(Some(answer)) if is_enough(&answer) => {
                up.push(answer);
                return up;
            }
            Ok(answer) => up.extend(answer),
            Err(e) => {
                tracing::debug!("process {pid} does not answer: {e}");
                up.push(Up { pid, dir: None });
            }
        }
    }
    up.extend(asked.into_iter().map(|pid| Up { pid, dir: None }));
    up
}

/// Returns what a daemon answers; none: it is gone, and so is its door.
fn ask_one(path: &Path, what: &str) -> io::Result<Option<Up>> {
    let mut door = match UnixStream::connect(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)?;
            return Ok(None);
        }
        opened => opened?,
    };
    door.write_all(what.as_bytes())?;
    let mut answer = Vec::new();
    (&mut door).take(LINE_MAX as u64).read_to_end(&mut answer)?;
    let told = answer.strip_suffix(b"\n").and_then(|line| {
        let blank = line.iter().position(|byte| *byte == b' ')?;
        let pid = std::str::from_utf8(&line[..blank]).ok()?.parse().ok()?;
        Some(Up { pid, dir: Some(PathBuf::from(OsStr::from_bytes(&line[blank + 1..]))) })
    });
    match told {
        Some(up) => Ok(Some(up)),
        // It ended meanwhile.
        None if answer.is_empty() => Ok(None),
        None => Err(io::Error::other(format!("it says \"{}\"", escape_bytes(&answer)))),
    }
}

/// Returns the sockets that are there.
fn doors(folder: &Path) -> io::Result<Vec<Found>> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let parts = name.to_str().and_then(|name| name.strip_suffix(".sock")?.split_once('.'));
        if let Some((mark, pid)) = parts
            && let Ok(pid) = pid.parse()
        {
            found.push(Found { path: entry.path(), mark: mark.to_owned(), pid });
        }
    }
    Ok(found)
}

/// Returns the folder of sockets of this user, where the system has one.
fn folder() -> Option<PathBuf> {
    let run = match process::effective_ids() {
        (0, _) => PathBuf::from("/run"),
        _ => PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty())?),
    };
    run.is_dir().then(|| run.join("asof"))
}

/// Returns a short name of a catalog: sixteen digits of the digest of its path.
fn mark(catalog: &Path) -> io::Result<String> {
    let path = std::fs::canonicalize(catalog)?;
    Ok(blake3::hash(path.as_os_str().as_bytes()).to_hex()[..16].to_owned())
}

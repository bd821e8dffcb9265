//! A look at stores and at the roots of copies in them: what is there at this moment.
//!
//! Promises: two `statx` a copy, and a few calls more where it is on another file system than its store, which is not asked for
//! anything if another user mounted it; one thread a store. A store that does not answer in time holds up nobody, and its thread is left
//! alone. A store is known again by its mark and not by its path: where a disk is not mounted there is a directory, too. Reads nothing below
//! the roots, writes nothing.

use crate::catalog::SeenRoot;
use crate::model::{FilesystemId, Kind, Timestamp};
use crate::sys::walk::{FileAt, Mounted};
use crate::sys::{handle, mount, walk};
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// A store that is to be looked at.
#[derive(Clone, Debug)]
pub(super) struct Task {
    /// Its directory.
    pub(super) store: PathBuf,
    /// The paths of copies below it; empty: the store itself.
    pub(super) copies: Vec<PathBuf>,
}

/// The root of a copy, as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) kind: Option<Kind>,
    pub(super) seen: SeenRoot,
    pub(super) size_bytes: u64,
    pub(super) mtime: Timestamp,
}

/// What a look at a store gave.
#[derive(Debug)]
pub(super) enum Answer {
    /// It is not there, or does not answer; in words.
    None(String),
    /// What it is.
    Store {
        /// What it is known by.
        mark: Mark,
        /// Nothing is in it.
        is_empty: bool,
        /// The copies in the order of the task; none: there is nothing at its path.
        copies: Vec<io::Result<Option<Root>>>,
    },
}

/// What a directory is known by, whatever its path and its device are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    filesystem: u64,
    handle: Option<(i32, Vec<u8>)>,
    inode: u64,
    /// 0 where the file system has none.
    born_ns: i64,
    /// Which file system it is, whatever its device is called; none: not known, and not compared.
    id: Option<FilesystemId>,
}

impl Mark {
    /// Returns the form that the catalog keeps.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let handle = self.handle.as_ref().map_or_else(String::new, |(kind, bytes)| {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!(" handle={kind}:{hex}")
        });
        let id = self.id.map_or_else(String::new, |FilesystemId(id)| format!(" uuid={id:016x}"));
        format!("filesystem={:016x} inode={} born={}{handle}{id}", self.filesystem, self.inode, self.born_ns)
            .into_bytes()
    }

    /// Reads what [`Mark::to_bytes`] wrote.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let field = |key: &str| text.split(' ').find_map(|part| part.strip_prefix(key)?.strip_prefix('='));
        let handle = match field("handle") {
            Some(handle) => {
                let (kind, hex) = handle.split_once(':')?;
                let byte = |at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
                Some((kind.parse().ok()?, (0..hex.len()).step_by(2).map(byte).collect::<Option<_>>()?))
            }
            None => None,
        };
        let id = match field("uuid") {
            Some(id) => Some(FilesystemId(u64::from_str_radix(id, 16).ok()?)),
            None => None,
        };
        Some(Self {
            id,
            filesystem: u64::from_str_radix(field("filesystem")?, 16).ok()?,
            handle,
            inode: field("inode")?.parse().ok()?,
            born_ns: field("born")?.parse().ok()?,
        })
    }

    /// Tells whether it has a birth time: inode numbers and handles of such file systems are for life.
    pub(super) fn is_lasting(&self) -> bool {
        self.born_ns != 0
    }

    /// Tells whether it lacks what `other` of the same directory has: older programs did not write it down.
    pub(super) fn lacks_what(&self, other: &Self) -> bool {
        self.id.is_none() && other.id.is_some()
    }

    /// Tells whether both are of one directory.
    ///
    /// Inode number and birth time send it where there are birth times: the id of the file system is that of its device on XFS, and
    /// changes when disks are found in another order.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_elsewhere = self.id.zip(other.id).is_some_and(|(one, other)| one != other);
        if self.inode != other.inode || self.born_ns != other.born_ns || is_elsewhere {
            return false;
        }
        self.is_lasting() || (self.filesystem == other.filesystem && self.handle == other.handle)
    }
}

/// Looks at stores, all at once. `within` is how long each may be silent.
///
/// Shape: one answer a task, in their order.
pub(super) fn look(tasks: &[Task], within: Duration) -> Vec<Answer> {
    let began = Instant::now();
    let started: Vec<_> = tasks.iter().map(start).collect();
    started
        .into_iter()
        .zip(tasks)
        .map(|(started, task)| match started {
            Ok(sent) => answer(&sent, task, began, within),
            Err(e) => Answer::None(format!("no thread to look at it: {e}")),
        })
        .collect()
}

enum Sent {
    Store(io::Result<(Mark, bool)>),
    Copy(io::Result<Option<Root>>),
}

fn start(task: &Task) -> io::Result<Receiver<Sent>> {
    let (sender, sent) = channel();
    let task = task.clone();
    // Not joined: a thread that hangs in the kernel ends with the process.
    std::thread::Builder::new().name("look".to_owned()).spawn(move || look_at(&task, &sender))?;
    Ok(sent)
}

/// Puts together what the thread of a store says, for as long as it goes on saying something.
fn answer(sent: &Receiver<Sent>, task: &Task, began: Instant, within: Duration) -> Answer {
    let mut last = began;
    let mut next = || {
        let got = sent.recv_timeout(within.saturating_sub(last.elapsed()));
        last = Instant::now();
        got
    };
    let silent = |end| {
        Answer::None(match end {
            RecvTimeoutError::Timeout => format!("it does not answer within {} s", within.as_secs()),
            RecvTimeoutError::Disconnected => "looking at it ended early".to_owned(),
        })
    };
    let (mark, is_empty) = match next() {
        Ok(Sent::Store(Ok(store))) => store,
        Ok(Sent::Store(Err(e))) => return Answer::None(e.to_string()),
        Ok(Sent::Copy(_)) => unreachable!("a thread speaks of its store first"),
        Err(end) => return silent(end),
    };
    let mut copies = Vec::with_capacity(task.copies.len());
    while copies.len() < task.copies.len() {
        match next() {
            Ok(Sent::Copy(root)) => copies.push(root),
            Ok(Sent::Store(_)) => unreachable!("a thread speaks of its store once"),
            Err(end) => return silent(end),
        }
    }
    Answer::Store { mark, is_empty, copies }
}

fn look_at(task: &Task, sender: &Sender<Sent>) {
    let opened = open_store(&task.store);
    let opened = opened.and_then(|(dir, mark)| Ok((dir, mark, fs::read_dir(&task.store)?.next().is_none())));
    let dir = match opened {
        Ok((dir, mark, is_empty)) => {
            if sender.send(Sent::Store(Ok((mark, is_empty)))).is_err() {
                return;
            }
            dir
        }
        Err(e) => return drop(sender.send(Sent::Store(Err(e)))),
    };
    let (dir, mounted) = dir;
    for copy in &task.copies {
        // Nobody listens any more: it took too long.
        if sender.send(Sent::Copy(root_below(&dir, copy, mounted))).is_err() {
            return;
        }
    }
}

/// Opens a store for reading, which has an automount mount it.
fn open_store(path: &Path) -> io::Result<((File, Mounted), Mark)> {
    let dir = File::open(path)?;
    let stat = walk::stat_fd(dir.as_fd())?;
    if Kind::from_mode(stat.mode) != Some(Kind::Directory) {
        return Err(io::Error::other("it is not a directory"));
    }
    let id = handle::filesystem(dir.as_fd());
    let mark = Mark {
        id,
        filesystem: handle::filesystem_id(dir.as_fd())?,
        handle: handle::file_handle(dir.as_fd())?,
        inode: stat.inode,
        born_ns: stat.born.map_or(0, since_epoch_ns),
    };
    Ok(((dir, Mounted { device: stat.device, id }), mark))
}

/// Returns what is at `path` below `dir`, which is on `near`; none if nothing is.
fn root_below(dir: &File, path: &Path, near: Mounted) -> io::Result<Option<Root>> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let at = if name.is_empty() { FileAt::Open(dir.as_fd()) } else { FileAt::Named(dir.as_fd(), &name) };
    let trusted = walk::whereabouts(FileAt::Open(dir.as_fd()))?;
    match mount::expect_no_stranger(at, trusted).and_then(|()| walk::stat_of(at)) {
        Ok(stat) => Ok(Some(Root {
            kind: Kind::from_mode(stat.mode),
            seen: walk::seen_root(dir.as_fd(), &name, &stat, Some(near))?,
            size_bytes: stat.size_bytes,
            mtime: stat.mtime,
        })),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(e),
    }
}

/// How long a store may be silent when it is looked whether a copy is there.
const THERE_WITHIN: Duration = Duration::from_secs(5);

/// Tells whether anything is at the path of a copy, as far as that can be seen now; a store that is silent is waited for 5 s.
pub fn is_there(store: &Path, path: &Path) -> bool {
    let Ok(below) = path.strip_prefix(store) else { return false };
    let task = Task { store: store.to_owned(), copies: vec![below.to_owned()] };
    match look(&[task], THERE_WITHIN).as_slice() {
        [Answer::Store { copies, .. }] => matches!(copies.as_slice(), [Ok(Some(_))]),
        _ => false,
    }
}

/// Returns what is at the absolute `path` now, on the calling thread; none if nothing is.
///
/// # Errors
/// What the system says.
pub(super) fn root_at(path: &Path) -> io::Result<Option<Root>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return root_in(path, Path::new(""));
    };
    root_in(folder, Path::new(name))
}

fn root_in(folder: &Path, name: &Path) -> io::Result<Option<Root>> {
    let folder = File::open(folder)?;
    let device = walk::stat_fd(folder.as_fd())?.device;
    root_below(&folder, name, Mounted { device, id: handle::filesystem(folder.as_fd()) })
}

fn since_epoch_ns(stamp: Timestamp) -> i64 {
    stamp.ns_since(Timestamp::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(store: &Path, copies: &[&str]) -> Task {
        Task { store: store.to_owned(), copies: copies.iter().map(PathBuf::from).collect() }
    }

    #[test]
    fn what_is_there_and_what_is_not_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path();
        fs::create_dir(store.join("there")).unwrap();
        fs::write(store.join("file"), "12345").unwrap();
        let answers = look(
            &[task(store, &["there", "gone", "file", "file/below", ""]), task(&store.join("nowhere"), &["any"])],
            Duration::from_secs(10),
        );
        let Answer::Store { copies, is_empty: false, .. } = &answers[0] else { panic!("{answers:?}") };
        let kinds: Vec<_> = copies.iter().map(|root| root.as_ref().unwrap().map(|root| root.kind.unwrap())).collect();
        let (dir, file) = (Some(Kind::Directory), Some(Kind::File));
        assert_eq!(kinds, [dir, None, file, None, dir]);
        assert_eq!(copies[2].as_ref().unwrap().unwrap().size_bytes, 5);
        assert!(matches!(&answers[1], Answer::None(why) if why.contains("No such file")), "{answers:?}");
    }

    #[test]
    fn a_store_that_is_silent_holds_up_nobody_for_longer_than_it_may() {
        let folder = tempfile::tempdir().unwrap();
        // Opening a fifo for reading waits until somebody writes to it.
        let store = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&store).status().unwrap().success());
        let answers =
            look(&[task(&store, &[]), task(&store, &[]), task(folder.path(), &[""])], Duration::from_millis(50));
        for silent in &answers[..2] {
            assert!(matches!(silent, Answer::None(why) if why.contains("does not answer")), "{answers:?}");
        }
        assert!(matches!(answers[2], Answer::Store { is_empty: false, .. }), "{answers:?}");
    }

    #[test]
    fn a_mark_is_read_back_and_holds_for_its_directory_under_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        fs::create_dir(&one).unwrap();
        let mark = open_store(&one).unwrap().1;
        assert_eq!(Mark::from_bytes(&mark.to_bytes()), Some(mark.clone()));
        fs::rename(&one, &two).unwrap();
        fs::create_dir(&one).unwrap();
        assert!(open_store(&two).unwrap().1.is_same(&mark));
        assert!(!open_store(&one).unwrap().1.is_same(&mark));
    }

    #[test]
    fn a_file_system_made_in_the_same_second_is_another_store() {
        let on = |id: Option<u64>| Mark { filesystem: 1, handle: None, inode: 2, born_ns: 3, id: id.map(FilesystemId) };
        assert!(!on(Some(1)).is_same(&on(Some(2))));
        assert_eq!(Mark::from_bytes(&on(Some(1)).to_bytes()), Some(on(Some(1))));
        // What an older program wrote down.
        let older = Mark::from_bytes(b"filesystem=0000000000000001 inode=2 born=3").unwrap();
        assert!(older.is_same(&on(Some(1))) && older.lacks_what(&on(Some(1))));
        assert!(!on(Some(1)).lacks_what(&on(None)));
    }

    #[test]
    fn another_number_of_the_device_does_not_make_another_store_where_birth_times_are_told() {
        let mark = Mark { filesystem: 1, handle: Some((1, vec![7])), inode: 2, born_ns: 3, id: None };
        assert!(mark.is_same(&Mark { filesystem: 9, ..mark.clone() }));
        let unborn = Mark { born_ns: 0, ..mark };
        assert!(!unborn.is_same(&Mark { filesystem: 9, ..unborn.clone() }));
        assert!(!unborn.is_same(&Mark { handle: None, ..unborn.clone() }));
    }
}

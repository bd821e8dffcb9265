//! The way to a mount point: a path that is looked up name by name.
//!
//! Promises: each name is looked up in the directory that the names before it led to, which is held open, so that what is said of a link is
//! said of the link that is followed; links of other users than root and the one who runs this are not followed. The last name is for
//! the caller.

use crate::sys::process::effective_ids;
use crate::sys::read;
use crate::sys::walk::{self, FileAt};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// How many links the kernel follows in one path (path_resolution(7)).
const LINKS_MAX: usize = 40;
/// In `st_mode`.
const KIND: u32 = 0o170_000;
const LINK: u32 = 0o120_000;

/// Why a way is not gone.
#[derive(Debug)]
pub enum NoWay {
    /// There is a link of somebody else on it, who may make another of it at any moment.
    Link {
        /// The link.
        link: PathBuf,
        /// What it says.
        to: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// As the kernel says it.
    Io(io::Error),
}

impl From<io::Error> for NoWay {
    fn from(source: io::Error) -> Self {
        Self::Io(source)
    }
}

/// Returns the path without links of the directory at the absolute path `dir`.
///
/// # Errors
/// [`NoWay`].
pub fn plain_folder(dir: &Path) -> Result<PathBuf, NoWay> {
    plain_folder_as(dir, effective_ids().0)
}

fn plain_folder_as(dir: &Path, user: u32) -> Result<PathBuf, NoWay> {
    // What was gone through, `/` first, and the names that are still to come, the next one last.
    let mut held: Vec<OwnedFd> = vec![read::open_place(Path::new("/"))?];
    let mut names: Vec<OsString> = Vec::new();
    let mut todo = names_of(dir);
    let mut links = 0;
    while let Some(name) = todo.pop() {
        if name == ".." {
            held.truncate(names.len().max(1));
            names.pop();
            continue;
        }
        let at = held.last().expect("it begins at the top").as_fd();
        let failed = match read::open_place_beneath(at, name.as_bytes()) {
            Ok(folder) => {
                held.push(folder);
                names.push(name);
                continue;
            }
            Err(e) => e,
        };
        let found = walk::hold(at, &CString::new(name.as_bytes()).map_err(io::Error::other)?)?;
        let stat = walk::stat_without_waiting(FileAt::Held(found.as_fd()))?;
        if stat.mode & KIND != LINK {
            return Err(failed.into());
        }
        let to = PathBuf::from(OsString::from_vec(walk::read_link(FileAt::Held(found.as_fd()), stat.size_bytes)?));
        if ![0, user].contains(&stat.uid) {
            return Err(NoWay::Link { link: path_of(&names).join(name), to, owner: stat.uid });
        }
        links += 1;
        if links > LINKS_MAX {
            return Err(io::Error::from_raw_os_error(libc::ELOOP).into());
        }
        if to.is_absolute() {
            held.truncate(1);
            names.clear();
        }
        todo.extend(names_of(&to));
    }
    Ok(path_of(&names))
}

fn path_of(names: &[OsString]) -> PathBuf {
    Path::new("/").components().map(Component::as_os_str).chain(names.iter().map(OsString::as_os_str)).collect()
}

/// Returns the names in a path, the first one last.
fn names_of(path: &Path) -> Vec<OsString> {
    let name = |component| match component {
        Component::Normal(name) => Some(name),
        Component::ParentDir => Some(OsStr::new("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(name).map(OsStr::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::walk::fixture::{exchange, while_another_does};
    use std::os::unix::fs::{lchown, symlink};

    #[test]
    fn links_of_root_are_followed_as_the_kernel_does_and_those_of_others_are_not() {
        let world = tempfile::tempdir().unwrap();
        let top = world.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        std::fs::write(top.join("file"), b"").unwrap();
        for (name, to) in
            [("near", "a/b"), ("up", "a/../a/b/.."), ("loop", "loop"), ("theirs", "a"), ("none", "nowhere")]
        {
            symlink(to, top.join(name)).unwrap();
        }
        symlink(top.join("up"), top.join("a/far")).unwrap();
        lchown(top.join("theirs"), Some(1001), None).unwrap();
        let plain = |path: &str| plain_folder_as(&top.join(path), 1000);
        for path in ["a", "near", "up/b", "a/far/b", "near/..", "a/b/../../near", "."] {
            assert_eq!(plain(path).unwrap(), top.join(path).canonicalize().unwrap(), "{path}");
        }
        for path in ["theirs", "theirs/b", "a/../theirs/b"] {
            let NoWay::Link { link, to, owner } = plain(path).unwrap_err() else { panic!("{path}") };
            assert_eq!((link, to, owner), (top.join("theirs"), PathBuf::from("a"), 1001));
        }
        assert_eq!(plain_folder_as(&top.join("theirs/b"), 1001).unwrap(), top.join("a/b"));
        for (path, kind) in [("none/x", io::ErrorKind::NotFound), ("file/x", io::ErrorKind::NotADirectory)] {
            let NoWay::Io(e) = plain(path).unwrap_err() else { panic!("{path}") };
            assert_eq!(e.kind(), kind, "{path}");
        }
        assert!(matches!(plain("loop"), Err(NoWay::Io(e)) if read::is_link(&e)));
        assert_eq!(plain_folder(Path::new("/..")).unwrap(), Path::new("/"));
    }

    /// Who owns a directory on the way exchanges it with a link as fast as he can.
    #[test]
    fn a_directory_that_becomes_a_link_meanwhile_leads_nowhere_else() {
        let world = tempfile::tempdir().unwrap();
        let top = world.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("u/a/b")).unwrap();
        std::fs::create_dir_all(top.join("roots/b")).unwrap();
        let (dir, to) = (top.join("u/a"), top.join("u/l"));
        symlink(top.join("roots"), &to).unwrap();
        lchown(&to, Some(1001), None).unwrap();
        let (mut went, mut refused) = (0, 0);
        while_another_does(
            || exchange(&dir, &to),
            || {
                for _ in 0..5000 {
                    match plain_folder_as(&dir.join("b"), 1000) {
                        Ok(plain) => {
                            assert_eq!(plain, dir.join("b"));
                            went += 1;
                        }
                        Err(NoWay::Link { link, owner, .. }) => {
                            assert_eq!((link, owner), (dir.clone(), 1001));
                            refused += 1;
                        }
                        // It was a link, and is none a moment later.
                        Err(NoWay::Io(e)) => {
                            assert!(read::is_link(&e) || e.kind() == io::ErrorKind::NotADirectory, "{e}");
                        }
                    }
                }
            },
        );
        assert!(went > 0 && refused > 0, "{went} went, {refused} refused");
    }
}

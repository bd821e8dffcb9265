//! A second of a folder of images that one run has for itself, before its moment is made: files are named by their second, and runs of
//! several sources, also on several machines, may write to one folder.
//!
//! A claim is a file, `.asof-second-SECOND`, with the id of the moment in it. Making it is atomic, over NFS too
//! (`O_EXCL`, open(2)), and it stays until the images have their names.
//!
//! Promises: no two runs have one second of a folder at a time, nor one whose names somebody has. A claim that a killed run left is in
//! nobody's way but that of its own second, which is over; the next run of its source removes it, and any run when it is old.

use super::names;
use crate::model::Time;
use crate::sys::mount::expect_no_stranger_in_folder;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const PREFIX: &str = ".asof-second-";
/// Seconds after which a claim that nobody removed is one that a killed run left, also where the clocks of two machines differ by hours.
const OLD_S: i64 = 2 * 24 * 3600;
/// Bytes of an id at most.
const ID_BYTES_MAX: u64 = 256;

/// A second that is ours; it is given up when this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) at: Time,
    path: PathBuf,
}

impl Claim {
    /// Claims a second of `folder` for the moment `id`. Returns the file that is in the way, if there is one.
    ///
    /// # Errors
    /// Those of the system; then nothing is claimed.
    pub(super) fn of(folder: &Path, at: Time, id: &str) -> io::Result<Result<Self, PathBuf>> {
        let path = folder.join(format!("{PREFIX}{}", at.view_name()));
        let mut file = match File::options().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(Err(path)),
            Err(e) => return Err(e),
        };
        let claim = Self { at, path };
        file.write_all(id.as_bytes())?;
        // Whoever had it before gave its files their names first.
        Ok(match names::taken(folder, at) {
            Some(taken) => Err(taken),
            None => Ok(claim),
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes the claims that runs left which were killed: those of the moments `ids`, and old ones.
pub(super) fn remove_left(folder: &Path, ids: &[&str], now: Time) {
    let oldest = Time(now.0 - OLD_S).view_name();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        // View names are in the order of their dates.
        let Some(second) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        // A file of an id's length and no other: whoever may write to the folder gives names as he likes.
        let is_one = || {
            let stat = expect_no_stranger_in_folder(&entry.path()).and_then(|()| fs::symlink_metadata(entry.path()));
            stat.is_ok_and(|stat| stat.is_file() && stat.len() <= ID_BYTES_MAX)
        };
        let is_of_ours = || is_one() && fs::read_to_string(entry.path()).is_ok_and(|id| ids.contains(&id.as_str()));
        if second < oldest.as_str() || is_of_ours() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_a_folder_is_had_by_one_until_it_gives_it_up_or_its_files_have_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let claim = |at: i64, id: &str| Claim::of(dir.path(), Time(at), id).unwrap();
        let left = || fs::read_dir(dir.path()).unwrap().count();
        let ours = claim(1_000_000, "a").unwrap();
        let theirs = claim(1_000_000, "b").unwrap_err();
        assert_eq!(theirs, dir.path().join(".asof-second-1970-01-12T134640Z"));
        assert_eq!(claim(1_000_001, "b").unwrap().at, Time(1_000_001));
        assert_eq!(left(), 1);
        fs::write(dir.path().join("1970-01-12T134640Z.qcow2"), "").unwrap();
        drop(ours);
        assert_eq!(claim(1_000_000, "b").unwrap_err(), dir.path().join("1970-01-12T134640Z.qcow2"));
        assert_eq!(left(), 1);
    }

    #[test]
    fn what_killed_runs_left_is_removed_if_it_is_of_ours_or_old() {
        let dir = tempfile::tempdir().unwrap();
        for (at, id) in [(1_000_000, "a"), (1_000_001, "b"), (1_000_000 - OLD_S, "c"), (1_000_000 - OLD_S - 1, "d")] {
            std::mem::forget(Claim::of(dir.path(), Time(at), id).unwrap().unwrap());
        }
        // A fifo is not waited for, and a link not followed.
        let planted = |name: &str| dir.path().join(format!("{PREFIX}{name}"));
        let made = std::process::Command::new("mkfifo").arg(planted("2099-01-01T000000Z")).status();
        assert!(made.expect("coreutils are installed").success());
        std::os::unix::fs::symlink("/dev/zero", planted("2099-01-02T000000Z")).unwrap();
        remove_left(dir.path(), &["a"], Time(1_000_000));
        for name in ["2099-01-01T000000Z", "2099-01-02T000000Z"] {
            fs::remove_file(planted(name)).unwrap();
        }
        let mut ids: Vec<String> =
            fs::read_dir(dir.path()).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
        ids.sort();
        assert_eq!(ids, ["b", "c"]);
    }
}

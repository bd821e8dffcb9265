//! The file that a list goes into: there whole or not at all.
//!
//! Promises: a list is written beside its place, brought to the disk, and put into place by one step; what was there
//! until then stays until that step. A file of the admin's is not overwritten: only one that is called [`USUAL`] is, or
//! where that was asked for. What is not put into place is removed. Never knows what is in a list.

use crate::model::Hinted;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// The name of a list that nobody named otherwise; one of that name may be overwritten.
pub const USUAL: &str = "output.txt";

/// Why a list has no file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is a file of that name.
    #[error("the list {0:?} is there already")]
    Exists(PathBuf),
    /// There is something else.
    #[error("{0:?} is there and is not a regular file: no list can be put in its place")]
    NotAFile(PathBuf),
    /// The system refused something.
    #[error("{doing} the list {path:?}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The list, or what it is written into.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Exists(_) => Some("--force overwrites it; one called output.txt needs no --force".to_owned()),
            Self::NotAFile(_) => Some("--out-file - writes the list to standard output".to_owned()),
            Self::Io { .. } => None,
        }
    }
}

/// A list that is being written.
#[derive(Debug)]
pub struct ListFile {
    path: PathBuf,
    temporary: PathBuf,
    out: Option<BufWriter<File>>,
    may_replace: bool,
}

impl ListFile {
    /// Begins a list that is to be at `path`. `force`: it may take the place of any file.
    ///
    /// # Errors
    /// [`Error`].
    pub fn begin(path: &Path, force: bool) -> Result<Self, Error> {
        let may_replace = force || path.file_name().is_some_and(|name| name == USUAL);
        let io = |doing| move |source| Error::Io { doing, path: path.to_owned(), source };
        match fs::symlink_metadata(path) {
            Ok(there) if !there.is_file() => return Err(Error::NotAFile(path.to_owned())),
            Ok(_) if !may_replace => return Err(Error::Exists(path.to_owned())),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(io("looking at")(e)),
        }
        let mut temporary = OsString::from(path);
        temporary.push(format!(".tmp-{}", std::process::id()));
        let temporary = PathBuf::from(temporary);
        // A killed run of the same number may have left one.
        let file = File::create(&temporary).map_err(io("making"))?;
        Ok(Self { path: path.to_owned(), temporary, out: Some(BufWriter::new(file)), may_replace })
    }

    /// Brings the list to the disk and puts it into its place.
    ///
    /// # Errors
    /// [`Error`]; then what was there is there still.
    pub fn finish(mut self) -> Result<(), Error> {
        let io = |doing| {
            let path = self.path.clone();
            move |source| Error::Io { doing, path, source }
        };
        let Some(mut out) = self.out.take() else { return Ok(()) };
        out.flush().and_then(|()| out.get_ref().sync_all()).map_err(io("writing"))?;
        drop(out);
        if self.may_replace {
            fs::rename(&self.temporary, &self.path).map_err(io("putting into place"))?;
        } else {
            // A link never replaces. Some file systems have none; there a look has to do.
            match fs::hard_link(&self.temporary, &self.path) {
                Ok(()) => fs::remove_file(&self.temporary).map_err(io("putting into place"))?,
                Err(_) if fs::symlink_metadata(&self.path).is_ok() => return Err(Error::Exists(self.path.clone())),
                Err(_) => fs::rename(&self.temporary, &self.path).map_err(io("putting into place"))?,
            }
        }
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let synced = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
        synced.map_err(io("bringing to the disk"))
    }
}

impl Write for ListFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.as_mut().map_or(Ok(bytes.len()), |out| out.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for ListFile {
    fn drop(&mut self) {
        // In place already, or not wanted any more.
        let _ = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::chain;

    fn write(path: &Path, force: bool, text: &str) -> Result<(), Error> {
        let mut list = ListFile::begin(path, force)?;
        list.write_all(text.as_bytes()).unwrap();
        list.finish()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_usual_list_is_replaced_and_another_only_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let (usual, other) = (dir.path().join("output.txt"), dir.path().join("mine.txt"));
        for text in ["one", "two"] {
            write(&usual, false, text).unwrap();
            assert_eq!(fs::read_to_string(&usual).unwrap(), text);
        }
        write(&other, false, "first").unwrap();
        let refused = write(&other, false, "second").unwrap_err();
        assert_eq!(refused.to_string(), format!("the list {other:?} is there already"));
        assert_eq!(fs::read_to_string(&other).unwrap(), "first");
        write(&other, true, "third").unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "third");
        assert_eq!(names(dir.path()), ["mine.txt", "output.txt"]);
    }

    #[test]
    fn a_file_that_came_meanwhile_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.txt");
        let mut list = ListFile::begin(&path, false).unwrap();
        list.write_all(b"list").unwrap();
        fs::write(&path, "somebody's").unwrap();
        assert_eq!(list.finish().unwrap_err().to_string(), format!("the list {path:?} is there already"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's");
        assert_eq!(names(dir.path()), ["mine.txt"]);
    }

    #[test]
    fn a_list_that_is_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("output.txt");
        fs::write(&path, "before").unwrap();
        let mut list = ListFile::begin(&path, false).unwrap();
        list.write_all(b"half").unwrap();
        drop(list);
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        assert_eq!(names(dir.path()), ["output.txt"]);
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("output.txt");
        fs::create_dir(&path).unwrap();
        let refused = ListFile::begin(&path, true).unwrap_err();
        assert_eq!(
            chain(&refused),
            format!("{path:?} is there and is not a regular file: no list can be put in its place")
        );
        let nowhere = dir.path().join("no/list");
        let refused = ListFile::begin(&nowhere, false).unwrap_err();
        assert_eq!(chain(&refused), format!("making the list {nowhere:?}: No such file or directory (os error 2)"));
    }
}

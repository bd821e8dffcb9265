//! Copies that are written here: a plain tree of files for each generation, which any tool can read.
//!
//! A copy is written as `.taking` beside its final place and gets its name when it is whole and on the disk, so a copy
//! that has a name is whole. What a killed run leaves is taken over by the next one: a file is known again by its key,
//! size and times, from a journal beside the tree, unless the machine was started anew since (then nobody knows what
//! had reached the disk).
//!
//! Promises: holes, owners, rights, times, extended attributes and hard links are kept where the file system of the
//! store can keep them; what it cannot keep is counted and not lost, the catalog has it. A file has its mtime only
//! when all its bytes are written. Times of directories are not kept. Never writes outside of the copy.

mod journal;
mod place;
#[cfg(test)]
mod tests;

use super::Error;
use crate::model::{Attrs, FileKey, Kind, RelPath};
use crate::sys::{walk, write};
use journal::{Left, Stamp, read_journal, write_journal_line};
use place::{cannot_write, parent_of, remove_tree, split};
use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The copy that is being written.
const DRAFT: &str = ".taking";
/// What a killed run left, until this one has taken over what it can use.
const LEFT: &str = ".left";
/// Which files of the draft are whole.
const JOURNAL: &str = ".taking.files";

/// How the bytes of a file came, or did not.
#[derive(Debug)]
pub enum Written {
    /// All of them.
    Whole,
    /// The file that was read ended at this byte.
    Short(u64),
    /// The file that was read could not be read.
    Unreadable(std::io::Error),
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterCounts {
    /// Regular files, each counted once.
    pub files: u64,
    /// Their lengths in bytes.
    pub size_bytes: u64,
    /// Files that a killed run had taken already.
    pub taken_over: u64,
    /// Files and directories whose owner, rights or attributes the store could not keep.
    pub attributes_lost: u64,
}

/// A copy that is being written.
#[derive(Debug)]
pub struct CopyWriter {
    folder: PathBuf,
    name: String,
    root: OwnedFd,
    left: Left,
    journal: BufWriter<File>,
    /// The directory that was used last.
    last: Option<(RelPath, OwnedFd)>,
    /// Where files with several names are.
    firsts: HashMap<FileKey, RelPath>,
    counts: WriterCounts,
}

impl CopyWriter {
    /// Begins the copy that will be `folder/name`; `boot` names the start of the machine (`boot_id`), for telling whether
    /// what a killed run left can be trusted.
    ///
    /// # Errors
    /// [`Error::CannotWrite`].
    pub fn begin(folder: &Path, name: &str, boot: &str) -> Result<Self, Error> {
        let (draft, left, journal) = (folder.join(DRAFT), folder.join(LEFT), folder.join(JOURNAL));
        std::fs::create_dir_all(folder).map_err(cannot_write(folder))?;
        if folder.join(name).exists() {
            let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
            return Err(Error::CannotWrite { path: folder.join(name), source });
        }
        remove_tree(&left)?;
        let known = read_journal(&journal, boot);
        let mut taken = Left::default();
        if draft.exists() {
            if known.is_empty() {
                remove_tree(&draft)?;
            } else {
                std::fs::rename(&draft, &left).map_err(cannot_write(&draft))?;
                let root = walk::open_root(&left).map_err(cannot_write(&left))?;
                taken = Left { root: Some(root), files: known };
            }
        }
        // For its owner alone: rights inside are those of the source, whose users differ from those of this machine.
        std::fs::DirBuilder::new().mode(0o700).create(&draft).map_err(cannot_write(&draft))?;
        let root = walk::open_root(&draft).map_err(cannot_write(&draft))?;
        let mut file = BufWriter::new(File::create(&journal).map_err(cannot_write(&journal))?);
        writeln!(file, "{boot}").map_err(cannot_write(&journal))?;
        Ok(Self {
            folder: folder.to_owned(),
            name: name.to_owned(),
            root,
            left: taken,
            journal: file,
            last: None,
            firsts: HashMap::new(),
            counts: WriterCounts::default(),
        })
    }

    /// Returns the directory in which the copy is written.
    pub fn draft(&self) -> PathBuf {
        self.folder.join(DRAFT)
    }

    /// Takes the file `path` over from what a killed run left, if that had taken `key` as it is now.
    ///
    /// # Errors
    /// [`Error::CannotWrite`].
    pub fn take_over(&mut self, path: &RelPath, key: FileKey, attrs: &Attrs) -> Result<bool, Error> {
        let stamp = Stamp::of(attrs);
        let Some((found, old)) = self.left.files.get(&key).filter(|left| left.0 == stamp).cloned() else {
            return Ok(false);
        };
        let Some(left) = &self.left.root else { return Ok(false) };
        let Ok((from, from_name)) = parent_of(left, &old) else { return Ok(false) };
        debug_assert_eq!(found, stamp);
        match walk::stat_at(from.as_fd(), &from_name) {
            Ok(stat) if stat.size_bytes == stamp.size_bytes && stat.mtime == stamp.mtime => {}
            _ => return Ok(false),
        }
        let full = self.full(path);
        let name = self.enter(path)?;
        let dir = &self.last.as_ref().expect("a directory was entered").1;
        write::move_to(from.as_fd(), &from_name, dir.as_fd(), &name).map_err(cannot_write(&full))?;
        self.counts.taken_over += 1;
        self.note_file(path, key, attrs, &full)?;
        Ok(true)
    }

    /// Writes the file `path` with the bytes of `from` and the attributes `attrs`. Unless the answer is
    /// [`Written::Whole`] there is no such file afterwards.
    ///
    /// # Errors
    /// [`Error::CannotWrite`].
    pub fn file(&mut self, path: &RelPath, key: FileKey, attrs: &Attrs, from: &File) -> Result<Written, Error> {
        let full = self.full(path);
        let name = self.enter(path)?;
        let dir = &self.last.as_ref().expect("a directory was entered").1;
        // From an earlier try at the same file.
        if walk::stat_at(dir.as_fd(), &name).is_ok() {
            std::fs::remove_file(&full).map_err(cannot_write(&full))?;
        }
        let file = write::make_file(dir.as_fd(), &name).map_err(cannot_write(&full))?;
        let written = match write::copy_bytes(from, &file, attrs.size_bytes) {
            Ok(done) if done == attrs.size_bytes => Written::Whole,
            Ok(done) => Written::Short(done),
            Err(write::CopyError::Reading(e)) => Written::Unreadable(e),
            Err(write::CopyError::Writing(e)) => return Err(cannot_write(&full)(e)),
        };
        if !matches!(written, Written::Whole) {
            std::fs::remove_file(&full).map_err(cannot_write(&full))?;
            return Ok(written);
        }
        // The owner first: a new one takes set-id bits and capabilities away.
        let mut kept = write::set_owner(dir.as_fd(), &name, attrs.uid, attrs.gid).is_ok();
        for (attribute, value) in attrs.xattrs.iter() {
            let attribute = CString::new(attribute).expect("a name of an attribute holds no zero byte");
            kept &= write::set_xattr(file.as_fd(), &attribute, value).is_ok();
        }
        kept &= write::set_mode(dir.as_fd(), &name, attrs.mode).is_ok();
        write::set_mtime(dir.as_fd(), &name, attrs.mtime).map_err(cannot_write(&full))?;
        self.counts.attributes_lost += u64::from(!kept);
        self.note_file(path, key, attrs, &full)?;
        Ok(Written::Whole)
    }

    fn note_file(&mut self, path: &RelPath, key: FileKey, attrs: &Attrs, full: &Path) -> Result<(), Error> {
        write_journal_line(&mut self.journal, path, key, Stamp::of(attrs)).map_err(cannot_write(full))?;
        if attrs.nlink > 1 {
            self.firsts.insert(key, path.clone());
        }
        self.counts.files += 1;
        self.counts.size_bytes = self.counts.size_bytes.saturating_add(attrs.size_bytes);
        Ok(())
    }

    /// Gives the file that was written as `key` the further name `path`; nothing, if none was.
    ///
    /// # Errors
    /// [`Error::CannotWrite`].
    pub fn link(&mut self, path: &RelPath, key: FileKey) -> Result<(), Error> {
        let Some(first) = self.firsts.get(&key).cloned() else { return Ok(()) };
        let full = self.full(path);
        let name = self.enter(path)?;
        let (from, from_name) = parent_of(&self.root, &first).map_err(cannot_write(&full))?;
        let dir = &self.last.as_ref().expect("a directory was entered").1;
        if write::make_link(from.as_fd(), &from_name, dir.as_fd(), &name).is_err() {
            // A store that has no hard links, or not as many: the catalog knows all names.
            self.counts.attributes_lost += 1;
        }
        Ok(())
    }

    /// Makes what has no bytes.
    ///
    /// # Errors
    /// [`Error::CannotWrite`].
    pub fn other(&mut self, path: &RelPath, attrs: &Attrs) -> Result<(), Error> {
        let full = self.full(path);
        let name = self.enter(path)?;
        let dir = &self.last.as_ref().expect("a directory was entered").1;
        let is_there = |e: &std::io::Error| e.kind() == std::io::ErrorKind::AlreadyExists;
        let mut kept = true;
        match attrs.kind() {
            Kind::Directory => match write::make_directory(dir.as_fd(), &name) {
                Err(e) if !is_there(&e) => return Err(cannot_write(&full)(e)),
                _ => {}
            },
            Kind::Symlink => {
                let Ok(target) = CString::new(attrs.target.as_slice()) else { return Ok(()) };
                kept &= write::make_symlink(dir.as_fd(), &name, &target).is_ok();
            }
            _ => kept &= write::make_special(dir.as_fd(), &name, attrs.mode, attrs.rdev).is_ok(),
        }
        kept &= write::set_owner(dir.as_fd(), &name, attrs.uid, attrs.gid).is_ok();
        if attrs.kind() != Kind::Symlink {
            kept &= write::set_mode(dir.as_fd(), &name, attrs.mode).is_ok();
        }
        if attrs.kind() != Kind::Directory {
            kept &= write::set_mtime(dir.as_fd(), &name, attrs.mtime).is_ok();
        }
        self.counts.attributes_lost += u64::from(!kept);
        Ok(())
    }

    /// Makes the copy durable and gives it its name. Returns what was written.
    ///
    /// # Errors
    /// [`Error::CannotWrite`]; then what was written stays for the next run.
    pub fn finish(mut self) -> Result<WriterCounts, Error> {
        let (draft, path) = (self.draft(), self.folder.join(&self.name));
        let journal = self.folder.join(JOURNAL);
        self.journal.flush().map_err(cannot_write(&journal))?;
        write::sync_filesystem(self.root.as_fd()).map_err(cannot_write(&draft))?;
        // Never over a copy that is there: an empty one would be replaced by the call itself.
        std::fs::rename(&draft, &path).map_err(cannot_write(&path))?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(cannot_write(&self.folder))?;
        std::fs::remove_file(&journal).map_err(cannot_write(&journal))?;
        remove_tree(&self.folder.join(LEFT))?;
        Ok(self.counts)
    }

    /// Writes down which files are whole, so that the next run can take them over.
    ///
    /// # Errors
    /// [`Error::CannotWrite`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.journal.flush().map_err(cannot_write(&self.folder.join(JOURNAL)))
    }

    fn full(&self, path: &RelPath) -> PathBuf {
        self.folder.join(DRAFT).join(OsStr::from_bytes(path.as_bytes()))
    }

    /// Makes the directory of `path` the last one, with all above it, and returns the last name.
    fn enter(&mut self, path: &RelPath) -> Result<CString, Error> {
        let (dir, name) = split(path);
        let name = CString::new(name).expect("a path holds no zero byte");
        if self.last.as_ref().is_some_and(|last| last.0.as_bytes() == dir) {
            return Ok(name);
        }
        let opened = match walk::open_beneath(self.root.as_fd(), if dir.is_empty() { b"." } else { dir }) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => self.make_directories(dir),
            other => other,
        };
        let opened = opened.map_err(cannot_write(&self.full(path)))?;
        self.last = Some((RelPath::parse(dir).expect("a part of a path is one"), opened));
        Ok(name)
    }

    fn make_directories(&self, path: &[u8]) -> std::io::Result<OwnedFd> {
        let mut held: Option<OwnedFd> = None;
        for name in path.split(|b| *b == b'/') {
            let at = held.as_ref().map_or(self.root.as_fd(), AsFd::as_fd);
            let text = CString::new(name)?;
            match write::make_directory(at, &text) {
                Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
            held = Some(walk::open_beneath(at, name)?);
        }
        Ok(held.expect("a path has a name"))
    }
}

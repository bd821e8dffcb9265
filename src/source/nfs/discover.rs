//! What copies there are: the directories directly inside the folder, each with its instant, and what is left aside.
//!
//! Promises: links, files and names that begin with a dot are none; a directory without an instant, and a link that may
//! stand for a copy, are left aside with the reason. Never guesses a date, never follows a link.

use super::settings::{InstantFrom, Settings};
use crate::model::Time;
use crate::source::{Discovered, Error, Found, LeftAside, NoCopy, instant};
use crate::sys::mount;
use jiff::tz::TimeZone;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// What other programs and machines make at the top of every disk or share: Windows, and two kinds of storage boxes.
const HOUSEKEEPING: [&[u8]; 5] = [b"System Volume Information", b"$RECYCLE.BIN", b"@eaDir", b"#recycle", b"@Recycle"];

/// A share, ready to be searched and walked.
#[derive(Debug)]
pub struct Nfs {
    settings: Settings,
    zone: TimeZone,
}

impl Nfs {
    /// Returns the source with these settings; `zone` is the machine's, for settings that name none.
    ///
    /// # Errors
    /// [`Error::Zone`] or [`Error::Pattern`].
    pub fn new(settings: Settings, zone: &TimeZone) -> Result<Self, Error> {
        Ok(Self { zone: settings.zone_of_names(zone)?, settings })
    }

    /// Returns the settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// See [`crate::source::Source::generations`].
    pub(super) fn discover(&self) -> Result<Discovered, Error> {
        let copies = &self.settings.copies;
        let fail = |source| Error::Copies { path: copies.clone(), source };
        let mut discovered = Discovered::default();
        for entry in fs::read_dir(copies).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            match self.look_at(&entry) {
                Ok(Some(Ok(found))) => discovered.found.push(found),
                Ok(Some(Err(aside))) => discovered.left_aside.push(aside),
                Ok(None) => {}
                // Removed since it was listed: retention of the tool that makes the copies.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let why = NoCopy::Unreadable(error.to_string());
                    discovered.left_aside.push(LeftAside { path: entry.path(), why });
                }
            }
        }
        discovered.found.sort_by(|a, b| (a.taken_at, &a.path).cmp(&(b.taken_at, &b.path)));
        discovered.left_aside.sort();
        Ok(discovered)
    }

    /// Returns the instant of the directory `path`, or why there is none.
    ///
    /// # Errors
    /// What the system says of a directory that cannot be looked at.
    pub(super) fn instant(&self, path: &Path) -> io::Result<Result<Time, NoCopy>> {
        self.instant_with(path, || {
            mount::expect_no_stranger_in_folder(path)?;
            Ok(fs::symlink_metadata(path)?.mtime())
        })
    }

    /// Does the same for a directory whose time of last change, in seconds, is `mtime`.
    pub(super) fn instant_with(
        &self,
        path: &Path,
        mtime: impl Fn() -> io::Result<i64>,
    ) -> io::Result<Result<Time, NoCopy>> {
        let mut reasons = Vec::new();
        for from in &self.settings.instant_from {
            match from {
                InstantFrom::Name => match self.instant_of_name(path) {
                    Ok(Some(time)) => return Ok(Ok(time)),
                    Ok(None) => reasons.push("its name is not a date".to_owned()),
                    Err(why) => return Ok(Err(NoCopy::BadDate(why))),
                },
                InstantFrom::Mtime => match instant::of_mtime(mtime()?) {
                    Ok(time) => return Ok(Ok(time)),
                    Err(reason) => reasons.push(reason),
                },
            }
        }
        if reasons.is_empty() {
            reasons.push("the settings say nothing that dates it".to_owned());
        }
        Ok(Err(NoCopy::NoDate(reasons.join("; "))))
    }

    fn instant_of_name(&self, path: &Path) -> Result<Option<Time>, String> {
        let name = path.file_name().map_or(&b""[..], OsStrExt::as_bytes);
        instant::of_name(name, &self.settings.name_patterns, &self.zone)
    }

    /// Returns the copy that `entry` of the folder is, or why it is none; nothing for what nobody would take for one.
    fn look_at(&self, entry: &fs::DirEntry) -> io::Result<Option<Result<Found, LeftAside>>> {
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.as_bytes();
        if name.starts_with(b".") {
            return Ok(None);
        }
        let kind = entry.file_type()?;
        let told = if kind.is_symlink() {
            let target = fs::read_link(&path)?;
            let is_dated = !matches!(self.instant_of_name(&path), Ok(None));
            let is_alias = !is_dated && is_beside(&self.settings.copies, &target);
            Err(if is_alias { NoCopy::Alias { target } } else { NoCopy::Link { target } })
        } else if !kind.is_dir() {
            return Ok(None);
        } else if HOUSEKEEPING.contains(&name) || (name == b"lost+found" && is_of_root(&path)?) {
            Err(NoCopy::Housekeeping)
        } else {
            self.instant(&path)?
        };
        Ok(Some(match told {
            Ok(taken_at) => Ok(Found { taken_at, path }),
            Err(why) => Err(LeftAside { path, why }),
        }))
    }
}

fn is_of_root(path: &Path) -> io::Result<bool> {
    mount::expect_no_stranger_in_folder(path)?;
    Ok(fs::symlink_metadata(path)?.uid() == 0)
}

/// Tells whether a link in `folder`, which is canonical, leads to something directly in it, by what is written in the link: where
/// it leads is not asked for.
fn is_beside(folder: &Path, target: &Path) -> bool {
    let mut at = folder.to_owned();
    for component in target.components() {
        match component {
            Component::ParentDir => drop(at.pop()),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => at = PathBuf::from("/"),
            Component::Normal(name) => at.push(name),
        }
    }
    at.parent() == Some(folder)
}

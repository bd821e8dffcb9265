//! A share whose copies are directories: one full tree per generation.
//!
//! Fits plain `rsync -a` trees, `rsync --link-dest` farms, snapshots, and layouts of one directory per backup
//! id. Promises: copies are the directories directly inside one folder; links, files and names that begin
//! with a dot are none; the instant of a copy comes from its name or its time of last change, as the settings
//! say; a directory without one, and a link that may stand for a copy, are left aside with the reason. Never guesses a
//! date, never follows a link, never leaves the file system of a copy.

mod bytes;
mod directory;
mod scan;
#[cfg(test)]
mod tests;

use super::{Discovered, Error, Found, LeftAside, NoCopy, ScanStats, Source, instant};
use crate::model::{Key, Listing, RelPath, Rule, Time, Walked};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// What other programs and machines make at the top of every disk or share: Windows, and two kinds of storage boxes.
const HOUSEKEEPING: [&[u8]; 5] = [b"System Volume Information", b"$RECYCLE.BIN", b"@eaDir", b"#recycle", b"@Recycle"];

/// What the catalog keeps of a source of this kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The folder that holds the copies; absolute and canonical.
    pub copies: PathBuf,
    /// Where the instant of a copy comes from, in order of preference.
    #[serde(default = "default_instant_from")]
    pub instant_from: Vec<InstantFrom>,
    /// Patterns for names of copies, as `strptime(3)` writes them; empty: the built-in list.
    #[serde(default)]
    pub name_patterns: Vec<String>,
    /// IANA name of the zone of names that carry none; none: the machine's.
    #[serde(default)]
    pub zone: Option<String>,
    /// How a file is found again in the next copy.
    #[serde(default)]
    pub identity: IdentityRule,
    /// Whether bytes are compared where attributes say that nothing changed.
    #[serde(default)]
    pub checksum: bool,
    /// How long nothing in a copy must have changed, in seconds, for it to be whole; none: [`SETTLE_S`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle_s: Option<u64>,
}

/// How long nothing in a copy must have changed for it to be whole, in seconds, where the settings do not say.
pub const SETTLE_S: u64 = 15 * 60;

/// A place that tells the instant of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InstantFrom {
    /// The name of its directory.
    Name,
    /// The time of last change of its directory. `rsync -a` sets that to the one of the directory that
    /// was backed up, so it is asked for only where the settings say so.
    Mtime,
}

/// How a file of one copy is found again in the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentityRule {
    /// By its path: copies made by copying.
    #[default]
    Path,
    /// By inode number and birth time: snapshots of one file system.
    Inode,
}

fn default_instant_from() -> Vec<InstantFrom> {
    vec![InstantFrom::Name]
}

impl Settings {
    /// Returns the settings of a source with its copies in `copies` and all else as it is by default.
    pub fn new(copies: PathBuf) -> Self {
        Self {
            copies,
            instant_from: default_instant_from(),
            name_patterns: Vec::new(),
            zone: None,
            identity: IdentityRule::default(),
            checksum: false,
            settle_s: None,
        }
    }

    /// Returns when two versions of a file of this source are the same.
    pub fn rule(&self) -> Rule {
        let key = if self.checksum { Key::Digest } else { Key::Stamp };
        Rule { key, by_inode: self.identity == IdentityRule::Inode }
    }

    /// Returns the form that the catalog keeps.
    ///
    /// # Errors
    /// [`Error::Settings`] if the path of the copies is not UTF-8, which JSON cannot hold.
    pub fn to_json(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(Error::Settings)
    }

    /// Returns the settings that `text` holds.
    ///
    /// # Errors
    /// [`Error::Settings`] if it is not what [`Settings::to_json`] writes; an unknown field is one.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(Error::Settings)
    }

    /// Checks that the folder of copies is there and that patterns and zone mean something.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(&self) -> Result<(), Error> {
        if !self.copies.is_absolute() {
            return Err(Error::NotAbsolute(self.copies.clone()));
        }
        let metadata =
            fs::metadata(&self.copies).map_err(|source| Error::Copies { path: self.copies.clone(), source })?;
        if !metadata.is_dir() {
            return Err(Error::NotADirectory(self.copies.clone()));
        }
        Nfs::new(self.clone(), &TimeZone::UTC).map(drop)
    }

    /// Tells whether no directory of one folder could be a copy of both sources, by what its name has to look like.
    pub fn has_other_names_than(&self, other: &Self) -> bool {
        let by_name = [InstantFrom::Name];
        self.instant_from == by_name
            && other.instant_from == by_name
            && instant::are_apart(&self.name_patterns, &other.name_patterns)
    }
}

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
        let zone = match &settings.zone {
            Some(name) => TimeZone::get(name).map_err(|_| Error::Zone(name.clone()))?,
            None => zone.clone(),
        };
        for pattern in &settings.name_patterns {
            instant::check_pattern(pattern).map_err(|why| Error::Pattern { pattern: pattern.clone(), why })?;
        }
        Ok(Self { settings, zone })
    }

    /// Returns the settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the instant of the directory `path`, or why there is none.
    ///
    /// # Errors
    /// What the system says of a directory that cannot be looked at.
    fn instant(&self, path: &Path) -> io::Result<Result<Time, NoCopy>> {
        let mut reasons = Vec::new();
        for from in &self.settings.instant_from {
            match from {
                InstantFrom::Name => match self.instant_of_name(path) {
                    Ok(Some(time)) => return Ok(Ok(time)),
                    Ok(None) => reasons.push("its name matches no date pattern".to_owned()),
                    Err(why) => return Ok(Err(NoCopy::BadDate(why))),
                },
                InstantFrom::Mtime => match instant::of_mtime(fs::symlink_metadata(path)?.mtime()) {
                    Ok(time) => return Ok(Ok(time)),
                    Err(reason) => reasons.push(reason),
                },
            }
        }
        if reasons.is_empty() {
            reasons.push("the settings name no place that tells its date".to_owned());
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
        } else if HOUSEKEEPING.contains(&name) || (name == b"lost+found" && entry.metadata()?.uid() == 0) {
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

/// Tells every directory of the tree at `path` once, breadth first, as [`Source::scan`] does of a copy.
///
/// # Errors
/// [`Error::Copy`] if it cannot be opened as a directory.
pub fn scan_tree(path: &Path, each: &mut dyn FnMut(Listing) -> ControlFlow<()>) -> Result<ScanStats, Error> {
    scan::scan(path, &mut |walked| match walked {
        Walked::Listing(listing) => each(*listing),
        Walked::Waiting => ControlFlow::Continue(()),
    })
}

impl Source for Nfs {
    fn generations(&self) -> Result<Discovered, Error> {
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

    fn scan(&self, found: &Found, each: &mut dyn FnMut(Walked) -> ControlFlow<()>) -> Result<ScanStats, Error> {
        scan::scan(&found.path, each)
    }

    fn digest(&self, copy: &Path, path: &RelPath) -> io::Result<[u8; 32]> {
        bytes::digest(copy, path)
    }

    fn instant_of(&self, path: &Path) -> Result<Time, Error> {
        let told = self.instant(path).unwrap_or_else(|e| Err(NoCopy::Unreadable(e.to_string())));
        told.map_err(|why| Error::NoInstant { path: path.to_owned(), why: why.to_string() })
    }
}

//! The files of manifests: where they lie, how they get their names, and how they are found again.
//!
//! A manifest lies beside the copy where that is asof's own, as `COPY.SEQUENCE.manifest`, and else beside the catalog, as
//! `CATALOG-manifests/UUID/SEQUENCE.manifest`; that of a forgotten generation has a `.tombstone` of the same name beside it. What
//! programs of catalog format 4 wrote is called `COPY.manifest.zst`.
//!
//! Promises: what has the name of a manifest is whole and on the disk: it was written under another name, synced, and renamed.
//! Only its owner can read it, since it has every name. No manifest is ever overwritten or removed but by whoever wrote it in the
//! same run: one that is in the way is moved aside. Knows nothing of what a manifest says.

use super::Error;
use crate::model::manifest::{Edit, EditSink, End, Header, Writer};
use crate::sys::read::{Links, open_regular};
use crate::sys::{group, lock, mount, process};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

/// What the names of manifests end with.
const ENDING: &str = ".manifest";
/// Those of format 1.
const ENDING_1: &str = ".manifest.zst";
/// Those of tombstones.
pub(super) const TOMBSTONE: &str = ".tombstone";
/// Says of a folder of manifests that its source was removed.
const REMOVED: &str = "removed";
/// That of a file that is being written.
const DRAFT: &str = ".draft";
/// That of a tombstone whose generation is being forgotten.
pub(super) const PREPARED: &str = ".prepared";
/// That of the note which manifest is the newest one.
pub(super) const NEWEST: &str = ".newest";
/// In `st_mode`: everybody may write.
const WRITABLE_BY_ALL: u32 = 0o002;

/// Tells whether this is the name of a manifest, a tombstone, or the draft of one: of what lies beside copies and is none.
pub fn is_manifest_name(name: &[u8]) -> bool {
    let endings = [ENDING, ENDING_1, TOMBSTONE];
    endings.iter().any(|ending| name.ends_with(ending.as_bytes())) || name.windows(OLD.len()).any(|part| part == OLD)
}

/// In the name of a manifest that was in the way of another one.
const OLD: &[u8] = b".manifest.old-";

/// Where the manifests of a source lie.
#[derive(Clone, Copy, Debug)]
pub enum ManifestFolder<'a> {
    /// In this folder, beside the copy of this name.
    BesideCopy {
        /// That of the copies.
        folder: &'a Path,
        /// The copy.
        name: &'a OsStr,
    },
    /// In a folder beside this catalog.
    BesideCatalog(&'a Path),
}

impl ManifestFolder<'_> {
    /// Returns the path of the manifest with this header.
    pub fn path_of(&self, header: &Header) -> PathBuf {
        match self {
            Self::BesideCopy { folder, name } => {
                let mut file = (*name).to_owned();
                file.push(format!(".{}{ENDING}", header.sequence));
                folder.join(file)
            }
            Self::BesideCatalog(catalog) => {
                let uuid = header.source.uuid.expect("what is written has a UUID");
                beside_catalog(catalog).join(uuid_text(&uuid)).join(format!("{}{ENDING}", header.sequence))
            }
        }
    }
}

/// What the name of a folder of manifests beside a catalog ends with.
const BESIDE_CATALOG: &str = "-manifests";

/// Returns the folder beside a catalog in which manifests lie.
pub fn beside_catalog(catalog: &Path) -> PathBuf {
    let mut name = catalog.as_os_str().to_owned();
    name.push(BESIDE_CATALOG);
    name.into()
}

/// Refuses the folder beside a catalog, which may be lost, if somebody else made it: he could say there which commands are run.
///
/// # Errors
/// [`Error::Unreadable`] with the reason.
pub fn expect_beside_catalog(catalog: &Path) -> Result<(), Error> {
    let owner = fs::metadata(catalog).map_or_else(|_| process::effective_ids().0, |metadata| metadata.uid());
    let path = beside_catalog(catalog);
    lock::expect_folder_of(&path, owner).map_err(|source| Error::Unreadable { path, source })
}

/// Opens a manifest, or what lies beside one, for reading: a regular file, through no link, and not where a user mounted something.
///
/// # Errors
/// As `open(2)`; with the reason.
pub fn open_manifest(path: &Path) -> io::Result<File> {
    let absolute = std::path::absolute(path)?;
    mount::expect_no_stranger_in_folder(&absolute)?;
    open_regular(&absolute, Links::Refused)
}

/// Returns a UUID as it is written: 8-4-4-4-12 digits.
pub fn uuid_text(uuid: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in uuid.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// A manifest that is being written. Dropped, it is removed.
pub struct ManifestDraft {
    writer: Option<Writer<BufWriter<File>>>,
    draft: PathBuf,
    path: PathBuf,
}

impl ManifestDraft {
    /// Begins the manifest that will be `path`; makes its folder if there is none. Drafts there are of runs that were killed, since one
    /// run at a time writes those of a source, and go.
    ///
    /// # Errors
    /// [`Error::CannotWrite`].
    pub fn begin(path: &Path, header: &Header) -> Result<Self, Error> {
        let folder = path.parent().unwrap_or(Path::new("."));
        make_folder(folder).map_err(cannot_write(folder))?;
        remove_drafts(folder).map_err(cannot_write(folder))?;
        let draft = draft_of(path);
        let mut begun = Self { writer: None, draft, path: path.to_owned() };
        let begin = || Writer::new(BufWriter::new(create_anew(&begun.draft)?), header);
        begun.writer = Some(begin().map_err(cannot_write(path))?);
        Ok(begun)
    }

    /// Makes it whole, durable and known by its name; returns its path. One that has the name already is moved aside: it is of
    /// a run that was killed, or of a catalog that was put back from a backup.
    ///
    /// # Errors
    /// [`Error::CannotWrite`]; then nothing has the name that did not have it before.
    pub fn finish(mut self, end: &End) -> Result<PathBuf, Error> {
        let writer = self.writer.take().expect("it is finished once");
        let finish = || {
            let file = writer.finish(end)?.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
            move_aside(&self.path)?;
            name_durably(&self.draft, &self.path)
        };
        finish().map_err(cannot_write(&self.path))?;
        Ok(self.path.clone())
    }
}

impl EditSink for ManifestDraft {
    fn edit(&mut self, edit: &Edit<'_>) -> io::Result<()> {
        self.writer.as_mut().expect("nothing is written after the end").edit(edit)
    }
}

impl Drop for ManifestDraft {
    fn drop(&mut self) {
        // Finished, it has another name.
        let _ = fs::remove_file(&self.draft);
    }
}

/// What manifests and tombstones were found.
#[derive(Debug, Default)]
pub struct FoundManifests {
    /// Manifests, in the order of their paths.
    pub manifests: Vec<PathBuf>,
    /// Tombstones, in the order of their paths.
    pub tombstones: Vec<PathBuf>,
    /// Tombstones that were prepared and have no name: of runs that were killed right before or after they forgot a generation.
    pub prepared: Vec<PathBuf>,
    /// Notes of the manifests that were written last.
    pub newest: Vec<PathBuf>,
    /// What is called so and could have been written by somebody else, in the order of the paths.
    pub foreign: Vec<PathBuf>,
}

/// Finds the manifests in `folder` and in folders up to `depth` levels below it: a store has a folder for each source, a second place
/// too, and deeper there are copies. In these users have files, called as they like: only what belongs to root, to whoever runs this or to the
/// owner of `folder`, and what not everybody can write to, is a manifest, and only such folders are gone into.
///
/// # Errors
/// [`Error::Unreadable`] with the folder that cannot be listed.
pub fn find_manifests(folder: &Path, depth: usize) -> Result<FoundManifests, Error> {
    let mut found = FoundManifests::default();
    let top = fs::metadata(folder).map_err(|source| Error::Unreadable { path: folder.to_owned(), source })?;
    let trusted = Trusted::with(&top);
    let mut folders = vec![(folder.to_owned(), depth)];
    while let Some((folder, depth)) = folders.pop() {
        let unreadable = |source| Error::Unreadable { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let (kind, path) = (entry.file_type().map_err(unreadable)?, entry.path());
            let name = entry.file_name();
            let has = |endings: &[&str]| endings.iter().any(|ending| name.as_bytes().ends_with(ending.as_bytes()));
            let is_hidden = name.as_bytes().starts_with(b".");
            let is_prepared = is_hidden && name.as_bytes().ends_with([TOMBSTONE, PREPARED].concat().as_bytes());
            let is_newest = is_hidden && has(&[NEWEST]);
            let is_one = !is_hidden && (kind.is_dir() || has(&[ENDING, ENDING_1, TOMBSTONE]));
            if !is_one && !is_prepared && !is_newest {
                continue;
            }
            // What a user mounted there is his, and may never answer.
            if mount::expect_no_stranger_in_folder(&path).is_err() {
                continue;
            }
            let stat = match entry.metadata() {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                stat => stat.map_err(unreadable)?,
            };
            // What was copied to the folder of a source keeps its owner, so that it never passes for a manifest that root wrote.
            let is_ours = trusted.made(&stat)
                || (kind.is_file() && stat.mode() & WRITABLE_BY_ALL == 0 && is_closed_folder_of_source(&folder));
            match (kind.is_dir(), kind.is_file()) {
                (true, _) if depth > 0 && is_ours => folders.push((path, depth - 1)),
                // Who cannot say that something is missing or undecided says nothing.
                (_, true) if is_hidden && !is_ours => {}
                (_, true) if is_prepared => found.prepared.push(path),
                (_, true) if is_newest => found.newest.push(path),
                (_, true) if !is_ours => found.foreign.push(path),
                (_, true) if has(&[TOMBSTONE]) => found.tombstones.push(path),
                (_, true) => found.manifests.push(path),
                _ => {}
            }
        }
    }
    found.manifests.sort();
    found.tombstones.sort();
    found.prepared.sort();
    found.foreign.sort();
    Ok(found)
}

/// Tells whether `folder` is one of a source that asof made, into which nobody else can put anything.
fn is_closed_folder_of_source(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or(OsStr::new("")).as_bytes();
    let is_uuid = name.len() == 36 && name.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
    let is_closed =
        |stat: fs::Metadata| [0, process::effective_ids().0].contains(&stat.uid()) && stat.mode() & 0o022 == 0;
    is_uuid && fs::symlink_metadata(folder).is_ok_and(is_closed)
}

/// Returns the manifests in `folder` that have the name of the one with this sequence: of any source whose copies lie there; none if
/// there is no such folder.
///
/// # Errors
/// [`Error::Unreadable`].
pub fn manifests_with(folder: &Path, sequence: u64) -> Result<Vec<PathBuf>, Error> {
    let found = numbered(folder, |found| found == sequence)?;
    Ok(found.into_iter().map(|(_, path)| path).filter(|path| !is_tombstone(path)).collect())
}

/// Returns the tombstones in `folder` whose names have such a sequence; otherwise as [`manifests_with`].
///
/// # Errors
/// [`Error::Unreadable`].
pub fn tombstones_in(folder: &Path, is_wanted: impl Fn(u64) -> bool) -> Result<Vec<PathBuf>, Error> {
    let found = numbered(folder, is_wanted)?;
    Ok(found.into_iter().map(|(_, path)| path).filter(|path| is_tombstone(path)).collect())
}

/// Returns the manifests and tombstones in `folder` whose names have such a sequence, `SEQUENCE.…` or `COPY.SEQUENCE.…`, in the order of
/// their paths; none if there is no such folder.
///
/// # Errors
/// [`Error::Unreadable`].
pub fn numbered(folder: &Path, is_wanted: impl Fn(u64) -> bool) -> Result<Vec<(u64, PathBuf)>, Error> {
    let unreadable = |source| Error::Unreadable { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(unreadable(e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        let (name, kind) = (entry.file_name(), entry.file_type().map_err(unreadable)?);
        let name = name.as_bytes();
        let stem = [ENDING, TOMBSTONE].iter().find_map(|ending| name.strip_suffix(ending.as_bytes()));
        let stem = stem.filter(|_| !name.starts_with(b"."));
        let number = stem.and_then(|stem| stem.rsplit(|byte| *byte == b'.').next());
        let number = number.and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
        if let Some(number) = number.filter(|number| is_wanted(*number) && kind.is_file()) {
            found.push((number, entry.path()));
        }
    }
    found.sort_by(|(_, a), (_, b)| a.cmp(b));
    Ok(found)
}

/// Whose files in a folder say something of generations: those of root, of whoever runs this and of the owner of the folder.
pub struct Trusted([u32; 3]);

impl Trusted {
    /// Returns them for a folder; without its owner where that cannot be told.
    pub fn of(folder: &Path) -> Self {
        fs::metadata(folder).map_or_else(|_| Self([0, 0, process::effective_ids().0]), |top| Self::with(&top))
    }

    fn with(top: &fs::Metadata) -> Self {
        Self([0, process::effective_ids().0, top.uid()])
    }

    /// Tells whether one of them made the file `path`, and not everybody can write to it.
    pub fn made_file(&self, path: &Path) -> bool {
        let stat = mount::expect_no_stranger_in_folder(path).and_then(|()| fs::symlink_metadata(path));
        stat.is_ok_and(|stat| self.made(&stat))
    }

    fn made(&self, stat: &fs::Metadata) -> bool {
        self.0.contains(&stat.uid()) && stat.mode() & WRITABLE_BY_ALL == 0
    }
}

/// Tells whether this is the name of a tombstone.
pub fn is_tombstone(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(TOMBSTONE.as_bytes())
}

/// Notes in the folder of manifests of a source that it was removed, `text` saying which it was.
///
/// # Errors
/// [`Error::CannotWrite`].
pub fn mark_removed(folder: &Path, text: &str) -> Result<(), Error> {
    let marker = folder.join(REMOVED);
    make_folder(folder).map_err(cannot_write(folder))?;
    write_durably(&marker, &mut text.as_bytes()).map_err(cannot_write(&marker))
}

/// Returns the file that says that the source of this folder of manifests was removed, if there is one.
pub fn removed_marker(folder: &Path) -> Option<PathBuf> {
    Some(folder.join(REMOVED)).filter(|marker| marker.is_file())
}

/// Tells whether a tombstone lies beside a manifest.
pub fn has_tombstone(path: &Path) -> bool {
    let tombstone = tombstone_of(path);
    mount::expect_no_stranger_in_folder(&tombstone).is_ok() && tombstone.exists()
}

/// Returns the name of the tombstone of a manifest.
pub(super) fn tombstone_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or(OsStr::new("")).as_bytes();
    let stem = [ENDING_1, ENDING].iter().find_map(|ending| name.strip_suffix(ending.as_bytes())).unwrap_or(name);
    path.with_file_name(OsStr::from_bytes(&[stem, TOMBSTONE.as_bytes()].concat()))
}

/// A second place of manifests, as far as one source goes.
#[derive(Clone, Copy, Debug)]
pub struct SecondPlace<'a> {
    /// The place. If it is not there, it is one whose file system is not mounted.
    pub top: &'a Path,
    /// The UUID of the source.
    pub source: &'a [u8; 16],
}

impl SecondPlace<'_> {
    /// Returns the folder of the source.
    pub fn folder(&self) -> PathBuf {
        self.top.join(uuid_text(self.source))
    }

    fn check(&self) -> Result<(), Error> {
        fs::metadata(self.top).map(drop).map_err(cannot_write(self.top))
    }
}

/// Copies a manifest or tombstone to a second place. Another file of its name there is one that a catalog wrote which knows nothing of this
/// one, as when one was put back from a backup: it is moved aside. `goes_on` is called for each part.
///
/// # Errors
/// [`Error::CannotWrite`] with what could not be copied.
pub fn copy_to_second(path: &Path, second: &SecondPlace<'_>, goes_on: &dyn Fn()) -> Result<(), Error> {
    second.check()?;
    let target = second.folder().join(path.file_name().unwrap_or(OsStr::new("")));
    let bytes = |path: &Path| {
        let mut bytes = Vec::new();
        open_manifest(path)?.read_to_end(&mut bytes).map(|_| bytes)
    };
    if target.exists() && bytes(&target).map_err(cannot_write(&target))? != bytes(path).map_err(cannot_write(path))? {
        move_aside(&target).map_err(cannot_write(&target))?;
    }
    copy_into(path, &second.folder(), goes_on).map(drop)
}

/// Copies the manifests and tombstones in `folder` that a second place lacks: so one that was not there for a while has all of them after the
/// next run. One that has another length there is another one, as in [`copy_to_second`].
///
/// # Errors
/// [`Error::CannotWrite`] with what could not be copied.
pub fn copy_all_to_second(folder: &Path, second: &SecondPlace<'_>, goes_on: &dyn Fn()) -> Result<(), Error> {
    second.check()?;
    let to = second.folder();
    for entry in fs::read_dir(folder).map_err(cannot_write(folder))? {
        let entry = entry.map_err(cannot_write(folder))?;
        let name = entry.file_name();
        let is_one = is_manifest_name(name.as_bytes()) && !name.as_bytes().starts_with(b".");
        if !is_one || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        // What a user mounted over one is not asked.
        if mount::expect_no_stranger_in_folder(&entry.path()).is_err() {
            continue;
        }
        let length = entry.metadata().map_err(cannot_write(folder))?.len();
        match fs::metadata(to.join(&name)) {
            Ok(there) if there.len() == length => {}
            _ => copy_to_second(&entry.path(), second, goes_on)?,
        }
        goes_on();
    }
    Ok(())
}

/// Copies a manifest or tombstone into `folder` under its own name, unless there is one; tells whether it did.
///
/// # Errors
/// [`Error::CannotWrite`].
pub fn copy_manifest(path: &Path, folder: &Path) -> Result<bool, Error> {
    copy_into(path, folder, &|| {})
}

fn copy_into(path: &Path, folder: &Path, goes_on: &dyn Fn()) -> Result<bool, Error> {
    let target = folder.join(path.file_name().unwrap_or(OsStr::new("")));
    if target.exists() {
        return Ok(false);
    }
    make_folder(folder).map_err(cannot_write(folder))?;
    open_manifest(path).and_then(|file| copy_durably(&target, file, goes_on)).map_err(cannot_write(&target))?;
    Ok(true)
}

/// Copies a file, with its owner where that is another user than root and us: it says no more than he may.
fn copy_durably(to: &Path, file: File, goes_on: &dyn Fn()) -> io::Result<()> {
    let (owner, us) = (file.metadata()?.uid(), process::effective_ids().0);
    write_durably_for(to, &mut Told { file, goes_on }, Some(owner).filter(|owner| ![0, us].contains(owner)))
}

/// A file that is read, and what is called for each part of it.
struct Told<'g> {
    file: File,
    goes_on: &'g dyn Fn(),
}

impl Read for Told<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        (self.goes_on)();
        self.file.read(into)
    }
}

/// Removes a manifest or tombstone that this run wrote, or a killed one; a manifest that cannot be removed is told from others when
/// a catalog is made again.
pub fn remove_manifest(path: &Path) {
    let _ = fs::remove_file(path);
}

/// Writes a file that is whole and on the disk when it has its name.
pub(super) fn write_durably(to: &Path, bytes: &mut dyn Read) -> io::Result<()> {
    write_durably_for(to, bytes, None)
}

fn write_durably_for(to: &Path, bytes: &mut dyn Read, owner: Option<u32>) -> io::Result<()> {
    let draft = draft_of(to);
    let mut out = create_anew(&draft)?;
    let give = |out: &File| match owner {
        // Where files have no owners of their own, or the server gives them others, nothing passes for root's either.
        Some(owner) => match fchown(out, Some(owner), None) {
            Err(e) if [0, process::effective_ids().0].contains(&out.metadata()?.uid()) => Err(e),
            _ => Ok(()),
        },
        None => Ok(()),
    };
    let copied = io::copy(bytes, &mut out).and_then(|_| give(&out)).and_then(|()| out.sync_all());
    match copied.and_then(|()| name_durably(&draft, to)) {
        Ok(()) => Ok(()),
        Err(e) => {
            let _ = fs::remove_file(&draft);
            Err(e)
        }
    }
}

/// Makes a folder that only its owner can enter, and the group that may read manifests beside a catalog, if there is none.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    let mut names = folder.ancestors().take(2);
    let beside = names.find(|name| name.as_os_str().as_bytes().ends_with(BESIDE_CATALOG.as_bytes()));
    let expect_ours = || beside.map_or(Ok(()), expect_of_catalog);
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return expect_ours();
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    expect_ours()?;
    match folder.parent().and_then(readers_in) {
        Some(gid) => group::let_in(folder, gid),
        None => Ok(()),
    }
}

/// Refuses a folder of manifests beside a catalog that was made by somebody else since the catalog was opened.
fn expect_of_catalog(folder: &Path) -> io::Result<()> {
    let catalog = folder.as_os_str().as_bytes().strip_suffix(BESIDE_CATALOG.as_bytes()).map(OsStr::from_bytes);
    match catalog.and_then(|catalog| fs::metadata(catalog).ok()) {
        Some(catalog) => lock::expect_folder_of(folder, catalog.uid())
            .map_err(|e| io::Error::other(format!("cannot use {folder:?}: {e}"))),
        None => Ok(()),
    }
}

/// Makes the folder of manifests beside `catalog` for the group `gid` to read.
///
/// # Errors
/// [`Error::CannotWrite`].
pub fn let_group_read_manifests(catalog: &Path, gid: u32) -> Result<(), Error> {
    let folder = beside_catalog(catalog);
    make_folder(&folder).and_then(|()| group::let_in(&folder, gid)).map_err(cannot_write(&folder))
}

/// Returns the group that may read what is in `folder`: that of a folder of manifests beside a catalog which is open to its group.
/// What lies beside copies is for the owner alone, whoever may pass through there.
fn readers_in(folder: &Path) -> Option<u32> {
    let mut names = folder.ancestors().take(2).filter_map(Path::file_name);
    let is_beside_catalog = names.any(|name| name.as_bytes().ends_with(BESIDE_CATALOG.as_bytes()));
    let metadata = fs::metadata(folder).ok().filter(|metadata| is_beside_catalog && metadata.mode() & 0o777 == 0o750);
    metadata.map(|metadata| metadata.gid())
}

/// Makes a new file that only its owner can read, and whom [`readers_in`] tells; what a killed run left under the name goes.
pub(super) fn create_anew(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    group::let_read(&file, path.parent().and_then(readers_in))?;
    Ok(file)
}

/// Returns the name under which a file is written. Hidden, so that nobody takes it for an image or a copy.
pub(super) fn draft_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or(OsStr::new("")));
    name.push(DRAFT);
    path.with_file_name(name)
}

/// Removes the drafts of manifests and tombstones in a folder.
fn remove_drafts(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })? {
        let entry = entry?;
        let name = entry.file_name();
        let ends = |ending: &str| name.as_bytes().ends_with(format!("{ending}{DRAFT}").as_bytes());
        if name.as_bytes().starts_with(b".") && (ends(ENDING) || ends(TOMBSTONE) || ends(PREPARED)) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Gives the file that has the name another one, if there is one.
fn move_aside(path: &Path) -> io::Result<()> {
    if !path.try_exists()? {
        return Ok(());
    }
    let name = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".old-{number}"));
        PathBuf::from(name)
    };
    let free = (1..).map(name).find(|free| !free.exists()).expect("numbers do not end");
    fs::rename(path, free)
}

pub(super) fn name_durably(draft: &Path, path: &Path) -> io::Result<()> {
    fs::rename(draft, path)?;
    File::open(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))?.sync_all()
}

pub(super) fn cannot_write(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::CannotWrite { path, source }
}

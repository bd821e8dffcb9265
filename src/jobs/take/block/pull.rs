//! The bytes of a disk, from an export to a file of our own: all of it, or what a bitmap says changed.
//!
//! What comes is a raw file `INSTANT.raw` with the bytes in their places and a map `INSTANT.json` that says which they are
//! (see [`PullMap`]). Both are written under names that end in `.part`; the map gets its name first, the raw file last,
//! and only when all of both is on the disk.
//!
//! Promises: a file that has its name is whole; of a pull that failed nothing is left. Bytes are asked for only where the
//! disk is dirty and not zero, and some where it is not, to see whether the bitmap lies. The server is only read from and remembers
//! nothing. What somebody may write to meanwhile is of no moment, and is not read.

use super::disprove::disprove;
use super::durable::{publish, write_new_durably};
use super::folder::Folder;
use super::names::{is_of, names, part_of};
use super::stop::Stop;
use crate::model::{Hinted, Layer, Time};
use crate::monitor::Monitor;
use crate::source::block::image::{Moment, PullMap, digest};
use crate::source::block::nbd::{self, BASE_ALLOCATION, Chunk, Client, STATE_DIRTY, STATE_ZERO};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Blocks of this size that are zeros are not written.
const HOLE_BYTES: usize = 4096;
/// The largest disk that files can hold: places in them are signed.
const DISK_BYTES_MAX: u64 = 1 << 60;
/// The word of how much the data was at rest for what is of no moment.
const OF_NO_MOMENT: &str = "none";
/// The status of the disk is asked for in runs of this size, so that a run that is told to end does.
const STATUS_BYTES: u64 = 64 << 30;

/// Why the bytes of a disk cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server, or what it gives.
    #[error("cannot pull from {uri:?}")]
    Nbd {
        /// The address of the export.
        uri: String,
        /// Why.
        #[source]
        source: nbd::Error,
    },
    /// What came cannot be kept.
    #[error("cannot write {path:?}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is such a file.
    #[error("{path:?} is there already, and of no generation of this source")]
    Taken {
        /// The file.
        path: PathBuf,
    },
    /// What is mounted there is another file system, or none.
    #[error("{folder:?} is another folder than when this run began")]
    Elsewhere {
        /// The folder of images.
        folder: PathBuf,
    },
    /// The bitmap is one of another disk, or the disk was made smaller.
    #[error(
        "{uri:?} gives a disk of {found} bytes, and the generation of {at} that the bitmap {bitmap:?} counts from is of \
         {expected} bytes"
    )]
    Smaller {
        /// The address of the export.
        uri: String,
        /// Its size.
        found: u64,
        /// That of the generation.
        expected: u64,
        /// The generation.
        at: Time,
        /// The bitmap.
        bitmap: String,
    },
    /// What is not dirty has changed.
    #[error("bitmap {bitmap:?} does not have all that changed since {at}: {found}")]
    Disproved {
        /// The bitmap.
        bitmap: String,
        /// What it should count from.
        at: Time,
        /// What shows it.
        found: String,
    },
    /// Whoever likes can write to it.
    #[error("{uri:?} can be written to while it is read")]
    Writable {
        /// The address of the export.
        uri: String,
    },
    /// It is no disk.
    #[error("{uri:?} gives a disk of {found} bytes")]
    NoDisk {
        /// The address of the export.
        uri: String,
        /// Its size.
        found: u64,
    },
    /// Bytes are missing.
    #[error("{uri:?} gave {found} bytes, expected {expected}")]
    Short {
        /// The address of the export.
        uri: String,
        /// What came.
        found: u64,
        /// What was asked for.
        expected: u64,
    },
    /// The run was told to end.
    #[error("the run was ended by a signal before all was read")]
    Stopped,
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Nbd { source: nbd::Error::NoContext { .. }, .. } => {
                "export the disk with that bitmap, or take --full reads everything; nothing was taken"
            }
            Self::Nbd { source: nbd::Error::NoExport { .. }, .. } => {
                "the address ends with the name of the export; nothing was taken"
            }
            Self::Nbd { source: nbd::Error::Connect { .. }, .. } => {
                "is the export there? --snapshot COMMAND can make it before; nothing was taken"
            }
            Self::Write { .. } => "make room and run it again; nothing was taken and nothing is left",
            Self::Taken { .. } => "let each source have a folder of its own; asof index takes images that are there",
            Self::Writable { .. } => {
                "export it read-only, or a snapshot of it (--snapshot COMMAND); --consistency none takes it as it is, of no moment"
            }
            Self::Elsewhere { .. } => {
                "is its file system mounted? nothing was taken, and nothing is written where it is not"
            }
            Self::Smaller { .. } | Self::Disproved { .. } => "asof take --full reads everything; nothing was taken",
            Self::NoDisk { .. } => "nothing was taken",
            Self::Nbd { .. } | Self::Short { .. } | Self::Stopped => "nothing was taken; run it again",
        };
        Some(text.to_owned())
    }
}

impl Error {
    /// Returns why a file did not get its name: somebody has it, or the system says so.
    pub(super) fn not_published(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::AlreadyExists => Self::Taken { path },
            _ => Self::Write { path, source },
        }
    }

    /// Tells whether the disk can be read whole, though what changed since a generation is not to be known.
    pub(super) fn is_of_lineage(&self, since: &Since) -> bool {
        match self {
            Self::Smaller { .. } | Self::Disproved { .. } => true,
            // One that the admin names has to be there.
            Self::Nbd { source: nbd::Error::NoContext { .. } | nbd::Error::Refused { .. }, .. } => {
                since.counted_by != CountedBy::Said
            }
            _ => false,
        }
    }
}

/// How it is known what a bitmap counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CountedBy {
    /// It has the name that was given out for the moment, and for no other.
    Own,
    /// libvirt keeps it and has checked it.
    Libvirt,
    /// The admin says so.
    Said,
}

impl CountedBy {
    /// Returns the word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Libvirt => "libvirt",
            Self::Said => "said",
        }
    }
}

/// What an increment counts from.
#[derive(Debug)]
pub(super) struct Since {
    /// The bitmap.
    pub(super) bitmap: String,
    /// The newest generation.
    pub(super) at: Time,
    /// Its mark.
    pub(super) checkpoint: String,
    /// Its id, if it has one.
    pub(super) id: Option<String>,
    /// How all this is known.
    pub(super) counted_by: CountedBy,
    /// The disk as of then, the newest layer first.
    pub(super) layers: Vec<Layer>,
    /// The size of the disk then.
    pub(super) size_bytes: u64,
}

/// What is to be pulled.
pub(super) struct Pull<'a> {
    /// The address as it was given, and what it says.
    pub(super) uri: (&'a str, nbd::Uri),
    /// What it counts from; none: everything is read.
    pub(super) since: Option<&'a Since>,
    /// What is told of this moment.
    pub(super) moment: &'a Moment,
    /// Its id.
    pub(super) id: &'a str,
    pub(super) at: Time,
    /// Which of several disks.
    pub(super) disk: Option<&'a str>,
    /// Where to.
    pub(super) folder: &'a Folder,
}

impl Pull<'_> {
    fn check_folder(&self) -> Result<(), Error> {
        if self.folder.is_there() { Ok(()) } else { Err(Error::Elsewhere { folder: self.folder.path().to_owned() }) }
    }
}

/// What was pulled.
#[derive(Clone, Debug)]
pub(super) struct Pulled {
    pub(super) image: PathBuf,
    pub(super) disk_bytes: u64,
    pub(super) dirty_bytes: u64,
    pub(super) fetched_bytes: u64,
}

impl Pulled {
    /// Returns what was pulled of two disks.
    pub(super) fn and(self, other: &Self) -> Self {
        Self {
            image: self.image,
            disk_bytes: self.disk_bytes + other.disk_bytes,
            dirty_bytes: self.dirty_bytes + other.dirty_bytes,
            fetched_bytes: self.fetched_bytes + other.fetched_bytes,
        }
    }
}

/// Refuses to take a generation under names that are somebody's.
pub(super) fn check_free(paths: &[&Path]) -> Result<(), Error> {
    match paths.iter().find(|path| fs::symlink_metadata(path).is_ok()) {
        Some(path) => Err(Error::Taken { path: path.to_path_buf() }),
        None => Ok(()),
    }
}

/// Pulls a generation.
///
/// # Errors
/// [`Error`]; then nothing of it is left.
pub(super) fn pull(wanted: &Pull<'_>, stop: &Stop, monitor: &dyn Monitor) -> Result<Pulled, Error> {
    let (raw, map) = names(wanted.folder.path(), wanted.at, wanted.disk);
    check_free(&[&raw, &map])?;
    let pulled = pull_into(wanted, (&raw, &map), stop, monitor);
    if pulled.is_err() {
        let _ = fs::remove_file(part_of(&raw, wanted.id));
        if !raw.exists() && is_of(&raw, wanted.id) {
            let _ = fs::remove_file(&map);
        }
    }
    pulled
}

fn pull_into(
    wanted: &Pull<'_>,
    (raw, map_path): (&Path, &Path),
    stop: &Stop,
    monitor: &dyn Monitor,
) -> Result<Pulled, Error> {
    let mut client = connect(wanted, monitor)?;
    let size = client.size_bytes();
    if size == 0 || size > DISK_BYTES_MAX {
        return Err(Error::NoDisk { uri: wanted.uri.0.to_owned(), found: size });
    }
    let mut map = PullMap::new(size);
    map.moment = wanted.moment.clone();
    map.dirty = match wanted.since {
        None => vec![(0, size)],
        Some(since) => {
            map.bitmap = Some(since.bitmap.clone());
            dirty_of(&mut client, wanted, since, stop)?
        }
    };
    let zero = match client.has_allocation {
        true => runs(&mut client, wanted, BASE_ALLOCATION, STATE_ZERO, stop)?,
        false => Vec::new(),
    };
    if let Some(since) = wanted.since {
        let found = disprove(&mut client, &since.layers, &map.dirty, &zero);
        let found = found.map_err(|source| Error::Nbd { uri: wanted.uri.0.to_owned(), source })?;
        if let Some(found) = found {
            return Err(Error::Disproved { bitmap: since.bitmap.clone(), at: since.at, found });
        }
    }
    let (zeros, data) = split(&map.dirty, &zero);
    map.zero = zeros;

    let part = part_of(raw, wanted.id);
    let failed = |source| Error::Write { path: part.clone(), source };
    wanted.check_folder()?;
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&part).map_err(failed)?;
    file.set_len(size).map_err(failed)?;
    let fetched_bytes = fetch(&mut client, wanted, &data, &mut map, (&file, &part), stop)?;
    drop(client);
    file.sync_all().map_err(failed)?;
    map.moment.digest = Some(digest::of_runs(&file, map.data().into_iter()).map_err(failed)?);
    drop(file);
    wanted.check_folder()?;
    write_new_durably(map_path, &part_of(map_path, wanted.id), map.to_json().as_bytes())
        .map_err(|source| Error::not_published(map_path, source))?;
    if stop.is_told() {
        return Err(Error::Stopped);
    }
    publish(&part, raw).map_err(|source| Error::not_published(raw, source))?;
    let dirty_bytes = map.dirty.iter().map(|(_, length)| length).sum();
    Ok(Pulled { image: raw.to_owned(), disk_bytes: size, dirty_bytes, fetched_bytes })
}

/// A connection, and whether it tells what is zeros.
struct Export {
    client: Client,
    has_allocation: bool,
}

impl std::ops::Deref for Export {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl std::ops::DerefMut for Export {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// Returns the context of a bitmap.
fn context(since: &Since) -> String {
    format!("qemu:dirty-bitmap:{}", since.bitmap)
}

fn connect(wanted: &Pull<'_>, monitor: &dyn Monitor) -> Result<Export, Error> {
    let (text, uri) = &wanted.uri;
    let options = nbd::Options::default();
    let bitmap: Vec<String> = wanted.since.map(context).into_iter().collect();
    let mut contexts = bitmap.clone();
    contexts.push(BASE_ALLOCATION.to_owned());
    let (connected, has_allocation) = match Client::connect(uri, &contexts, &options) {
        // It only spares zeros. A server that cannot tell it is read whole.
        Err(nbd::Error::NoContext { context, .. }) if context == BASE_ALLOCATION => {
            (Client::connect(uri, &bitmap, &options), false)
        }
        Err(nbd::Error::Refused { .. }) if bitmap.is_empty() => (Client::connect(uri, &[], &options), false),
        connected => (connected, true),
    };
    let client = connected.map_err(|source| Error::Nbd { uri: (*text).to_owned(), source })?;
    if !client.is_read_only() {
        if wanted.moment.consistency.as_deref() != Some(OF_NO_MOMENT) {
            return Err(Error::Writable { uri: (*text).to_owned() });
        }
        monitor.warn(&format!(
            "{text:?} can be written to: only if nobody does while it is read, what is read is of one moment"
        ));
    }
    Ok(Export { client, has_allocation })
}

/// Returns what changed since a generation: what the bitmap says, and what the disk has grown by.
fn dirty_of(client: &mut Export, wanted: &Pull<'_>, since: &Since, stop: &Stop) -> Result<Vec<(u64, u64)>, Error> {
    let (size, expected) = (client.size_bytes(), since.size_bytes);
    if size < expected {
        let (uri, bitmap) = (wanted.uri.0.to_owned(), since.bitmap.clone());
        return Err(Error::Smaller { uri, found: size, expected, at: since.at, bitmap });
    }
    let mut dirty = runs(client, wanted, &context(since), STATE_DIRTY, stop)?;
    // What a disk grows by is not dirty for QEMU until it is written to (`hbitmap_truncate`).
    let known = dirty.partition_point(|(offset, _)| *offset < expected);
    dirty.truncate(known);
    if let Some(last) = dirty.last_mut() {
        last.1 = last.1.min(expected - last.0);
    }
    if size > expected {
        push(&mut dirty, expected, size - expected);
    }
    Ok(dirty)
}

/// Returns the runs of which `context` says `flag`: sorted, with gaps between.
fn runs(
    client: &mut Export,
    wanted: &Pull<'_>,
    context: &str,
    flag: u32,
    stop: &Stop,
) -> Result<Vec<(u64, u64)>, Error> {
    let size = client.size_bytes();
    let mut found = Vec::new();
    for offset in (0..size).step_by(STATUS_BYTES as usize) {
        if stop.is_told() {
            return Err(Error::Stopped);
        }
        let length = STATUS_BYTES.min(size - offset);
        let each = |status: nbd::Status| {
            if status.flags & flag != 0 {
                push(&mut found, status.offset, status.length);
            }
        };
        let told = client.status(context, offset, length, each);
        told.map_err(|source| Error::Nbd { uri: wanted.uri.0.to_owned(), source })?;
    }
    Ok(found)
}

/// Reads `data` into the file and returns how much that was. What the server calls a hole is noted in the map.
fn fetch(
    client: &mut Export,
    wanted: &Pull<'_>,
    data: &[(u64, u64)],
    map: &mut PullMap,
    (file, part): (&File, &Path),
    stop: &Stop,
) -> Result<u64, Error> {
    let (mut fetched, mut holes) = (0, 0);
    let zero = &mut map.zero;
    let expected: u64 = data.iter().map(|(_, length)| length).sum();
    let told = client.read(data.iter().copied(), |at, chunk| {
        if stop.is_told() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match chunk {
            Chunk::Hole(length) => {
                holes += length;
                push(zero, at, length);
            }
            Chunk::Data(bytes) => {
                fetched += bytes.len() as u64;
                write_sparse(file, bytes, at)?;
            }
        }
        Ok(())
    });
    match told {
        Ok(()) => {}
        Err(nbd::Error::Taker { .. }) if stop.is_told() => return Err(Error::Stopped),
        Err(nbd::Error::Taker { source, .. }) => return Err(Error::Write { path: part.to_owned(), source }),
        Err(source) => return Err(Error::Nbd { uri: wanted.uri.0.to_owned(), source }),
    }
    if fetched + holes != expected {
        return Err(Error::Short { uri: wanted.uri.0.to_owned(), found: fetched + holes, expected });
    }
    zero.sort_unstable();
    Ok(fetched)
}

/// Writes what is not zeros; the file is new, so the rest of it is.
fn write_sparse(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    let is_zero = |block: &[u8]| block.iter().all(|byte| *byte == 0);
    let mut start = 0;
    while start < bytes.len() {
        let end = (start + HOLE_BYTES).min(bytes.len());
        if is_zero(&bytes[start..end]) {
            start = end;
            continue;
        }
        let mut until = end;
        while until < bytes.len() && !is_zero(&bytes[until..(until + HOLE_BYTES).min(bytes.len())]) {
            until = (until + HOLE_BYTES).min(bytes.len());
        }
        file.write_all_at(&bytes[start..until], at + start as u64)?;
        start = until;
    }
    Ok(())
}

/// Adds a run behind the last one, as one if they touch.
fn push(runs: &mut Vec<(u64, u64)>, offset: u64, length: u64) {
    match runs.last_mut() {
        Some(last) if last.0 + last.1 == offset => last.1 += length,
        _ => runs.push((offset, length)),
    }
}

/// A list of runs: offset and length.
type Runs = Vec<(u64, u64)>;

/// Returns the parts of `dirty` that lie in `zero`, and the others. All are sorted and have gaps between.
fn split(dirty: &[(u64, u64)], zero: &[(u64, u64)]) -> (Runs, Runs) {
    let (mut zeros, mut data) = (Vec::new(), Vec::new());
    let mut next = 0;
    for (offset, length) in dirty {
        let (mut at, end) = (*offset, offset + length);
        while next < zero.len() && zero[next].0 + zero[next].1 <= at {
            next += 1;
        }
        let mut here = next;
        while at < end {
            let (from, until) = zero.get(here).map_or((end, end), |(from, length)| (*from, from + length));
            if at < from {
                let stop = from.min(end);
                push(&mut data, at, stop - at);
                at = stop;
            } else {
                let stop = until.min(end);
                push(&mut zeros, at, stop - at);
                at = stop;
                here += 1;
            }
        }
    }
    (zeros, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dirty_and_zero_is_told_apart_from_what_has_to_be_read() {
        let zero = [(0, 10), (20, 10), (35, 100)];
        assert_eq!(split(&[(0, 40)], &zero), (vec![(0, 10), (20, 10), (35, 5)], vec![(10, 10), (30, 5)]));
        assert_eq!(split(&[(5, 10), (22, 2), (26, 10)], &zero).0, [(5, 5), (22, 2), (26, 4), (35, 1)]);
        assert_eq!(split(&[(5, 10), (22, 2), (26, 10)], &zero).1, [(10, 5), (30, 5)]);
        assert_eq!(split(&[(40, 10), (60, 5)], &zero), (vec![(40, 10), (60, 5)], vec![]));
        assert_eq!(split(&[(10, 5)], &[]), (vec![], vec![(10, 5)]));
        assert_eq!(split(&[], &zero), (vec![], vec![]));
    }

    #[test]
    fn zeros_become_holes_and_everything_else_is_written_where_it_was() {
        use std::os::unix::fs::MetadataExt;
        let mut bytes = vec![0; 1 << 20];
        bytes[5000] = 1;
        bytes[600_000..620_000].fill(2);
        *bytes.last_mut().unwrap() = 3;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = File::options().write(true).create_new(true).open(&path).unwrap();
        file.set_len(1 << 20).unwrap();
        write_sparse(&file, &bytes, 0).unwrap();
        assert!(fs::read(&path).unwrap() == bytes);
        assert!(file.metadata().unwrap().blocks() * 512 < 100_000);
    }
}

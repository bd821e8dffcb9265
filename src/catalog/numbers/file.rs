//! `catalog.db-views`: which vector has which number, for all mounts of a catalog and for ever.
//!
//! Promises: a number is the place of its record, so what is damaged or was never finished costs a number and never
//! gives one to two vectors. Records are only ever appended, under a lock of the file's own that is held for one write,
//! and are on the disk before [`give`] returns. What a write that failed left is cut off again. The file is for its owner alone.
//!
//! A record has 32 bytes, numbers the lowest byte first; number N is at byte 32 * (N - 2^26).
//!
//! ```text
//!  0  4   kind << 27 | number     kind 1: a catalog, 2: a vector
//!  4  8   of a catalog its incarnation; of a vector the number of the record of its catalog
//! 12 16   of a catalog its uuid; of a vector the digest
//! 28  4   CRC-32C of "asof views 1" and the 28 bytes before
//! ```
//!
//! A catalog is written before its first vector. When the catalog is another one, its record and vectors go on above.

use super::ranges::{IN_FILE, VIEW_BITS};
use super::vector::{CatalogId, Vector};
use crate::catalog::files::{beside, folder_of};
use crate::model::ViewId;
use std::collections::{HashMap, HashSet};
use std::fs::{File, TryLockError};
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const RECORD_BYTES: usize = 32;
const SUMMED_BYTES: usize = 28;
const SEED: &[u8] = b"asof views 1";
/// How often a lock that is held is tried.
const LOCK_RETRY: Duration = Duration::from_millis(5);

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{doing} {path:?}")]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("{path:?} is not a file of view numbers; move it away")]
    NotOurs { path: PathBuf },
    #[error("{path:?} is locked by another process for longer than {} s", wait.as_secs_f32())]
    Locked { path: PathBuf, wait: Duration },
    #[error("{path:?} has given out all its numbers")]
    UsedUp { path: PathBuf },
}

/// What [`give`] found and did.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// The numbers that are in the file and on the disk.
    pub(super) views: HashMap<Vector, ViewId>,
    /// The lowest number above all of the file.
    pub(super) next: i64,
    /// Records that cannot be read.
    pub(super) damaged: usize,
    /// Why the others of the vectors have none.
    pub(super) trouble: Option<Error>,
}

/// Finds the numbers of `vectors` of the catalog `of`, and writes those that are not there, into `free`.
pub(super) fn give(catalog: &Path, of: CatalogId, vectors: &[Vector], free: Range<i64>, wait: Duration) -> Given {
    let mut given = Given::default();
    given.trouble = try_give(catalog, of, vectors, free, wait, &mut given).err();
    given
}

fn try_give(
    catalog: &Path,
    of: CatalogId,
    vectors: &[Vector],
    free: Range<i64>,
    wait: Duration,
    given: &mut Given,
) -> Result<(), Error> {
    let path = path_of(catalog);
    let (file, read_only) = open(&path)?;
    let file = Locked::wait(file, read_only.is_some(), &path, wait)?;
    let own = scan(&file.0, &path, of, vectors, given)?;
    let missing: Vec<Vector> = vectors.iter().filter(|v| !given.views.contains_key(v)).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    if let Some(source) = read_only {
        return Err(Error::Io { doing: "writing", path, source });
    }
    let first = given.next.max(free.start);
    let mut records = Vec::new();
    let mut add = |record: Record| {
        let number = ViewId(first + (records.len() / RECORD_BYTES) as i64);
        records.extend_from_slice(&record.encode(number));
        number
    };
    let own = own.unwrap_or_else(|| add(Record::Catalog(of)));
    let views: Vec<_> = missing.into_iter().map(|vector| (vector, add(Record::Vector(vector, own)))).collect();
    if views.last().is_some_and(|(_, last)| last.0 >= free.end) {
        return Err(Error::UsedUp { path });
    }
    append(&file.0, &path, first, &records)?;
    given.next = first + (records.len() / RECORD_BYTES) as i64;
    given.views.extend(views);
    Ok(())
}

/// Writes `records` from number `first` on, all or nothing, and returns when they are on the disk.
fn append(file: &File, path: &Path, first: i64, records: &[u8]) -> Result<(), Error> {
    let io = |source| Error::Io { doing: "writing", path: path.to_owned(), source };
    let before = file.metadata().map_err(io)?.len();
    let written = file.write_all_at(records, offset(ViewId(first))).and_then(|()| file.sync_data()).and_then(|()| {
        // The name of a new file has to be on the disk, too.
        if before == 0 { File::open(folder_of(path))?.sync_all() } else { Ok(()) }
    });
    written.map_err(|source| {
        // Nobody was told of these numbers. If it fails, other mounts find them, which is as good.
        let _ = file.set_len(before);
        io(source)
    })
}

/// Returns the vector at number `view`, if it is of the catalog `of`. It is an error if the file is not that long.
pub(super) fn vector(catalog: &Path, of: CatalogId, view: ViewId) -> Result<Option<Vector>, Error> {
    let io = |doing| move |source| Error::Io { doing, path: path_of(catalog), source };
    let file = File::open(path_of(catalog)).map_err(io("opening"))?;
    let record = |number: ViewId| {
        let mut bytes = [0; RECORD_BYTES];
        file.read_exact_at(&mut bytes, offset(number)).map_err(io("reading"))?;
        Ok::<_, Error>(Record::decode(&bytes, number))
    };
    let Some(Record::Vector(vector, catalog)) = record(view)? else { return Ok(None) };
    if !IN_FILE.contains(&catalog.0) {
        return Ok(None);
    }
    let is_own = record(catalog)?.is_some_and(|record| matches!(record, Record::Catalog(id) if id == of));
    Ok(is_own.then_some(vector))
}

/// Looks for `vectors` of the catalog `of` and returns the number of its record, if it has one that can be read.
fn scan(
    file: &File,
    path: &Path,
    of: CatalogId,
    vectors: &[Vector],
    given: &mut Given,
) -> Result<Option<ViewId>, Error> {
    let io = |source| Error::Io { doing: "reading", path: path.to_owned(), source };
    let wanted: HashSet<Vector> = vectors.iter().copied().collect();
    let length = file.metadata().map_err(io)?.len();
    given.next = IN_FILE.start + length.div_ceil(RECORD_BYTES as u64) as i64;
    let mut own = HashSet::new();
    let (mut last, mut is_ours) = (None, false);
    let mut reader = BufReader::with_capacity(1 << 16, file);
    // A record that was never finished is the last one, or was followed by others and has been filled up with zeros.
    for number in (IN_FILE.start..).take(length as usize / RECORD_BYTES).map(ViewId) {
        let mut bytes = [0; RECORD_BYTES];
        reader.read_exact(&mut bytes).map_err(io)?;
        match Record::decode(&bytes, number) {
            Some(Record::Catalog(id)) if id == of => {
                own.insert(number);
                last = Some(number);
                is_ours = true;
            }
            Some(Record::Vector(vector, catalog)) if own.contains(&catalog) && wanted.contains(&vector) => {
                given.views.entry(vector).or_insert(number);
            }
            Some(_) => is_ours = true,
            None if bytes == [0; RECORD_BYTES] => {}
            None => given.damaged += 1,
        }
    }
    if given.damaged > 0 && !is_ours {
        return Err(Error::NotOurs { path: path.to_owned() });
    }
    Ok(last)
}

/// Opens the file for writing, making it where it is not there; where that cannot be, for reading, with the reason.
fn open(path: &Path) -> Result<(File, Option<io::Error>), Error> {
    // A fifo would wait for its other end.
    if std::fs::symlink_metadata(path).is_ok_and(|m| !m.is_file()) {
        return Err(Error::NotOurs { path: path.to_owned() });
    }
    match File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path) {
        Ok(file) => Ok((file, None)),
        Err(why) => match File::open(path) {
            Ok(file) => Ok((file, Some(why))),
            Err(_) => Err(Error::Io { doing: "opening", path: path.to_owned(), source: why }),
        },
    }
}

/// The file, locked. Let go by name: a descriptor that a child process of another thread inherited, between `fork` and
/// `exec`, would hold it on.
struct Locked(File);

impl Locked {
    fn wait(file: File, shared: bool, path: &Path, wait: Duration) -> Result<Self, Error> {
        let until = Instant::now() + wait;
        loop {
            match if shared { file.try_lock_shared() } else { file.try_lock() } {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(LOCK_RETRY),
                Err(TryLockError::WouldBlock) => return Err(Error::Locked { path: path.to_owned(), wait }),
                Err(TryLockError::Error(source)) => {
                    return Err(Error::Io { doing: "locking", path: path.to_owned(), source });
                }
            }
        }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Else it goes with the last descriptor.
        let _ = self.0.unlock();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    Catalog(CatalogId),
    /// And the number of the record of its catalog.
    Vector(Vector, ViewId),
}

impl Record {
    fn encode(self, number: ViewId) -> [u8; RECORD_BYTES] {
        let (kind, of, digest) = match self {
            Self::Catalog(CatalogId { uuid, incarnation }) => (1, incarnation, uuid),
            Self::Vector(Vector(digest), catalog) => (2, catalog.0, digest),
        };
        let mut bytes = [0; RECORD_BYTES];
        bytes[..4].copy_from_slice(&head(kind, number).to_le_bytes());
        bytes[4..12].copy_from_slice(&of.to_le_bytes());
        bytes[12..SUMMED_BYTES].copy_from_slice(&digest);
        let sum = sum(&bytes);
        bytes[SUMMED_BYTES..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; RECORD_BYTES], number: ViewId) -> Option<Self> {
        let (head_bytes, rest) = bytes.split_first_chunk()?;
        let (of, rest) = rest.split_first_chunk()?;
        let (digest, rest) = rest.split_first_chunk()?;
        if u32::from_le_bytes(*rest.first_chunk()?) != sum(bytes) {
            return None;
        }
        let (found, of) = (u32::from_le_bytes(*head_bytes), i64::from_le_bytes(*of));
        match found {
            found if found == head(1, number) => Some(Self::Catalog(CatalogId { uuid: *digest, incarnation: of })),
            found if found == head(2, number) => Some(Self::Vector(Vector(*digest), ViewId(of))),
            _ => None,
        }
    }
}

fn head(kind: u32, number: ViewId) -> u32 {
    kind << VIEW_BITS | number.0 as u32
}

fn sum(record: &[u8; RECORD_BYTES]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(SEED), &record[..SUMMED_BYTES])
}

fn offset(number: ViewId) -> u64 {
    (number.0 - IN_FILE.start) as u64 * RECORD_BYTES as u64
}

fn path_of(catalog: &Path) -> PathBuf {
    beside(catalog, "-views")
}

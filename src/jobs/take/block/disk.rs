//! Images of a disk become generations: what they rest on is found, put together, and what changed since is told.
//!
//! Promises: an increment rests on a generation that is there, or is refused by name; a parent that is no generation is
//! part of the one that rests on it. Between two generations that hold everything by themselves the bytes are compared,
//! so that what changed is known in either case. Images are read, never written.

use crate::catalog::{self, DiskRow, SourceRow, Writer};
use crate::clock::Clock;
use crate::index::{self, DiskBefore, Done, NewDisk, index_disk};
use crate::model::{Consistency, Hinted, Layer, Level, Time};
use crate::monitor::Monitor;
use crate::source::block::{Device, Location, image};
use crate::store::{self, Disk, DiskMap};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

/// Compared at once.
const CHUNK_BYTES: usize = 1 << 20;
/// What differs is told in pieces of this size: the grain of QEMU's dirty bitmaps.
const GRAIN_BYTES: usize = 64 << 10;

/// Why an image does not become a generation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// Indexing.
    #[error(transparent)]
    Index(#[from] index::Error),
    /// The image, or one that it rests on.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// The bytes of the disk.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// An increment, and nothing that it could rest on.
    #[error("image {image:?} is an increment, and the source has no generation before {at}")]
    NothingBefore {
        /// The image.
        image: PathBuf,
        /// Its instant.
        at: Time,
    },
    /// An increment since a moment that no generation is of.
    #[error("image {image:?} is an increment since checkpoint {checkpoint:?}, and no generation before {at} has it")]
    NoCheckpoint {
        /// The image.
        image: PathBuf,
        /// What it names.
        checkpoint: String,
        /// Its instant.
        at: Time,
    },
    /// What it rests on is not older.
    #[error("image {image:?} would be of {at}, and the generation of {parent} that it is based on is not older")]
    NotNewer {
        /// The image.
        image: PathBuf,
        /// Its instant.
        at: Time,
        /// That of its parent.
        parent: Time,
    },
    /// Nothing is no disk.
    #[error("image {image:?} is of a disk of 0 bytes")]
    Empty {
        /// The image.
        image: PathBuf,
    },
    /// What a generation rests on is not in the catalog.
    #[error("the disk as of {at} is not whole: a generation that it is based on is missing")]
    NotWhole {
        /// The generation.
        at: Time,
    },
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Catalog(e) => return e.hint(),
            Self::Index(e) => return e.hint(),
            Self::Image(image::Error::File { why: image::Why::Outside, .. }) => {
                "an increment that QEMU pushed names the live disk: --base IMAGE says what it is based on"
            }
            Self::Image(e) => return e.hint(),
            Self::Store(_) => {
                "every image that it is based on must be as it was when it was indexed; nothing was recorded"
            }
            Self::Empty { .. } => "was it copied to its end?",
            Self::NothingBefore { .. } => "index the full image first; --base IMAGE names what increments are based on",
            Self::NoCheckpoint { .. } => {
                "index the image of that checkpoint first; --base IMAGE says that it is based on another"
            }
            Self::NotNewer { .. } => "asof index NAME IMAGE --at DATE gives it another date",
            Self::NotWhole { .. } => "the image that it is based on must be indexed first",
        };
        Some(text.to_owned())
    }
}

/// An image that is to become a generation.
pub struct NewImage<'a> {
    /// The source.
    pub source: &'a SourceRow,
    /// What the image holds; or one of the snapshots in it.
    pub image: &'a image::Image,
    /// Which of the snapshots in it, none: its present state.
    pub snapshot: Option<usize>,
    /// Its instant.
    pub at: Time,
    /// The generation that it rests on, where the admin says so.
    pub rests_on: Option<Time>,
    /// Folders that may be read.
    pub folders: &'a [PathBuf],
    /// The word of who moved the bytes, where the caller knows better than the image.
    pub acquire: Option<&'a str>,
    /// How much the data was at rest, where the caller knows.
    pub consistency: Option<Consistency>,
    /// Where the bytes came from, where the caller knows.
    pub location: Option<&'a Location>,
    /// Whether it takes the place of the generation of this second.
    pub again: bool,
}

/// Indexes an image as a generation and publishes it. Returns the generation that it rests on, too.
///
/// # Errors
/// [`Error`]; then the catalog is as before.
pub fn index_image(
    writer: &mut Writer,
    new: &NewImage<'_>,
    clock: &dyn Clock,
    monitor: &dyn Monitor,
) -> Result<(Done, Option<Time>), Error> {
    let image = new.image;
    let mut layer = match new.snapshot {
        Some(number) => image.snapshots[number].layer.clone(),
        None => image.layer.clone(),
    };
    if layer.size_bytes == 0 {
        return Err(Error::Empty { image: image.path.clone() });
    }
    let parent = match new.rests_on {
        Some(parent) => Some(parent),
        None => match &image.parent {
            image::Parent::None => None,
            image::Parent::Given => Some(given_parent(writer, new)?),
            image::Parent::Image { path, .. } => match writer.generation_of_image(new.source.id, path)? {
                Some(parent) => Some(parent),
                None => {
                    layer = with_parents(new, layer)?;
                    None
                }
            },
            // Says what is missing.
            image::Parent::Missing { .. } => {
                image::chain(image.clone(), new.folders)?;
                None
            }
        },
    };
    if let Some(parent) = parent.filter(|parent| *parent >= new.at) {
        return Err(Error::NotNewer { image: image.path.clone(), at: new.at, parent });
    }
    let level = match (parent, image.level) {
        (None, _) | (_, Some(Level::Full)) => Level::Full,
        _ => Level::Incremental,
    };
    let row = DiskRow {
        layer,
        parent,
        format: format_word(image.kind).to_owned(),
        acquire: new.acquire.or(acquire_word(image, level)).map(str::to_owned),
        checkpoint: image.moment.checkpoint.clone(),
        consistency: new.consistency.or_else(|| told_consistency(image)).map(|how| how.word().to_owned()),
        location: Some(new.location.cloned().unwrap_or_else(|| told_location(image)).as_str().to_owned()),
    };
    Ok((index_row(writer, new, level, &row, clock, monitor)?, parent))
}

/// Indexes what a generation holds of a disk, on top of what it rests on.
fn index_row(
    writer: &mut Writer,
    new: &NewImage<'_>,
    level: Level,
    row: &DiskRow,
    clock: &dyn Clock,
    monitor: &dyn Monitor,
) -> Result<Done, Error> {
    let (source, at, image, again) = (new.source, new.at, new.image.path.as_path(), new.again);
    let mut layers = vec![row.layer.clone()];
    if let Some(parent) = row.parent {
        let below = writer.disk_layers(source.id, parent)?;
        if below.is_empty() {
            return Err(Error::NotWhole { at: parent });
        }
        layers.extend(below);
    }
    let map = DiskMap::of(&layers)?;
    map.check_files()?;
    let disk = Arc::new(OnDisk(Disk::of(map)));
    let earlier = writer.instants(source.id)?.into_iter().rfind(|instant| *instant < at);
    let before = match earlier {
        Some(earlier) => Some(before(writer, source, earlier, &disk, level)?),
        None => None,
    };
    let (store, below) = match (image.parent(), image.file_name()) {
        (Some(folder), Some(name)) => (folder, name.as_bytes()),
        _ => (image, b"".as_slice()),
    };
    let allocated_bytes = disk.0.map().allocated_bytes();
    let new = NewDisk { source, at, level, store, below, row, device: disk, allocated_bytes, before, again };
    Ok(index_disk(writer, &new, clock, monitor)?)
}

/// Returns the disk as of an earlier generation, and what changed since.
fn before(writer: &Writer, source: &SourceRow, at: Time, now: &OnDisk, level: Level) -> Result<DiskBefore, Error> {
    let layers = writer.disk_layers(source.id, at)?;
    if layers.is_empty() {
        return Err(Error::NotWhole { at });
    }
    let then = OnDisk(Disk::of(DiskMap::of(&layers)?));
    let mut changed = now.0.map().changed_since(then.0.map());
    if level == Level::Full {
        changed = differing(&changed, now, &then);
    }
    Ok(DiskBefore { device: Arc::new(then), changed })
}

/// Returns the parts of `changed` whose bytes differ, in pieces of [`GRAIN_BYTES`]. What cannot be read in the older one differs.
fn differing(changed: &[(u64, u64)], now: &OnDisk, then: &OnDisk) -> Vec<(u64, u64)> {
    let mut out: Vec<(u64, u64)> = Vec::new();
    let (mut new, mut old) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    for (at, length) in changed {
        for from in (*at..at + length).step_by(CHUNK_BYTES) {
            let wanted = (at + length - from).min(CHUNK_BYTES as u64) as usize;
            let (new, old) = (&mut new[..wanted], &mut old[..wanted]);
            let known = read_padded(then, old, from).and_then(|()| read_padded(now, new, from)).is_ok();
            for (number, (new, old)) in new.chunks(GRAIN_BYTES).zip(old.chunks(GRAIN_BYTES)).enumerate() {
                if known && new == old {
                    continue;
                }
                let piece = (from + (number * GRAIN_BYTES) as u64, new.len() as u64);
                match out.last_mut() {
                    Some(last) if last.0 + last.1 == piece.0 => last.1 += piece.1,
                    _ => out.push(piece),
                }
            }
        }
    }
    out
}

/// Reads a run that may reach past the end of the disk: there it is zeros.
fn read_padded(disk: &OnDisk, buffer: &mut [u8], at: u64) -> io::Result<()> {
    let there = (disk.size_bytes().saturating_sub(at)).min(buffer.len() as u64) as usize;
    let (front, back) = buffer.split_at_mut(there);
    back.fill(0);
    disk.read_at(front, at)
}

/// Returns the generation that an increment without a backing file rests on: by its checkpoint, else the one before it.
fn given_parent(writer: &Writer, new: &NewImage<'_>) -> Result<Time, Error> {
    let (image, at) = (new.image, new.at);
    let instants = writer.instants(new.source.id)?;
    let mut earlier = instants.into_iter().filter(|instant| *instant < at).rev();
    let Some(checkpoint) = &image.moment.parent else {
        return earlier.next().ok_or(Error::NothingBefore { image: image.path.clone(), at });
    };
    for instant in earlier {
        if writer.checkpoint(new.source.id, instant)?.as_ref() == Some(checkpoint) {
            return Ok(instant);
        }
    }
    Err(Error::NoCheckpoint { image: image.path.clone(), checkpoint: checkpoint.clone(), at })
}

/// Returns a layer with all that its image rests on in it.
fn with_parents(new: &NewImage<'_>, layer: Layer) -> Result<Layer, Error> {
    let chain = image::chain(new.image.clone(), new.folders)?;
    let below = chain.into_iter().skip(1).map(|image| image.layer);
    let layers: Vec<Layer> = std::iter::once(layer).chain(below).collect();
    Ok(DiskMap::of(&layers)?.into_layer())
}

/// Returns how much the data was at rest as the image tells, if it tells it in words that are known.
fn told_consistency(image: &image::Image) -> Option<Consistency> {
    image.moment.consistency.as_deref().and_then(Consistency::from_word)
}

/// Returns where the bytes came from as the image tells, else that they are in its file.
fn told_location(image: &image::Image) -> Location {
    let told = image.moment.location.as_deref().and_then(|told| Location::parse(told).ok());
    told.unwrap_or_else(|| Location::of_file(&image.path))
}

fn format_word(kind: image::Kind) -> &'static str {
    match kind {
        image::Kind::Raw => "raw",
        image::Kind::Qcow2 => "qcow2",
        image::Kind::Stream => "stream",
        image::Kind::Pull => "pull",
    }
}

/// Who moved the bytes: QEMU pushed them to a file, or a client pulled them. Of a whole raw disk nobody knows.
fn acquire_word(image: &image::Image, level: Level) -> Option<&'static str> {
    match image.kind {
        image::Kind::Pull | image::Kind::Stream => Some("pull"),
        image::Kind::Qcow2 if level == Level::Incremental || image.moment.domain.is_some() => Some("push"),
        image::Kind::Qcow2 | image::Kind::Raw => None,
    }
}

/// A disk, for those who read what is on it.
struct OnDisk(Disk);

impl Device for OnDisk {
    fn size_bytes(&self) -> u64 {
        self.0.map().size_bytes()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.size_bytes());
        if end.is_none() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.0.read_at(buffer, offset).map_err(io::Error::other)
    }

    fn read_ahead(&self, offset: u64, length: u64) {
        self.0.read_ahead(offset, length);
    }
}

//! Images of a disk become generations: what they rest on is found, put together, and what changed since is told.
//!
//! Promises: an increment rests on a generation that is there, or is refused by name; a parent that is no generation is
//! part of the one that rests on it. Between two generations that hold everything by themselves the bytes are compared,
//! so that what changed is known in either case. Images are read, never written.

use crate::catalog::{self, DiskRow, SourceRow, Writer};
use crate::clock::Clock;
use crate::index::{self, DiskBefore, Done, GuestDisks, NewDisk, index_disk};
use crate::model::{Consistency, DISK_BITS, Hinted, ImageFile, Layer, Level, Time, disk_begin};
use crate::monitor::Monitor;
use crate::source::block::{Device, Location, image};
use crate::store::{self, Disk, DiskMap};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
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
    /// An increment since the generation before it, which was forgotten.
    #[error("image {image:?} is an increment, and the generation of {forgotten} right before it was forgotten")]
    Forgotten {
        /// The image.
        image: PathBuf,
        /// The generation.
        forgotten: Time,
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
    /// An increment since another moment than that which has its name.
    #[error(
        "image {image:?} is an increment since checkpoint {checkpoint:?} of moment {expected}, and the generation of {parent} is of moment \
         {found}"
    )]
    OtherParent {
        /// The image.
        image: PathBuf,
        /// What it names.
        checkpoint: String,
        /// The id that it names.
        expected: String,
        /// A generation of that checkpoint.
        parent: Time,
        /// Its id.
        found: String,
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
    /// What it rests on is of other disks.
    #[error(
        "image {image:?} is an increment of disk {disk:?}, and the generation of {parent} that it is based on has no image of that disk"
    )]
    LacksDisk {
        /// The image.
        image: PathBuf,
        /// Its disk.
        disk: String,
        /// The generation.
        parent: Time,
    },
    /// Several disks have that much room each.
    #[error("image {image:?} is of a disk of {size_bytes} bytes, and a disk of a guest has 64 PiB at most")]
    TooLarge {
        /// The image.
        image: PathBuf,
        /// The size of its disk.
        size_bytes: u64,
    },
    /// A whole disk where the others are known to have maps.
    #[error("image {image:?} has no map beside it, and those of the other disks of its moment have")]
    NoMap {
        /// The image.
        image: PathBuf,
    },
    /// What a generation rests on is not in the catalog.
    #[error(
        "the disk as of {at} is not whole: a generation that it is based on is missing, or was indexed again after it"
    )]
    NotWhole {
        /// The generation.
        at: Time,
    },
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Catalog(catalog::Error::GenerationExists { .. })
            | Self::Index(index::Error::Catalog(catalog::Error::GenerationExists { .. })) => {
                "images of two disks need a source each (--disk, or a folder each); another image of this disk needs another second: asof \
                 index NAME PATH --at DATE"
            }
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
            Self::Forgotten { .. } => {
                "asof index NAME IMAGE takes that one back; --base IMAGE says that it is based on another"
            }
            Self::NoCheckpoint { .. } => {
                "index the image of that checkpoint first; --base IMAGE says that it is based on another"
            }
            Self::OtherParent { .. } => {
                "the image that it is based on is missing, or is not indexed: asof index NAME; nothing is put on another one"
            }
            Self::LacksDisk { .. } => "index the image of that disk first; nothing is put on another one",
            Self::TooLarge { .. } => return None,
            Self::NoMap { .. } => "put back its map, from where the images are copied to",
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
    /// Which disk of a guest it is of; none: the source is one disk.
    pub disk: Option<&'a str>,
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
    /// Whether it was written just now, so that it is known to have the bytes that the file beside it says.
    pub is_fresh: bool,
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
    let (layer, parent) = rests_on(writer, new)?;
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
    let place = match (image.path.parent(), image.path.file_name()) {
        (Some(folder), Some(name)) => (folder, name.as_bytes()),
        _ => (image.path.as_path(), b"".as_slice()),
    };
    let (source, at, again, is_compared) = (new.source, new.at, new.again, level == Level::Full);
    let rows = DiskRows { source, at, again, place, level, row: &row, guest: None, is_compared };
    Ok((index_rows(writer, rows, clock, monitor)?, parent))
}

/// Returns what an image holds, and the generation that it rests on. What is no generation becomes a part of it.
///
/// # Errors
/// [`Error`]: it is not put on anything then.
pub(super) fn rests_on(writer: &Writer, new: &NewImage<'_>) -> Result<(Layer, Option<Time>), Error> {
    let image = new.image;
    let mut layer = match new.snapshot {
        Some(number) => image.snapshots[number].layer.clone(),
        None => image.layer.clone(),
    };
    if layer.size_bytes == 0 {
        return Err(Error::Empty { image: image.path.clone() });
    }
    if !new.is_fresh {
        let folder = image.path.parent().unwrap_or(Path::new("/")).to_owned();
        image::digest::check(image, &[folder])?;
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
    if let (Some(parent), Some(expected)) = (parent, &image.moment.parent_id) {
        check_parent(writer, new, parent, expected)?;
    }
    if let Some(parent) = parent.filter(|parent| *parent >= new.at) {
        return Err(Error::NotNewer { image: image.path.clone(), at: new.at, parent });
    }
    Ok((layer, parent))
}

/// What is to be written of a generation.
pub(super) struct DiskRows<'a> {
    pub(super) source: &'a SourceRow,
    pub(super) at: Time,
    pub(super) again: bool,
    /// The folder that is recorded as its store, and the image in it.
    pub(super) place: (&'a Path, &'a [u8]),
    pub(super) level: Level,
    pub(super) row: &'a DiskRow,
    /// The disks that it is, where these are those of a guest; their files were looked at.
    pub(super) guest: Option<GuestDisks>,
    /// Whether the bytes are compared with those of the generation before.
    pub(super) is_compared: bool,
}

/// Indexes what a generation holds of a disk, on top of what it rests on.
pub(super) fn index_rows(
    writer: &mut Writer,
    rows: DiskRows<'_>,
    clock: &dyn Clock,
    monitor: &dyn Monitor,
) -> Result<Done, Error> {
    let DiskRows { source, at, again, place: (store, below), level, row, mut guest, is_compared } = rows;
    let mut layers = vec![row.layer.clone()];
    if let Some(parent) = row.parent {
        let below = writer.disk_layers(source.id, parent)?;
        if below.is_empty() {
            return Err(Error::NotWhole { at: parent });
        }
        layers.extend(below);
    }
    let map = DiskMap::of(&layers)?;
    if guest.is_none() {
        map.check_files()?;
    }
    for disk in guest.iter_mut().flat_map(|guest| &mut guest.disks) {
        let (begin, end) = (disk_begin(disk.number), disk_begin(disk.number) + (1 << DISK_BITS));
        let here = map.data().filter(|(offset, _)| (begin..end).contains(offset));
        disk.allocated_bytes = here.map(|(_, length)| length).sum();
    }
    let ends = guest.as_ref().map(|guest| {
        guest.disks.iter().map(|disk| (disk_begin(disk.number), disk_begin(disk.number) + disk.size_bytes)).collect()
    });
    let disk = Arc::new(OnDisk(Disk::of(map), ends));
    let earlier = writer.instants(source.id)?.into_iter().rfind(|instant| *instant < at);
    let before = match earlier {
        Some(earlier) => Some(before(writer, source, earlier, &disk, is_compared)?),
        None => None,
    };
    let allocated_bytes = disk.0.map().allocated_bytes();
    let guest = guest.as_ref();
    let new = NewDisk { source, at, level, store, below, row, device: disk, allocated_bytes, before, again, guest };
    Ok(index_disk(writer, &new, clock, monitor)?)
}

/// Returns the disk as of an earlier generation, and what changed since.
fn before(writer: &Writer, source: &SourceRow, at: Time, now: &OnDisk, is_compared: bool) -> Result<DiskBefore, Error> {
    let layers = writer.disk_layers(source.id, at)?;
    if layers.is_empty() {
        return Err(Error::NotWhole { at });
    }
    let then = OnDisk(Disk::of(DiskMap::of(&layers)?), None);
    let mut changed = now.0.map().changed_since(then.0.map());
    if is_compared {
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
    let earlier = instants.into_iter().filter(|instant| *instant < at).rev();
    let Some(checkpoint) = &image.moment.parent else {
        for instant in earlier {
            if image_of(writer, new, instant)?.is_some() {
                // Nothing says that it counts from this one, but that it is the one before.
                return match writer.forgotten_between(new.source.id, instant, at)? {
                    Some(forgotten) => Err(Error::Forgotten { image: image.path.clone(), forgotten }),
                    None => Ok(instant),
                };
            }
        }
        return Err(Error::NothingBefore { image: image.path.clone(), at });
    };
    let mut other = None;
    for instant in earlier {
        if new.disk.is_some() && image_of(writer, new, instant)?.is_none() {
            continue;
        }
        if writer.checkpoint(new.source.id, instant)?.as_ref() == Some(checkpoint) {
            match &image.moment.parent_id {
                Some(expected) if id_of(writer, new, instant)?.as_ref() != Some(expected) => {
                    other = other.or(Some((instant, expected)));
                }
                _ => return Ok(instant),
            }
        }
    }
    if let Some((parent, expected)) = other {
        check_parent(writer, new, parent, expected)?;
    }
    Err(Error::NoCheckpoint { image: image.path.clone(), checkpoint: checkpoint.clone(), at })
}

/// Refuses to put an image on a generation that is not the moment that it counts from.
fn check_parent(writer: &Writer, new: &NewImage<'_>, parent: Time, expected: &str) -> Result<(), Error> {
    let found = id_of(writer, new, parent)?;
    if found.as_deref() == Some(expected) {
        return Ok(());
    }
    Err(Error::OtherParent {
        image: new.image.path.clone(),
        checkpoint: new.image.moment.parent.clone().unwrap_or_default(),
        expected: expected.to_owned(),
        parent,
        found: found.unwrap_or_else(|| "unknown".to_owned()),
    })
}

/// Returns the image that a generation has of the disk.
fn image_of(writer: &Writer, new: &NewImage<'_>, at: Time) -> Result<Option<ImageFile>, Error> {
    Ok(match new.disk {
        None => writer.image_files(new.source.id, at)?.into_iter().next(),
        Some(name) => {
            let disks = writer.guest_disks(new.source.id, at)?;
            disks.into_iter().find(|disk| disk.name == name).map(|disk| disk.image)
        }
    })
}

/// Returns the id of the moment that a generation is of, as the file beside its image tells.
fn id_of(writer: &Writer, new: &NewImage<'_>, at: Time) -> Result<Option<String>, Error> {
    let Some(file) = image_of(writer, new, at)? else { return Ok(None) };
    let folder = file.path.parent().unwrap_or(Path::new("/")).to_owned();
    Ok(image::sidecar(&file.path, &[folder]).and_then(|moment| moment.id))
}

/// Returns a layer with all that its image rests on in it.
fn with_parents(new: &NewImage<'_>, layer: Layer) -> Result<Layer, Error> {
    let chain = image::chain(new.image.clone(), new.folders)?;
    let below = chain.into_iter().skip(1).map(|image| image.layer);
    let layers: Vec<Layer> = std::iter::once(layer).chain(below).collect();
    Ok(DiskMap::of(&layers)?.into_layer())
}

/// Returns how much the data was at rest as the image tells, if it tells it in words that are known.
pub(super) fn told_consistency(image: &image::Image) -> Option<Consistency> {
    image.moment.consistency.as_deref().and_then(Consistency::from_word)
}

/// Returns where the bytes came from as the image tells, else that they are in its file.
pub(super) fn told_location(image: &image::Image) -> Location {
    let told = image.moment.location.as_deref().and_then(|told| Location::parse(told).ok());
    told.unwrap_or_else(|| Location::of_file(&image.path))
}

pub(super) fn format_word(kind: image::Kind) -> &'static str {
    match kind {
        image::Kind::Raw => "raw",
        image::Kind::Qcow2 => "qcow2",
        image::Kind::Stream => "stream",
        image::Kind::Pull => "pull",
    }
}

/// Who moved the bytes: QEMU pushed them to a file, or a client pulled them. Of a whole raw disk nobody knows.
pub(super) fn acquire_word(image: &image::Image, level: Level) -> Option<&'static str> {
    match image.kind {
        image::Kind::Pull | image::Kind::Stream => Some("pull"),
        image::Kind::Qcow2 if level == Level::Incremental || image.moment.domain.is_some() => Some("push"),
        image::Kind::Qcow2 | image::Kind::Raw => None,
    }
}

/// A disk, for those who read what is on it; of several, where each begins and ends: between them is nothing.
struct OnDisk(Disk, Option<Vec<(u64, u64)>>);

impl Device for OnDisk {
    fn size_bytes(&self) -> u64 {
        self.0.map().size_bytes()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.size_bytes());
        let is_inside = |end: u64| match &self.1 {
            None => true,
            Some(ends) => ends.iter().any(|(from, until)| *from <= offset && end <= *until),
        };
        if !end.is_some_and(is_inside) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.0.read_at(buffer, offset).map_err(io::Error::other)
    }

    fn read_ahead(&self, offset: u64, length: u64) {
        self.0.read_ahead(offset, length);
    }
}

//! A disk as of a generation: layers merged into one map, read from the files that they name.
//!
//! Promises: of every byte the newest layer that tells of it counts; where none does it is zero. A byte that a layer
//! has comes from its file or is an error, never a zero in its place; a file that is not as it was when it was
//! indexed is not read. Merging is in memory and costs what the layers have extents. Image files are opened when first
//! read, by a path without links at its end.

use super::Error;
use super::cost::Counts;
use super::place::Identity;
use crate::model::{ImageFile, Layer, LayerBytes, LayerExtent, Packing};
use crate::sys::walk::{self, FileAt};
use crate::sys::{mount, read};
use lru::LruCache;
use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

/// Unpacked clusters that are kept: of 64 KiB as a rule, of 2 MiB at most.
const CLUSTERS_KEPT: NonZeroUsize = NonZeroUsize::new(32).expect("not zero");

const UNPOISONED: &str = "no holder of the lock panics";

/// Which file has which byte of a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskMap {
    size_bytes: u64,
    files: Vec<ImageFile>,
    /// Sorted, without overlap; what is not here is zero.
    extents: Vec<LayerExtent>,
}

impl DiskMap {
    /// Merges layers, the newest first.
    ///
    /// A layer that is shorter than one above it ends there: what is behind its end is zero, as QEMU has it.
    ///
    /// # Errors
    /// [`Error::TooManyFiles`] if they name more than 65,536 files.
    pub fn of(layers: &[Layer]) -> Result<Self, Error> {
        let mut numbers = HashMap::new();
        let mut files = Vec::new();
        let mut parts = Vec::with_capacity(layers.len());
        for layer in layers {
            let mut renamed = Vec::with_capacity(layer.files.len());
            for file in &layer.files {
                let next = files.len();
                let number = *numbers.entry(file.clone()).or_insert(next);
                if number == next {
                    files.push(file.clone());
                }
                renamed.push(u16::try_from(number).map_err(|_| Error::TooManyFiles { files: files.len() })?);
            }
            let extents = layer.extents.iter().map(|e| LayerExtent { bytes: in_file(e.bytes, &renamed), ..*e });
            parts.push(Part { visible_bytes: layer.size_bytes, extents: extents.collect() });
        }
        let merged = merge(&mut parts);
        let size_bytes = layers.first().map_or(0, |layer| layer.size_bytes);
        Ok(Self { size_bytes, files, extents: merged.map_or(Vec::new(), |part| without_zeros(part.extents)) })
    }

    /// Returns the size of the disk.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Returns how much of it is in files.
    pub fn allocated_bytes(&self) -> u64 {
        self.extents.iter().map(|e| e.length).sum()
    }

    /// Returns the runs that may hold other bytes than in `older`: offset and length, sorted, not adjoining.
    ///
    /// What both have in the same place of the same file, unchanged, is the same.
    pub fn changed_since(&self, older: &Self) -> Vec<(u64, u64)> {
        let mut changed: Vec<(u64, u64)> = Vec::new();
        let (mut new, mut old) = (Cursor::new(self), Cursor::new(older));
        let mut at = 0;
        let end = self.size_bytes.max(older.size_bytes);
        while at < end {
            let ((what, until), (was, was_until)) = (new.at(at, end), old.at(at, end));
            let until = until.min(was_until);
            if what != was {
                match changed.last_mut() {
                    Some(last) if last.0 + last.1 == at => last.1 = until - last.0,
                    _ => changed.push((at, until - at)),
                }
            }
            at = until;
        }
        changed
    }

    /// Returns the runs that are in files: offset and length, sorted.
    pub fn data(&self) -> impl Iterator<Item = (u64, u64)> {
        self.extents.iter().map(|e| (e.offset, e.length))
    }

    /// Looks at every file that it needs: whether it is there, and as it was.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Changed`], [`Error::NoCopy`], [`Error::Unreadable`].
    pub fn check_files(&self) -> Result<(), Error> {
        self.files.iter().try_for_each(|file| open(file).map(drop))
    }

    /// Returns it as one layer that rests on nothing.
    pub fn into_layer(self) -> Layer {
        Layer { size_bytes: self.size_bytes, files: self.files, extents: self.extents }
    }

    /// Returns the first extent that ends after `offset`.
    fn first_after(&self, offset: u64) -> usize {
        self.extents.partition_point(|e| e.offset + e.length <= offset)
    }
}

fn in_file(bytes: LayerBytes, renamed: &[u16]) -> LayerBytes {
    match bytes {
        LayerBytes::Zero => LayerBytes::Zero,
        LayerBytes::Plain { file, at } => LayerBytes::Plain { file: renamed[usize::from(file)], at },
        LayerBytes::Packed { file, at, stored_bytes, unpacked_bytes, skip, packing } => {
            let file = renamed[usize::from(file)];
            LayerBytes::Packed { file, at, stored_bytes, unpacked_bytes, skip, packing }
        }
    }
}

/// Some layers merged.
struct Part {
    /// How much of what lies below shows: no more than the shortest of its layers is long.
    visible_bytes: u64,
    extents: Vec<LayerExtent>,
}

/// Halves the pile until it is one: so each extent is looked at once for each doubling of the number of layers.
fn merge(parts: &mut Vec<Part>) -> Option<Part> {
    while parts.len() > 1 {
        let mut merged = Vec::with_capacity(parts.len().div_ceil(2));
        let mut pile = parts.drain(..);
        while let Some(top) = pile.next() {
            merged.push(match pile.next() {
                Some(bottom) => lay_over(top, bottom),
                None => top,
            });
        }
        drop(pile);
        *parts = merged;
    }
    parts.pop()
}

fn lay_over(top: Part, bottom: Part) -> Part {
    let mut extents: Vec<LayerExtent> = Vec::with_capacity(top.extents.len() + bottom.extents.len());
    let mut below = bottom.extents.into_iter().filter_map(|e| cut(e, 0, top.visible_bytes)).peekable();
    let mut at = 0;
    for over in top.extents {
        while let Some(under) = below.peek().copied() {
            if under.offset >= over.offset {
                break;
            }
            if let Some(shown) = cut(under, at, over.offset) {
                add(&mut extents, shown);
            }
            if under.offset + under.length > over.offset + over.length {
                break;
            }
            below.next();
        }
        add(&mut extents, over);
        at = over.offset + over.length;
        while below.next_if(|under| under.offset + under.length <= at).is_some() {}
    }
    for under in below {
        if let Some(shown) = cut(under, at, u64::MAX) {
            add(&mut extents, shown);
        }
    }
    Part { visible_bytes: top.visible_bytes.min(bottom.visible_bytes), extents }
}

/// Returns what of an extent lies in `[from, until)`.
fn cut(extent: LayerExtent, from: u64, until: u64) -> Option<LayerExtent> {
    let start = extent.offset.max(from);
    let end = (extent.offset + extent.length).min(until);
    let bytes = extent.bytes;
    (start < end).then(|| LayerExtent {
        offset: start,
        length: end - start,
        bytes: bytes.skip_bytes(start - extent.offset),
    })
}

/// Appends an extent, or lengthens the last one if it goes on in the same file.
fn add(extents: &mut Vec<LayerExtent>, extent: LayerExtent) {
    if let Some(last) = extents.last_mut()
        && last.offset + last.length == extent.offset
        && !matches!(last.bytes, LayerBytes::Packed { .. })
        && last.bytes.skip_bytes(last.length) == extent.bytes
    {
        last.length += extent.length;
    } else {
        extents.push(extent);
    }
}

fn without_zeros(extents: Vec<LayerExtent>) -> Vec<LayerExtent> {
    extents.into_iter().filter(|e| e.bytes != LayerBytes::Zero).collect()
}

/// Walks a map once, from its beginning.
struct Cursor<'a> {
    map: &'a DiskMap,
    next: usize,
}

impl<'a> Cursor<'a> {
    fn new(map: &'a DiskMap) -> Self {
        Self { map, next: 0 }
    }

    /// Returns what is at `at`, none for zeros, and until where; asked with rising `at`.
    fn at(&mut self, at: u64, end: u64) -> (Option<(&'a ImageFile, LayerBytes)>, u64) {
        let extents = &self.map.extents;
        while extents.get(self.next).is_some_and(|e| e.offset + e.length <= at) {
            self.next += 1;
        }
        match extents.get(self.next) {
            Some(e) if e.offset <= at => {
                let bytes = e.bytes.skip_bytes(at - e.offset);
                let (file, bytes) = match bytes {
                    LayerBytes::Zero => return (None, e.offset + e.length),
                    LayerBytes::Plain { file, at } => (file, LayerBytes::Plain { file: 0, at }),
                    LayerBytes::Packed { file, at, stored_bytes, unpacked_bytes, skip, packing } => {
                        (file, LayerBytes::Packed { file: 0, at, stored_bytes, unpacked_bytes, skip, packing })
                    }
                };
                (Some((&self.map.files[usize::from(file)], bytes)), e.offset + e.length)
            }
            Some(e) => (None, e.offset),
            None => (None, end),
        }
    }
}

/// Unpacked clusters, by file and place in it.
type Clusters = LruCache<(u16, u64), Arc<Vec<u8>>>;

/// A disk that can be read.
#[derive(Debug)]
pub struct Disk {
    key: (i64, i64),
    map: DiskMap,
    /// At the place of each file of the map, once it was opened.
    open: Mutex<Vec<Option<Arc<File>>>>,
    clusters: Mutex<Clusters>,
    counts: Arc<Counts>,
}

impl Disk {
    pub(super) fn new(key: (i64, i64), map: DiskMap, counts: Arc<Counts>) -> Self {
        let open = Mutex::new(vec![None; map.files.len()]);
        Self { key, map, open, clusters: Mutex::new(LruCache::new(CLUSTERS_KEPT)), counts }
    }

    /// Makes a disk that nobody else uses.
    pub fn of(map: DiskMap) -> Self {
        Self::new((0, 0), map, Arc::default())
    }

    /// Returns its map.
    pub fn map(&self) -> &DiskMap {
        &self.map
    }

    pub(super) fn key(&self) -> (i64, i64) {
        self.key
    }

    /// Fills `buffer` from `offset` on; all of it lies on the disk.
    ///
    /// **Cost:** one `pread(2)` and one `statx(2)` for each run; of a packed cluster all of it is read and unpacked.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Changed`], [`Error::Short`], [`Error::Unreadable`], [`Error::Packed`].
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        let end = offset + buffer.len() as u64;
        debug_assert!(end <= self.map.size_bytes, "the caller reads within the disk");
        let mut at = offset;
        for extent in &self.map.extents[self.map.first_after(offset)..] {
            let Some(part) = cut(*extent, offset, end) else { break };
            let (from, until) = ((part.offset - offset) as usize, (part.offset + part.length - offset) as usize);
            buffer[(at - offset) as usize..from].fill(0);
            self.read_run(&mut buffer[from..until], part.bytes)?;
            at = part.offset + part.length;
        }
        buffer[(at - offset) as usize..].fill(0);
        Ok(())
    }

    /// Has the kernel read what lies here into memory meanwhile. Packed clusters, and what is not to be had, are left out.
    ///
    /// **Cost:** one system call for each run.
    pub fn read_ahead(&self, offset: u64, length: u64) {
        let end = offset.saturating_add(length);
        for extent in &self.map.extents[self.map.first_after(offset)..] {
            let Some(part) = cut(*extent, offset, end) else { break };
            if let LayerBytes::Plain { file, at } = part.bytes
                && let Ok(open) = self.file(file)
            {
                read::read_ahead(open.as_fd(), at, part.length);
            }
        }
    }

    fn read_run(&self, buffer: &mut [u8], bytes: LayerBytes) -> Result<(), Error> {
        match bytes {
            LayerBytes::Zero => buffer.fill(0),
            LayerBytes::Plain { file, at } => {
                let open = self.file(file)?;
                self.counts.reads.fetch_add(1, Ordering::Relaxed);
                let about = &self.map.files[usize::from(file)];
                open.read_exact_at(buffer, at).map_err(|source| match source.kind() {
                    io::ErrorKind::UnexpectedEof => {
                        let found_bytes = open.metadata().map_or(0, |m| m.len());
                        Error::Short { path: about.path.clone(), found_bytes, expected_bytes: about.size_bytes }
                    }
                    _ => Error::Unreadable { path: about.path.clone(), source },
                })?;
                // After the bytes: a write moves the mtime before it moves them.
                check(&open, about)?;
            }
            LayerBytes::Packed { skip, .. } => {
                let cluster = self.cluster(bytes)?;
                let from = skip as usize;
                let part = cluster.get(from..from + buffer.len());
                buffer.copy_from_slice(part.ok_or_else(|| self.packed_error(bytes, "it is too short"))?);
            }
        }
        Ok(())
    }

    /// Does as [`Disk::read_at`] without waiting, if all of it is one run that is in memory; else returns false.
    pub(super) fn read_cached(&self, buffer: &mut [u8], offset: u64) -> bool {
        let Some(extent) = self.map.extents.get(self.map.first_after(offset)) else { return false };
        let end = offset + buffer.len() as u64;
        if extent.offset > offset || extent.offset + extent.length < end {
            return false;
        }
        let LayerBytes::Plain { file, at } = extent.bytes.skip_bytes(offset - extent.offset) else { return false };
        let open = self.open.lock().expect(UNPOISONED)[usize::from(file)].clone();
        let Some(open) = open else { return false };
        let all = read::read_without_waiting(open.as_fd(), buffer, at).is_ok_and(|n| n == buffer.len());
        if all {
            self.counts.reads.fetch_add(1, Ordering::Relaxed);
        }
        let about = &self.map.files[usize::from(file)];
        all && walk::stat_without_waiting(walk::FileAt::Open(open.as_fd()))
            .is_ok_and(|now| about.size_bytes == now.size_bytes && about.mtime == now.mtime)
    }

    /// Returns where the next byte at or after `offset` lies that is in a file.
    pub(super) fn next_data(&self, offset: u64) -> Option<u64> {
        self.map.extents.get(self.map.first_after(offset)).map(|e| e.offset.max(offset))
    }

    /// Returns where the next byte at or after `offset` lies that is in no file.
    pub(super) fn next_hole(&self, offset: u64) -> u64 {
        let mut at = offset;
        for extent in &self.map.extents[self.map.first_after(offset)..] {
            if extent.offset > at {
                break;
            }
            at = extent.offset + extent.length;
        }
        at
    }

    fn file(&self, number: u16) -> Result<Arc<File>, Error> {
        let number = usize::from(number);
        if let Some(file) = &self.open.lock().expect(UNPOISONED)[number] {
            return Ok(Arc::clone(file));
        }
        self.counts.opens.fetch_add(1, Ordering::Relaxed);
        // Without the lock: a server may be asked. Two may open it, and one descriptor is closed again.
        let file = match open(&self.map.files[number]) {
            Err(e) if e.lacks_descriptors() => {
                // A long chain: its other images are opened again when they are read.
                let none = vec![None; self.map.files.len()];
                drop(std::mem::replace(&mut *self.open.lock().expect(UNPOISONED), none));
                open(&self.map.files[number])?
            }
            opened => opened?,
        };
        let file = Arc::new(file);
        self.open.lock().expect(UNPOISONED)[number] = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Returns a whole cluster, unpacked.
    fn cluster(&self, bytes: LayerBytes) -> Result<Arc<Vec<u8>>, Error> {
        let LayerBytes::Packed { file, at, stored_bytes, unpacked_bytes, packing, .. } = bytes else {
            unreachable!("only packed clusters are unpacked")
        };
        if let Some(kept) = self.clusters.lock().expect(UNPOISONED).get(&(file, at)) {
            return Ok(Arc::clone(kept));
        }
        let open = self.file(file)?;
        let about = &self.map.files[usize::from(file)];
        self.counts.reads.fetch_add(1, Ordering::Relaxed);
        // The stored length is rounded up, beyond the end of the file for the last cluster.
        let there = u64::from(stored_bytes).min(about.size_bytes.saturating_sub(at));
        let mut stored = vec![0; there as usize];
        open.read_exact_at(&mut stored, at).map_err(|source| Error::Unreadable { path: about.path.clone(), source })?;
        check(&open, about)?;
        let mut unpacked = vec![0; unpacked_bytes as usize];
        unpack(packing, &stored, &mut unpacked).map_err(|e| self.packed_error(bytes, &e.to_string()))?;
        let unpacked = Arc::new(unpacked);
        self.clusters.lock().expect(UNPOISONED).put((file, at), Arc::clone(&unpacked));
        Ok(unpacked)
    }

    fn packed_error(&self, bytes: LayerBytes, why: &str) -> Error {
        let (LayerBytes::Packed { file, at, .. } | LayerBytes::Plain { file, at }) = bytes else {
            unreachable!("zeros are in no file")
        };
        Error::Packed { path: self.map.files[usize::from(file)].path.clone(), at, why: why.to_owned() }
    }
}

fn unpack(packing: Packing, stored: &[u8], unpacked: &mut [u8]) -> io::Result<()> {
    match packing {
        Packing::Deflate => flate2::read::DeflateDecoder::new(stored).read_exact(unpacked),
        Packing::Zstd => zstd::stream::read::Decoder::with_buffer(stored)?.single_frame().read_exact(unpacked),
        Packing::Lz4 => lz4_flex::frame::FrameDecoder::new(stored).read_exact(unpacked),
    }
}

/// Tells whether a file, and no device, is at this path as it was when it was indexed.
pub fn is_image_there(about: &ImageFile) -> bool {
    open(about).is_ok_and(|file| file.metadata().is_ok_and(|metadata| metadata.is_file()))
}

fn open(about: &ImageFile) -> Result<File, Error> {
    let path = || about.path.clone();
    let (folder, name) = match (about.path.parent(), about.path.file_name()) {
        (Some(folder), Some(name)) => (folder, name),
        _ => return Err(Error::NotAFile { path: path(), found: Some(crate::model::Kind::Directory) }),
    };
    let folder = read::open_place(folder).map_err(|source| Error::NoCopy { root: folder.to_owned(), source })?;
    // Where a user mounted something over it, that is not asked for anything.
    let c_name = CString::new(name.as_bytes()).map_err(|_| Error::Missing { path: path() })?;
    let expected = walk::whereabouts(FileAt::Held(folder.as_fd()))
        .and_then(|near| mount::expect_no_stranger(FileAt::Named(folder.as_fd(), &c_name), near));
    let file = match expected.and_then(|()| read::open_beneath(folder.as_fd(), name.as_bytes(), read::Mounts::Crossed))
    {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(Error::Missing { path: path() }),
        Err(e) if read::is_link(&e) => {
            return Err(Error::NotAFile { path: path(), found: Some(crate::model::Kind::Symlink) });
        }
        Err(source) => return Err(Error::Unreadable { path: path(), source }),
    };
    check(&file, about)?;
    Ok(file)
}

/// Fails unless a file is as it was when it was indexed. A device tells neither size nor times.
fn check(file: &File, about: &ImageFile) -> Result<(), Error> {
    let unreadable = |source| Error::Unreadable { path: about.path.clone(), source };
    let now = walk::stat_fd(file.as_fd()).map_err(unreadable)?;
    let found = Identity { size_bytes: now.size_bytes, mtime: now.mtime, owner: None };
    let expected = Identity { size_bytes: about.size_bytes, mtime: about.mtime, owner: None };
    if found == expected || file.metadata().map_err(unreadable)?.file_type().is_block_device() {
        return Ok(());
    }
    Err(Error::Changed { path: about.path.clone(), found, expected })
}

#[cfg(test)]
mod tests;

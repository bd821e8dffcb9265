//! Disks: what a generation holds of one, what it rests on, and which runs of it a file is.
//!
//! Promises: a layer comes back only whole, with all that it rests on, or not at all; a chain of parents ends. Knows no
//! image format and no file system.

use super::doubt;
use super::generation_rows::Ids;
use super::objects::{image_files, object_of};
use super::rows::{NODE_COLUMN_COUNT, NODE_COLUMNS, NodeRow};
use super::tables::{self, Slot, insert_odd_name};
use super::{Error, GenerationWriter, KnownCopy, Place, Reader, Writer};
use crate::model::{
    DiskRow, Extent, FileKey, FileMap, Finding, GUEST_BYTES, GenerationId, ImageFile, Layer, NodeId, ObjectId, RelPath,
    SourceId, StoreId, Time, VolumeRow,
};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The shortest target that ext2, 3 and 4 keep in a block and not in the inode (`fs/ext4/symlink.c`, `EXT4_N_BLOCKS`); that of XFS is
/// longer.
const SLOW_LINK_BYTES: u64 = 60;

/// What the generation before says of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousVolume {
    /// Its directory.
    pub name: String,
    /// The file system's; empty if it could not be read.
    pub uuid: String,
    /// As [`VolumeRow::pieces`].
    pub pieces: String,
    /// Whether its log held what was not in place.
    pub was_replayed: bool,
    /// Whether it could not be read.
    pub was_lost: bool,
}

impl Reader {
    /// Returns the layers that make the disk of `source` as of its generation of `at`, that one first; empty if a layer of the
    /// chain is not there.
    ///
    /// **Cost:** two queries a layer.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn disk_layers(&self, source: SourceId, at: Time) -> Result<Vec<Layer>, Error> {
        self.run("reading the layers of a disk", |c| layers(c, source, at))
    }

    /// Returns which runs of its disk a file is.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn file_map(&self, row: &NodeRow) -> Result<Option<FileMap>, Error> {
        self.run("reading the runs of a file", |c| file_map(c, row))
    }
}

/// What is known of the generation of a disk besides what its image says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskRecord {
    /// What it is on top of.
    pub parent: Option<Time>,
    /// The word of who moved its bytes.
    pub acquire: Option<String>,
    /// How much the data was at rest.
    pub consistency: Option<String>,
    /// Where the bytes came from.
    pub location: Option<String>,
}

impl Writer {
    /// As [`Reader::disk_layers`].
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn disk_layers(&self, source: SourceId, at: Time) -> Result<Vec<Layer>, Error> {
        self.sql("reading the layers of a disk", |c| layers(c, source, at))
    }

    /// Returns the newest published generation of `source` whose image is the file at `path`.
    ///
    /// **Cost:** one query; no layer is decoded.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn generation_of_image(&self, source: SourceId, path: &Path) -> Result<Option<Time>, Error> {
        self.sql("finding the generation of an image", |c| {
            c.prepare_cached(
                "SELECT max(g.taken_at) FROM generation g JOIN object o ON o.generation = g.id JOIN disk_file f ON f.object = o.id \
                 WHERE g.source = ?1 AND f.path = ?2 AND g.status = 'published' AND f.number < \
                   max(1, (SELECT count(*) FROM disk_volume v WHERE v.generation = g.id AND v.kind = 'disk'))",
            )?
            .query_row(params![source.0, path.as_os_str().as_bytes()], |r| Ok(r.get::<_, Option<i64>>(0)?.map(Time)))
        })
    }

    /// Returns the files that the generation of `source` at `at` has bytes in by itself, its image first, or those of all disks of a guest.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn image_files(&self, source: SourceId, at: Time) -> Result<Vec<ImageFile>, Error> {
        self.sql("reading the files of a disk", |c| match object_of(c, source, at)? {
            Some(object) => image_files(c, object),
            None => Ok(Vec::new()),
        })
    }

    /// Returns the files that an object of a disk has bytes in by itself, its image first.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn files_of(&self, object: ObjectId) -> Result<Vec<ImageFile>, Error> {
        self.sql("reading the files of a disk", |c| image_files(c, object))
    }

    /// Returns the published generations of `source` whose disk is on top of one that was indexed again since, or on top of such a one,
    /// the oldest first: what they say of the disk is not so any more, and they cannot be read.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn outdated_disks(&self, source: SourceId) -> Result<Vec<Time>, Error> {
        self.sql("looking for disks on top of others that were indexed again", |c| {
            let mut statement = c.prepare_cached(
                "SELECT g.taken_at, o.id, o.parent, coalesce(q.sequence > g.sequence, 0) FROM generation g JOIN object o ON o.generation = g.id \
                 LEFT JOIN object p ON p.id = o.parent LEFT JOIN generation q ON q.id = p.generation \
                 WHERE g.source = ?1 AND g.status = 'published' AND o.kind = 'layer' ORDER BY g.taken_at",
            )?;
            let (mut rows, mut outdated, mut objects) = (statement.query([source.0])?, Vec::new(), HashSet::new());
            while let Some(row) = rows.next()? {
                let (at, object, parent): (i64, i64, Option<i64>) = (row.get(0)?, row.get(1)?, row.get(2)?);
                // A parent is older, so it was looked at before.
                if row.get(3)? || parent.is_some_and(|parent| objects.contains(&parent)) {
                    objects.insert(object);
                    outdated.push(Time(at));
                }
            }
            Ok(outdated)
        })
    }

    /// Returns the newest generation of `source` between two instants that was forgotten, as far as something of it is still known.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn forgotten_between(&self, source: SourceId, after: Time, before: Time) -> Result<Option<Time>, Error> {
        self.sql("looking for a forgotten generation", |c| {
            c.prepare_cached(
                "SELECT max(o.at) FROM object o WHERE o.source = ?1 AND o.at > ?2 AND o.at < ?3 \
                 AND NOT EXISTS (SELECT 1 FROM generation g WHERE g.id = o.generation)",
            )?
            .query_row([source.0, after.0, before.0], |r| Ok(r.get::<_, Option<i64>>(0)?.map(Time)))
        })
    }

    /// Returns the object that has the bytes which this one has not.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn parent_of(&self, object: ObjectId) -> Result<Option<ObjectId>, Error> {
        self.sql("finding what an image is based on", |c| {
            let mut statement = c.prepare_cached("SELECT parent FROM object WHERE id = ?1")?;
            Ok(statement.query_row([object.0], |r| r.get(0)).optional()?.flatten().map(ObjectId))
        })
    }

    /// Writes down that the image of a copy is at `path` below `store` now, and files of its object at others: `files` has all of them.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Sqlite`]; then nothing of it is written.
    pub fn move_image(
        &mut self,
        copy: &KnownCopy,
        (store, path): (StoreId, &Path),
        files: &[PathBuf],
    ) -> Result<(), Error> {
        self.change("moving an image", |c| {
            let path = path.as_os_str().as_bytes();
            insert_odd_name(c, path)?;
            c.execute("UPDATE copy SET store = ?2, path = ?3 WHERE id = ?1", params![copy.id.0, store.0, path])?;
            let mut statement = c.prepare_cached("UPDATE disk_file SET path = ?3 WHERE object = ?1 AND number = ?2")?;
            for (number, file) in files.iter().enumerate() {
                statement.execute(params![copy.object.0, number as i64, file.as_os_str().as_bytes()])?;
            }
            Ok(())
        })
    }

    /// Returns what was recorded of the generation of a disk at `at`, besides its layer.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn disk_record(&self, source: SourceId, at: Time) -> Result<Option<DiskRecord>, Error> {
        self.sql("reading what is known of a disk", |c| {
            let mut statement = c.prepare_cached(
                "SELECT p.at, l.acquire, g.consistency, g.location FROM generation g JOIN object o ON o.generation = g.id \
                 JOIN disk_layer l ON l.object = o.id LEFT JOIN object p ON p.id = o.parent \
                 WHERE g.source = ?1 AND g.taken_at = ?2 AND g.status = 'published'",
            )?;
            let read = |r: &rusqlite::Row<'_>| {
                let parent = r.get::<_, Option<i64>>(0)?.map(Time);
                Ok(DiskRecord { parent, acquire: r.get(1)?, consistency: r.get(2)?, location: r.get(3)? })
            };
            statement.query_row([source.0, at.0], read).optional()
        })
    }

    /// Returns the mark of the generation of `source` at `at`, if it is of a disk and has one.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn checkpoint(&self, source: SourceId, at: Time) -> Result<Option<String>, Error> {
        self.sql("reading the checkpoint of a generation", |c| {
            let mut statement = c.prepare_cached("SELECT l.checkpoint FROM object o JOIN disk_layer l ON l.object = o.id WHERE o.source = ?1 AND o.at = ?2")?;
            Ok(statement.query_row([source.0, at.0], |r| r.get(0)).optional()?.flatten())
        })
    }
}

impl GenerationWriter<'_> {
    /// Writes what a generation holds of its disk ([`GenerationWriter::hold`]).
    pub(super) fn write_disk(&mut self, ids: Ids, disk: &DiskRow) -> Result<(), Error> {
        let (object, generation) = (ids.object.0, ids.generation.0);
        let parent = match disk.parent {
            Some(at) => Some(self.sql("finding what a disk is based on", |c| newest_object(c, self.source, at))?),
            None => None,
        };
        // Several disks have no size together.
        let size_bytes = Some(disk.layer.size_bytes as i64).filter(|_| disk.layer.size_bytes != GUEST_BYTES);
        self.write("recording a disk", |c| {
            c.execute(
                "UPDATE object SET kind = 'layer', size = ?2, is_full = ?3, parent = ?4 WHERE id = ?1",
                params![object, size_bytes, disk.parent.is_none(), parent],
            )?;
            c.execute(
                "INSERT INTO disk_layer(object, format, acquire, checkpoint, stored, extents) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    object,
                    disk.format,
                    disk.acquire,
                    disk.checkpoint,
                    disk.layer.stored_bytes() as i64,
                    disk.layer.encode_extents()
                ],
            )?;
            c.execute(
                "UPDATE generation SET consistency = ?2, location = ?3 WHERE id = ?1",
                params![generation, disk.consistency, disk.location],
            )?;
            let mut statement = c.prepare(
                "INSERT INTO disk_file(object, number, path, size, mtime, mtime_ns) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for (number, file) in disk.layer.files.iter().enumerate() {
                let path = file.path.as_os_str().as_bytes();
                let ImageFile { size_bytes, mtime, .. } = *file;
                let number = number as i64;
                statement.execute(params![object, number, path, size_bytes as i64, mtime.seconds, mtime.nanos])?;
                super::tables::insert_odd_name(c, path)?;
            }
            Ok(())
        })
    }

    /// Writes a volume of a generation's disk ([`GenerationWriter::add_volume`]).
    pub(super) fn write_volume(&mut self, generation: GenerationId, volume: &VolumeRow) -> Result<(), Error> {
        self.write("recording a volume", |c| {
            c.prepare_cached(
                "INSERT OR REPLACE INTO disk_volume(generation, name, size, pieces, kind, browsable, label, fs_label, uuid, state, features, note) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?
            .execute(params![
                generation.0,
                volume.name,
                volume.size_bytes as i64,
                volume.pieces,
                volume.kind,
                volume.browsable,
                volume.label,
                volume.fs_label,
                volume.uuid,
                volume.state,
                volume.features,
                volume.note
            ])
            .map(drop)
        })
    }

    /// Returns the volumes of the disk as of the previous generation that there is a tree of, also those that could not be read
    /// then.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn previous_volumes(&self) -> Result<Vec<PreviousVolume>, Error> {
        let Some(previous) = self.previous else { return Ok(Vec::new()) };
        self.sql("reading the volumes of a disk", |c| {
            let mut statement = c.prepare_cached(
                "SELECT v.name, v.uuid, v.pieces, v.state = 'replayed', v.state = 'lost' FROM generation g JOIN disk_volume v ON v.generation = g.id \
                 WHERE g.source = ?1 AND g.taken_at = ?2 AND (v.browsable OR v.state = 'lost') ORDER BY v.name",
            )?;
            let volumes = statement.query_map([self.source.0, previous.0], |r| {
                let (was_replayed, was_lost) = (r.get(3)?, r.get(4)?);
                Ok(PreviousVolume { name: r.get(0)?, uuid: r.get(1)?, pieces: r.get(2)?, was_replayed, was_lost })
            })?;
            volumes.collect()
        })
    }

    /// Returns where the bytes of a file or directory are that is these runs of the disk; the place that `base` has them at, if
    /// they are the same.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn place_on_disk(&mut self, map: &FileMap, size_bytes: u64, base: Option<&NodeRow>) -> Result<Place, Error> {
        match map.extents.as_slice() {
            [] if map.rests_on.is_empty() => return Ok(Place::OnDisk(None)),
            [run] if map.rests_on.is_empty() && is_whole(run, size_bytes) => return Ok(Place::Run(run.at)),
            _ => {}
        }
        let known = match base.map(|base| base.place) {
            Some(Place::OnDisk(known)) => known,
            _ => None,
        };
        self.intern_bytes(&map.encode(), known).map(|id| Place::OnDisk(Some(id)))
    }

    /// Calls `each` for every version up to the previous generation that is one run of up to 16 MiB and may have bytes in `length`
    /// bytes of the disk from `at` on: its node, where it begins and how long it is. Versions that others have taken the place of,
    /// and nodes without a name, are among them; in no order.
    ///
    /// **Cost:** three queries of an index for 65,536 nodes of the source; no row of a version is read.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn previous_runs(&self, at: u64, length: u64, mut each: impl FnMut(NodeId, u64, u64)) -> Result<(), Error> {
        let Some(previous) = self.previous else { return Ok(()) };
        self.sql("finding the files in a part of a disk", |c| {
            let mut blocks = c.prepare_cached("SELECT block FROM node_block WHERE source = ?1")?;
            let blocks: Vec<i64> = blocks.query_map([self.source.0], |r| r.get(0))?.collect::<Result<_, _>>()?;
            let mut statement = c.prepare_cached(
                "SELECT node, content, size FROM inode INDEXED BY inode_run WHERE place = 6 AND size <= 16777216 \
                 AND node >> 16 = ?1 AND (size > 65536) + (size > 1048576) = ?2 \
                 AND content > ?3 AND content < ?4 AND content + size > ?5 AND born <= ?6",
            )?;
            for block in blocks {
                for (class, longest) in RUN_CLASSES.iter().enumerate() {
                    let (from, until) = ((at as i64).saturating_sub(*longest), at.saturating_add(length) as i64);
                    let mut rows = statement.query([block, class as i64, from, until, at as i64, previous.0])?;
                    while let Some(row) = rows.next()? {
                        each(NodeId(row.get(0)?), row.get::<_, i64>(1)? as u64, row.get::<_, i64>(2)? as u64);
                    }
                }
            }
            Ok(())
        })
    }

    /// Calls `each` for every node whose version as of the previous generation is runs of the disk that
    /// [`GenerationWriter::previous_runs`] does not tell, or, where a log was replayed then, a file that is in the catalog itself; for
    /// every symbolic link whose target has a block of its own, since nothing tells which; and
    /// for every node that could not be read then. Nodes without a name are among them, holes from end to end are not.
    ///
    /// **Cost:** one pass over these versions.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn previous_maps(&self, mut each: impl FnMut(NodeId, NodeRow, FileMap)) -> Result<(), Error> {
        let Some(previous) = self.previous else { return Ok(()) };
        let sql = format!(
            "SELECT i.node, {NODE_COLUMNS}, c.bytes FROM node_block b \
             CROSS JOIN inode i INDEXED BY inode_map ON i.node BETWEEN b.block * 65536 AND b.block * 65536 + 65535 \
             LEFT JOIN content c ON i.place = 3 AND c.id = i.content \
             WHERE b.source = ?1 AND i.born <= ?2 \
             AND (i.place = 9 OR (i.content IS NOT NULL AND (i.place IN (3, 4) OR (i.place = 6 AND i.size > 16777216)))) \
             AND (i.place <> 4 OR (?3 OR i.size >= {SLOW_LINK_BYTES}) \
                  AND (SELECT CASE p.mode & 61440 WHEN 32768 THEN ?3 WHEN 40960 THEN i.size >= {SLOW_LINK_BYTES} END \
                       FROM perm p WHERE p.id = i.perm)) \
             AND NOT EXISTS (SELECT 1 FROM inode n WHERE n.node = i.node AND n.born > i.born AND n.born <= ?2)"
        );
        self.sql("reading the runs of files", |c| {
            let mut statement = c.prepare_cached(&sql)?;
            // Of a file whose bytes were in the log only, it is not known which runs they went to.
            let was_replayed: bool = c.query_row(
                "SELECT EXISTS (SELECT 1 FROM generation g JOIN disk_volume v ON v.generation = g.id \
                 WHERE g.source = ?1 AND g.taken_at = ?2 AND v.state = 'replayed')",
                [self.source.0, previous.0],
                |r| r.get(0),
            )?;
            let mut rows = statement.query(params![self.source.0, previous.0, was_replayed])?;
            while let Some(row) = rows.next()? {
                let version = NodeRow::read(row, 1)?;
                let stored: Option<Vec<u8>> = row.get(1 + NODE_COLUMN_COUNT)?;
                each(NodeId(row.get(0)?), version, map_of(&version, stored.as_deref())?);
            }
            Ok(())
        })
    }

    /// Returns the nodes of which the previous generation saw no name, and has those of the one before it; with their versions.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn previous_unknown(&self) -> Result<Vec<(NodeId, NodeRow)>, Error> {
        let (Some(previous), true) = (self.previous, self.base_has_doubts) else { return Ok(Vec::new()) };
        self.sql("reading what was not seen", |c| {
            let mut nodes = BTreeMap::new();
            for (dir, name) in doubt::kept_at(c, self.source, previous)? {
                if let Some(row) = tables::lookup(c, Slot { dir, name: &name }, previous)?
                    && let Some(version) = tables::version_at(c, row.node, previous)?
                {
                    nodes.insert(row.node, version);
                }
            }
            Ok(nodes.into_iter().collect())
        })
    }

    /// Tells whether anything was found amiss at `path` or below it as of the previous generation, or may have been, among those that are not
    /// listed.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn previous_findings_below(&self, path: &RelPath) -> Result<bool, Error> {
        let Some(previous) = self.previous else { return Ok(false) };
        let below = [path.as_bytes(), b"/"].concat();
        self.sql("reading what was found", |c| {
            c.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM finding WHERE source = ?1 AND at = ?2 \
                 AND (path = ?3 OR substr(path, 1, length(?4)) = ?4 OR (path = x'' AND substr(detail, -length(?5)) = ?5)))",
            )?
            .query_row(params![self.source.0, previous.0, path.as_bytes(), below, Finding::MORE_ENDING], |r| r.get(0))
        })
    }

    /// Returns which runs of the disk a version is; none of one that is not.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn map_of(&self, row: &NodeRow) -> Result<FileMap, Error> {
        self.sql("reading the runs of a file", |c| file_map(c, row)).map(Option::unwrap_or_default)
    }

    /// Returns the identity of `node`, if it has one.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn key_of(&self, node: NodeId) -> Result<Option<FileKey>, Error> {
        self.sql("finding out who a node is", |c| {
            c.prepare_cached("SELECT inode, born_ns FROM identity WHERE node = ?1 AND born_ns <> ?2")?
                .query_row([node.0, super::tables::NAMED], |r| {
                    Ok(FileKey { device: 0, inode: r.get::<_, i64>(0)? as u64, born_ns: r.get(1)? })
                })
                .optional()
        })
    }

    /// Returns the nodes that live as of the previous generation and have an inode number and a birth in these ranges, with their
    /// inode numbers.
    ///
    /// **Cost:** one query, and a seek for each node that ever had such a number.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn previous_nodes_of(
        &self,
        inodes: RangeInclusive<u64>,
        born: RangeInclusive<i64>,
    ) -> Result<Vec<(u64, NodeId)>, Error> {
        let Some(previous) = self.previous else { return Ok(Vec::new()) };
        self.sql("finding nodes by their inode numbers", |c| {
            let mut statement = c.prepare_cached(
                "SELECT i.inode, i.node FROM identity i \
                 WHERE i.source = ?1 AND i.inode BETWEEN ?2 AND ?3 AND i.born_ns BETWEEN ?4 AND ?5 \
                 AND EXISTS (SELECT 1 FROM dirent d INDEXED BY dirent_node \
                             WHERE d.node = i.node AND d.born <= ?6 AND d.died > ?6)",
            )?;
            let key =
                [self.source.0, *inodes.start() as i64, *inodes.end() as i64, *born.start(), *born.end(), previous.0];
            statement.query_map(key, |r| Ok((r.get::<_, i64>(0)? as u64, NodeId(r.get(1)?))))?.collect()
        })
    }

    /// Returns the nodes that had this inode number, with a birth in the range, in any generation.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn nodes_of_inode(&self, inode: u64, born: RangeInclusive<i64>) -> Result<Vec<NodeId>, Error> {
        self.sql("finding nodes by their inode number", |c| {
            let mut statement = c.prepare_cached(
                "SELECT node FROM identity WHERE source = ?1 AND inode = ?2 AND born_ns BETWEEN ?3 AND ?4",
            )?;
            let key = [self.source.0, inode as i64, *born.start(), *born.end()];
            statement.query_map(key, |r| r.get(0).map(NodeId))?.collect()
        })
    }
}

/// How long the runs of each class of the index `inode_run` are at most.
const RUN_CLASSES: [i64; 3] = [64 << 10, 1 << 20, 16 << 20];

/// A file with one run, written, from its first byte to its end or behind it.
fn is_whole(run: &Extent, size_bytes: u64) -> bool {
    // What lies behind the end (preallocated) is not told by this form; a directory or file that has it is stored as a map.
    run.offset == 0
        && !run.unwritten
        && run.length >= size_bytes
        && run.length - size_bytes < ROUNDING
        && size_bytes > 0
}

/// One run of a file ends with its last block; a block is not longer (`mkfs.ext4 -b`, `mkfs.xfs -b size=`).
const ROUNDING: u64 = 65_536;

fn file_map(c: &Connection, row: &NodeRow) -> rusqlite::Result<Option<FileMap>> {
    let stored: Option<Vec<u8>> = match row.place {
        Place::OnDisk(Some(id)) => {
            Some(c.prepare_cached("SELECT bytes FROM content WHERE id = ?1")?.query_row([id], |r| r.get(0))?)
        }
        Place::OnDisk(None) | Place::Run(_) => None,
        _ => return Ok(None),
    };
    map_of(row, stored.as_deref()).map(Some)
}

fn map_of(row: &NodeRow, stored: Option<&[u8]>) -> rusqlite::Result<FileMap> {
    match (row.place, stored) {
        (Place::Run(at), _) => {
            let extents = vec![Extent { offset: 0, at, length: row.size_bytes, unwritten: false }];
            Ok(FileMap { extents, rests_on: Vec::new() })
        }
        (_, Some(stored)) => FileMap::decode(stored).map_err(damaged),
        (_, None) => Ok(FileMap::default()),
    }
}

fn damaged(error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(error))
}

fn layers(c: &Connection, source: SourceId, at: Time) -> rusqlite::Result<Vec<Layer>> {
    let mut layers = Vec::new();
    let mut next = object_of(c, source, at)?.map(|object| (object, at));
    while let Some((object, at)) = next {
        let Some((layer, parent)) = layer(c, object)? else { return Ok(Vec::new()) };
        layers.push(layer);
        // A parent is older: so a chain ends.
        next = parent.filter(|(_, before)| *before < at);
    }
    Ok(layers)
}

/// Returns the object that was made last for the instant `at` of `source`, whether or not its generation is still there.
fn newest_object(c: &Connection, source: SourceId, at: Time) -> rusqlite::Result<i64> {
    c.prepare_cached("SELECT max(id) FROM object WHERE source = ?1 AND at = ?2")?
        .query_row([source.0, at.0], |r| r.get(0))
}

/// A layer, and the object below it with its instant.
type Stacked = (Layer, Option<(ObjectId, Time)>);

fn layer(c: &Connection, object: ObjectId) -> rusqlite::Result<Option<Stacked>> {
    let mut statement = c.prepare_cached(
        "SELECT o.size, p.id, p.at, l.extents, coalesce(q.sequence > g.sequence, 0) FROM object o JOIN disk_layer l ON l.object = o.id \
         LEFT JOIN object p ON p.id = o.parent LEFT JOIN generation g ON g.id = o.generation LEFT JOIN generation q ON q.id = p.generation \
         WHERE o.id = ?1",
    )?;
    let found = statement
        .query_row([object.0], |r| {
            let parent = r.get::<_, Option<i64>>(1)?.map(ObjectId).zip(r.get::<_, Option<i64>>(2)?.map(Time));
            Ok((r.get::<_, Option<i64>>(0)?, parent, r.get::<_, Vec<u8>>(3)?, r.get::<_, bool>(4)?))
        })
        .optional()?;
    // What is below it was told again since: what it was told to hold is of the disk as that was before.
    let Some((size_bytes, parent, extents, false)) = found else { return Ok(None) };
    let files = image_files(c, object)?;
    let size_bytes = size_bytes.map_or(GUEST_BYTES, |size| size as u64);
    let mut layer = Layer { size_bytes, files, extents: Vec::new() };
    layer.decode_extents(&extents).map_err(damaged)?;
    Ok(Some((layer, parent)))
}

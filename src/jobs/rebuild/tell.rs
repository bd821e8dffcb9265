//! One manifest is told to a catalog, edit by edit, as the indexer told it that wrote it.
//!
//! Promises: a generation is published whole or not at all; a manifest that does not go with what is there is an error that says what
//! does not, and the catalog is as before.

use super::manifest::{self, BytesAt, Edit, End, Header, Held, Put, Reader};
use crate::catalog::{
    self, GenerationWriter, NewGeneration, NodeRow, Place, Published, RestoredSource, SourceRow, Writer,
};
use crate::model::{
    Attrs, DiskRow, EntryName, FileKey, FileMap, Finding, Kind, NodeId, ObjectId, RelPath, escape_bytes,
};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What a value of SQLite can have at most (`SQLITE_MAX_LENGTH`).
const EXTENTS_BYTES_MAX: usize = 1_000_000_000;

/// Why a manifest was not told.
pub(super) enum Trouble {
    /// It does not go with what is there.
    Contradicts(String),
    /// The catalog cannot be written.
    Catalog(catalog::Error),
}

impl From<catalog::Error> for Trouble {
    fn from(e: catalog::Error) -> Self {
        match e {
            catalog::Error::Unproved { .. } => Self::Contradicts(crate::model::chain(&e)),
            e => Self::Catalog(e),
        }
    }
}

impl From<manifest::Error> for Trouble {
    /// It was read to its end before.
    fn from(e: manifest::Error) -> Self {
        Self::Contradicts(format!("it changed while it was read: {}", crate::model::chain(&e)))
    }
}

fn contradicts<T>(what: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Contradicts(what.into()))
}

/// Tells a manifest, and returns what its generation holds.
pub(super) fn tell(
    writer: &mut Writer,
    row: &SourceRow,
    restored: &RestoredSource,
    objects: &HashMap<u64, ObjectId>,
    (path, header, end): (&Path, &Header, &End),
    again: bool,
) -> Result<Published, Trouble> {
    let file = File::open(path).map_err(manifest::Error::Io)?;
    let mut reader = Reader::new(file)?;
    let (store, below) = copy_of(path, header)?;
    writer.set_next_numbers(row.id, header.number, header.sequence)?;
    let store = writer.store_at(&store)?;
    let (at, level, now) = (header.taken_at, header.level, header.indexed_at);
    let new = NewGeneration { source: row, at, level, copy: (store, &below), now, again };
    let generation = writer.begin(&new)?;
    let mut telling = Telling { generation, restored, objects, disk: None };
    match telling.all(&mut reader) {
        Ok(()) => {}
        Err(trouble) => {
            // The trouble that is told is the first one.
            let _ = telling.generation.abandon();
            return Err(trouble);
        }
    }
    let counts = end.counts;
    Ok(telling.generation.publish(counts.map(|counts| counts.entries), counts.map_or(0, |counts| counts.index_ms))?)
}

/// Returns the store of a copy and where it is below that.
fn copy_of(path: &Path, header: &Header) -> Result<(PathBuf, Vec<u8>), Trouble> {
    if let Some(copy) = &header.copy {
        return Ok((PathBuf::from(OsStr::from_bytes(&copy.store)), copy.path.clone()));
    }
    // In format 1 it lies beside the manifest and is called as it: STORE/SOURCE/INSTANT.
    let folder = path.parent().unwrap_or(Path::new(""));
    let (Some(store), Some(source)) = (folder.parent(), folder.file_name()) else {
        return contradicts("nothing says where its copy lies");
    };
    let below = Path::new(source).join(header.taken_at.view_name());
    Ok((store.to_owned(), below.into_os_string().as_bytes().to_vec()))
}

/// A generation that is being told.
struct Telling<'t, 'w> {
    generation: GenerationWriter<'w>,
    restored: &'t RestoredSource,
    objects: &'t HashMap<u64, ObjectId>,
    /// The layer, and the stored form of its extents as far as it came.
    disk: Option<(DiskRow, Vec<u8>)>,
}

impl Telling<'_, '_> {
    fn all(&mut self, reader: &mut Reader<File>) -> Result<(), Trouble> {
        while let Some(edit) = reader.next_edit()? {
            if !matches!(edit, Edit::Extents(_)) {
                self.hold()?;
            }
            self.edit(&edit)?;
        }
        self.hold()
    }

    /// Holds the layer whose extents are whole.
    fn hold(&mut self) -> Result<(), Trouble> {
        let Some((mut row, extents)) = self.disk.take() else { return Ok(()) };
        if let Err(e) = row.layer.decode_extents(&extents) {
            return contradicts(format!("the extents of its layer: {e}"));
        }
        Ok(self.generation.hold(&row)?)
    }

    fn node(&self, node: NodeId) -> Result<NodeId, Trouble> {
        match self.restored.node(node) {
            Some(node) => Ok(node),
            None => contradicts(format!("node {node} is none of its source")),
        }
    }

    fn edit(&mut self, edit: &Edit<'_>) -> Result<(), Trouble> {
        match *edit {
            Edit::Link { dir, name, node, kind } => {
                let (dir, node, name) = (self.node(dir)?, self.node(node)?, entry_name(name)?);
                if self.generation.lookup_current(dir, &name)?.is_some() {
                    return contradicts(format!("it gives the name {name:?} in directory {dir}, which is taken"));
                }
                Ok(self.generation.link(dir, &name, node, kind)?)
            }
            Edit::Unlink { dir, name } => {
                let (dir, name) = (self.node(dir)?, entry_name(name)?);
                match self.generation.unlink(dir, &name)? {
                    Some(_) => Ok(()),
                    None => contradicts(format!("it takes away the name {name:?} in directory {dir}, which is free")),
                }
            }
            Edit::Put(ref put) => self.put(put, false),
            Edit::Amend(ref put) => self.put(put, true),
            Edit::Define { dir, name, kind, node } => {
                let (dir, node, name) = (self.node(dir)?, self.node(node)?, entry_name(name)?);
                Ok(self.generation.define(dir, &name, kind, node)?)
            }
            Edit::Identify { node, inode, born_ns } => {
                let node = self.node(node)?;
                Ok(self.generation.identify(FileKey { device: 0, inode, born_ns }, node)?)
            }
            Edit::Doubt { node, .. } => {
                contradicts(format!("it has doubts of directory {node}, which this asof has not"))
            }
            Edit::Report { kind, path, detail } => {
                let Ok(path) = RelPath::parse(path) else {
                    return contradicts(format!("\"{}\" is no path", escape_bytes(path)));
                };
                Ok(self.generation.report(&Finding { kind, path, detail: detail.to_owned() })?)
            }
            Edit::Hold { row, .. } => {
                self.disk = Some((row.clone(), Vec::new()));
                Ok(())
            }
            Edit::Extents(piece) => match &mut self.disk {
                Some((_, extents)) if extents.len() + piece.len() <= EXTENTS_BYTES_MAX => {
                    extents.extend_from_slice(piece);
                    Ok(())
                }
                Some(_) => contradicts("its layer has more extents than a catalog can hold"),
                None => contradicts("it has extents of no layer"),
            },
            Edit::Volume { row, .. } => Ok(self.generation.add_volume(row)?),
            Edit::Walked(seen) => {
                self.generation.walked(seen);
                Ok(())
            }
            Edit::LeaveCtimes => {
                self.generation.leave_ctimes();
                Ok(())
            }
            Edit::Resume { scan, state } => Ok(self.generation.resume(scan, state)?),
        }
    }

    fn put(&mut self, put: &Put<'_>, again: bool) -> Result<(), Trouble> {
        let node = self.node(put.node)?;
        let base = self.generation.living(node)?;
        let (target, rdev) = match (Kind::from_mode(put.permissions.mode), put.at) {
            (Some(Kind::Symlink), BytesAt::Inline(target)) => (target.to_vec(), 0),
            (_, BytesAt::Device(number)) => (Vec::new(), number),
            _ => (Vec::new(), 0),
        };
        let attrs = Attrs {
            mode: put.permissions.mode,
            uid: put.permissions.uid,
            gid: put.permissions.gid,
            size_bytes: put.size_bytes,
            allocated_bytes: put.allocated_bytes,
            mtime: put.mtime,
            ctime: put.ctime,
            nlink: put.nlink,
            rdev,
            xattrs: put.permissions.xattrs.cloned().unwrap_or_default(),
            target,
        };
        // What it shares bytes with, so that these are kept once.
        let like = if again { self.generation.current_version(node)? } else { base };
        let row = self.generation.encode(&attrs, put.permissions.xattrs.is_none(), like.as_ref())?;
        let place = self.place(node, put, &row, like.as_ref())?;
        let row = NodeRow { place, bytes: put.bytes as i64, ..row };
        if again {
            return Ok(self.generation.amend(node, row)?);
        }
        self.generation.put(node, base.as_ref(), row, put.written)?;
        Ok(())
    }

    /// Returns where the bytes of a version are.
    fn place(&mut self, node: NodeId, put: &Put<'_>, row: &NodeRow, like: Option<&NodeRow>) -> Result<Place, Trouble> {
        Ok(match put.at {
            BytesAt::Nowhere => Place::None,
            BytesAt::OwnPath => Place::OwnPath,
            BytesAt::ThisCopy if self.generation.is_newest() => Place::InObject(self.generation.object()),
            BytesAt::ThisCopy => return contradicts("its bytes are in its own copy, and it is not the newest"),
            BytesAt::CopyOf { held, path } => {
                let object = match held {
                    Held::Sequence(sequence) => self.objects.get(&sequence).copied(),
                    Held::At(at) => self.generation.object_made_for(at)?,
                };
                let Some(object) = object else {
                    return contradicts(format!(
                        "it has bytes in the copy of another generation ({held:?}), which is not there"
                    ));
                };
                if !path.is_empty() {
                    let Ok(path) = RelPath::parse(path) else { return contradicts("a path is none") };
                    self.generation.pin(object, node, &path)?;
                }
                Place::InObject(object)
            }
            BytesAt::Map([]) => Place::OnDisk(None),
            BytesAt::Map(map) => match FileMap::decode(map) {
                Ok(map) => self.generation.place_on_disk(&map, put.size_bytes, like)?,
                Err(e) => return contradicts(format!("the runs of node {node}: {e}")),
            },
            BytesAt::Run(at) => Place::Run(at),
            BytesAt::WholeDisk => Place::WholeDisk,
            // The target of a link is there already.
            BytesAt::Inline(_) if matches!(row.place, Place::Inline(_)) => row.place,
            BytesAt::Inline(bytes) => self.generation.place_inline(bytes, like)?,
            BytesAt::Device(number) => Place::Device(number),
            BytesAt::Lost => Place::Lost,
        })
    }
}

fn entry_name(name: &[u8]) -> Result<EntryName, Trouble> {
    EntryName::new(name).or_else(|_| contradicts(format!("\"{}\" is no name", escape_bytes(name))))
}

//! A manifest is applied to a generation that is being written, edit by edit, as the indexer told it that wrote it.
//!
//! Promises: what does not go with what is there is an error that says what does not; then the generation is to be given up. Reads no
//! copy. Never begins or publishes a generation.

use crate::catalog::{self, GenerationWriter, NodeRow, Place, RestoredSource};
use crate::model::manifest::{self, BytesAt, Edit, End, Header, Held, Put, Reader, Written};
use crate::model::{
    Attrs, DiskRow, EntryName, FileKey, FileMap, Finding, Kind, NodeId, ObjectId, RelPath, Time, escape_bytes,
};
use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What a value of SQLite can have at most (`SQLITE_MAX_LENGTH`).
const EXTENTS_BYTES_MAX: usize = 1_000_000_000;

/// Why a manifest was not applied.
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

/// Returns the store of a copy and where it is below that.
pub(super) fn copy_of(path: &Path, header: &Header) -> Result<(PathBuf, Vec<u8>), Trouble> {
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

/// What holds the bytes that a manifest brought.
#[derive(Clone, Copy, Debug)]
pub(super) enum Holder {
    /// This.
    Object(ObjectId),
    /// What was made last for this instant: its generation is forgotten.
    MadeFor(Time),
}

/// How much of a manifest is applied.
#[derive(Clone, Copy)]
pub(super) enum Part<'p> {
    /// All of it.
    All,
    /// Names, nodes and who they are: of one that the generation counts from, directly or not.
    Tree {
        /// Nodes that a later manifest puts.
        put_later: &'p HashSet<NodeId>,
    },
}

/// A generation that manifests are applied to.
pub(super) struct Applying<'t, 'w> {
    generation: GenerationWriter<'w>,
    restored: &'t RestoredSource,
    /// Tells what holds the bytes of the manifest with a sequence.
    holder: &'t dyn Fn(u64) -> Option<Holder>,
    /// The sequence of the manifest that is being applied, and whether it is that of the generation itself.
    now: (u64, bool),
    /// Sequences of the manifests that are applied: what they brought is new to the generation before.
    sequences: BTreeSet<u64>,
    /// Nodes with bytes in an object that is not there.
    unheld: Vec<NodeId>,
    /// Whether anything is in doubt.
    has_doubts: bool,
    /// The highest node of which anything was told.
    highest: NodeId,
    /// The layer, and the stored form of its extents as far as it came.
    disk: Option<(DiskRow, Vec<u8>)>,
}

impl<'t, 'w> Applying<'t, 'w> {
    pub(super) fn new(
        generation: GenerationWriter<'w>,
        restored: &'t RestoredSource,
        holder: &'t dyn Fn(u64) -> Option<Holder>,
    ) -> Self {
        let highest = generation.root();
        Self {
            generation,
            restored,
            holder,
            now: (0, true),
            sequences: BTreeSet::new(),
            unheld: Vec::new(),
            has_doubts: false,
            highest,
            disk: None,
        }
    }

    /// Applies what `reader` reads.
    ///
    /// # Errors
    /// [`Trouble`]; then the generation is to be given up.
    pub(super) fn all(&mut self, reader: &mut Reader<File>, part: Part<'_>) -> Result<(), Trouble> {
        self.now = (reader.header().sequence, matches!(part, Part::All));
        self.sequences.insert(self.now.0);
        while let Some(edit) = reader.next_edit()? {
            if !matches!(edit, Edit::Extents(_)) {
                self.hold()?;
            }
            if let Part::Tree { put_later } = part
                && is_left_out(&edit, put_later)
            {
                continue;
            }
            self.edit(&edit)?;
        }
        self.hold()
    }

    /// Takes away every name, so that a manifest that tells everything can be applied.
    ///
    /// # Errors
    /// [`Trouble::Catalog`].
    pub(super) fn clear(&mut self) -> Result<(), Trouble> {
        let root = self.generation.root();
        let mut names = Vec::new();
        self.generation.list_previous(root, |entry| names.push(entry.name))?;
        for name in names {
            self.generation.unlink(root, &name)?;
        }
        Ok(self.generation.bury()?)
    }

    /// Returns how many entries were seen, if the end of the manifest that was applied last says so: where something is in doubt it
    /// counts what is kept as well.
    pub(super) fn walked(&self, end: &End) -> Option<u64> {
        end.counts.filter(|_| !self.has_doubts).map(|counts| counts.entries)
    }

    /// Returns the generation that it was applied to.
    pub(super) fn into_generation(self) -> GenerationWriter<'w> {
        self.generation
    }

    /// Fails if a file that is there has its bytes in an object that is not.
    ///
    /// # Errors
    /// [`Trouble`].
    pub(super) fn check_held(&self) -> Result<(), Trouble> {
        for node in &self.unheld {
            if self.generation.has_names(*node)? {
                return contradicts(format!("the copy that holds the bytes of node {node} is not in the catalog"));
            }
        }
        Ok(())
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
                if node > self.highest {
                    self.highest = node;
                    self.generation.renumbered(node);
                }
                Ok(self.generation.link(dir, &name, node, kind)?)
            }
            Edit::Unlink { dir, name } => {
                let (dir, name) = (self.node(dir)?, entry_name(name)?);
                match self.generation.unlink(dir, &name)? {
                    Some(_) => Ok(()),
                    // What was kept below a directory that turned out to be gone was taken away once more.
                    None if self.has_doubts => Ok(()),
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
            Edit::Doubt { node, subtree: true, .. } => {
                contradicts(format!("it has doubts of all below directory {node}, which this asof has not"))
            }
            Edit::Doubt { node, reason, .. } => {
                self.has_doubts = true;
                let node = self.node(node)?;
                Ok(self.generation.doubt(node, reason)?)
            }
            Edit::Saw { dir, name } => {
                let (dir, name) = (self.node(dir)?, entry_name(name)?);
                Ok(self.generation.saw_anyway(dir, &name)?)
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
        self.highest = self.highest.max(node);
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
        // What one of several manifests wrote is written, though the last one only changed attributes.
        let is_written = put.written == Written::No && self.sequences.len() > 1 && self.sequences.contains(&put.bytes);
        let written = if is_written { Written::Yes } else { put.written };
        self.generation.put(node, base.as_ref(), row, written)?;
        Ok(())
    }

    fn object_of(&self, sequence: u64) -> Result<Option<ObjectId>, Trouble> {
        Ok(match (self.holder)(sequence) {
            Some(Holder::Object(object)) => Some(object),
            Some(Holder::MadeFor(at)) => self.generation.object_made_for(at)?,
            None => None,
        })
    }

    /// Returns the object of the generation whose manifest is applied.
    fn own(&self) -> Result<Option<ObjectId>, Trouble> {
        match self.now {
            (_, true) => Ok(self.generation.has_object().then(|| self.generation.object())),
            (sequence, false) => self.object_of(sequence),
        }
    }

    /// Returns where the bytes of a version are.
    fn place(&mut self, node: NodeId, put: &Put<'_>, row: &NodeRow, like: Option<&NodeRow>) -> Result<Place, Trouble> {
        Ok(match put.at {
            BytesAt::Nowhere => Place::None,
            BytesAt::OwnPath => Place::OwnPath,
            BytesAt::ThisCopy => match self.own()? {
                Some(object) => Place::InObject(object),
                None if !self.now.1 => {
                    self.unheld.push(node);
                    Place::Lost
                }
                None => return contradicts("its bytes are in its own copy, and it is put in between others"),
            },
            BytesAt::CopyOf { held, path } => {
                let object = match held {
                    Held::Sequence(sequence) => self.object_of(sequence)?,
                    Held::At(at) => self.generation.object_made_for(at)?,
                };
                let Some(object) = object else {
                    if !self.now.1 {
                        self.unheld.push(node);
                        return Ok(Place::Lost);
                    }
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

/// Tells whether an edit is none of [`Part::Tree`].
fn is_left_out(edit: &Edit<'_>, put_later: &HashSet<NodeId>) -> bool {
    match edit {
        Edit::Put(put) | Edit::Amend(put) => put_later.contains(&put.node),
        Edit::Link { .. } | Edit::Unlink { .. } | Edit::Define { .. } | Edit::Identify { .. } => false,
        // Those of the generation itself are what is in doubt.
        Edit::Doubt { .. } | Edit::Saw { .. } => true,
        Edit::Report { .. }
        | Edit::Hold { .. }
        | Edit::Extents(_)
        | Edit::Volume { .. }
        | Edit::Walked(_)
        | Edit::LeaveCtimes
        | Edit::Resume { .. } => true,
    }
}

fn entry_name(name: &[u8]) -> Result<EntryName, Trouble> {
    EntryName::new(name).or_else(|_| contradicts(format!("\"{}\" is no name", escape_bytes(name))))
}

#[cfg(test)]
mod tests;

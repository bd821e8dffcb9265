//! What an indexer asks the catalog while it tells a generation: the base (the generation before), and what was told so far.
//!
//! Promises: each answer is a short read; no read transaction is held between two of them. The base does not move under an indexer: its
//! source is locked. Never writes.

use super::draft::Mode;
use super::listing::{DirEntry, each_entry};
use super::objects::{self, CopyRow, copies};
use super::parts::{perm, xattrs};
use super::paths::DEPTH_MAX;
use super::rows::{KindNumber, NodeRow, Place};
use super::tables::{self, Slot};
use super::{Error, GenerationWriter};
use crate::model::{Attrs, EntryName, FileKey, Kind, NodeId, ObjectId, RelPath, Time};
use rusqlite::{OptionalExtension, params};
use std::collections::HashSet;
use std::ops::ControlFlow;

impl GenerationWriter<'_> {
    /// Returns the top directory of the source.
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// Returns the object that holds the bytes of this generation; of one that takes the place of another, what holds those of that.
    ///
    /// # Panics
    /// If there is none yet ([`GenerationWriter::has_object`]).
    pub fn object(&self) -> ObjectId {
        self.object.expect("the newest generation has its object from the start")
    }

    /// Tells whether there is an object that holds its bytes: that of one which is put in between others is made at the end.
    pub fn has_object(&self) -> bool {
        self.object.is_some()
    }

    /// Returns the instant that `object` was made for, if it is there.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn object_at(&self, object: ObjectId) -> Result<Option<Time>, Error> {
        self.sql("reading an object", |c| Ok(objects::object(c, object)?.map(|row| row.at)))
    }

    /// Returns the instant of this generation.
    pub fn at(&self) -> Time {
        self.at
    }

    /// Returns the instant of the published generation before this one, the base of all comparisons.
    pub fn previous(&self) -> Option<Time> {
        self.previous
    }

    /// Returns the instant after this one, if a published generation lies there.
    pub fn next(&self) -> Option<Time> {
        self.next
    }

    /// Tells whether this is the newest generation of its source, and not one that takes the place of another.
    pub fn is_newest(&self) -> bool {
        matches!(self.mode, Mode::Append)
    }

    /// Tells whether a name leads to `node` now.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn has_names(&self, node: NodeId) -> Result<bool, Error> {
        Ok(!self.current_names(node)?.is_empty())
    }

    /// Tells whether the source has no other generation, nor one whose place this one takes.
    pub fn is_only(&self) -> bool {
        self.previous.is_none() && self.next.is_none() && !self.again
    }

    /// Returns the first copy of the previous generation, and the instant of that.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn previous_copy(&self) -> Result<Option<(Time, CopyRow)>, Error> {
        let Some(previous) = self.previous else { return Ok(None) };
        let copies = self.sql("finding copies", |c| copies(c, self.source, previous))?;
        Ok(copies.into_iter().next().map(|copy| (previous, copy)))
    }

    /// Calls `each` for every entry of `dir` as of the previous generation, in name order.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn list_previous(&self, dir: NodeId, each: impl FnMut(DirEntry)) -> Result<(), Error> {
        match self.previous {
            Some(previous) => self.list_at(dir, previous, each),
            None => Ok(()),
        }
    }

    fn list_at(&self, dir: NodeId, at: Time, mut each: impl FnMut(DirEntry)) -> Result<(), Error> {
        let unversioned = self.sql("listing a directory", |c| {
            let mut statement = c.prepare_cached(&self.list_sql)?;
            let mut rows = statement.query(params![dir.0, at.0, b"".as_slice(), i64::MAX])?;
            each_entry(&mut rows, |entry| {
                each(entry);
                ControlFlow::Continue(())
            })
        })?;
        unversioned.map_or(Ok(()), |entry| Err(entry.into_error(self.path, at)))
    }

    /// Returns the node that this name defines: the one that any generation, an earlier or a later one, has there, where the name was
    /// the first of the names of its file (in the order of the walk) and the type was this one. So who a name is depends on the tree
    /// alone, and not on the order in which generations are indexed.
    ///
    /// `base`: what the base has there of this type, and whether that has no other name.
    ///
    /// **Cost:** nothing where the base has a node with one name there, else two seeks or three.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn defined(
        &self,
        dir: NodeId,
        name: &EntryName,
        kind: Kind,
        base: Option<(NodeId, bool)>,
    ) -> Result<Option<NodeId>, Error> {
        match base {
            // Wherever a node is seen it has the name that defines it.
            Some((node, true)) if !self.base_has_doubts || kind == Kind::Directory => return Ok(Some(node)),
            None if self.is_only() => return Ok(None),
            _ => {}
        }
        let slot = Slot { dir, name: name.as_bytes() };
        let (source, kind) = (self.source, KindNumber(kind));
        self.sql("looking a name up in all generations", |c| {
            let key = tables::name_key(slot, kind);
            if let Some(node) = tables::defined(c, source, key)?
                && tables::had_ever(c, slot, node)?
            {
                return Ok(Some(node));
            }
            for node in tables::nodes_ever(c, slot, kind)? {
                // One that no name is written down for never had another.
                if !tables::is_defined(c, source, node)? {
                    return Ok(Some(node));
                }
            }
            Ok(None)
        })
    }

    /// Returns the version of `node` at the base, if it lives there: has a name, or is the top directory.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn living(&self, node: NodeId) -> Result<Option<NodeRow>, Error> {
        self.sql("reading attributes", |c| self.subject.living(c, node, self.previous))
    }

    /// Returns the version of `node` that its rows tell as of the previous generation, whether or not it has a name then.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn previous_version(&self, node: NodeId) -> Result<Option<NodeRow>, Error> {
        match self.previous {
            Some(previous) => self.sql("reading attributes", |c| tables::version_at(c, node, previous)),
            None => Ok(None),
        }
    }

    /// Returns the version of `node` as of this generation, as far as it was told.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn current_version(&self, node: NodeId) -> Result<Option<NodeRow>, Error> {
        match &self.mode {
            Mode::Append => self.sql("reading attributes", |c| tables::version_at(c, node, self.at)),
            Mode::Aside(draft) => match self.aside(draft.version(node))? {
                Some(row) => Ok(Some(row)),
                None => self.previous_version(node),
            },
        }
    }

    pub(super) fn aside<T>(&self, asked: rusqlite::Result<T>) -> Result<T, Error> {
        asked.map_err(|e| Error::sqlite("reading a generation that is kept aside", self.path, e))
    }

    /// Returns the node that had `key` in an earlier generation, where copies keep inode numbers.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn identified(&self, key: FileKey) -> Result<Option<NodeId>, Error> {
        if let Mode::Aside(draft) = &self.mode
            && let Some(node) = self.aside(draft.identified(key.inode as i64, key.born_ns))?
        {
            return Ok(Some(node));
        }
        self.sql("finding a node by its inode number", |c| {
            c.prepare_cached("SELECT node FROM identity WHERE source = ?1 AND inode = ?2 AND born_ns = ?3")?
                .query_row([self.source.0, key.inode as i64, key.born_ns], |r| r.get(0).map(NodeId))
                .optional()
        })
    }

    /// Tells whether it is known who `node` is ([`GenerationWriter::identify`]).
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn is_identified(&self, node: NodeId) -> Result<bool, Error> {
        self.sql("finding out who a node is", |c| {
            c.prepare_cached("SELECT EXISTS(SELECT 1 FROM identity WHERE node = ?1 AND born_ns <> ?2)")?
                .query_row([node.0, tables::NAMED], |r| r.get(0))
        })
    }

    /// Returns the type of `node`, by what was told of it last, else by its newest version.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn known_kind(&self, node: NodeId) -> Result<Option<Kind>, Error> {
        let told = match &self.mode {
            Mode::Aside(draft) => self.aside(draft.version(node))?,
            Mode::Append => None,
        };
        self.sql("reading the type of a node", |c| {
            if let Some(row) = told {
                return Ok(Kind::from_mode(perm(c, row.perm)?.mode));
            }
            let mode = c
                .prepare_cached(
                    "SELECT p.mode FROM inode i JOIN perm p ON p.id = i.perm WHERE i.node = ?1 ORDER BY i.born DESC LIMIT 1",
                )?
                .query_row([node.0], |r| r.get(0))
                .optional()?;
            Ok(mode.and_then(Kind::from_mode))
        })
    }

    /// Returns the type of a version.
    pub(super) fn kind_of(&self, row: &NodeRow) -> Result<Option<Kind>, Error> {
        self.sql("reading the type of a node", |c| Ok(Kind::from_mode(perm(c, row.perm)?.mode)))
    }

    /// Returns the names of `node` as of the previous generation: directory and name.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn previous_names(&self, node: NodeId) -> Result<Vec<(NodeId, EntryName)>, Error> {
        match self.previous {
            Some(previous) => self.names(node, previous),
            None => Ok(Vec::new()),
        }
    }

    /// Tells whether `node` has a name as of the previous generation.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn had_name(&self, node: NodeId) -> Result<bool, Error> {
        match self.previous {
            Some(previous) => self.sql("finding the names of a node", |c| tables::has_name_at(c, node, previous)),
            None => Ok(false),
        }
    }

    /// Tells whether `node` has a name as of this generation, as far as it was told.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn has_name(&self, node: NodeId) -> Result<bool, Error> {
        match &self.mode {
            Mode::Append => self.sql("finding the names of a node", |c| tables::has_name_at(c, node, self.at)),
            Mode::Aside(_) => Ok(!self.current_names(node)?.is_empty()),
        }
    }

    /// Returns the names of `node` as of this generation, as far as it was told.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn current_names(&self, node: NodeId) -> Result<Vec<(NodeId, EntryName)>, Error> {
        let Mode::Aside(draft) = &self.mode else { return self.names(node, self.at) };
        let mut names = self.aside(draft.names_of(node))?;
        for (dir, name) in self.previous_names(node)? {
            if self.aside(draft.pointed(dir, name.as_bytes()))?.is_none() {
                names.push((dir, name));
            }
        }
        names.sort();
        Ok(names)
    }

    fn names(&self, node: NodeId, at: Time) -> Result<Vec<(NodeId, EntryName)>, Error> {
        let names = self.sql("finding the names of a node", |c| tables::names_at(c, node, at))?;
        let checked = |name: &[u8]| EntryName::new(name).expect("a name was checked when it was written");
        Ok(names.into_iter().map(|(parent, name)| (NodeId(parent), checked(&name))).collect())
    }

    /// Returns what `name` in `dir` points to as of this generation, as far as it was told.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn lookup_current(&self, dir: NodeId, name: &EntryName) -> Result<Option<(NodeId, Kind)>, Error> {
        let slot = Slot { dir, name: name.as_bytes() };
        let at = match &self.mode {
            Mode::Append => Some(self.at),
            Mode::Aside(draft) => match self.aside(draft.pointed(dir, slot.name))? {
                Some(pointed) => return Ok(pointed.map(|(node, kind)| (node, kind.0))),
                None => self.previous,
            },
        };
        let Some(at) = at else { return Ok(None) };
        self.sql("looking a name up", |c| Ok(tables::lookup(c, slot, at)?.map(|row| (row.node, row.kind.0))))
    }

    /// Returns the names in `dir` as of this generation, as far as it was told, whether or not what they lead to is known.
    pub(super) fn names_in(&self, dir: NodeId) -> Result<Vec<EntryName>, Error> {
        let (at, aside) = match &self.mode {
            Mode::Append => (Some(self.at), Vec::new()),
            Mode::Aside(draft) => (self.previous, self.aside(draft.names_in(dir))?),
        };
        let rows = match at {
            Some(at) => self.sql("listing a directory", |c| tables::list_rows(c, dir, at))?,
            None => Vec::new(),
        };
        let mut names: std::collections::BTreeSet<EntryName> = rows.into_iter().map(|(name, _)| name).collect();
        for (name, pointed) in aside {
            match pointed {
                Some(_) => names.insert(name),
                None => names.remove(&name),
            };
        }
        Ok(names.into_iter().collect())
    }

    /// Calls `each` for every entry of `dir` as of this generation, as far as it was told, in name order.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn list_current(&self, dir: NodeId, mut each: impl FnMut(DirEntry)) -> Result<(), Error> {
        let Mode::Aside(draft) = &self.mode else { return self.list_at(dir, self.at, each) };
        let mut entries = std::collections::BTreeMap::new();
        self.list_previous(dir, |entry| drop(entries.insert(entry.name.clone(), entry)))?;
        for (name, pointed) in self.aside(draft.names_in(dir))? {
            match pointed {
                None => drop(entries.remove(&name)),
                Some((node, kind)) => {
                    // One that has no version yet is not listed, as in rows.
                    if let Some(row) = self.current_version(node)? {
                        entries.insert(name.clone(), DirEntry { name, node, kind: kind.0, row });
                    }
                }
            }
        }
        entries.into_values().for_each(&mut each);
        Ok(())
    }

    /// Returns the path of `node` as of this generation, as far as it was told; none if it has no name.
    ///
    /// **Cost:** one query a level.
    ///
    /// # Errors
    /// [`Error::Contradiction`] if directories form a loop.
    pub fn current_path(&self, node: NodeId) -> Result<Option<RelPath>, Error> {
        self.path_by(node, self.at, |node| self.current_names(node))
    }

    /// Returns the path of `node` as of the previous generation, the first one if it has several; none if it has no name then.
    ///
    /// **Cost:** one query a level.
    ///
    /// # Errors
    /// As [`GenerationWriter::current_path`].
    pub fn previous_path(&self, node: NodeId) -> Result<Option<RelPath>, Error> {
        self.path_by(node, self.previous.unwrap_or(self.at), |node| self.previous_names(node))
    }

    fn path_by(
        &self,
        node: NodeId,
        at: Time,
        names_of: impl Fn(NodeId) -> Result<Vec<(NodeId, EntryName)>, Error>,
    ) -> Result<Option<RelPath>, Error> {
        let mut names = Vec::new();
        let mut here = node;
        while here != self.root {
            let Some((parent, name)) = names_of(here)?.into_iter().next() else { return Ok(None) };
            if names.len() == DEPTH_MAX {
                let (path, what) = (self.path.to_owned(), "a loop among the directories");
                return Err(Error::Contradiction { path, what, node, at });
            }
            names.push(name);
            here = parent;
        }
        let mut path = RelPath::root();
        names.iter().rev().for_each(|name| path.push(name));
        Ok(Some(path))
    }

    /// Tells whether the directories above `node` lead back to it, as of this generation.
    ///
    /// **Cost:** one query a level.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn hangs_in_a_loop(&self, node: NodeId) -> Result<bool, Error> {
        let (mut here, mut passed) = (node, HashSet::new());
        while here != self.root && passed.insert(here) {
            let Some((parent, _)) = self.current_names(here)?.into_iter().next() else { return Ok(false) };
            here = parent;
        }
        Ok(here != self.root)
    }

    /// Returns the nodes whose bytes changed, or that were made, in generations after `since` up to this one, with the key
    /// of each; in the order of nodes.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn changed_since(&self, since: Time) -> Result<Vec<(NodeId, FileKey)>, Error> {
        self.sql("finding what changed", |c| {
            let mut statement = c.prepare_cached(
                "SELECT DISTINCT h.node, i.inode, i.born_ns FROM change h JOIN identity i INDEXED BY identity_node ON i.node = h.node \
                 WHERE h.source = ?1 AND h.at > ?2 AND h.op & 11 AND i.born_ns <> ?3 ORDER BY h.node",
            )?;
            let rows = statement.query_map([self.source.0, since.0, tables::NAMED], |r| {
                let key = FileKey { device: 0, inode: r.get::<_, i64>(1)? as u64, born_ns: r.get(2)? };
                Ok((NodeId(r.get(0)?), key))
            })?;
            rows.collect()
        })
    }

    /// Returns the attributes of a version; a symlink without its target.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn decode(&self, row: &NodeRow) -> Result<Attrs, Error> {
        let (perm, xattrs) = self.sql("reading rights", |c| {
            let perm = perm(c, row.perm)?;
            Ok((perm, xattrs(c, perm.xattr)?))
        })?;
        Ok(Attrs {
            mode: perm.mode,
            uid: perm.uid,
            gid: perm.gid,
            size_bytes: row.size_bytes,
            allocated_bytes: row.allocated_bytes,
            mtime: row.mtime,
            ctime: row.ctime,
            nlink: row.nlink,
            rdev: if let Place::Device(number) = row.place { number } else { 0 },
            xattrs,
            target: Vec::new(),
        })
    }
}

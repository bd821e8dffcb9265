//! What one generation did, told row by row before it is published: names closed and opened, versions written.
//!
//! Promises: applied to the generation before it, in the order told, the rows give this generation; a first generation is
//! told whole. Nothing is collected. Cost: what the generation wrote.

use super::rows::{KindNumber, NODE_COLUMNS};
use super::{Error, GenerationWriter, NodeRow, Perm, reader};
use crate::model::{FileKey, Kind, NodeId, XattrSet};
use rusqlite::OptionalExtension;
use rusqlite::params;

/// One thing that a generation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A name points to nothing any more.
    Closed {
        /// The directory.
        parent: NodeId,
        /// The name.
        name: Vec<u8>,
    },
    /// A name points to a node.
    Opened {
        /// The directory.
        parent: NodeId,
        /// The name.
        name: Vec<u8>,
        /// The node.
        node: NodeId,
        /// Its type.
        kind: Kind,
    },
    /// A node has these attributes.
    Version {
        /// The node.
        node: NodeId,
        /// Who it is in the source, where the source gives its files an identity.
        key: Option<FileKey>,
        /// Size, times, link count, and where the bytes are.
        row: NodeRow,
        /// Owner and rights.
        perm: Perm,
        /// Extended attributes.
        xattrs: XattrSet,
        /// The target of a symbolic link.
        target: Option<Vec<u8>>,
    },
}

/// What ends the telling: SQLite, or whoever is told.
#[derive(Debug)]
pub enum TellError<E> {
    /// SQLite.
    Catalog(Error),
    /// Whoever is told.
    Told(E),
}

const CLOSED: &str =
    "SELECT parent, name FROM dirent INDEXED BY dirent_node WHERE node = ?1 AND died = ?2 ORDER BY parent, name";
const OPENED: &str =
    "SELECT parent, name, kind FROM dirent INDEXED BY dirent_node WHERE node = ?1 AND born = ?2 ORDER BY parent, name";

impl GenerationWriter<'_> {
    /// Calls `each` for all that this generation did so far: what was closed, what was opened, what was written; in the
    /// order of nodes within each.
    ///
    /// # Errors
    /// [`TellError`].
    pub fn tell<E>(&self, mut each: impl FnMut(Deed) -> Result<(), E>) -> Result<(), TellError<E>> {
        for step in [Step::Close, Step::Open, Step::Write] {
            self.tell_step(step, &mut each)?;
        }
        Ok(())
    }

    fn tell_step<E>(&self, step: Step, each: &mut impl FnMut(Deed) -> Result<(), E>) -> Result<(), TellError<E>> {
        let (c, at) = (self.connection, self.at);
        let fail = |e| TellError::Catalog(Error::sqlite("telling what a generation did", self.path, e));
        // A first generation has no changes: all of its source's nodes are told.
        let nodes = match self.previous {
            Some(_) => "SELECT node FROM change WHERE source = ?1 AND at = ?2 ORDER BY node",
            None => {
                "SELECT i.node FROM node_block b CROSS JOIN inode i ON i.node BETWEEN b.block * 65536 AND b.block * 65536 + 65535 \
                 WHERE b.source = ?1 AND i.born = ?2 ORDER BY b.block, i.node"
            }
        };
        let mut statement = c.prepare_cached(nodes).map_err(fail)?;
        let mut rows = statement.query([self.source.0, at.0]).map_err(fail)?;
        while let Some(row) = rows.next().map_err(fail)? {
            let node = NodeId(row.get(0).map_err(fail)?);
            let deeds = match step {
                Step::Close => self.closed(node),
                Step::Open => self.opened(node),
                Step::Write => self.written(node),
            };
            for deed in deeds.map_err(fail)? {
                each(deed).map_err(TellError::Told)?;
            }
        }
        Ok(())
    }

    fn closed(&self, node: NodeId) -> rusqlite::Result<Vec<Deed>> {
        let mut statement = self.connection.prepare_cached(CLOSED)?;
        let rows = statement
            .query_map([node.0, self.at.0], |r| Ok(Deed::Closed { parent: NodeId(r.get(0)?), name: r.get(1)? }))?;
        rows.collect()
    }

    fn opened(&self, node: NodeId) -> rusqlite::Result<Vec<Deed>> {
        let mut statement = self.connection.prepare_cached(OPENED)?;
        let rows = statement.query_map([node.0, self.at.0], |r| {
            Ok(Deed::Opened { parent: NodeId(r.get(0)?), name: r.get(1)?, node, kind: r.get::<_, KindNumber>(2)?.0 })
        })?;
        rows.collect()
    }

    fn written(&self, node: NodeId) -> rusqlite::Result<Vec<Deed>> {
        let c = self.connection;
        let row = c
            .prepare_cached(&format!("SELECT {NODE_COLUMNS} FROM inode i WHERE i.node = ?1 AND i.born = ?2"))?
            .query_row([node.0, self.at.0], |r| NodeRow::read(r, 0))
            .optional()?;
        let Some(row) = row else { return Ok(Vec::new()) };
        let perm = reader::perm(c, row.perm)?;
        let key = c
            .prepare_cached(
                "SELECT inode, born_ns FROM identity INDEXED BY identity_node WHERE node = ?1 AND source = ?2 AND born_ns <> ?3",
            )?
            .query_row([node.0, self.source.0, super::tables::NAMED], |r| {
                Ok(FileKey { device: 0, inode: r.get::<_, i64>(0)? as u64, born_ns: r.get(1)? })
            })
            .optional()?;
        let target = match row.place {
            super::Place::Inline(id) => Some(
                c.prepare_cached("SELECT bytes FROM content WHERE id = ?1")?.query_row(params![id], |r| r.get(0))?,
            ),
            _ => None,
        };
        Ok(vec![Deed::Version { node, key, row, perm, xattrs: reader::xattrs(c, perm.xattr)?, target }])
    }
}

#[derive(Clone, Copy)]
enum Step {
    Close,
    Open,
    Write,
}

//! What a generation saw, and what it has as the generation before has it, since a directory could not be listed; and paths, which go by
//! names that were seen if there are any.
//!
//! Promises: where nothing in the catalog is in doubt nothing is asked about it.

use super::objects::ObjectRow;
use super::paths::DEPTH_MAX;
use super::{Error, Reader, kept};
use crate::model::{EntryName, Level, NodeId, ObjectId, RelPath, Scan, SourceId, Time};
use rusqlite::OptionalExtension;

impl Reader {
    /// Tells whether `name` in `dir` is one that the generation at `at` did not see, and has of the one before it. No query where
    /// there is none such in the catalog.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn is_kept(&self, dir: NodeId, name: &[u8], at: Time) -> Result<bool, Error> {
        if !self.has_kept()? {
            return Ok(false);
        }
        self.run("reading what is unknown", |connection| kept::is_kept(connection, dir, name, at))
    }

    /// Returns up to `max` of the names of `node` that the generation at `at` saw; of all that it has, if it saw none of them.
    ///
    /// Where nothing in the catalog is in doubt it reads no more than `max` of them: a file may have 60,000.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn seen_names(&self, node: NodeId, at: Time, max: usize) -> Result<Vec<(NodeId, EntryName)>, Error> {
        if !self.has_kept()? {
            return self.first_names(node, at, max);
        }
        let mut names = self.names(node, at)?;
        let mut seen = Vec::new();
        for (dir, name) in &names {
            if seen.len() == max {
                break;
            }
            if !self.is_kept(*dir, name.as_bytes(), at)? {
                seen.push((*dir, name.clone()));
            }
        }
        names.truncate(max);
        Ok(if seen.is_empty() { names } else { seen })
    }

    /// Tells whether the generation at `at` saw none of the names of `node`, and has it as the one before it has.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn is_unknown(&self, node: NodeId, at: Time) -> Result<bool, Error> {
        if !self.has_kept()? {
            return Ok(false);
        }
        let names = self.names(node, at)?;
        for (dir, name) in &names {
            if !self.is_kept(*dir, name.as_bytes(), at)? {
                return Ok(false);
            }
        }
        Ok(!names.is_empty())
    }

    /// Returns the instant of the newest generation of `source` up to `at` that saw `node`, which has a name at `at`.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn last_seen(&self, source: SourceId, node: NodeId, at: Time) -> Result<Time, Error> {
        if !self.is_unknown(node, at)? {
            return Ok(at);
        }
        self.run("finding who saw a node", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT g.taken_at FROM generation g WHERE g.source = ?1 AND g.status = 'published' AND g.taken_at < ?3 \
                 AND EXISTS (SELECT 1 FROM dirent d INDEXED BY dirent_node \
                              WHERE d.node = ?2 AND d.born <= g.taken_at AND d.died > g.taken_at \
                                AND NOT EXISTS (SELECT 1 FROM kept k WHERE k.parent = d.parent AND k.name = d.name \
                                                   AND k.born <= g.taken_at AND k.died > g.taken_at)) \
                 ORDER BY g.taken_at DESC LIMIT 1",
            )?;
            let seen = statement.query_row([source.0, node.0, at.0], |r| r.get(0).map(Time)).optional()?;
            Ok(seen.unwrap_or(at))
        })
    }

    /// Returns how the generation of `source` at `at` found out what it holds: its level, and the scan; no scan: a whole copy was walked, or a
    /// disk read. None if there is no such generation.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn how_seen(&self, source: SourceId, at: Time) -> Result<Option<(Level, Option<Scan>)>, Error> {
        self.run("asking how a generation was made", |connection| {
            let sql = "SELECT level, scan FROM generation WHERE source = ?1 AND taken_at = ?2 AND status = 'published'";
            connection
                .prepare_cached(sql)?
                .query_row([source.0, at.0], |row| {
                    let (level, scan): (String, Option<String>) = (row.get(0)?, row.get(1)?);
                    let unknown = || rusqlite::Error::InvalidQuery;
                    let scan = scan.map(|word| Scan::from_word(&word).ok_or_else(unknown)).transpose()?;
                    Ok((Level::from_word(&level).ok_or_else(unknown)?, scan))
                })
                .optional()
        })
    }

    /// Returns the path of `node` below `root` as of `at`: one query a level. For a hard link the path of one
    /// of its names, one that was seen if there is one. None if it has no name then.
    ///
    /// # Errors
    /// [`Error::Contradiction`] if directories form a loop.
    pub fn path_of(&self, root: NodeId, node: NodeId, at: Time) -> Result<Option<RelPath>, Error> {
        let mut names = Vec::new();
        let mut here = node;
        while here != root {
            let Some((parent, name)) = self.seen_names(here, at, 1)?.into_iter().next() else {
                return Ok(None);
            };
            if names.len() == DEPTH_MAX {
                return Err(self.contradiction("a loop among the directories", node, at));
            }
            names.push(name);
            here = parent;
        }
        let mut path = RelPath::root();
        names.iter().rev().for_each(|name| path.push(name));
        Ok(Some(path))
    }

    /// Returns where the bytes of `node` lie in `object`: at the path that is written down, or else at the node's path as of the
    /// object's generation; none if neither is known.
    ///
    /// # Errors
    /// As [`Reader::path_of`].
    pub fn path_in(&self, object: ObjectId, root: NodeId, node: NodeId) -> Result<Option<RelPath>, Error> {
        match (self.pinned(object, node)?, self.object(object)?) {
            (Some(path), _) => Ok(Some(path)),
            (None, Some(ObjectRow { at, has_generation: true, .. })) => self.path_of(root, node, at),
            (None, _) => Ok(None),
        }
    }
}

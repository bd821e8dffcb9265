//! Sources and stores: added, changed, removed.
//!
//! Promises: a source that is added, changed or removed is so in one transaction; what is removed leaves no row. Ids and blocks of
//! node numbers are never given out again. Never touches a file of a backup.

use super::numbers::check_node;
use super::rows::check_source_name;
use super::tables::{self, BLOCK_BITS, next_block};
use super::writer::Writer;
use super::{CopyRow, Error, objects};
use crate::model::{Rule, SourceId, SourceKind, StoreId, Time};
use rusqlite::{OptionalExtension, params};
use std::path::Path;

/// A source to be added.
#[derive(Clone, Debug)]
pub struct NewSource<'a> {
    /// Its directory name in every view.
    pub name: &'a str,
    /// Its kind.
    pub kind: SourceKind,
    /// JSON that its kind understands.
    pub settings: &'a str,
    /// When two of its versions are the same.
    pub rule: Rule,
    /// Now.
    pub added_at: Time,
}

/// The newest published generation of a source, for the one that comes after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Its instant.
    pub at: Time,
    /// What it left for the next one ([`super::GenerationWriter::resume`]).
    pub state: Option<String>,
    /// Names in it.
    pub entries: u64,
    /// Bytes of its regular files.
    pub size_bytes: u64,
}

impl Writer {
    /// Adds a source and returns its id.
    ///
    /// # Errors
    /// [`Error::SourceName`], [`Error::SourceExists`], [`Error::Sqlite`].
    pub fn add_source(&mut self, new: &NewSource<'_>) -> Result<SourceId, Error> {
        check_source_name(new.name)?;
        let taken = self.sql("adding a source", |c| {
            c.query_row("SELECT EXISTS(SELECT 1 FROM source WHERE name = ?1)", [new.name], |r| r.get::<_, bool>(0))
        })?;
        if taken {
            return Err(Error::SourceExists { name: new.name.to_owned() });
        }
        let next = self.sql("adding a source", next_block)?;
        check_node(&self.path, next << BLOCK_BITS)?;
        self.change("adding a source", |c| {
            let block = next_block(c)?;
            let root = block << BLOCK_BITS;
            c.execute(
                "INSERT INTO source(uuid, name, kind, settings, rule, by_inode, root, next_node, added_at) \
                     VALUES (randomblob(16), ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    new.name,
                    new.kind.word(),
                    new.settings,
                    new.rule.key.word(),
                    new.rule.by_inode,
                    root,
                    root + 1,
                    new.added_at.0
                ],
            )?;
            let id = c.last_insert_rowid();
            c.execute("INSERT INTO node_block(block, source) VALUES (?1, ?2)", [block, id])?;
            Ok(SourceId(id))
        })
    }

    /// Replaces the settings of a source.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn set_settings(&mut self, source: SourceId, settings: &str) -> Result<(), Error> {
        self.change("changing a source", |c| {
            c.execute("UPDATE source SET settings = ?2 WHERE id = ?1", params![source.0, settings]).map(drop)
        })
    }

    /// Replaces what is wanted of a source and no kind of source reads.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn set_policy(&mut self, source: SourceId, policy: &str) -> Result<(), Error> {
        self.change("changing a source", |c| {
            c.execute("UPDATE source SET policy = ?2 WHERE id = ?1", params![source.0, policy]).map(drop)
        })
    }

    /// Replaces the rule of a source that has no generation.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn set_rule(&mut self, source: SourceId, rule: Rule) -> Result<(), Error> {
        self.change("changing a source", |c| {
            c.execute(
                "UPDATE source SET rule = ?2, by_inode = ?3 WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM generation WHERE source = ?1)",
                params![source.0, rule.key.word(), rule.by_inode],
            )
            .map(drop)
        })
    }

    /// Forgets a source and all its generations; their copies are not touched.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn remove_source(&mut self, source: SourceId) -> Result<(), Error> {
        self.check_unspent()?;
        self.change("removing a source", |c| {
            tables::delete_tree(c, source)?;
            for table in ["identity", "change", "finding", "pin"] {
                c.execute(&format!("DELETE FROM {table} WHERE source = ?1"), [source.0])?;
            }
            for table in ["object_path", "disk_layer", "disk_file", "copy"] {
                c.execute(
                    &format!("DELETE FROM {table} WHERE object IN (SELECT id FROM object WHERE source = ?1)"),
                    [source.0],
                )?;
            }
            c.execute("DELETE FROM object WHERE source = ?1", [source.0])?;
            c.execute(
                "DELETE FROM disk_volume WHERE generation IN (SELECT id FROM generation WHERE source = ?1)",
                [source.0],
            )?;
            c.execute("DELETE FROM generation WHERE source = ?1", [source.0])?;
            c.execute("DELETE FROM instant_fork WHERE at NOT IN (SELECT taken_at FROM generation)", [])?;
            // Its node numbers are not given out again.
            c.execute("DELETE FROM node_block WHERE source = ?1", [source.0])?;
            c.execute("DELETE FROM source WHERE id = ?1", [source.0]).map(drop)
        })
    }

    /// Returns the store at the absolute directory `path`, adding it if it is new.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn store_at(&mut self, path: &Path) -> Result<StoreId, Error> {
        self.change("adding a store", |c| objects::store_at(c, path))
    }

    /// Returns the newest published generation of `source`, and where it says that the next one goes on.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn resume(&self, source: SourceId) -> Result<Option<Resume>, Error> {
        self.sql("finding where a source goes on", |c| {
            c.query_row(
                "SELECT taken_at, resume, entries, size_bytes FROM generation \
                 WHERE source = ?1 AND status = 'published' ORDER BY taken_at DESC LIMIT 1",
                [source.0],
                |r| {
                    Ok(Resume {
                        at: Time(r.get(0)?),
                        state: r.get(1)?,
                        entries: r.get::<_, Option<i64>>(2)?.unwrap_or(0) as u64,
                        size_bytes: r.get::<_, Option<i64>>(3)?.unwrap_or(0) as u64,
                    })
                },
            )
            .optional()
        })
    }

    /// Returns the instants of the published generations of `source`, oldest first.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn instants(&self, source: SourceId) -> Result<Vec<Time>, Error> {
        self.sql("listing generations", |c| {
            let mut statement = c.prepare_cached(
                "SELECT taken_at FROM generation WHERE source = ?1 AND status = 'published' ORDER BY taken_at",
            )?;
            statement.query_map([source.0], |r| r.get(0).map(Time))?.collect()
        })
    }

    /// Returns the copies of the generation of `source` at `at`, in the order in which they were added.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn copies(&self, source: SourceId, at: Time) -> Result<Vec<CopyRow>, Error> {
        self.sql("finding copies", |c| objects::copies(c, source, at))
    }
}

//! Making a catalog again: sources and generations that keep the numbers that they had in another one.
//!
//! Promises: numbers are kept where nobody in this catalog has them; else a source's blocks of node numbers become other ones, each
//! block as a whole. Nothing else is different about a generation that is told again: it is begun, told and published as any other.

use super::generation::{Writer, next_block};
use super::numbers::NODE_BITS;
use super::sources::check_source_name;
use super::tables::{self, BLOCK_BITS};
use super::{Error, GenerationWriter};
use crate::model::manifest::SourceFacts;
use crate::model::{NodeId, ObjectId, RelPath, SourceId, Time};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;

/// A source that was added again, and what became of its node numbers.
#[derive(Clone, Debug)]
pub struct RestoredSource {
    /// Its row.
    pub id: SourceId,
    /// Blocks that it had, and what they are here.
    blocks: BTreeMap<i64, i64>,
}

impl RestoredSource {
    /// Returns what a node of the source is here, if its block was named.
    pub fn node(&self, node: NodeId) -> Option<NodeId> {
        let block = self.blocks.get(&Self::block_of(node))?;
        Some(NodeId(block << BLOCK_BITS | node.0 & ((1 << BLOCK_BITS) - 1)))
    }

    /// Tells whether all node numbers are those that it had.
    pub fn keeps_numbers(&self) -> bool {
        self.blocks.iter().all(|(was, is)| was == is)
    }

    /// Returns the block of a node, for [`Writer::restore_source`].
    pub fn block_of(node: NodeId) -> i64 {
        node.0 >> BLOCK_BITS
    }
}

impl Writer {
    /// Adds a source with the UUID that it had, under `name`, with these blocks of node numbers; that of its top directory must be
    /// among them.
    ///
    /// # Errors
    /// [`Error::SourceName`], [`Error::SourceExists`], [`Error::Sqlite`].
    pub fn restore_source(
        &mut self,
        name: &str,
        uuid: &[u8; 16],
        facts: &SourceFacts,
        blocks: &[i64],
    ) -> Result<RestoredSource, Error> {
        check_source_name(name)?;
        let doing = "adding a source";
        let taken = self.sql(doing, |c| {
            c.query_row("SELECT EXISTS(SELECT 1 FROM source WHERE name = ?1)", [name], |r| r.get::<_, bool>(0))
        })?;
        if taken {
            return Err(Error::SourceExists { name: name.to_owned() });
        }
        self.change(doing, |c| {
            c.execute(
                "INSERT INTO source(uuid, name, kind, settings, policy, rule, by_inode, root, next_node, added_at) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0, ?8)",
                params![
                    &uuid[..],
                    name,
                    facts.kind.word(),
                    facts.settings,
                    facts.policy,
                    facts.rule.key.word(),
                    facts.rule.by_inode,
                    facts.added_at.0
                ],
            )?;
            let id = SourceId(c.last_insert_rowid());
            let mut restored = RestoredSource { id, blocks: BTreeMap::new() };
            for block in blocks {
                restored.blocks.insert(*block, claim_block(c, id, *block)?);
            }
            let root = restored.node(facts.root).ok_or(rusqlite::Error::InvalidQuery)?;
            c.execute("UPDATE source SET root = ?2, next_node = ?2 + 1 WHERE id = ?1", [id.0, root.0])?;
            Ok(restored)
        })
    }

    /// Makes the next generation of `source` have these numbers.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn set_next_numbers(&mut self, source: SourceId, number: u64, sequence: u64) -> Result<(), Error> {
        self.change("numbering generations", |c| {
            c.execute(
                "UPDATE source SET last_number = ?2 - 1, last_sequence = ?3 - 1 WHERE id = ?1",
                [source.0, number as i64, sequence as i64],
            )
            .map(drop)
        })
    }

    /// Makes what `source` gives out next follow on all that it has, and on these numbers: they were given out as well.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn end_restore(&mut self, source: SourceId, number: u64, sequence: u64) -> Result<(), Error> {
        self.change("numbering generations", |c| {
            let newest: i64 = c.query_row(
                "SELECT max(s.root, coalesce((SELECT max(i.node) FROM inode i \
                 WHERE i.node BETWEEN b.block * 65536 AND b.block * 65536 + 65535), b.block * 65536)) \
                 FROM source s JOIN node_block b ON b.source = s.id WHERE s.id = ?1 ORDER BY b.block DESC LIMIT 1",
                [source.0],
                |r| r.get(0),
            )?;
            c.execute(
                "UPDATE source SET last_number = ?2, last_sequence = ?3, next_node = ?4 + 1 WHERE id = ?1",
                [source.0, number as i64, sequence as i64, newest],
            )
            .map(drop)
        })
    }
}

/// Gives a source the block `wanted`, or the next one if somebody has that.
fn claim_block(c: &Connection, source: SourceId, wanted: i64) -> rusqlite::Result<i64> {
    let known: Option<i64> =
        c.query_row("SELECT source FROM node_block WHERE block = ?1", [wanted], |r| r.get(0)).optional()?;
    // Block 0 is never used, and numbers of nodes end.
    let can_be = (1..1 << (NODE_BITS - BLOCK_BITS)).contains(&wanted);
    let block = if known.is_some() || !can_be { next_block(c)? } else { wanted };
    c.execute("INSERT INTO node_block(block, source) VALUES (?1, ?2)", [block, source.0])?;
    Ok(block)
}

impl GenerationWriter<'_> {
    /// Returns the object that was made last for the instant `at`, if there is one.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn object_made_for(&self, at: Time) -> Result<Option<ObjectId>, Error> {
        self.sql("finding an object", |c| {
            let id: Option<i64> = c
                .prepare_cached("SELECT max(id) FROM object WHERE source = ?1 AND at = ?2")?
                .query_row([self.source.0, at.0], |r| r.get(0))?;
            Ok(id.map(ObjectId))
        })
    }

    /// Records that the bytes of `node` are at `path` in `object`, unless the object's generation can be asked for that.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn pin(&mut self, object: ObjectId, node: NodeId, path: &RelPath) -> Result<(), Error> {
        self.write("recording a path in an object", |c| {
            let is_forgotten: bool = c
                .prepare_cached(
                    "SELECT NOT EXISTS(SELECT 1 FROM object o JOIN generation g ON g.id = o.generation WHERE o.id = ?1)",
                )?
                .query_row([object.0], |r| r.get(0))?;
            if is_forgotten { tables::pin_path(c, object, node, path.as_bytes()) } else { Ok(()) }
        })
    }
}

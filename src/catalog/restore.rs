//! Making a catalog again: sources and generations that keep the numbers that they had in another one.
//!
//! Promises: a source keeps its node numbers where nobody in this catalog has one of their blocks; else all its blocks become other
//! ones, in the same order. Nothing else is different about a generation that is told again: it is begun, told and published as any
//! other.

use super::numbers::NODE_BITS;
use super::rows::check_source_name;
use super::tables::{self, BLOCK_BITS, next_block};
use super::writer::Writer;
use super::{Error, GenerationWriter, SourceRow};
use crate::model::manifest::SourceFacts;
use crate::model::{NodeId, ObjectId, RelPath, SourceId, Time};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeMap, BTreeSet};

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

/// A generation that a catalog has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownGeneration {
    /// Its instant.
    pub at: Time,
    /// Its number among those of its source.
    pub number: u64,
    /// The sequence of its manifest.
    pub sequence: u64,
    /// When it was indexed.
    pub indexed_at: Time,
    /// What holds its bytes.
    pub object: ObjectId,
}

/// What a catalog has of a source already.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its generations, oldest first.
    pub generations: Vec<KnownGeneration>,
    /// The highest sequence that was given out.
    pub last_sequence: u64,
    /// The highest number that was given out.
    pub last_number: u64,
    /// Its blocks of node numbers, in order.
    pub blocks: Vec<i64>,
}

impl Writer {
    /// Adds a source under `name`, with these blocks of node numbers; that of its top directory must be among them. `uuids`: the one that
    /// it had, for when it keeps these numbers, and the one that it gets with others.
    ///
    /// # Errors
    /// [`Error::SourceName`], [`Error::SourceExists`], [`Error::Sqlite`].
    pub fn restore_source(
        &mut self,
        name: &str,
        uuids: (&[u8; 16], &[u8; 16]),
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
            let wanted: BTreeSet<i64> = blocks.iter().copied().collect();
            let free = wanted.iter().map(|block| is_free(c, *block)).collect::<rusqlite::Result<Vec<bool>>>()?;
            let keeps = free.into_iter().all(|free| free);
            let uuid = if keeps { uuids.0 } else { uuids.1 };
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
            for block in wanted {
                let here = if keeps { block } else { next_block(c)? };
                claim_block(c, id, here)?;
                restored.blocks.insert(block, here);
            }
            let root = restored.node(facts.root).ok_or(rusqlite::Error::InvalidQuery)?;
            c.execute("UPDATE source SET root = ?2, next_node = ?2 + 1 WHERE id = ?1", [id.0, root.0])?;
            Ok(restored)
        })
    }

    /// Returns the source with these facts that the catalog has already, as one whose nodes are called as in manifests; none if a block
    /// of their numbers belongs to another source here. `was`: the blocks that the manifests name.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn resume_source(&mut self, source: &SourceRow, was: &[i64]) -> Result<Option<RestoredSource>, Error> {
        let (id, wanted) = (source.id, was.iter().copied().collect::<BTreeSet<i64>>());
        self.change("adding a source", |c| {
            for block in &wanted {
                let owner: Option<i64> =
                    c.query_row("SELECT source FROM node_block WHERE block = ?1", [block], |r| r.get(0)).optional()?;
                match owner {
                    Some(owner) if owner == id.0 => {}
                    None if is_free(c, *block)? => claim_block(c, id, *block)?,
                    _ => return Ok(None),
                }
            }
            Ok(Some(RestoredSource { id, blocks: wanted.iter().map(|block| (*block, *block)).collect() }))
        })
    }

    /// Returns a source that was added with other node numbers, if all blocks that the manifests name were added then.
    pub fn resume_renumbered(&self, source: &SourceRow, was: &[i64], known: &Known) -> Option<RestoredSource> {
        let wanted: BTreeSet<i64> = was.iter().copied().collect();
        let is_all = wanted.len() == known.blocks.len();
        is_all.then(|| RestoredSource { id: source.id, blocks: wanted.into_iter().zip(known.blocks.clone()).collect() })
    }

    /// Returns what the catalog has of a source.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn known(&self, source: SourceId) -> Result<Known, Error> {
        self.sql("reading a source", |c| {
            let mut statement = c.prepare(
                "SELECT g.taken_at, g.number, g.sequence, o.id, g.indexed_at FROM generation g JOIN object o ON o.generation = g.id \
                 WHERE g.source = ?1 AND g.status = 'published' ORDER BY g.taken_at",
            )?;
            let read = |r: &rusqlite::Row<'_>| {
                let (number, sequence) = (r.get::<_, i64>(1)? as u64, r.get::<_, i64>(2)? as u64);
                let (object, indexed_at) = (ObjectId(r.get(3)?), Time(r.get(4)?));
                Ok(KnownGeneration { at: Time(r.get(0)?), number, sequence, indexed_at, object })
            };
            let generations = statement.query_map([source.0], read)?.collect::<rusqlite::Result<_>>()?;
            let mut statement = c.prepare("SELECT block FROM node_block WHERE source = ?1 ORDER BY block")?;
            let blocks = statement.query_map([source.0], |r| r.get(0))?.collect::<rusqlite::Result<_>>()?;
            c.query_row("SELECT last_sequence, last_number FROM source WHERE id = ?1", [source.0], |r| {
                let (last_sequence, last_number) = (r.get::<_, i64>(0)? as u64, r.get::<_, i64>(1)? as u64);
                Ok(Known { generations, last_sequence, last_number, blocks })
            })
        })
    }

    /// Returns the state hash of a generation, if it was counted.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn state_of(&self, source: SourceId, at: Time) -> Result<Option<[u8; 32]>, Error> {
        self.sql("reading a state", |c| {
            let sql = "SELECT state_hash FROM generation WHERE source = ?1 AND taken_at = ?2";
            Ok(c.query_row(sql, [source.0, at.0], |r| r.get(0)).optional()?.flatten())
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

    /// Makes what `source` gives out next follow on all that it has, and on these numbers, the last one that of a node: they were given
    /// out as well.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn end_restore(&mut self, source: SourceId, (number, sequence): (u64, u64), node: NodeId) -> Result<(), Error> {
        self.change("numbering generations", |c| {
            let newest: i64 = c.query_row(
                "SELECT max(s.root, coalesce((SELECT max(i.node) FROM inode i \
                 WHERE i.node BETWEEN b.block * 65536 AND b.block * 65536 + 65535), b.block * 65536)) \
                 FROM source s JOIN node_block b ON b.source = s.id WHERE s.id = ?1 ORDER BY b.block DESC LIMIT 1",
                [source.0],
                |r| r.get(0),
            )?;
            c.execute(
                "UPDATE source SET last_number = ?2, last_sequence = ?3, next_node = max(next_node, ?4 + 1) WHERE id = ?1",
                [source.0, number as i64, sequence as i64, newest.max(node.0)],
            )
            .map(drop)
        })
    }
}

/// Tells whether a block of node numbers can be given to a source.
fn is_free(c: &Connection, block: i64) -> rusqlite::Result<bool> {
    let known: bool = c.query_row("SELECT EXISTS(SELECT 1 FROM node_block WHERE block = ?1)", [block], |r| r.get(0))?;
    // Block 0 is never used, and numbers of nodes end.
    Ok(!known && (1..1 << (NODE_BITS - BLOCK_BITS)).contains(&block))
}

fn claim_block(c: &Connection, source: SourceId, block: i64) -> rusqlite::Result<()> {
    c.execute("INSERT INTO node_block(block, source) VALUES (?1, ?2)", [block, source.0]).map(drop)
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

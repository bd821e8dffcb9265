//! Which sources and generations there are, and what was found amiss in one, as the command line lists them.
//!
//! Promises: only published generations are listed; each list is one query.

use super::rows::read_rule;
use super::{Error, Reader, SourceRow};
use crate::model::{GenerationId, NodeId, SourceId, Time};

/// A row of `generation`, as the command line shows it.
#[derive(Clone, Debug)]
pub struct GenerationRow {
    /// Its row id.
    pub id: GenerationId,
    /// Its source.
    pub source: SourceId,
    /// Its instant.
    pub taken_at: Time,
    /// `full` or `incremental`.
    pub level: String,
    /// Whether its bytes were there when they were last looked at: `available`, `degraded`, `unreachable`, `gone`.
    pub status: String,
    /// When that was: RFC 3339; none: not since it was indexed.
    pub looked_at: Option<String>,
    /// When it was indexed.
    pub indexed_at: Time,
    /// How long that took, in milliseconds.
    pub index_ms: i64,
    /// Names in it.
    pub entries: i64,
    /// Bytes of its regular files.
    pub size_bytes: i64,
    /// Nodes that differ from the generation before.
    pub changed_nodes: i64,
    /// Findings that make it partial.
    pub losses: i64,
    /// Other findings.
    pub notices: i64,
}

impl Reader {
    /// Returns all sources, by name.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn sources(&self) -> Result<Vec<SourceRow>, Error> {
        self.run("listing sources", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, name, kind, settings, root, added_at, rule, by_inode, policy, uuid FROM source ORDER BY name",
            )?;
            statement
                .query_map([], |row| {
                    Ok(SourceRow {
                        id: SourceId(row.get(0)?),
                        name: row.get(1)?,
                        kind: row.get(2)?,
                        settings: row.get(3)?,
                        policy: row.get(8)?,
                        uuid: row.get_ref(9)?.as_blob()?.try_into().ok(),
                        root: NodeId(row.get(4)?),
                        added_at: Time(row.get(5)?),
                        rule: read_rule(row, 6)?,
                    })
                })?
                .collect()
        })
    }

    /// Returns the source called `name`.
    ///
    /// # Errors
    /// [`Error::NoSuchSource`] with the names that there are.
    pub fn source(&self, name: &str) -> Result<SourceRow, Error> {
        let all = self.sources()?;
        match all.iter().find(|s| s.name == name) {
            Some(source) => Ok(source.clone()),
            None => {
                let known = all.into_iter().map(|s| s.name).collect();
                Err(Error::NoSuchSource { name: name.to_owned(), known })
            }
        }
    }

    /// Returns the published generations of `source`, oldest first.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn generations(&self, source: SourceId) -> Result<Vec<GenerationRow>, Error> {
        self.run("listing generations", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT g.id, g.source, g.taken_at, g.level, v.status, g.indexed_at, g.index_ms, g.entries, g.size_bytes, \
                 g.changed_nodes, g.losses, g.notices, v.looked_at \
                 FROM generation g JOIN source s ON s.id = g.source JOIN generations v ON v.source = s.name AND v.taken_at_unix = g.taken_at \
                 WHERE g.source = ?1 AND g.status = 'published' ORDER BY g.taken_at",
            )?;
            statement
                .query_map([source.0], |row| {
                    Ok(GenerationRow {
                        id: GenerationId(row.get(0)?),
                        source: SourceId(row.get(1)?),
                        taken_at: Time(row.get(2)?),
                        level: row.get(3)?,
                        status: row.get(4)?,
                        indexed_at: Time(row.get::<_, Option<i64>>(5)?.unwrap_or(0)),
                        index_ms: row.get::<_, Option<i64>>(6)?.unwrap_or(0),
                        entries: row.get::<_, Option<i64>>(7)?.unwrap_or(0),
                        size_bytes: row.get::<_, Option<i64>>(8)?.unwrap_or(0),
                        changed_nodes: row.get::<_, Option<i64>>(9)?.unwrap_or(0),
                        losses: row.get::<_, Option<i64>>(10)?.unwrap_or(0),
                        notices: row.get::<_, Option<i64>>(11)?.unwrap_or(0),
                        looked_at: row.get(12)?,
                    })
                })?
                .collect()
        })
    }

    /// Returns what was found amiss while the generation of `source` at `at` was indexed: kind, path, detail.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn findings(&self, source: SourceId, at: Time) -> Result<Vec<(String, Vec<u8>, String)>, Error> {
        self.run("listing findings", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT kind, path, detail FROM finding WHERE source = ?1 AND at = ?2 ORDER BY number",
            )?;
            statement.query_map([source.0, at.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
        })
    }
}

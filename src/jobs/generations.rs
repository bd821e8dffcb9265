//! `generations`: what generations there are, as the catalog has them.
//!
//! Promises: the form that `--json` prints. Nothing is looked at but the catalog: what a status says was seen when it says.

use super::report::When;
use crate::catalog::{self, Reader};
use serde::Serialize;

/// A generation in a list of them.
#[derive(Clone, Debug, Serialize)]
pub struct Generation {
    /// The source.
    pub source: String,
    /// Its instant.
    #[serde(flatten)]
    pub when: When,
    /// `full` or `incremental`.
    pub level: String,
    /// Whether its bytes were there when they were last looked at: `available`, `degraded`, `unreachable`, `gone`.
    pub status: String,
    /// When that was (RFC 3339); none: not since it was indexed.
    pub looked_at: Option<String>,
    /// Whether something of the source is missing in it.
    pub partial: bool,
    /// Names in it.
    pub entries: i64,
    /// Bytes of its regular files.
    pub size_bytes: i64,
    /// Nodes that differ from the generation before.
    pub changed: i64,
    /// Findings that make it partial.
    pub losses: i64,
    /// Other findings.
    pub notices: i64,
    /// When it was indexed (RFC 3339).
    pub indexed_at: String,
    /// How long that took.
    pub index_ms: i64,
}

/// Returns the generations of the source of this name, or of all, by the name of the source and oldest first.
///
/// # Errors
/// [`catalog::Error::NoSuchSource`] and others of reading.
pub fn generations(reader: &Reader, name: Option<&str>) -> Result<Vec<Generation>, catalog::Error> {
    let sources = match name {
        Some(name) => vec![reader.source(name)?],
        None => reader.sources()?,
    };
    let mut all = Vec::new();
    for source in sources {
        all.extend(reader.generations(source.id)?.into_iter().map(|row| Generation {
            source: source.name.clone(),
            when: When(row.taken_at),
            level: row.level,
            status: row.status,
            looked_at: row.looked_at,
            partial: row.losses > 0,
            entries: row.entries,
            size_bytes: row.size_bytes,
            changed: row.changed_nodes,
            losses: row.losses,
            notices: row.notices,
            indexed_at: row.indexed_at.to_string(),
            index_ms: row.index_ms,
        }));
    }
    Ok(all)
}

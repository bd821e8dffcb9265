//! How a file came to be what it is: its versions over time, through renames, or those of whatever had a name.
//!
//! Promises: a version is a distinct content or set of attributes under one path; two that follow each other directly differ, by the rule
//! of the source or in their path, whatever the rows say. Costs a seek a level of the path, and the rows of the node: nothing else of the
//! source is read. Of a file with several names the path is the one that was asked for while it has that, else the one that it had
//! before, else the first (bytewise).

use super::fields::{Fields, fields};
use super::places::{Led, led, paths_ever, unseen};
use super::scope::Scope;
use crate::catalog::notes::{differ, differ_across};
use crate::catalog::rows::{ChangeOps, NODE_COLUMNS, NodeRow};
use crate::catalog::timeline::{common, union};
use crate::catalog::{Error, Reader};
use crate::model::{Kind, NodeId, RelPath, Time};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

/// How a version began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Began {
    /// It is there in the oldest generation; since when before that nobody knows.
    Oldest,
    /// It is the first, and the generation before has none.
    Appeared,
    /// It had been gone in between.
    Back,
    /// The version before is another one, or had another path.
    Changed,
    /// Another file has the name.
    Replaced,
}

impl Began {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Oldest => "oldest",
            Self::Appeared => "appeared",
            Self::Back => "back",
            Self::Changed => "changed",
            Self::Replaced => "replaced",
        }
    }
}

/// How a version ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is there in the newest generation.
    Newest,
    /// Another version follows, in this generation.
    Changes(Time),
    /// This generation is the first without it.
    Gone(Time),
}

impl End {
    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Changes(_) => "changed",
            Self::Gone(_) => "gone",
        }
    }

    /// Returns the first generation after the version.
    pub fn until(self) -> Option<Time> {
        match self {
            Self::Newest => None,
            Self::Changes(at) | Self::Gone(at) => Some(at),
        }
    }
}

/// A version of a file.
#[derive(Clone, Debug)]
pub struct Version {
    /// The file.
    pub node: NodeId,
    /// Its type.
    pub kind: Kind,
    /// Its path.
    pub path: RelPath,
    /// The first generation that has it.
    pub since: Time,
    /// How it ends.
    pub end: End,
    /// How it began.
    pub began: Began,
    /// What differs from the version before, if that was there right before it.
    pub fields: Fields,
    /// Whether the bytes are among that.
    pub has_other_content: bool,
    /// The path of the version before, if it is another one.
    pub renamed_from: Option<RelPath>,
    /// In how many of the generations that have it nobody saw it.
    pub unseen: usize,
    /// The version.
    pub row: NodeRow,
}

/// What a path led to over a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    /// The node.
    pub node: NodeId,
    /// Its type.
    pub kind: Kind,
    /// The first generation in which the path leads there.
    pub since: Time,
    /// The first generation in which it does no more; none: it does in the newest.
    pub until: Option<Time>,
}

impl Stay {
    pub(super) fn of(scope: &Scope, led: Led) -> Self {
        let (since, until) = (scope.at(led.span.start), scope.end(&led.span));
        Self { node: led.node, kind: led.kind, since, until }
    }
}

/// A version under one path, as the rows say.
struct Piece {
    span: Range<usize>,
    node: NodeId,
    kind: Kind,
    path: Vec<u8>,
    row: NodeRow,
}

impl Reader {
    /// Returns what `path` led to, in the order of time; empty if it never led anywhere. A seek a level.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn stays(&self, scope: &Scope, path: &RelPath) -> Result<Vec<Stay>, Error> {
        let stays = self.run("following a path", |c| led(c, scope, path))?;
        Ok(stays.into_iter().map(|led| Stay::of(scope, led)).collect())
    }

    /// Returns the directories that `path` was in at any time, each once; empty if it has no name. A seek a level.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn dirs_of(&self, scope: &Scope, path: &RelPath) -> Result<Vec<NodeId>, Error> {
        self.run("following a path", |c| {
            let bytes = path.as_bytes();
            let above = bytes.iter().rposition(|byte| *byte == b'/').map_or(&bytes[..0], |slash| &bytes[..slash]);
            let led = led(c, scope, &path_of(above)?)?;
            let mut dirs: Vec<NodeId> =
                led.into_iter().filter(|led| led.kind == Kind::Directory).map(|led| led.node).collect();
            dirs.sort_unstable();
            dirs.dedup();
            Ok(dirs)
        })
    }

    /// Returns the versions of a node, the oldest first; `asked` is the path under which it was found.
    ///
    /// # Errors
    /// [`Error::Contradiction`] if a name has no version or no path; [`Error::Sqlite`] if SQLite fails.
    pub fn story(&self, scope: &Scope, (node, kind): (NodeId, Kind), asked: &RelPath) -> Result<Vec<Version>, Error> {
        let is_doubted = self.has_kept()?;
        let told = self.run("reading the history of a file", |c| {
            let Some(pieces) = pieces_of(c, scope, (node, kind), asked.as_bytes())? else { return Ok(None) };
            tell(c, scope, pieces, is_doubted).map(Some)
        })?;
        told.ok_or_else(|| self.contradiction("no version or no path", node, scope.at(0)))
    }

    /// Returns the versions of whatever `path` led to, the oldest first.
    ///
    /// # Errors
    /// As [`Reader::story`].
    pub fn story_of_name(&self, scope: &Scope, path: &RelPath) -> Result<Vec<Version>, Error> {
        let is_doubted = self.has_kept()?;
        let told = self.run("reading the history of a name", |c| {
            let mut pieces = Vec::new();
            for led in led(c, scope, path)? {
                let versions = versions_ever(c, scope, led.node)?;
                let covered = versions.iter().map(|(span, _)| common(span, &led.span)).filter(|span| !span.is_empty());
                if union(covered.collect()) != [led.span.clone()] {
                    return Ok(Err(led.node));
                }
                pieces.extend(versions.into_iter().filter_map(|(span, row)| {
                    let span = common(&span, &led.span);
                    let path = path.as_bytes().to_vec();
                    (!span.is_empty()).then_some(Piece { span, node: led.node, kind: led.kind, path, row })
                }));
            }
            tell(c, scope, pieces, is_doubted).map(Ok)
        })?;
        told.map_err(|node| self.contradiction("no version", node, scope.at(0)))
    }
}

pub(super) fn versions_sql() -> String {
    format!("SELECT {NODE_COLUMNS} FROM inode i WHERE i.node = ?1 ORDER BY i.born")
}

/// Returns the versions of a node, each with the places at which it holds, or would if the node lived.
pub(super) fn versions_ever(
    c: &Connection,
    scope: &Scope,
    node: NodeId,
) -> rusqlite::Result<Vec<(Range<usize>, NodeRow)>> {
    let mut statement = c.prepare_cached(&versions_sql())?;
    let rows: Vec<NodeRow> = statement.query_map([node.0], |row| NodeRow::read(row, 0))?.collect::<Result<_, _>>()?;
    let ends = rows.iter().skip(1).map(|row| row.born).chain([i64::MAX]);
    let spans: Vec<Range<usize>> = rows.iter().zip(ends).map(|(row, end)| scope.span(row.born, end)).collect();
    Ok(spans.into_iter().zip(rows).filter(|(span, _)| !span.is_empty()).collect())
}

/// Returns the versions of a node under its paths, in the order of time; none where it has a name and no version, or no path.
fn pieces_of(
    c: &Connection,
    scope: &Scope,
    (node, kind): (NodeId, Kind),
    asked: &[u8],
) -> rusqlite::Result<Option<Vec<Piece>>> {
    let versions = versions_ever(c, scope, node)?;
    let mut paths: BTreeMap<Vec<u8>, Vec<Range<usize>>> = BTreeMap::new();
    for (span, path) in paths_ever(c, scope, node)? {
        paths.entry(path).or_default().push(span);
    }
    let life = union(paths.values().flatten().cloned().collect());
    let mut turns: Vec<usize> = paths.values().flatten().flat_map(|span| [span.start, span.end]).collect();
    turns.extend(versions.iter().map(|(span, _)| span.start));
    turns.sort_unstable();
    turns.dedup();
    let holds =
        |path: &[u8], place: usize| paths.get(path).is_some_and(|spans| spans.iter().any(|span| span.contains(&place)));
    let mut pieces: Vec<Piece> = Vec::new();
    for (here, next) in turns.iter().zip(turns.iter().skip(1)) {
        if !life.iter().any(|span| span.contains(here)) {
            continue;
        }
        let before = pieces.last().map(|piece| piece.path.as_slice());
        let path = [Some(asked), before].into_iter().flatten().find(|path| holds(path, *here));
        let path = path.or_else(|| paths.keys().map(Vec::as_slice).find(|path| holds(path, *here)));
        let version = versions.iter().rev().find(|(span, _)| span.start <= *here);
        let (Some(path), Some((_, row))) = (path, version) else { return Ok(None) };
        pieces.push(Piece { span: *here..*next, node, kind, path: path.to_vec(), row: *row });
    }
    Ok(Some(pieces))
}

/// Joins pieces that say the same, and says how each of the others came about.
fn tell(c: &Connection, scope: &Scope, pieces: Vec<Piece>, is_doubted: bool) -> rusqlite::Result<Vec<Version>> {
    let rule = scope.source.rule;
    let mut told: Vec<(Version, Range<usize>)> = Vec::new();
    for piece in pieces {
        let mut version = Version {
            node: piece.node,
            kind: piece.kind,
            path: path_of(&piece.path)?,
            since: scope.at(piece.span.start),
            end: scope.end(&piece.span).map_or(End::Newest, End::Gone),
            began: if piece.span.start == 0 { Began::Oldest } else { Began::Appeared },
            fields: Fields::default(),
            has_other_content: false,
            renamed_from: None,
            unseen: 0,
            row: piece.row,
        };
        if let Some((before, span)) = told.last_mut() {
            let is_adjacent = span.end == piece.span.start;
            let is_same_node = before.node == piece.node;
            let ops = match is_same_node {
                true => differ(c, piece.node, &before.row, &piece.row, rule)?,
                false => differ_across(c, (before.node, &before.row), (piece.node, &piece.row), rule)?,
            };
            if is_adjacent && ops.is_empty() && before.path == version.path {
                span.end = piece.span.end;
                before.end = version.end;
                continue;
            }
            if is_adjacent {
                before.end = End::Changes(version.since);
                version.began = if is_same_node { Began::Changed } else { Began::Replaced };
                version.fields = fields(c, &before.row, &piece.row, ops, rule.by_inode && is_same_node)?;
                version.has_other_content = ops.has(ChangeOps::CONTENT);
                version.renamed_from = (before.path != version.path).then(|| before.path.clone());
            } else {
                version.began = Began::Back;
            }
        }
        told.push((version, piece.span));
    }
    if is_doubted {
        let mut unseen_of: BTreeMap<NodeId, Vec<bool>> = BTreeMap::new();
        for (version, span) in &mut told {
            let unseen = match unseen_of.entry(version.node) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(unseen(c, scope, version.node)?),
            };
            version.unseen = unseen.get(span.clone()).map_or(0, |marks| marks.iter().filter(|mark| **mark).count());
        }
    }
    Ok(told.into_iter().map(|(version, _)| version).collect())
}

/// Returns names of rows, joined, as a path.
pub(super) fn path_of(bytes: &[u8]) -> rusqlite::Result<RelPath> {
    RelPath::parse(bytes).map_err(|_| rusqlite::Error::InvalidQuery)
}

//! Names over all time: what a directory ever had in it, what is gone since an instant, what changed since one.
//!
//! Promises: a directory is one range of its names, whatever died there; what is gone or changed is found by notes, and costs what the
//! generations since then changed.

use super::places::{Led, PathsAt, leads_to, led, led_below, paths_ever};
use super::scope::Scope;
use super::story::{Stay, path_of, versions_ever};
use crate::catalog::rows::{KindNumber, NodeRow, checked_name};
use crate::catalog::timeline::common;
use crate::catalog::{Error, Reader};
use crate::model::{EntryName, Kind, NodeId, RelPath, Time};
use foldhash::{HashMap, HashMapExt};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

pub(super) const CHILDREN: &str =
    "SELECT name, node, kind, born, died FROM dirent WHERE parent = ?1 AND name > ?2 ORDER BY name, born";
pub(super) const PERMS: &str = "SELECT perm, born FROM inode WHERE node = ?1 ORDER BY born";
pub(super) const GONE: &str =
    "SELECT parent, name, kind, died FROM dirent INDEXED BY dirent_node WHERE node = ?1 AND died > ?2 AND died <= ?3";
pub(super) const LIVING: &str =
    "SELECT parent, name, kind FROM dirent INDEXED BY dirent_node WHERE node = ?1 AND born <= ?2 AND died > ?2";

/// A path and what it leads to, or led to.
#[derive(Clone, Debug)]
pub struct Found {
    /// The path.
    pub path: RelPath,
    /// The node.
    pub node: NodeId,
    /// Its type.
    pub kind: Kind,
    /// The last generation that has it there.
    pub last: Time,
    /// The first one after that, which has not; none: the newest has it.
    pub gone_in: Option<Time>,
}

impl Scope {
    fn span_of(&self, stay: &Stay) -> Range<usize> {
        self.place(stay.since)..stay.until.map_or(self.len(), |until| self.place(until))
    }
}

impl Reader {
    /// Returns the names that were ever in directories while paths led there, in order (bytewise), each with what it led to.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn list_ever(&self, scope: &Scope, dirs: &[Stay]) -> Result<Vec<(EntryName, Vec<Stay>)>, Error> {
        self.list_ever_after(scope, dirs, None, usize::MAX)
    }

    /// Returns up to `max` of those names, the first ones after `after`. Reads no more names of each directory than that.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn list_ever_after(
        &self,
        scope: &Scope,
        dirs: &[Stay],
        after: Option<&EntryName>,
        max: usize,
    ) -> Result<Vec<(EntryName, Vec<Stay>)>, Error> {
        self.run("listing a directory over time", |c| {
            let mut names: BTreeMap<Vec<u8>, Vec<Led>> = BTreeMap::new();
            for dir in dirs.iter().filter(|dir| dir.kind == Kind::Directory) {
                let life = scope.span_of(dir);
                let mut statement = c.prepare_cached(CHILDREN)?;
                // No name is empty, so the empty name comes before all.
                let after = after.map_or(&b""[..], EntryName::as_bytes);
                let mut rows = statement.query(rusqlite::params![dir.node.0, after])?;
                let (mut last, mut count): (Vec<u8>, usize) = (Vec::new(), 0);
                while let Some(row) = rows.next()? {
                    let span = common(&life, &scope.span(row.get(3)?, row.get(4)?));
                    if span.is_empty() {
                        continue;
                    }
                    let name = row.get_ref(0)?.as_blob()?;
                    if last != name {
                        if count == max {
                            break;
                        }
                        count += 1;
                        last = name.to_vec();
                    }
                    let KindNumber(kind) = row.get(2)?;
                    let led = Led { span, node: NodeId(row.get(1)?), kind };
                    names.entry(name.to_vec()).or_default().push(led);
                }
            }
            let stays = |mut led: Vec<Led>| {
                led.sort_unstable_by_key(|led| led.span.start);
                led.into_iter().map(|led| Stay::of(scope, led)).collect()
            };
            names.into_iter().take(max).map(|(name, led)| Ok((checked_name(&name)?, stays(led)))).collect()
        })
    }

    /// Returns all paths that names ever had which are, or were, in one of these directories, and which `fits`; each once.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn paths_named(
        &self,
        scope: &Scope,
        dirs: &[NodeId],
        fits: &dyn Fn(&[u8]) -> bool,
    ) -> Result<BTreeSet<RelPath>, Error> {
        self.run("finding names over time", |c| {
            let mut found = BTreeSet::new();
            for dir in dirs {
                let mut statement = c.prepare_cached(CHILDREN)?;
                let (mut rows, mut names) = (statement.query(rusqlite::params![dir.0, b"".as_slice()])?, Vec::new());
                while let Some(row) = rows.next()? {
                    let span = scope.span(row.get(3)?, row.get(4)?);
                    let name = row.get_ref(0)?.as_blob()?;
                    if !span.is_empty() && fits(name) {
                        names.push((checked_name(name)?, span));
                    }
                }
                if names.is_empty() {
                    continue;
                }
                for (life, above) in paths_ever(c, scope, *dir)? {
                    let above = path_of(&above)?;
                    let here = names.iter().filter(|(_, span)| !common(&life, span).is_empty());
                    found.extend(here.map(|(name, _)| above.join(name)));
                }
            }
            Ok(found)
        })
    }

    /// Returns what `name` led to in directories while paths led there, in the order of time. A seek a directory.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn stays_below(&self, scope: &Scope, dirs: &[Stay], name: &[u8]) -> Result<Vec<Stay>, Error> {
        let dirs: Vec<Led> =
            dirs.iter().map(|dir| Led { span: scope.span_of(dir), node: dir.node, kind: dir.kind }).collect();
        let found = self.run("following a name", |c| led_below(c, scope, &dirs, name))?;
        Ok(found.into_iter().map(|led| Stay::of(scope, led)).collect())
    }

    /// Returns the rights (rows of `perm`) that a node had while a path led to it, each once. Reads a number for each version of the node.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn perms_in(&self, scope: &Scope, stay: &Stay) -> Result<BTreeSet<i64>, Error> {
        let life = scope.span_of(stay);
        self.run("reading rights over time", |c| {
            let mut statement = c.prepare_cached(PERMS)?;
            let rows: Vec<(i64, i64)> =
                statement.query_map([stay.node.0], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
            let ends = rows.iter().skip(1).map(|(_, born)| *born).chain([i64::MAX]);
            let of_life =
                rows.iter().zip(ends).filter(|((_, born), end)| !common(&scope.span(*born, *end), &life).is_empty());
            Ok(of_life.map(|((perm, _), _)| *perm).collect())
        })
    }

    /// Returns the last generation that has `path` before it was gone, the latest time that it was; none if it never was.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn last_before_deletion(&self, scope: &Scope, path: &RelPath) -> Result<Option<Time>, Error> {
        let led = self.run("following a path", |c| led(c, scope, path))?;
        let next = led.iter().skip(1).map(|led| led.span.start).chain([scope.len()]);
        let gone = led.iter().zip(next).filter(|(led, next)| led.span.end < scope.len() && led.span.end < *next);
        Ok(gone.last().map(|(led, _)| scope.at(led.span.end - 1)))
    }

    /// Returns the versions that a node had while a path led to it, the oldest first, each with the last generation that shows it there.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn versions_in(&self, scope: &Scope, stay: &Stay) -> Result<Vec<(Time, NodeRow)>, Error> {
        let life = scope.span_of(stay);
        let versions = self.run("reading versions", |c| versions_ever(c, scope, stay.node))?;
        let here = versions.into_iter().map(|(span, row)| (common(&span, &life), row));
        Ok(here.filter(|(span, _)| !span.is_empty()).map(|(span, row)| (scope.at(span.end - 1), row)).collect())
    }

    /// Returns the paths that led to something in the generation at `since` or a later one, and whose file has no name in the newest one;
    /// paths that lead to another file there are left out. In the order of paths, each once.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn gone_since(&self, scope: &Scope, since: Time) -> Result<Vec<Found>, Error> {
        let Some(newest) = scope.instants().next_back() else { return Ok(Vec::new()) };
        let nodes = self.changed_nodes(scope.source.id, since, newest)?;
        self.run("finding what is gone", |c| {
            let mut paths: HashMap<Time, PathsAt> = HashMap::new();
            let mut found: BTreeMap<RelPath, Found> = BTreeMap::new();
            for node in nodes {
                if node == scope.source.root || c.prepare_cached(LIVING)?.exists([node.0, newest.0])? {
                    continue;
                }
                let mut statement = c.prepare_cached(GONE)?;
                let mut rows = statement.query([node.0, since.0, newest.0])?;
                while let Some(row) = rows.next()? {
                    let died = Time(row.get(3)?);
                    let Some(last) = scope.before(died) else { continue };
                    let at = paths.entry(last).or_insert_with(|| PathsAt::new(scope.source.root, last));
                    let Some(path) = at.name(c, NodeId(row.get(0)?), row.get_ref(1)?.as_blob()?)? else { continue };
                    let (path, KindNumber(kind)) = (path_of(&path)?, row.get(2)?);
                    let gone_in = scope.instants().find(|at| *at >= died);
                    let is_older = found.get(&path).is_some_and(|other| other.last >= last);
                    if !is_older && !is_there(c, scope, &path, newest)? {
                        found.insert(path.clone(), Found { path, node, kind, last, gone_in });
                    }
                }
            }
            Ok(found.into_values().collect())
        })
    }

    /// Returns the paths of the newest generation about whose file a generation after `since` says something, in the order of paths.
    ///
    /// # Errors
    /// [`Error::Sqlite`] if SQLite fails.
    pub fn changed_since(&self, scope: &Scope, since: Time) -> Result<Vec<Found>, Error> {
        let Some(newest) = scope.instants().next_back() else { return Ok(Vec::new()) };
        let nodes = self.changed_nodes(scope.source.id, since, newest)?;
        self.run("finding what changed", |c| {
            let mut paths = PathsAt::new(scope.source.root, newest);
            let mut found = Vec::new();
            for node in nodes {
                let mut statement = c.prepare_cached(LIVING)?;
                let mut rows = statement.query([node.0, newest.0])?;
                while let Some(row) = rows.next()? {
                    let KindNumber(kind) = row.get(2)?;
                    let path = paths.name(c, NodeId(row.get(0)?), row.get_ref(1)?.as_blob()?)?;
                    let path = path.ok_or(rusqlite::Error::InvalidQuery)?;
                    found.push(Found { path: path_of(&path)?, node, kind, last: newest, gone_in: None });
                }
            }
            found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
            Ok(found)
        })
    }
}

/// Tells whether a path leads anywhere at `at`.
fn is_there(c: &Connection, scope: &Scope, path: &RelPath, at: Time) -> rusqlite::Result<bool> {
    Ok(leads_to(c, scope.source.root, path, at)?.is_some())
}

//! State hashes: 32 bytes a generation that say whether the tables still show what was published.
//!
//! The state hash of a generation is the sum, modulo 2^256, of one BLAKE3 digest for each name that lives in it and one for the top
//! directory (parent 0, empty name). So an edit adds what it brings and subtracts what it takes, and the order of edits does not
//! matter. What is digested, in this order, numbers in little-endian:
//!
//! | bytes | |
//! |--:|---|
//! | 8 8 | node of the directory, node |
//! | 8 | size |
//! | 8 4 | mtime: seconds, nanoseconds |
//! | 4 4 4 4 | `st_mode`, owner, group, link count |
//! | 1 | kind, as in `dirent.kind` |
//! | 1 | extended attributes: 0 none, 1 their digest follows, 2 they could not be read |
//! | 1 | 0 neither target nor device number, 1 a target follows, 2 a device number follows |
//! | 2 | length of the name |
//! | | digest of the extended attributes (`xattr_set.digest`, 32 bytes), name, target or device number (8 bytes) |
//!
//! Promises: the same tree has the same hash in every catalog that numbers its nodes alike, whatever the order in which generations
//! were put in. Left out are the places of bytes, numbers of interned rows, and what belongs to a copy and not to the
//! tree: ctime and allocated bytes. It finds accidents; who can write the file can write the hash.

use super::Error;
use super::history::{History, Instants, NameRow, Named, VersionRow, blocks, each_history, names_at, version_at};
use super::rows::{KindNumber, Perm, Place};
use crate::model::{Kind, NodeId, SourceId, Time};
use foldhash::HashMap;
use rusqlite::{Connection, OptionalExtension, params};
use std::ops::{AddAssign, Range};
use std::path::{Path, PathBuf};

/// A sum of digests modulo 2^256; also a difference of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StateSum([u64; 4]);

impl StateSum {
    /// Returns the sum that [`StateSum::to_bytes`] gave.
    pub(super) fn from_bytes(bytes: [u8; 32]) -> Self {
        let mut limbs = [0; 4];
        for (limb, bytes) in limbs.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *limb = u64::from_le_bytes(*bytes);
        }
        Self(limbs)
    }

    /// Returns it as `generation.state_hash` holds it.
    pub(super) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (limb, bytes) in self.0.iter().zip(bytes.as_chunks_mut::<8>().0) {
            *bytes = limb.to_le_bytes();
        }
        bytes
    }

    /// Adds a contribution.
    pub(super) fn add(&mut self, digest: &[u8; 32]) {
        *self += Self::from_bytes(*digest);
    }

    /// Takes a contribution away.
    pub(super) fn sub(&mut self, digest: &[u8; 32]) {
        let mut borrow = false;
        for (limb, other) in self.0.iter_mut().zip(Self::from_bytes(*digest).0) {
            let (less, first) = limb.overflowing_sub(other);
            let (less, second) = less.overflowing_sub(u64::from(borrow));
            (*limb, borrow) = (less, first || second);
        }
    }
}

impl AddAssign for StateSum {
    fn add_assign(&mut self, other: Self) {
        let mut carry = false;
        for (limb, other) in self.0.iter_mut().zip(other.0) {
            let (more, first) = limb.overflowing_add(other);
            let (more, second) = more.overflowing_add(u64::from(carry));
            (*limb, carry) = (more, first || second);
        }
    }
}

/// The extended attributes of a version, as far as its state goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Xattrs {
    /// There are none.
    None,
    /// `xattr_set.digest`.
    Set([u8; 32]),
    /// They could not be read.
    Lost,
}

/// The top directory of a source, as a name.
const TOP: Named<'static> = Named { dir: NodeId(0), name: b"", kind: Kind::Directory };

/// A row of `perm` with the digest of its extended attributes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rights {
    /// The row.
    pub(super) perm: Perm,
    /// What its attribute set is.
    pub(super) xattrs: Xattrs,
}

/// Counts state hashes. Keeps what many versions share (owners, rights, digests of attributes) in memory.
pub(super) struct States {
    path: PathBuf,
    rights: HashMap<i64, Option<Rights>>,
    buffer: Vec<u8>,
}

impl States {
    /// Returns a counter for the catalog at `path`, which its errors name.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), rights: HashMap::default(), buffer: Vec::with_capacity(512) }
    }

    /// Returns what a name adds to the state hash.
    ///
    /// **Cost:** BLAKE3 of about 60 bytes and the name, in one buffer that is kept.
    pub(super) fn contribution(
        &mut self,
        name: Named<'_>,
        node: NodeId,
        version: &VersionRow,
        rights: &Rights,
    ) -> [u8; 32] {
        let (row, perm) = (&version.row, rights.perm);
        let out = &mut self.buffer;
        out.clear();
        for number in [name.dir.0 as u64, node.0 as u64, row.size_bytes, row.mtime.seconds as u64] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [row.mtime.nanos, perm.mode, perm.uid, perm.gid, row.nlink] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let device;
        let (form, target) = match (name.kind, row.place) {
            (Kind::Symlink, Place::Inline(_)) => (1, version.content.as_deref().unwrap_or_default()),
            (_, Place::Device(number)) => {
                device = number.to_le_bytes();
                (2, device.as_slice())
            }
            _ => (0, b"".as_slice()),
        };
        let (xattrs, digest) = match &rights.xattrs {
            Xattrs::None => (0, b"".as_slice()),
            Xattrs::Set(digest) => (1, digest.as_slice()),
            Xattrs::Lost => (2, b"".as_slice()),
        };
        out.extend_from_slice(&[KindNumber(name.kind).number(), xattrs, form]);
        out.extend_from_slice(&(name.name.len() as u16).to_le_bytes());
        for part in [digest, name.name, target] {
            out.extend_from_slice(part);
        }
        *blake3::hash(out).as_bytes()
    }

    /// Returns owner, rights and attributes of row `id` of `perm`, from memory after the first time; none if a row of them is lost.
    pub(super) fn rights(&mut self, c: &Connection, id: i64) -> rusqlite::Result<Option<Rights>> {
        if let Some(known) = self.rights.get(&id) {
            return Ok(*known);
        }
        let mut statement = c.prepare_cached(
            "SELECT p.mode, p.uid, p.gid, p.xattr, x.digest FROM perm p LEFT JOIN xattr_set x ON x.id = p.xattr WHERE p.id = ?1",
        )?;
        let found = statement
            .query_row([id], |row| {
                let perm = Perm { mode: row.get(0)?, uid: row.get(1)?, gid: row.get(2)?, xattr: row.get(3)? };
                let xattrs = match (perm.xattr, row.get::<_, Option<[u8; 32]>>(4)?) {
                    (0, _) => Some(Xattrs::None),
                    (Perm::XATTRS_LOST, _) => Some(Xattrs::Lost),
                    (_, digest) => digest.map(Xattrs::Set),
                };
                Ok(xattrs.map(|xattrs| Rights { perm, xattrs }))
            })
            .optional()?
            .flatten();
        self.rights.insert(id, found);
        Ok(found)
    }

    /// Calls `each` for every name of a node with every version of it: the places among `instants` at which it shows the one
    /// under the other, and what that adds to the state there; none where a row that it needs is lost.
    pub(super) fn pieces(
        &mut self,
        c: &Connection,
        history: &History,
        root: NodeId,
        instants: &Instants,
        each: &mut dyn FnMut(Range<usize>, Option<[u8; 32]>),
    ) -> rusqlite::Result<()> {
        let top = (history.node == root).then_some((TOP, 0..instants.len()));
        let names = history.names.iter().map(|row| (row.named(), instants.span(row.born, row.died)));
        for (name, span) in names.chain(top) {
            let begins = |version: &VersionRow| instants.place(version.row.born).clamp(span.start, span.end);
            // The version that holds when the name begins is the last one that is born by then.
            let by_then = history.versions.partition_point(|version| instants.place(version.row.born) <= span.start);
            let versions = &history.versions[by_then.saturating_sub(1)..];
            let unversioned = span.start..versions.first().map_or(span.end, begins);
            if !unversioned.is_empty() {
                each(unversioned, None);
            }
            for (i, version) in versions.iter().enumerate() {
                let holds = begins(version)..versions.get(i + 1).map_or(span.end, begins);
                if !holds.is_empty() {
                    each(holds, self.digest(c, name, history.node, version)?);
                }
            }
        }
        Ok(())
    }

    /// Returns what a name adds to the state under a version; none if a row that this one refers to is lost.
    fn digest(
        &mut self,
        c: &Connection,
        name: Named<'_>,
        node: NodeId,
        version: &VersionRow,
    ) -> rusqlite::Result<Option<[u8; 32]>> {
        if matches!(version.row.place, Place::Inline(_)) && version.content.is_none() {
            return Ok(None);
        }
        let rights = self.rights(c, version.row.perm)?;
        Ok(rights.map(|rights| self.contribution(name, node, version, &rights)))
    }

    /// Returns the state of `source` at each of `instants`.
    ///
    /// **Cost:** one pass over its rows, however many instants there are.
    ///
    /// # Errors
    /// [`Error::Contradiction`] at a name without a version; [`Error::Sqlite`].
    pub(super) fn sums_of(
        &mut self,
        c: &Connection,
        source: SourceId,
        root: NodeId,
        instants: &Instants,
    ) -> Result<Vec<StateSum>, Error> {
        let mut steps = Steps::new(instants);
        let mut lost = None;
        let mut count = |c: &Connection| -> rusqlite::Result<()> {
            for block in blocks(c, source)? {
                each_history(c, block, &mut |history| {
                    self.pieces(c, history, root, instants, &mut |places, digest| match digest {
                        Some(digest) => steps.add(places, &digest),
                        None => lost = lost.or(Some((history.node, places.start))),
                    })
                })?;
            }
            Ok(())
        };
        count(c).map_err(|e| self.error("counting states", e))?;
        if let Some((node, place)) = lost {
            return Err(self.lost(node, Time(instants.at(place).unwrap_or_default())));
        }
        Ok(steps.sums())
    }

    /// Returns the state of `source` at `at`.
    ///
    /// **Cost:** one pass over its rows.
    ///
    /// # Errors
    /// As [`States::sums_of`].
    pub(super) fn sum_of(
        &mut self,
        c: &Connection,
        source: SourceId,
        root: NodeId,
        at: Time,
    ) -> Result<StateSum, Error> {
        let sums = self.sums_of(c, source, root, &Instants::new(vec![at.0]))?;
        Ok(sums.into_iter().next().unwrap_or_default())
    }

    /// Adds to `sum` what the names of `node` add to the state at `at`, and takes from it what they added at `before`.
    ///
    /// The state at `at` is that at `before` and this for every node that differs.
    ///
    /// **Cost:** for each of the two instants a range of `dirent_node` (all names that the node ever had), one seek in `inode` and one
    /// digest a name.
    ///
    /// # Errors
    /// [`Error::Contradiction`] at a name without a version; [`Error::Sqlite`].
    pub(super) fn delta(
        &mut self,
        c: &Connection,
        (node, root): (NodeId, NodeId),
        before: Option<Time>,
        at: Time,
        sum: &mut StateSum,
    ) -> Result<(), Error> {
        if let Some(before) = before {
            self.each_shown(c, (node, root), before, &mut |digest| sum.sub(digest))?;
        }
        self.each_shown(c, (node, root), at, &mut |digest| sum.add(digest))
    }

    /// Does the same as [`States::rights`], for who goes on with the error of a catalog.
    pub(super) fn rights_of(&mut self, c: &Connection, id: i64) -> Result<Option<Rights>, Error> {
        self.rights(c, id).map_err(|e| self.error("counting a state", e))
    }

    /// Calls `each` with what every name of `node` adds to the state at `at`.
    pub(super) fn each_shown(
        &mut self,
        c: &Connection,
        (node, root): (NodeId, NodeId),
        at: Time,
        each: &mut dyn FnMut(&[u8; 32]),
    ) -> Result<(), Error> {
        let doing = "counting a state";
        let names = if node == root { None } else { Some(names_at(c, node, at).map_err(|e| self.error(doing, e))?) };
        let names: Vec<Named<'_>> = match &names {
            Some(names) => names.iter().map(NameRow::named).collect(),
            None => vec![TOP],
        };
        if names.is_empty() {
            return Ok(());
        }
        let version = version_at(c, node, at).map_err(|e| self.error(doing, e))?;
        let version = version.ok_or_else(|| self.lost(node, at))?;
        for name in names {
            let digest = self.digest(c, name, node, &version).map_err(|e| self.error(doing, e))?;
            each(&digest.ok_or_else(|| self.lost(node, at))?);
        }
        Ok(())
    }

    fn error(&self, doing: &'static str, error: rusqlite::Error) -> Error {
        Error::sqlite(doing, &self.path, error)
    }

    fn lost(&self, node: NodeId, at: Time) -> Error {
        Error::Contradiction { path: self.path.clone(), what: "no version, or a version without its parts,", node, at }
    }
}

/// Sums at all instants at once: what a row adds is added where it begins and taken away where it ends.
pub(super) struct Steps(Vec<StateSum>);

impl Steps {
    pub(super) fn new(instants: &Instants) -> Self {
        Self(vec![StateSum::default(); instants.len() + 1])
    }

    /// Adds a contribution at these places.
    pub(super) fn add(&mut self, places: Range<usize>, digest: &[u8; 32]) {
        self.0[places.start].add(digest);
        self.0[places.end].sub(digest);
    }

    /// Returns the sum at each place.
    pub(super) fn sums(self) -> Vec<StateSum> {
        let mut sum = StateSum::default();
        let mut sums: Vec<StateSum> = self.0;
        for step in &mut sums {
            sum += *step;
            *step = sum;
        }
        sums.pop();
        sums
    }
}

/// Returns the state hash of the generation of a source at `at`, if it was counted.
pub(super) fn state_at(c: &Connection, source: SourceId, at: Time) -> rusqlite::Result<Option<StateSum>> {
    let mut statement = c.prepare_cached("SELECT state_hash FROM generation WHERE source = ?1 AND taken_at = ?2")?;
    let hash: Option<[u8; 32]> = statement.query_row([source.0, at.0], |r| r.get(0))?;
    Ok(hash.map(StateSum::from_bytes))
}

/// Counts the state hashes of the published generations that have none, as those of a catalog that an older program made. Inside a
/// transaction. A source that is damaged so that it cannot be counted has none afterwards, and `check` finds why.
///
/// **Cost:** one pass over the rows of each source that has such a generation.
///
/// # Errors
/// [`Error::Sqlite`].
pub(super) fn fill_missing(c: &Connection, path: &Path) -> Result<(), Error> {
    let sqlite = |e| Error::sqlite("recording states", path, e);
    for (source, root, instants) in uncounted(c).map_err(sqlite)? {
        let sums = match States::new(path).sums_of(c, source, root, &instants) {
            Err(Error::Contradiction { .. }) => continue,
            sums => sums?,
        };
        let mut statement = c
            .prepare_cached("UPDATE generation SET state_hash = ?3 WHERE source = ?1 AND taken_at = ?2")
            .map_err(sqlite)?;
        let rows = sums.iter().enumerate();
        rows.map(|(place, sum)| (instants.at(place), sum.to_bytes()))
            .try_for_each(|(at, sum)| statement.execute(params![source.0, at, sum]).map(drop))
            .map_err(sqlite)?;
    }
    Ok(())
}

/// Returns the sources that have published generations without a state hash: their roots and the instants of these.
fn uncounted(c: &Connection) -> rusqlite::Result<Vec<(SourceId, NodeId, Instants)>> {
    let mut statement = c.prepare_cached(
        "SELECT s.id, s.root, g.taken_at FROM generation g JOIN source s ON s.id = g.source \
         WHERE g.status = 'published' AND g.state_hash IS NULL ORDER BY s.id, g.taken_at",
    )?;
    let rows = statement.query_map([], |r| Ok((SourceId(r.get(0)?), NodeId(r.get(1)?), r.get::<_, i64>(2)?)))?;
    let rows: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
    let of = rows.chunk_by(|a, b| a.0 == b.0);
    Ok(of.map(|rows| (rows[0].0, rows[0].1, Instants::new(rows.iter().map(|row| row.2).collect()))).collect())
}

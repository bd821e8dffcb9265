//! The manifest of a generation: each edit is written to it as it is told, by value, so that it can be told again where these rows
//! are not.
//!
//! Promises: a generation of a writer that keeps manifests is published only when its manifest is whole and on the disk, and one that is
//! not published leaves none. What a version shares with others by row ids (permissions, targets, objects) is looked up once and
//! remembered. Never decides where a manifest lies.

use super::objects;
use super::parts;
use super::paths::path_at;
use super::rows::{NodeRow, Perm, Place};
use super::tee::Tee;
use super::{Error, GenerationWriter, Published, SourceRow, Writer};
use crate::model::manifest::{
    Base, BytesAt, CopyAt, Edit, End, Header, Held, Permissions, Put, Recorder, SourceFacts, Written,
};
use crate::model::{Key, Level, NodeId, ObjectId, RelPath, Rule, SourceId, SourceKind, StoreId, Time};
use foldhash::HashMap;
use rusqlite::{Connection, OptionalExtension, params};
use std::io;

/// Permissions that are remembered.
const PERMS_MAX: usize = 65_536;

/// What a header says of a generation, as the catalog has it.
struct Facts<'f> {
    source: SourceId,
    at: Time,
    level: Level,
    number: i64,
    sequence: i64,
    indexed_at: Time,
    copy: (StoreId, &'f [u8]),
    previous: Option<Time>,
    again: bool,
}

impl Writer {
    /// Has a manifest kept of every generation that is published from now on.
    pub fn keep_manifests(&mut self, recorder: Box<dyn Recorder + Send>) {
        self.recorder = Some(recorder);
    }

    /// Has none kept any more.
    pub fn keep_no_manifests(&mut self) {
        self.recorder = None;
    }

    /// Has removed what a run left that was killed right before its last commit: the manifest of a generation that was not published, and the
    /// tombstone of one that was not forgotten. Before a sequence is given out: the last one tells which manifest that is. Sequences that
    /// manifests have which the catalog does not know are not given out again.
    pub(super) fn tidy_manifests(&mut self, source: SourceId, at: Time) -> Result<(), Error> {
        let Some(mut recorder) = self.recorder.take() else { return Ok(()) };
        let known = self.sql("looking for what a killed run left", |c| {
            let last: i64 = c.query_row("SELECT last_sequence FROM source WHERE id = ?1", [source.0], |r| r.get(0))?;
            let mut statement =
                c.prepare("SELECT sequence FROM generation WHERE source = ?1 AND status = 'published'")?;
            let published = statement.query_map([source.0], |r| r.get::<_, i64>(0).map(|sequence| sequence as u64))?;
            Ok((facts(c, source)?, last as u64, published.collect::<rusqlite::Result<_>>()?))
        });
        let tidied = known.and_then(|(facts, last, published)| {
            let taken = recorder.tidy(&facts, last, &published).map_err(|cause| Error::Manifest { at, cause })?;
            if taken <= last {
                return Ok(());
            }
            // The last one that was given out is what a killed run may have left, and these are not.
            let sql = "UPDATE source SET last_sequence = ?2 + 1 WHERE id = ?1";
            self.change("numbering generations", |c| c.execute(sql, [source.0, taken as i64]).map(drop))
        });
        self.recorder = Some(recorder);
        tidied
    }

    /// Has copied to second places what they lack of the manifests of a source.
    pub(super) fn copy_manifests(&mut self, source: SourceId) -> Result<(), Error> {
        if self.recorder.is_none() {
            return Ok(());
        }
        let facts = self.sql("reading a source", |c| facts(c, source))?;
        self.recorder.iter_mut().for_each(|recorder| recorder.catch_up(&facts));
        Ok(())
    }

    /// Returns what the manifest of a generation says first, if it is there and has a copy.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn manifest_header(&self, source: &SourceRow, at: Time) -> Result<Option<Header>, Error> {
        self.sql("reading a generation", |c| {
            let row = c
                .query_row(
                    "SELECT g.number, g.sequence, g.level, g.indexed_at, c.store, c.path FROM generation g \
                     JOIN object o ON o.generation = g.id JOIN copy c ON c.object = o.id \
                     WHERE g.source = ?1 AND g.taken_at = ?2 ORDER BY c.id LIMIT 1",
                    [source.id.0, at.0],
                    |r| {
                        let path: Vec<u8> = r.get(5)?;
                        let level = word(Level::from_word, r, 2)?;
                        Ok((r.get(0)?, r.get(1)?, level, Time(r.get(3)?), StoreId(r.get(4)?), path))
                    },
                )
                .optional()?;
            let Some((number, sequence, level, indexed_at, store, path)) = row else { return Ok(None) };
            let (previous, _) = super::generation_rows::neighbours(c, source.id, at)?;
            let copy = (store, path.as_slice());
            let source = source.id;
            let facts = Facts { source, at, level, number, sequence, indexed_at, copy, previous, again: false };
            header(c, &facts).map(Some)
        })
    }
}

impl GenerationWriter<'_> {
    /// Begins the manifest.
    pub(super) fn begin_manifest(&mut self, recorder: &mut (dyn Recorder + Send)) -> Result<(), Error> {
        let header = self.sql("reading a generation", |c| {
            let number = match (self.ids, self.again) {
                (Some(ids), _) => {
                    c.query_row("SELECT number FROM generation WHERE id = ?1", [ids.generation.0], |r| r.get(0))?
                }
                (None, true) => c.query_row(
                    "SELECT number FROM generation WHERE source = ?1 AND taken_at = ?2",
                    [self.source.0, self.at.0],
                    |r| r.get(0),
                )?,
                // Given out when it is put in; nothing else of the source is begun before.
                (None, false) => {
                    c.query_row("SELECT last_number + 1 FROM source WHERE id = ?1", [self.source.0], |r| r.get(0))?
                }
            };
            let facts = Facts {
                source: self.source,
                at: self.at,
                level: self.level,
                number,
                sequence: self.sequence,
                indexed_at: self.now,
                copy: (self.copy.0, &self.copy.1),
                previous: self.previous,
                again: self.again,
            };
            header(c, &facts)
        })?;
        let recording = recorder.begin(&header).map_err(|e| self.manifest_error(e))?;
        self.tee = Some(Tee { recording, perms: HashMap::default(), failed: None });
        Ok(())
    }

    fn manifest_error(&self, cause: io::Error) -> Error {
        self.spent.set(true);
        Error::Manifest { at: self.at, cause }
    }

    /// Writes an edit to the manifest, if one is kept.
    pub(super) fn tee(&mut self, edit: &Edit<'_>) -> Result<(), Error> {
        let Some(tee) = &mut self.tee else { return Ok(()) };
        tee.edit(edit).map_err(|e| self.manifest_error(e))
    }

    /// Does so for an edit that cannot fail; what goes wrong is said by the next one.
    pub(super) fn tee_later(&mut self, edit: &Edit<'_>) {
        if let Some(tee) = &mut self.tee
            && let Err(e) = tee.edit(edit)
        {
            tee.failed = Some(e);
        }
    }

    /// Runs `act`, which says what follows from edits that are in the manifest already: nothing of it is written there.
    pub(super) fn untold<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let tee = self.tee.take();
        let done = act(self);
        self.tee = tee;
        done
    }

    /// Writes to the manifest that `node` is this version; `again`: what was put before is replaced.
    pub(super) fn tee_version(
        &mut self,
        again: bool,
        node: NodeId,
        row: &NodeRow,
        written: Written,
    ) -> Result<(), Error> {
        let Some(mut tee) = self.tee.take() else { return Ok(()) };
        let told = self.tell_version(&mut tee, again, node, row, written);
        self.tee = Some(tee);
        told
    }

    fn tell_version(
        &self,
        tee: &mut Tee,
        again: bool,
        node: NodeId,
        row: &NodeRow,
        written: Written,
    ) -> Result<(), Error> {
        self.load_perm(tee, row.perm)?;
        let own = self.object;
        let bytes = match row.place {
            Place::Inline(id) | Place::OnDisk(Some(id)) => self.sql("reading bytes", |c| {
                c.prepare_cached("SELECT bytes FROM content WHERE id = ?1")?.query_row([id], |r| r.get(0))
            })?,
            Place::InObject(object) if own != Some(object) => self.path_in(object, node)?,
            _ => Vec::new(),
        };
        let at = match row.place {
            Place::None => BytesAt::Nowhere,
            Place::OwnPath => BytesAt::OwnPath,
            Place::InObject(object) if own == Some(object) => BytesAt::ThisCopy,
            Place::InObject(object) => BytesAt::CopyOf { held: self.held(object)?, path: &bytes },
            Place::OnDisk(_) => BytesAt::Map(&bytes),
            Place::Inline(_) => BytesAt::Inline(&bytes),
            Place::Device(number) => BytesAt::Device(number),
            Place::Run(at) => BytesAt::Run(at),
            Place::WholeDisk => BytesAt::WholeDisk,
            Place::Lost => BytesAt::Lost,
        };
        let (perm, xattrs) = &tee.perms[&row.perm];
        let put = Put {
            node,
            permissions: Permissions {
                mode: perm.mode,
                uid: perm.uid,
                gid: perm.gid,
                xattrs: (perm.xattr != Perm::XATTRS_LOST).then_some(xattrs),
            },
            size_bytes: row.size_bytes,
            allocated_bytes: row.allocated_bytes,
            mtime: row.mtime,
            ctime: row.ctime,
            nlink: row.nlink,
            bytes: row.bytes as u64,
            written,
            at,
        };
        let edit = if again { Edit::Amend(put) } else { Edit::Put(put) };
        match tee.failed.take() {
            Some(e) => Err(self.manifest_error(e)),
            None => tee.recording.edit(&edit).map_err(|e| self.manifest_error(e)),
        }
    }

    fn load_perm(&self, tee: &mut Tee, id: i64) -> Result<(), Error> {
        if tee.perms.contains_key(&id) {
            return Ok(());
        }
        let loaded = self.sql("reading permissions", |c| {
            let perm = parts::perm(c, id)?;
            Ok((perm, parts::xattrs(c, perm.xattr)?))
        })?;
        if tee.perms.len() == PERMS_MAX {
            tee.perms.clear();
        }
        tee.perms.insert(id, loaded);
        Ok(())
    }

    /// Returns where the bytes of `node` are in the object of another generation; empty if that is not known.
    fn path_in(&self, object: ObjectId, node: NodeId) -> Result<Vec<u8>, Error> {
        self.sql("finding a path in an object", |c| {
            if let Some(path) = objects::pinned(c, object, node)? {
                return Ok(path.as_bytes().to_vec());
            }
            match objects::object(c, object)? {
                Some(row) if row.has_generation => Ok(path_at(c, self.root, node, row.at)?.unwrap_or_default()),
                _ => Ok(Vec::new()),
            }
        })
    }

    /// Returns where the bytes of `node` are in the object of another generation, if that is known.
    ///
    /// # Errors
    /// [`Error::Sqlite`].
    pub fn held_path(&self, object: ObjectId, node: NodeId) -> Result<Option<RelPath>, Error> {
        let path = self.path_in(object, node)?;
        Ok(RelPath::parse(&path).ok().filter(|path| !path.is_root()))
    }

    /// Returns the generation that an object was made for.
    fn held(&self, object: ObjectId) -> Result<Held, Error> {
        self.sql("reading an object", |c| {
            let sql =
                "SELECT g.sequence, o.at FROM object o LEFT JOIN generation g ON g.id = o.generation WHERE o.id = ?1";
            c.prepare_cached(sql)?.query_row([object.0], |r| {
                let at = Time(r.get(1)?);
                Ok(r.get::<_, Option<i64>>(0)?.map_or(Held::At(at), |sequence| Held::Sequence(sequence as u64)))
            })
        })
    }

    /// Makes the manifest whole and durable; the last before the generation is published.
    pub(super) fn finish_manifest(&mut self, published: &Published) -> Result<(), Error> {
        let Some(tee) = &mut self.tee else { return Ok(()) };
        let finished = match tee.failed.take() {
            Some(e) => Err(e),
            None => tee.recording.finish(&End::new(published.counts, Some(published.state_hash))),
        };
        finished.map_err(|e| self.manifest_error(e))
    }

    /// Says that the generation of the manifest is published.
    pub(super) fn manifest_is_published(&mut self) {
        if let Some(tee) = &mut self.tee {
            tee.recording.published();
        }
    }

    /// Removes the manifest of a generation that could not be published.
    pub(super) fn withdraw_manifest(&mut self) {
        if let Some(mut tee) = self.tee.take() {
            tee.recording.withdraw();
        }
    }
}

/// Returns what manifests say of a source.
fn facts(c: &Connection, source: SourceId) -> rusqlite::Result<SourceFacts> {
    let sql = "SELECT uuid, name, kind, settings, policy, rule, by_inode, root, added_at FROM source WHERE id = ?1";
    c.query_row(sql, [source.0], |r| {
        Ok(SourceFacts {
            uuid: Some(r.get(0)?),
            name: r.get(1)?,
            kind: word(SourceKind::from_word, r, 2)?,
            settings: r.get(3)?,
            policy: r.get(4)?,
            rule: Rule { key: word(Key::from_word, r, 5)?, by_inode: r.get(6)? },
            root: NodeId(r.get(7)?),
            added_at: Time(r.get(8)?),
        })
    })
}

fn header(c: &Connection, facts: &Facts<'_>) -> rusqlite::Result<Header> {
    let source = self::facts(c, facts.source)?;
    let published_at = |at: Time| {
        let sql = "SELECT sequence, indexed_at, state_hash FROM generation \
                   WHERE source = ?1 AND taken_at = ?2 AND status = 'published'";
        c.query_row(sql, [facts.source.0, at.0], |r| {
            let (sequence, indexed_at) = (r.get::<_, i64>(0)? as u64, Some(Time(r.get(1)?)));
            Ok(Base { at, sequence, indexed_at, state_hash: r.get(2)? })
        })
    };
    let base = facts.previous.map(published_at).transpose()?;
    let after: i64 = c.query_row(
        "SELECT coalesce(max(sequence), 0) FROM generation WHERE source = ?1 AND status = 'published'",
        [facts.source.0],
        |r| r.get(0),
    )?;
    let (store, path) = facts.copy;
    Ok(Header {
        format: crate::model::manifest::FORMAT,
        source,
        taken_at: facts.at,
        level: facts.level,
        number: facts.number as u64,
        sequence: facts.sequence as u64,
        after: after as u64,
        base,
        replaces: if facts.again { Some(published_at(facts.at)?.sequence) } else { None },
        indexed_at: facts.indexed_at,
        copy: Some(CopyAt {
            store: c.query_row("SELECT path FROM store WHERE id = ?1", params![store.0], |r| r.get(0))?,
            path: path.to_vec(),
        }),
    })
}

/// Returns what the word in a column names.
fn word<T>(from: impl Fn(&str) -> Option<T>, row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<T> {
    from(row.get_ref(at)?.as_str()?).ok_or(rusqlite::Error::InvalidQuery)
}

//! `@history`: every name that a directory of a source ever had, and every version of what a path led to.
//!
//! Promises: a directory here is a path, whatever it led to: it lists the names that were ever in a directory there, and the versions of
//! whatever else was there, each called by the date at which it appears. A version is the file of that generation itself, with its number, its
//! attributes and its bytes. In a directory that was both, names of the first kind that begin with `@` have one more. A directory lets in
//! whom each generation lets in where it was a directory ([`super::regime`]), so nobody finds a name or a byte here that no generation
//! shows him. Whatever is not there is asked for anew each time.

use super::instant::instant_name;
use super::listing::{DOTS, EachEntry};
use super::made::{HistoryDir, MadeDir};
use super::past::{Child, Known, Version, WINDOW};
use super::regime::Regime;
use super::snapshot::{Snapshot, view_at};
use super::{Error, Ino, Looked, Stat, Tree, Ttl, Xattrs};
use crate::catalog::{self, End, Perm, RegistrySource, Scope, Stay};
use crate::model::{EntryName, Kind, RelPath, SourceId, Time, ViewId, XattrSet};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Its name in the directory of a source.
pub(super) const HISTORY: &[u8] = b"@history";

impl Tree {
    /// Returns the history of a source from its top on; it is missing as long as there is no generation.
    pub(super) fn lookup_history_top(&self, snapshot: &Snapshot, source: SourceId) -> Result<Looked, Error> {
        self.look_up_past(snapshot, HistoryDir { source, path: RelPath::root() })
    }

    pub(super) fn lookup_history(
        &self,
        snapshot: &Snapshot,
        (ino, dir): (Ino, &HistoryDir),
        name: &[u8],
    ) -> Result<Looked, Error> {
        let known = self.past_of(snapshot, ino, dir)?;
        let name = match name {
            [b'@', rest @ ..] if known.was_file() => match rest {
                [b'@', ..] => rest,
                _ => return self.lookup_version(snapshot, dir, &known, name),
            },
            _ => name,
        };
        match EntryName::new(name) {
            Ok(name) if known.was_directory() => {
                let dir = HistoryDir { source: dir.source, path: dir.path.join(&name) };
                self.look_up_past(snapshot, dir)
            }
            _ => Ok(Looked::Missing(Ttl::Short)),
        }
    }

    /// Returns the attributes of a directory of a history.
    pub(super) fn history_stat(&self, snapshot: &Snapshot, (ino, dir): (Ino, &HistoryDir)) -> Result<Stat, Error> {
        Ok(stat_of(snapshot, ino, self.past_of(snapshot, ino, dir)?.regime))
    }

    /// Returns the attributes that decide on who may look into it; none: its mode does.
    pub(super) fn history_xattrs(
        &self,
        snapshot: &Snapshot,
        (ino, dir): (Ino, &HistoryDir),
    ) -> Result<Option<Arc<XattrSet>>, Error> {
        match self.past_of(snapshot, ino, dir)?.regime.xattrs.0 {
            0 => Ok(None),
            Perm::XATTRS_LOST => Err(Error::Unread(self.describe(ino), "extended attributes")),
            id => self.known_set(id).map(Some),
        }
    }

    /// Calls `each` with the versions and the names of a directory, without the first `skip` of them.
    pub(super) fn list_history(
        &self,
        snapshot: &Snapshot,
        (ino, dir): (Ino, &HistoryDir),
        skip: usize,
        each: &mut EachEntry<'_>,
    ) -> Result<(), Error> {
        let known = self.past_of(snapshot, ino, dir)?;
        let versions = self.versions(snapshot, dir, &known)?;
        let mut number = skip;
        for version in versions.iter().skip(skip) {
            number += 1;
            let stat = self.stat(version_ino(snapshot, dir.source, version)?)?.0;
            if each(&instant_name(version.since), &stat, number as u64 + DOTS, Ttl::None).is_break() {
                return Ok(());
            }
        }
        if !known.was_directory() {
            return Ok(());
        }
        let mut number = number - versions.len();
        loop {
            let window = self.past_window(snapshot, (ino, dir), &known, number / WINDOW)?;
            for child in window.iter().skip(number % WINDOW) {
                number += 1;
                let name = shown_name(&known, child.name.as_bytes());
                let offset = (versions.len() + number) as u64 + DOTS;
                if each(&name, &child.stat, offset, Ttl::None).is_break() {
                    return Ok(());
                }
            }
            if window.len() < WINDOW || !number.is_multiple_of(WINDOW) {
                return Ok(());
            }
        }
    }

    /// Returns the directory above one; none: the directory of the source.
    pub(super) fn above_history(&self, snapshot: &Snapshot, dir: &HistoryDir) -> Result<Option<Ino>, Error> {
        let names: Vec<&[u8]> = dir.path.names().collect();
        let Some((_, above)) = names.split_last() else { return Ok(None) };
        let path = RelPath::parse(&above.join(&b'/')).map_err(|_| gone(Ino::of_source(dir.source)))?;
        match self.look_up_past(snapshot, HistoryDir { source: dir.source, path })? {
            Looked::Found(stat, _) => Ok(Some(stat.ino)),
            Looked::Missing(_) => Ok(None),
        }
    }

    /// Returns what can be asked of a source as this snapshot has it.
    pub(super) fn scope(&self, snapshot: &Snapshot, source: SourceId) -> Result<Arc<Scope>, Error> {
        if let Some(scope) = snapshot.past.scope(source) {
            return Ok(scope);
        }
        let known = registered(snapshot, source)?;
        let row = match self.readers.with(|reader| reader.source(&known.name)) {
            Ok(row) if row.id == source => row,
            // It was removed, or has another name, a moment ago.
            Ok(_) | Err(catalog::Error::NoSuchSource { .. }) => return Err(gone(Ino::of_source(source))),
            Err(e) => return Err(e.into()),
        };
        Ok(snapshot.past.keep_scope(Scope::of(row, &known.instants)))
    }

    /// Returns a directory of a history, if its path ever led anywhere.
    fn look_up_past(&self, snapshot: &Snapshot, dir: HistoryDir) -> Result<Looked, Error> {
        let made = MadeDir::History(dir.clone());
        let ino = made.number(snapshot.registry.catalog);
        match self.past_of(snapshot, ino, &dir) {
            Ok(known) if self.made.put(ino, &made, !known.was_directory()) => {
                Ok(Looked::Found(stat_of(snapshot, ino, known.regime), Ttl::None))
            }
            Ok(_) => Err(Error::Nothing(ino.0)),
            Err(Error::NoSuchView { .. }) => Ok(Looked::Missing(Ttl::Short)),
            Err(e) => Err(e),
        }
    }

    /// Returns what the path of a directory led to.
    ///
    /// # Errors
    /// [`Error::NoSuchView`] if it leads nowhere in any generation that is still there.
    fn past_of(&self, snapshot: &Snapshot, ino: Ino, dir: &HistoryDir) -> Result<Arc<Known>, Error> {
        if let Some(known) = snapshot.past.known(ino) {
            return Ok(known);
        }
        let scope = self.scope(snapshot, dir.source)?;
        let stays = self.readers.with(|reader| reader.stays(&scope, &dir.path))?;
        if stays.is_empty() {
            return Err(gone(ino));
        }
        let regime = self.regime(&scope, &stays)?;
        Ok(snapshot.past.keep_known(ino, Known { stays, regime, versions: std::sync::OnceLock::new() }))
    }

    /// Returns who may look into a directory that shows all these.
    fn regime(&self, scope: &Scope, stays: &[Stay]) -> Result<Regime, Error> {
        let directories = stays.iter().filter(|stay| stay.kind == Kind::Directory);
        let perms: Vec<Perm> = self.readers.with(|reader| -> Result<_, Error> {
            let mut ids = BTreeSet::new();
            for stay in directories {
                let of_stay = reader.perms_in(scope, stay)?;
                if of_stay.is_empty() {
                    // Damage: of a directory without a version nobody knows whom it lets in.
                    reader.known_node(stay.node, stay.since)?;
                }
                ids.extend(of_stay);
            }
            ids.into_iter().map(|id| Ok(reader.perm(id)?)).collect()
        })?;
        let with_acls: Result<Vec<_>, Error> =
            perms.into_iter().map(|perm| Ok((perm, self.has_acl(Xattrs(perm.xattr))?))).collect();
        Ok(Regime::of_all(&with_acls?))
    }

    /// Returns the versions of whatever a path led to, but for directories.
    fn versions<'k>(&self, snapshot: &Snapshot, dir: &HistoryDir, known: &'k Known) -> Result<&'k [Version], Error> {
        if let Some(versions) = known.versions.get() {
            return Ok(versions.as_slice());
        }
        let mut versions = Vec::new();
        if known.was_file() {
            let scope = self.scope(snapshot, dir.source)?;
            let told = self.readers.with(|reader| reader.story_of_name(&scope, &dir.path))?;
            versions.extend(told.iter().filter(|told| told.kind != Kind::Directory).map(|told| Version {
                since: told.since,
                until: match told.end {
                    End::Newest => None,
                    End::Changes(at) | End::Gone(at) => Some(at),
                },
                node: told.node,
            }));
        }
        Ok(known.versions.get_or_init(|| versions))
    }

    /// Returns the version that appears, or holds, at a date.
    fn lookup_version(
        &self,
        snapshot: &Snapshot,
        dir: &HistoryDir,
        known: &Known,
        name: &[u8],
    ) -> Result<Looked, Error> {
        let Some(at) = self.instant_meant(snapshot, Some(dir.source), name) else {
            return Ok(Looked::Missing(Ttl::Short));
        };
        let versions = self.versions(snapshot, dir, known)?;
        let begun = versions.partition_point(|version| version.since <= at);
        let version = begun.checked_sub(1).map(|last| &versions[last]);
        match version.filter(|version| version.until.is_none_or(|until| at < until)) {
            Some(version) => {
                let stat = self.stat(version_ino(snapshot, dir.source, version)?)?.0;
                Ok(Looked::Found(stat, Ttl::None))
            }
            None => Ok(Looked::Missing(Ttl::Short)),
        }
    }

    /// Returns window `index` of the names that were ever in a directory, an empty one behind their end.
    fn past_window(
        &self,
        snapshot: &Snapshot,
        (ino, dir): (Ino, &HistoryDir),
        known: &Known,
        index: usize,
    ) -> Result<Arc<Vec<Child>>, Error> {
        if let Some(window) = snapshot.past.window(ino, index) {
            return Ok(window);
        }
        let scope = self.scope(snapshot, dir.source)?;
        // The offset comes from whoever asks (`lseek(2)`), and may be any.
        let mut before = snapshot.past.last_window_before(ino, index);
        loop {
            let (next, after) = match &before {
                Some((number, window)) => match window.last() {
                    Some(last) if window.len() == WINDOW => (number + 1, Some(last.name.clone())),
                    // It ended there.
                    _ => return Ok(Arc::default()),
                },
                None => (0, None),
            };
            let names =
                self.readers.with(|reader| reader.list_ever_after(&scope, &known.stays, after.as_ref(), WINDOW))?;
            let window = names.into_iter().map(|(name, stays)| {
                let child = HistoryDir { source: dir.source, path: dir.path.join(&name) };
                let ino = MadeDir::History(child).number(snapshot.registry.catalog);
                Ok(Child { name, stat: stat_of(snapshot, ino, self.regime(&scope, &stays)?) })
            });
            let window: Arc<Vec<Child>> = Arc::new(window.collect::<Result<_, Error>>()?);
            snapshot.past.keep_window(ino, next, &window);
            if next == index {
                return Ok(window);
            }
            before = Some((next, window));
        }
    }
}

fn gone(ino: Ino) -> Error {
    Error::NoSuchView { ino: ino.0, view: ViewId(0) }
}

fn registered(snapshot: &Snapshot, source: SourceId) -> Result<&RegistrySource, Error> {
    snapshot.source(source).ok_or_else(|| gone(Ino::of_source(source)))
}

/// Returns the number of a version: that of the file in the generation in which it appears.
fn version_ino(snapshot: &Snapshot, source: SourceId, version: &Version) -> Result<Ino, Error> {
    let source = registered(snapshot, source)?;
    let at: Time = version.since;
    let place = source.instants.binary_search(&at).map_err(|_| gone(Ino::of_source(source.id)))?;
    Ok(Ino::of_node(view_at(source, place), version.node))
}

fn stat_of(snapshot: &Snapshot, ino: Ino, regime: Regime) -> Stat {
    let Regime { perm, uid, gid, xattrs } = regime;
    Stat { perm, uid, gid, xattrs, ..Stat::of_made_directory(ino, snapshot.read_at) }
}

/// Returns how a name of a directory is shown that may have versions beside it.
fn shown_name<'n>(known: &Known, name: &'n [u8]) -> Cow<'n, [u8]> {
    match name {
        [b'@', ..] if known.was_file() => [b"@", name].concat().into(),
        _ => name.into(),
    }
}

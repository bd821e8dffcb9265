//! A catalog is made again from the manifests of its generations: beside it, beside copies, and in second places.
//!
//! Manifests of one source are applied in the order of their sequences, which is that in which they were written, not that of their
//! dates; tombstones forget where they stand among them. What a manifest counts from must be there: one whose base is missing or
//! damaged is left out, with all that count from it. One that later ones do not know was not published, or forgotten, and is forgotten
//! when the first of these comes.
//!
//! A catalog that is there gets what it lacks: sources that it has not, and of those that it has what was written after all that it
//! knows. Nothing that it has is taken away but by a tombstone that is newer than it.
//!
//! A source that was removed stays so, as long as the file is there that says so.
//!
//! Promises: sources keep their UUIDs, settings and node numbers; generations keep their numbers and sequences. A source whose node
//! numbers another one has comes in as another source, with manifests of its own. Every manifest is read to its end before anything is
//! written. A new catalog gets its name when it is whole; one that is there has whole generations at any moment, and a run that was killed
//! is gone on with by the next. What is not in it is in the report, with the reason. Reads no copy, and changes no manifest.

mod find;
mod one;
mod report;
mod target;

pub use report::{Bad, Error, LeftOut, Missing, NotTaken, Rebuilt, Removed, Report, Undecided, Unlike, Why, Wish};

use crate::catalog::{SourceRow, Writer, beside, refuse_old_log};
use crate::monitor::Monitor;
use crate::store::{
    beside_catalog, copy_manifest, expect_beside_catalog, note_newest, noted_newest, removed_marker, uuid_text,
};
use find::{Found, ToTell, Who, find, group, newest};
use one::One;
use report::io_error;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use target::Target;

/// Makes a catalog again, or gives one that is there what it lacks.
///
/// **Cost:** each manifest is read twice; each edit is a write to the catalog.
///
/// # Errors
/// [`Error`]; then there is no new file. One that was there may have got whole generations.
pub fn rebuild(wish: &Wish<'_>, monitor: &dyn Monitor) -> Result<Report, Error> {
    expect_beside_catalog(wish.catalog)?;
    expect_beside_catalog(wish.into)?;
    let was_there = wish.into.try_exists().map_err(io_error("looking for", wish.into))?;
    if !was_there {
        refuse_old_log(wish.into)?;
    }
    let mut found = find(wish, monitor)?;
    let removed = take_removed(&mut found);
    if found.whole.is_empty() && removed.is_empty() {
        let looked_in = found.looked_in.into_iter().collect();
        return Err(Error::Nothing { looked_in, bad: found.bad });
    }
    let sources = group(&mut found);
    let made = match was_there {
        true => write(&mut Target::there(wish)?, &sources, &found, monitor)?,
        false => make(wish, &sources, &found, monitor)?,
    };
    let renumbered = made.iter().filter(|(_, one)| one.renumbered).map(|(uuid, _)| *uuid).collect();
    let mut report = Report { catalog: wish.into.to_owned(), was_there, ..Report::default() };
    report.not_copied = copy_beside(wish.into, &found, &renumbered);
    report.sources = made.into_iter().map(|(_, one)| one).collect();
    report.looked_in = found.looked_in.into_iter().collect();
    report.bad = found.bad;
    report.removed = removed;
    Ok(report)
}

/// Takes out what is of sources that were removed, and returns these.
fn take_removed(found: &mut Found) -> Vec<Removed> {
    let uuid_of = |who: &Who| match who {
        Who::Sequence(uuid, _) => Some(*uuid),
        Who::Instant(..) => None,
    };
    let uuids: BTreeSet<[u8; 16]> = found.whole.keys().filter_map(uuid_of).collect();
    let mut removed = Vec::new();
    for uuid in uuids {
        let name = uuid_text(&uuid);
        let folders = found.looked_in.iter().flat_map(|folder| [folder.join(&name), folder.clone()]);
        let marker = folders.filter(|folder| folder.ends_with(&name)).find_map(|folder| removed_marker(&folder));
        let Some(marker) = marker else { continue };
        let of_it = found.whole.iter().filter(|(who, _)| uuid_of(who) == Some(uuid)).map(|(_, whole)| &whole.header);
        let newest = of_it.max_by_key(|header| header.sequence).expect("there is one");
        removed.push(Removed { name: newest.source.name.clone(), marker });
        found.whole.retain(|who, _| uuid_of(who) != Some(uuid));
        found.tombstones.retain(|(of, _), _| *of != uuid);
    }
    removed
}

/// Makes a new catalog, under another name until it is whole.
fn make(wish: &Wish<'_>, sources: &[ToTell], found: &Found, monitor: &dyn Monitor) -> Result<Written, Error> {
    let draft = draft_of(wish.into);
    remove_files(&draft);
    let made = Writer::create(&draft).map_err(Error::from).and_then(|()| {
        let written = write(&mut Target::draft(&draft, wish)?, sources, found, monitor)?;
        sync(&draft)?;
        // Nobody's file is overwritten, whatever was made meanwhile.
        fs::hard_link(&draft, wish.into).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists { path: wish.into.to_owned() },
            _ => io_error("naming", wish.into)(e),
        })?;
        sync(wish.into.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
        Ok(written)
    });
    remove_files(&draft);
    made
}

/// The sources that were written, by the UUIDs that their manifests say.
type Written = Vec<([u8; 16], Rebuilt)>;

/// Writes all sources.
fn write(target: &mut Target<'_>, sources: &[ToTell], found: &Found, monitor: &dyn Monitor) -> Result<Written, Error> {
    let there = target.sources()?;
    let names = names(sources, found, &there);
    let mut written = Vec::new();
    for (source, name) in sources.iter().zip(names) {
        let last = newest(source, found);
        monitor.begin(&name, None);
        let one = One::new(target, source, found, &name).and_then(|one| one.run(monitor));
        monitor.end();
        let one = one?;
        let was_called = (last.source.name != name).then(|| last.source.name.clone());
        written.push((source.uuid, Rebuilt { name, was_called, ..one }));
    }
    written.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    Ok(written)
}

/// Returns a name for each source: that which it has in the catalog. Of several others that were called the same, one of which manifests lie
/// beside the catalog keeps it, and of several of these the one that was indexed last.
fn names(sources: &[ToTell], found: &Found, there: &[SourceRow]) -> Vec<String> {
    let mut order: Vec<usize> = (0..sources.len()).collect();
    order.sort_by_key(|at| {
        let header = newest(&sources[*at], found);
        std::cmp::Reverse((found.is_beside(&sources[*at]), header.indexed_at, header.taken_at))
    });
    let mut taken: BTreeSet<String> = there.iter().map(|source| source.name.clone()).collect();
    let known = |source: &ToTell| there.iter().find(|row| one::is_same(row, source));
    let mut names: Vec<String> =
        sources.iter().map(|source| known(source).map_or_else(String::new, |row| row.name.clone())).collect();
    for plain in [true, false] {
        for at in &order {
            let name = &newest(&sources[*at], found).source.name;
            if !names[*at].is_empty() || (plain && taken.contains(name)) {
                continue;
            }
            let free = |number: &u32| !taken.contains(&format!("{name}-{number}"));
            names[*at] = match plain {
                true => name.clone(),
                false => format!("{name}-{}", (2..).find(free).expect("numbers do not end")),
            };
            taken.insert(names[*at].clone());
        }
    }
    names
}

/// Copies manifests that do not lie beside their copies to where those of the new catalog are, but not those of sources that have others
/// now; returns what could not be copied.
fn copy_beside(into: &Path, found: &Found, renumbered: &BTreeSet<[u8; 16]>) -> Vec<String> {
    let folder = beside_catalog(into);
    let manifests = found.whole.iter().filter_map(|(who, whole)| match who {
        Who::Sequence(uuid, sequence) => Some((uuid, sequence, &whole.path, "manifest")),
        Who::Instant(..) => None,
    });
    let tombstones = found.tombstones.iter().map(|((uuid, sequence), (path, _))| (uuid, sequence, path, "tombstone"));
    let mut troubles = Vec::new();
    for (uuid, sequence, path, ending) in manifests.chain(tombstones) {
        let is_apart = path.file_name() == Some(OsStr::new(&format!("{sequence}.{ending}")));
        let folder = folder.join(uuid_text(uuid));
        if is_apart
            && !renumbered.contains(uuid)
            && path.parent() != Some(&folder)
            && let Err(e) = copy_manifest(path, &folder)
        {
            troubles.push(crate::model::chain(&e));
        }
    }
    for (uuid, sequence) in found.newest.iter().filter(|(uuid, _)| !renumbered.contains(*uuid)) {
        let folder = folder.join(uuid_text(uuid));
        if folder.is_dir()
            && noted_newest(&folder, uuid).is_none_or(|noted| noted < *sequence)
            && let Err(e) = note_newest(&folder, uuid, *sequence)
        {
            troubles.push(crate::model::chain(&e));
        }
    }
    troubles
}

/// Returns the name under which a catalog is made.
fn draft_of(into: &Path) -> PathBuf {
    beside(into, ".rebuilding")
}

/// Removes the draft of a catalog with all that SQLite and its lock left beside it.
fn remove_files(draft: &Path) {
    for ending in ["", "-wal", "-shm", ".lock", ".new", ".new-wal", ".new-shm"] {
        let _ = fs::remove_file(beside(draft, ending));
    }
}

fn sync(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|file| file.sync_all()).map_err(io_error("syncing", path))
}

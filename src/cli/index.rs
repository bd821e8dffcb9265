//! `asof index`: copies that are there become generations.
//!
//! Promises: running it again finds nothing to do; several copies are taken oldest first; one copy that
//! cannot be indexed does not stop the others. A copy that moved since it was indexed (rotating names) is found
//! again by its instant and its new place recorded.

mod disk;
mod foreign;

use super::args::IndexArgs;
use super::output::{self, grouped, human_bytes};
use super::progress::Terminal;
use super::report::{Failure, Outcome};
use super::{SourceRun, World, report};
use crate::catalog::{SourceRow, Writer};
use crate::clock::Clock;
use crate::index::{Done, NewCopy, index_copy};
use crate::model::{Fold, SourceKind, Time, parse_instant};
use crate::monitor::Monitor;
use crate::source::nfs::{InstantFrom, Settings};
use crate::source::{self, Found, LeftAside, NoCopy, Source};
use serde_json::json;
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the catalog knows of the copies of a source.
struct Known {
    by_instant: HashMap<Time, Vec<PathBuf>>,
    by_path: HashMap<PathBuf, Time>,
    newest_entries: Option<u64>,
}

pub(super) fn run(args: &IndexArgs, world: &World) -> Result<Outcome, Failure> {
    let SourceRun { lock: _lock, source, mut writer } = world.source_run("index", &args.name)?;
    let kind = SourceKind::from_word(&source.kind).ok_or_else(|| super::unknown_kind(&source))?;
    match (kind, &args.foreign.list) {
        (SourceKind::Gluster, Some(list)) => return foreign::run(&mut writer, &source, list, args, world),
        (SourceKind::Gluster, None) => {
            let text =
                format!("source {:?} is a Gluster volume: its generations are taken, or come from lists", source.name);
            return Err(Failure::new(text)
                .hint(format!("asof take {0}, or asof index {0} --list LIST --data DIR --at DATE", source.name)));
        }
        (SourceKind::Nfs | SourceKind::Block, Some(_)) => {
            let what = if kind == SourceKind::Nfs { "a full copy" } else { "an image" };
            return Err(Failure::new(format!("source {:?} is of kind {kind}: its copies need no list", source.name))
                .hint(format!("asof index {} PATH --at DATE indexes {what}", source.name)));
        }
        (SourceKind::Block, None) => return disk::run(&mut writer, &source, args, world),
        (SourceKind::Nfs, None) => {}
    }
    let settings = Settings::from_json(&source.settings)?;
    let copies = source::open(kind, &source.settings, &world.zone)?;
    let mut job = Job { world, source: &source, settings: &settings, copies: &*copies, monitor: Terminal::new() };
    let known = job.known()?;
    let (wanted, mut trouble) = match args.paths.as_slice() {
        [] if args.at.is_some() => {
            return Err(Failure::new("--at gives the instant of one copy, and none is named")
                .hint(format!("asof index {} PATH --at DATE", args.name)));
        }
        [] => job.discover(&known, &mut writer)?,
        paths => (job.named(paths, args.at.as_deref(), &known)?, false),
    };
    let mut done = Vec::new();
    let mut expected = known.newest_entries;
    for found in &wanted {
        match job.index(&mut writer, found, expected) {
            Ok(one) => {
                trouble |= one.counts.losses + one.counts.notices > 0 || one.unstable;
                trouble |= is_suspicious(found, &one, expected, world.clock.now());
                expected = Some(one.counts.entries);
                job.tell(found, &one);
                done.push((found, one));
            }
            // With one copy wanted this is the answer; with more the others still count.
            Err(failure) if wanted.len() == 1 => return Err(failure),
            Err(failure) => {
                report::end(Err(failure));
                trouble = true;
            }
        }
    }
    if args.json {
        let values: Vec<_> = done.iter().map(|(found, done)| as_json(&source, found, done)).collect();
        output::json(&values.into())?;
    }
    if wanted.is_empty() && !trouble {
        eprintln!("nothing to index: no copy of \"{}\" is new ({} are indexed)", source.name, known.by_path.len());
    }
    if !wanted.is_empty() && done.is_empty() {
        return Err(Failure::new(format!("none of {} copies of {:?} was indexed", wanted.len(), source.name)));
    }
    Ok(if trouble { Outcome::WithFindings } else { Outcome::Done })
}

/// Says what is odd about a whole copy, and tells whether anything is.
fn is_suspicious(found: &Found, done: &Done, before: Option<u64>, now: Time) -> bool {
    let is_empty = done.counts.entries == 0 && before.is_some_and(|entries| entries > 0);
    if is_empty {
        eprintln!("the copy {:?} is empty: was the share mounted when it was made?", found.path);
    }
    let is_future = found.taken_at > now;
    if is_future {
        eprintln!("the generation {} lies in the future; it is the latest until then", found.taken_at);
    }
    is_empty || is_future
}

/// Tells whether what was indexed at `path` as `at` is not there any more: nothing is, or (where the mtime tells the
/// instant) another copy.
fn is_elsewhere(path: &Path, at: Time, instants: &HashMap<&Path, Time>, by_name_only: bool) -> bool {
    match instants.get(path) {
        Some(told) if !by_name_only => *told != at,
        _ => !path.exists(),
    }
}

struct Job<'j> {
    world: &'j World,
    source: &'j SourceRow,
    settings: &'j Settings,
    copies: &'j dyn Source,
    monitor: Terminal,
}

impl Job<'_> {
    fn known(&self) -> Result<Known, Failure> {
        let reader = self.world.reader()?;
        let mut known = Known { by_instant: HashMap::new(), by_path: HashMap::new(), newest_entries: None };
        for generation in reader.generations(self.source.id)? {
            let copies = reader.copies(self.source.id, generation.taken_at)?;
            let paths: Vec<PathBuf> = copies.into_iter().map(|c| c.path).collect();
            known.by_path.extend(paths.iter().map(|p| (p.clone(), generation.taken_at)));
            known.by_instant.insert(generation.taken_at, paths);
            known.newest_entries = Some(generation.entries as u64);
        }
        Ok(known)
    }

    /// Returns the copies in the source's folder that are not indexed, oldest first, and whether any had to
    /// be left aside.
    fn discover(&mut self, known: &Known, writer: &mut Writer) -> Result<(Vec<Found>, bool), Failure> {
        let discovered = self.copies.generations()?;
        let mut trouble = false;
        for LeftAside { path, why } in &discovered.left_aside {
            let is_known = known.by_path.contains_key(path);
            let is_trouble = match why {
                // A copy that was indexed by hand, with --at, needs no date of its own.
                NoCopy::NoDate(_) | NoCopy::BadDate(_) => !is_known,
                NoCopy::Link { .. } | NoCopy::Unreadable(_) => true,
                // Unless it stands where a copy was.
                NoCopy::Alias { .. } | NoCopy::Housekeeping => is_known,
            };
            if is_trouble {
                self.monitor.warn(&format!("left aside {path:?}: {why}"));
                trouble = true;
            }
        }
        let instants: HashMap<&Path, Time> = discovered.found.iter().map(|f| (f.path.as_path(), f.taken_at)).collect();
        let mut wanted: Vec<Found> = Vec::new();
        let by_name_only = self.settings.instant_from == [InstantFrom::Name];
        for found in &discovered.found {
            match known.by_path.get(&found.path) {
                Some(known) if *known == found.taken_at => continue,
                // Indexed by hand under another instant, or the rules for names have changed since.
                Some(_) if by_name_only => continue,
                // Its mtime changed, and what it was is nowhere: not a rotation.
                Some(known) if !instants.values().any(|t| t == known) => {
                    self.overwritten(found, *known);
                    trouble = true;
                    continue;
                }
                _ => {}
            }
            match known.by_instant.get(&found.taken_at) {
                // Names rotate: what was at the old place is another copy now, or nothing.
                Some(paths) if paths.iter().all(|p| is_elsewhere(p, found.taken_at, &instants, by_name_only)) => {
                    self.moved(found, paths, writer)?;
                }
                Some(paths) => {
                    self.second_of_one_second(found, &paths[0]);
                    trouble = true;
                }
                None => match wanted.last() {
                    Some(last) if last.taken_at == found.taken_at => {
                        self.second_of_one_second(found, &last.path);
                        trouble = true;
                    }
                    _ => wanted.push(found.clone()),
                },
            }
        }
        self.tell_missing(known, &discovered.found);
        Ok((wanted, trouble))
    }

    fn moved(&self, found: &Found, paths: &[PathBuf], writer: &mut Writer) -> Result<(), Failure> {
        let folder = self.store_of(&found.path);
        let store = writer.store_at(&folder)?;
        let below = found.path.strip_prefix(&folder).unwrap_or(Path::new(""));
        writer.move_copy(self.source.id, found.taken_at, store, below.as_os_str().as_bytes())?;
        let was = paths.first().map_or_else(|| "nowhere".to_owned(), |p| format!("{p:?}"));
        self.monitor.warn(&format!("the copy of {} moved from {was} to {:?}", found.taken_at, found.path));
        Ok(())
    }

    /// Says which copies are gone; their generations stay, and are read from other copies where these hold the same.
    fn tell_missing(&self, known: &Known, found: &[Found]) {
        let is_gone = |path: &&PathBuf| !found.iter().any(|f| f.path == **path) && !path.exists();
        let mut gone: Vec<&PathBuf> = known.by_path.keys().filter(is_gone).collect();
        gone.sort();
        if let Some(first) = gone.first() {
            let more = if gone.len() == 1 { String::new() } else { format!(" and {} more", gone.len() - 1) };
            self.monitor
                .warn(&format!("not there any more: the copy {first:?}{more}, of generations that are indexed"));
        }
    }

    fn overwritten(&self, found: &Found, known: Time) {
        self.monitor.warn(&format!(
            "left aside {:?}: it is indexed as {known} and now tells {}; if another tool overwrites it, its earlier \
             generations cannot be read any more: let every copy have a directory of its own",
            found.path, found.taken_at
        ));
    }

    fn second_of_one_second(&self, found: &Found, first: &Path) {
        self.monitor.warn(&format!(
            "left aside {:?}: {first:?} is the copy of {} already; asof index {} PATH --at DATE gives it another second",
            found.path, found.taken_at, self.source.name
        ));
    }

    /// Returns the copies that the admin named, oldest first, without those that are known.
    fn named(&self, paths: &[PathBuf], at: Option<&str>, known: &Known) -> Result<Vec<Found>, Failure> {
        if at.is_some() && paths.len() > 1 {
            return Err(Failure::new(format!("--at gives the instant of one copy, and {} are named", paths.len())));
        }
        let mut wanted = Vec::new();
        for path in paths {
            let path = std::fs::canonicalize(path)
                .map_err(|e| Failure::because(format!("looking for the copy {path:?}"), &e))?;
            if !path.is_dir() {
                return Err(Failure::new(format!("{path:?} is not a copy of a share: it is not a directory")));
            }
            let taken_at = match at {
                Some(date) => parse_instant(date, self.world.clock.now(), &self.world.zone, Fold::Refuse)?,
                None => match known.by_path.get(&path) {
                    Some(known) => *known,
                    None => self.copies.instant_of(&path)?,
                },
            };
            match (known.by_path.get(&path), known.by_instant.get(&taken_at).and_then(|p| p.first())) {
                (Some(known), _) if *known == taken_at => eprintln!("{path:?} is indexed already, as {known}"),
                (Some(known), _) => {
                    return Err(Failure::new(format!("{path:?} is indexed already, as {known} and not {taken_at}"))
                        .hint("a copy has one instant; asof source remove forgets a source, to index it anew"));
                }
                (None, Some(first)) => {
                    return Err(Failure::new(format!(
                        "source {:?} has a generation of {taken_at} already, at {first:?}; {path:?} would be a second one",
                        self.source.name
                    ))
                    .hint("give it another second with --at"));
                }
                (None, None) => wanted.push(Found { taken_at, path }),
            }
        }
        wanted.sort_by_key(|found| found.taken_at);
        if let Some(pair) = wanted.windows(2).find(|pair| pair[0].taken_at == pair[1].taken_at) {
            return Err(Failure::new(format!(
                "{:?} and {:?} are both of {}",
                pair[0].path, pair[1].path, pair[0].taken_at
            ))
            .hint("index them one by one, with --at"));
        }
        Ok(wanted)
    }

    /// Returns the directory that is recorded as the store of the copy at `path`.
    fn store_of(&self, path: &Path) -> PathBuf {
        match path.parent() {
            _ if path.starts_with(&self.settings.copies) => self.settings.copies.clone(),
            Some(parent) => parent.to_owned(),
            None => path.to_owned(),
        }
    }

    fn index(&self, writer: &mut Writer, found: &Found, expected: Option<u64>) -> Result<Done, Failure> {
        let store = self.store_of(&found.path);
        let copy = NewCopy { source: self.source, found, store: &store, again: false };
        self.monitor.begin(&format!("{} {}", self.source.name, found.taken_at), expected);
        let done = index_copy(writer, &copy, self.copies, &self.world.clock, &self.monitor);
        self.monitor.end();
        done.map_err(|e| {
            let failure = Failure::from(e);
            failure.about(&format!("cannot index generation {} of \"{}\"", found.taken_at, self.source.name))
        })
    }

    fn tell(&self, found: &Found, done: &Done) {
        let counts = &done.counts;
        let seconds = counts.index_ms as f64 / 1000.0;
        let mut text = format!(
            "indexed {} of \"{}\" from {:?}: {} entries, {}, {} changed, in {seconds:.1} s",
            done.at,
            self.source.name,
            found.path,
            grouped(counts.entries as i64),
            human_bytes(counts.size_bytes as i64),
            grouped(done.changed_nodes as i64),
        );
        if counts.losses > 0 {
            text.push_str(&format!("; {} could not be read, the generation is partial", grouped(counts.losses as i64)));
        }
        if done.unstable {
            text.push_str("; the copy changed while it was indexed");
        }
        eprintln!("{text}");
        if counts.losses + counts.notices > 0 {
            eprintln!("hint: asof show {}@{} lists what was found", self.source.name, done.at.view_name());
        }
    }
}

fn as_json(source: &SourceRow, found: &Found, done: &Done) -> serde_json::Value {
    json!({
        "source": source.name,
        "taken_at": done.at.to_string(),
        "path": found.path.to_string_lossy(),
        "entries": done.counts.entries,
        "size_bytes": done.counts.size_bytes,
        "changed": done.changed_nodes,
        "losses": done.counts.losses,
        "notices": done.counts.notices,
        "changed_while_indexed": done.unstable,
        "index_ms": done.counts.index_ms,
    })
}

//! A generation of a volume is indexed again from its manifest: the bricks have changed since, and are not asked.
//!
//! A manifest counts from the generation before it as that was then. Where that was forgotten, or is not in that state any more, the
//! manifests of what lay between are applied first, back to one that tells everything.
//!
//! Promises: the generation is published only if its state is the one that its manifest counted; else the catalog is as before.

use super::super::apply::{Applying, Holder, Part, Trouble, copy_of};
use super::super::manifests::places;
use super::super::report::When;
use super::wish::Which;
use super::work::Work;
use super::{Error, Event, Indexed, OneCopy};
use crate::catalog::{NewGeneration, Published};
use crate::index::Done;
use crate::model::manifest::{self, Edit, End, Header, Reader, SourceFacts};
use crate::model::{NodeId, Time};
use crate::store::open_manifest;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A manifest that was read to its end.
struct Whole {
    path: PathBuf,
    header: Header,
    end: End,
    /// Nodes that it puts.
    puts: HashSet<NodeId>,
}

pub(in crate::jobs) fn run(work: &mut Work<'_>) -> Result<(), Error> {
    let at = match work.wish.which {
        Which::Generation(at) => at,
        // It has no copies of others; its own are looked at.
        Which::All if work.is_one_of_all => return work.look_only(),
        Which::All | Which::Named(..) => return Err(Error::IsTaken { name: work.source.name.clone() }),
    };
    work.open()?;
    work.check_asked_again()?;
    work.look_at_own()?;
    let name = work.source.name.clone();
    let source = work.source;
    let none = || Error::NoGeneration { name: name.clone(), at };
    let header = work.writer().manifest_header(source, at)?.ok_or_else(none)?;
    let chain = Chain::find(work, &header, at)?;
    let started = Instant::now();
    work.inputs.monitor.begin(&format!("{name} {at}"), None);
    let published = apply(work, &chain, &header, started);
    work.inputs.monitor.end();
    let (published, path) = (published?, chain.wholes[0].path.clone());
    let done =
        Done { at, counts: published.counts, changed_nodes: published.changed_nodes, unstable: false, settled: true };
    let indexed = work.indexed(OneCopy { when: When(at), path }, &done, None);
    work.emit(Event::Indexed(Indexed { again: Some("it was asked for".to_owned()), ..indexed }));
    Ok(())
}

/// The manifests that make a generation.
struct Chain {
    /// That of the generation first, then each that the one before it counts from.
    wholes: Vec<Whole>,
    /// Whether the last one tells everything, and there is a generation before.
    is_whole: bool,
}

impl Chain {
    fn find(work: &mut Work<'_>, header: &Header, at: Time) -> Result<Self, Error> {
        let source = work.source;
        let mut wholes = vec![read(work, &header.source, at, header.sequence)?];
        loop {
            let Some(base) = wholes.last().and_then(|whole| whole.header.base) else {
                return Ok(Self { wholes, is_whole: header.base.is_some() });
            };
            if header.base == Some(base) {
                return Ok(Self { wholes, is_whole: false });
            }
            let whole = read(work, &header.source, base.at, base.sequence)?;
            // The one before has another manifest, and is what this one made.
            if let Some(before) = header.base
                && let Some(state) = work.writer().state_of(source.id, before.at)?
                && whole.end.state_hash == Some(state)
            {
                return Ok(Self { wholes, is_whole: false });
            }
            wholes.push(whole);
        }
    }
}

/// Reads the manifest with a sequence to its end.
fn read(work: &Work<'_>, source: &SourceFacts, at: Time, sequence: u64) -> Result<Whole, Error> {
    let mut failed = None;
    for path in places(work.inputs.catalog, source, sequence, work.inputs.patience)? {
        match read_whole(&path) {
            Ok(whole) => return Ok(whole),
            Err(source) => failed = failed.or(Some(Error::Manifest { path, source })),
        }
    }
    Err(failed.unwrap_or_else(|| Error::NoManifest { name: work.source.name.clone(), at, sequence }))
}

fn read_whole(path: &Path) -> Result<Whole, manifest::Error> {
    let mut reader = Reader::new(open_manifest(path).map_err(manifest::Error::Io)?)?;
    let mut puts = HashSet::new();
    let end = reader.skip_to_end(|edit| {
        if let Edit::Put(put) | Edit::Amend(put) = edit {
            puts.insert(put.node);
        }
    })?;
    Ok(Whole { path: path.to_owned(), header: reader.header().clone(), end, puts })
}

fn apply(work: &mut Work<'_>, chain: &Chain, header: &Header, started: Instant) -> Result<Published, Error> {
    let last = &chain.wholes[0];
    let at = header.taken_at;
    let fail = |trouble: Trouble| match trouble {
        Trouble::Contradicts(what) => Error::Contradicts { at, path: last.path.clone(), what },
        Trouble::Catalog(e) => e.into(),
    };
    let (source, catalog, patience, now) = (work.source, work.inputs.catalog, work.inputs.patience, work.now());
    let known = work.writer().known(source.id)?;
    let restored = work.writer().resume_source(source, &known.blocks)?.expect("its blocks are its own");
    let objects: HashMap<u64, Holder> =
        known.generations.iter().map(|known| (known.sequence, Holder::Object(known.object))).collect();
    let asked: RefCell<HashMap<u64, Option<Holder>>> = RefCell::default();
    // One whose generation was forgotten is found by its manifest.
    let holder = |sequence: u64| {
        let look = || {
            let path = places(catalog, &header.source, sequence, patience).ok()?.into_iter().next()?;
            let reader = Reader::new(open_manifest(&path).ok()?).ok()?;
            Some(Holder::MadeFor(reader.header().taken_at))
        };
        let known = objects.get(&sequence).copied();
        known.or_else(|| *asked.borrow_mut().entry(sequence).or_insert_with(look))
    };
    let (store, below) = copy_of(&last.path, header).map_err(fail)?;
    let store = work.writer().store_at(&store)?;
    let new = NewGeneration { source, at, level: header.level, copy: (store, &below), now, again: true };
    let mut generation = work.writer().begin(&new)?;
    if let Some(hash) = last.end.state_hash {
        generation.expect_state(hash);
    }
    let mut applying = Applying::new(generation, &restored, &holder);
    let mut all = || {
        if chain.is_whole {
            applying.clear()?;
        }
        for (number, whole) in chain.wholes.iter().enumerate().rev() {
            let mut reader = Reader::new(open_manifest(&whole.path).map_err(manifest::Error::Io)?)?;
            let put_later = chain.wholes[..number].iter().flat_map(|later| later.puts.iter().copied()).collect();
            let part = if number == 0 { Part::All } else { Part::Tree { put_later: &put_later } };
            applying.all(&mut reader, part)?;
        }
        applying.check_held()
    };
    if let Err(trouble) = all() {
        // The trouble that is reported is the first one.
        let _ = applying.into_generation().abandon();
        return Err(fail(trouble));
    }
    let walked = applying.walked(&last.end);
    let published = applying.into_generation().publish(walked, started.elapsed().as_millis() as u64);
    published.map_err(|e| fail(e.into()))
}

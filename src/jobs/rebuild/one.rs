//! One source is made again: its manifests are applied in order, and what cannot be is named.
//!
//! Promises: each generation is published whole or not at all; what the catalog had before stays, but for what a newer tombstone says.

use super::find::{Found, Made, ToTell, Who, Whole, newest_whole, uuid_of_name};
use super::report::{Error, LeftOut, Missing, NotTaken, Rebuilt, Undecided, Unlike, Why};
use super::target::Target;
use crate::catalog::{Known, KnownGeneration, NewGeneration, Published, RestoredSource, SourceLock, SourceRow};
use crate::clock::Fixed;
use crate::jobs::apply::{Applying, Holder, Part, Trouble, copy_of};
use crate::jobs::manifests::Manifests;
use crate::jobs::report::When;
use crate::model::manifest::{self, Base, Reader, SourceFacts, Tombstone};
use crate::model::{ObjectId, Policy, Time};
use crate::monitor::Monitor;
use crate::source;
use crate::store::open_manifest;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

/// Tells whether a row of a catalog is the source that manifests tell of, with the node numbers that it had or with others. Those of format
/// 1 know it by its name and kind.
pub(super) fn is_same(row: &SourceRow, source: &ToTell) -> bool {
    let is_old = source.uuid == uuid_of_name(&row.name, &row.kind);
    is_old || row.uuid.is_some_and(|uuid| uuid == source.uuid || uuid == renumbered(&source.uuid))
}

/// Returns the UUID of a source whose node numbers become other ones: nodes mean the same in all manifests of one source, so it is
/// another one.
fn renumbered(uuid: &[u8; 16]) -> [u8; 16] {
    let hash = blake3::hash(&[b"asof source with other node numbers ".as_slice(), uuid].concat());
    hash.as_bytes()[..16].try_into().expect("32 bytes are more than 16")
}

/// Takes out of what `user` says of a source whatever would be run or written as ours.
fn disarm(facts: &mut SourceFacts, user: u32) -> NotTaken {
    let mut options = Vec::new();
    // Settings that cannot be read run nothing.
    if let Ok((settings, taken)) = (source::description(facts.kind).without_commands)(&facts.settings) {
        facts.settings = settings;
        options = taken.into_iter().map(|(option, value)| (option.to_owned(), value)).collect();
    }
    let mut policy = Policy::parse(&facts.policy);
    if let Some(folder) = policy.manifests() {
        policy.set_manifests(None);
        facts.policy = policy.to_json();
        options.push(("--manifests".to_owned(), folder.to_string_lossy().into_owned()));
    }
    NotTaken { user, options }
}

/// What happened to a source, in order.
enum Step<'f> {
    Manifest(&'f Whole),
    Tombstone(&'f Tombstone),
}

/// One source that is made again.
pub(super) struct One<'o, 't> {
    target: &'o mut Target<'t>,
    source: &'o ToTell,
    found: &'o Found,
    row: SourceRow,
    /// Nobody else changes it.
    _lock: Option<SourceLock>,
    /// None: what is there has node numbers that do not go with the manifests.
    restored: Option<RestoredSource>,
    /// What was there before.
    known: Known,
    /// What is there at each instant.
    live: BTreeMap<Time, Made>,
    /// The number of each.
    numbers: BTreeMap<Time, u64>,
    /// The highest number that was given out.
    last_number: u64,
    /// What holds the bytes that each manifest brought.
    objects: HashMap<u64, ObjectId>,
    /// Instants that this run brought.
    told: BTreeSet<Time>,
    rebuilt: Rebuilt,
}

impl<'o, 't> One<'o, 't> {
    pub(super) fn new(
        target: &'o mut Target<'t>,
        source: &'o ToTell,
        found: &'o Found,
        name: &str,
    ) -> Result<Self, Error> {
        let mut blocks = BTreeSet::new();
        for who in source.manifests.iter().chain(&source.numberless) {
            blocks.extend(&found.whole[who].blocks);
        }
        let blocks: Vec<i64> = blocks.into_iter().collect();
        let there = target.sources()?.into_iter().find(|row| is_same(row, source));
        let (mut commands, mut not_taken) = (Vec::new(), None);
        if there.is_none() {
            let (newest, uuids) = (newest_whole(source, found), (&source.uuid, &renumbered(&source.uuid)));
            let mut facts = newest.header.source.clone();
            if let Some(user) = newest.stranger {
                not_taken = Some(disarm(&mut facts, user)).filter(|not_taken| !not_taken.options.is_empty());
            }
            target.writer().restore_source(name, uuids, &facts, &blocks)?;
            // Settings that cannot be read run nothing.
            commands = (source::description(facts.kind).commands)(&facts.settings).unwrap_or_default();
        }
        let row = target.sources()?.into_iter().find(|row| is_same(row, source)).expect("it is there or was added");
        let lock = target.lock(&row)?;
        target.writer().clean_up(row.id)?;
        let known = target.writer().known(row.id)?;
        let is_renumbered = row.uuid == Some(renumbered(&source.uuid));
        let restored = match is_renumbered {
            true => target.writer().resume_renumbered(&row, &blocks, &known),
            false => target.writer().resume_source(&row, &blocks)?,
        };
        let made = |known: &KnownGeneration| Made { sequence: known.sequence, indexed_at: known.indexed_at };
        let live = known.generations.iter().map(|known| (known.at, made(known))).collect();
        let numbers = known.generations.iter().map(|known| (known.at, known.number)).collect();
        let given = source.manifests.iter().map(|who| found.whole[who].header.number);
        let last_number = given.max().unwrap_or(0).max(known.last_number);
        let objects = known.generations.iter().map(|known| (known.sequence, known.object)).collect();
        let rebuilt = Rebuilt { renumbered: is_renumbered, commands, not_taken, ..Rebuilt::default() };
        let told = BTreeSet::new();
        Ok(Self {
            target,
            source,
            found,
            row,
            _lock: lock,
            restored,
            known,
            live,
            numbers,
            last_number,
            objects,
            told,
            rebuilt,
        })
    }

    pub(super) fn run(mut self, monitor: &dyn Monitor) -> Result<Rebuilt, Error> {
        let found = self.found;
        for who in &self.source.numberless {
            let whole = &found.whole[who];
            self.leave_out(whole.header.taken_at, whole.path.clone(), Why::NoNumber);
        }
        self.keep_manifests();
        for step in self.steps() {
            match step {
                Step::Tombstone(tombstone) => self.tombstone(tombstone)?,
                Step::Manifest(whole) => self.manifest(whole)?,
            }
            monitor.advance(1);
        }
        self.target.writer().keep_no_manifests();
        // Also where nothing was told: a run that was killed may have told all and not come this far.
        self.end()?;
        self.rebuilt.missing = self.missing();
        self.rebuilt.older = self.older();
        self.rebuilt.undecided = self.undecided();
        self.rebuilt.generations =
            self.told.iter().filter(|at| self.live.contains_key(at)).copied().map(When).collect();
        for left in &mut self.rebuilt.left_out {
            if let (Why::Unknown { .. }, Some(made)) = (&left.why, self.live.get(&left.when.0)) {
                left.why = Why::Replaced { by: made.sequence };
            }
        }
        self.rebuilt.left_out.sort_by_key(|left| left.when);
        Ok(self.rebuilt)
    }

    /// Has manifests written where the source is another one from now on.
    fn keep_manifests(&mut self) {
        if self.rebuilt.renumbered {
            let wish = self.target.wish;
            let manifests = Manifests::new(wish.into, Box::new(Fixed(wish.now)), wish.patience.clone(), |_| {}).apart();
            self.target.writer().keep_manifests(Box::new(manifests));
        }
    }

    /// Makes the source go on after all that was told.
    fn end(&mut self) -> Result<(), Error> {
        let headers = || self.source.manifests.iter().map(|who| &self.found.whole[who].header);
        let number = self.last_number;
        let tombs = self.tombstones().map(|tomb| tomb.after);
        let noted = self.found.newest.get(&self.source.uuid).copied();
        let sequence = headers().map(|header| header.sequence).chain(tombs).chain(noted).max().unwrap_or(0);
        let sequence = sequence.max(self.known.last_sequence);
        // Numbers of nodes that were forgotten are not given again either: they mean the same in all manifests.
        let highest = self.source.manifests.iter().map(|who| self.found.whole[who].highest).max();
        let highest = highest.and_then(|node| self.restored.as_ref()?.node(node)).unwrap_or(self.row.root);
        let id = self.row.id;
        Ok(self.target.writer().end_restore(id, (number, sequence), highest)?)
    }

    fn tombstones(&self) -> impl Iterator<Item = &'o Tombstone> {
        let (found, uuid) = (self.found, self.source.uuid);
        found.tombstones.values().map(|(_, tomb)| tomb).filter(move |tomb| tomb.source == uuid)
    }

    /// Returns manifests and tombstones in the order in which they were written.
    fn steps(&self) -> Vec<Step<'o>> {
        let found = self.found;
        let mut steps = Vec::new();
        for who in &self.source.manifests {
            let whole = &found.whole[who];
            steps.push(((whole.header.sequence, false, Time(0), 0), Step::Manifest(whole)));
        }
        for tomb in self.tombstones() {
            steps.push(((tomb.after, true, tomb.forgotten_at, tomb.sequence), Step::Tombstone(tomb)));
        }
        steps.sort_by_key(|(key, _)| *key);
        steps.into_iter().map(|(_, step)| step).collect()
    }

    /// Returns manifests that others name as written before them and that nothing was found of.
    fn missing(&self) -> Vec<Missing> {
        let headers = || self.source.manifests.iter().map(|who| &self.found.whole[who].header);
        let known: BTreeSet<u64> = headers().map(|header| header.sequence).collect();
        let uuid = self.source.uuid;
        let is_there = |sequence: u64| {
            sequence == 0
                || known.contains(&sequence)
                || self.objects.contains_key(&sequence)
                || self.found.tombstones.contains_key(&(uuid, sequence))
                || self.found.known_bad.contains(&Who::Sequence(uuid, sequence))
        };
        let mut missing: BTreeMap<u64, Option<Time>> = BTreeMap::new();
        for header in headers() {
            missing.entry(header.after).or_insert(None);
            if let Some(base) = header.base {
                missing.insert(base.sequence, Some(base.at));
            }
        }
        if let Some(newest) = self.found.newest.get(&uuid) {
            missing.entry(*newest).or_insert(None);
        }
        let last = known.last().copied().unwrap_or(0);
        let missing = missing.into_iter().filter(|(sequence, _)| !is_there(*sequence));
        missing.map(|(sequence, at)| Missing { sequence, when: at.map(When), newest: sequence > last }).collect()
    }

    /// Returns the generations that are there and may have been forgotten: the run that was to do it was killed.
    fn undecided(&self) -> Vec<Undecided> {
        let prepared = self.found.prepared.iter().filter(|(_, tomb)| tomb.source == self.source.uuid);
        let is_there =
            |tomb: &Tombstone| self.live.get(&tomb.at).is_some_and(|made| made.is(tomb.sequence, tomb.indexed_at));
        let prepared = prepared.filter(|(_, tomb)| is_there(tomb));
        prepared.map(|(path, tomb)| Undecided { when: When(tomb.at), path: path.clone() }).collect()
    }

    /// Returns how many generations were numbered before the oldest manifest, if that says that there were any.
    fn older(&self) -> u64 {
        let old = |who: &&Who| matches!(who, Who::Instant(..));
        let first = self.source.manifests.iter().find(|who| !old(who)).map(|who| &self.found.whole[who].header);
        match first {
            Some(first) if first.after > 0 && self.known.generations.is_empty() => {
                let old = self.source.manifests.iter().filter(old).count() + self.source.numberless.len();
                first.number.saturating_sub(1 + old as u64)
            }
            _ => 0,
        }
    }

    fn leave_out(&mut self, at: Time, path: PathBuf, why: Why) {
        self.rebuilt.left_out.push(LeftOut { when: When(at), path, why });
    }

    fn tombstone(&mut self, tomb: &Tombstone) -> Result<(), Error> {
        let is_it = self.live.get(&tomb.at).is_some_and(|made| made.is(tomb.sequence, tomb.indexed_at));
        // What was there is as old as the catalog: one that was forgotten before and is there was indexed by another one.
        let is_later = self.told.contains(&tomb.at) || tomb.after >= self.known.last_sequence;
        if is_it && is_later {
            self.forget(tomb.at)?;
            self.rebuilt.forgotten.push(When(tomb.at));
        }
        Ok(())
    }

    fn forget(&mut self, at: Time) -> Result<(), Error> {
        let row = self.row.clone();
        self.target.writer().forget(&row, at)?;
        self.live.remove(&at);
        self.numbers.remove(&at);
        Ok(())
    }

    /// Forgets what a later manifest does not know.
    fn forget_unknown(&mut self, at: Time, later: u64) -> Result<(), Error> {
        let sequence = self.live[&at].sequence;
        let of = |who: &&Who| self.found.whole[*who].header.sequence == sequence;
        let path = self.source.manifests.iter().find(of).map(|who| self.found.whole[who].path.clone());
        self.forget(at)?;
        self.leave_out(at, path.unwrap_or_default(), Why::Unknown { later });
        Ok(())
    }

    /// Tells whether the catalog has a manifest already, or had it.
    fn is_done(&mut self, whole: &Whole) -> bool {
        let (at, sequence) = (whole.header.taken_at, whole.header.sequence);
        if whole.header.format == 1 && self.live.contains_key(&at) {
            return true;
        }
        let newest = self.known.generations.iter().map(|known| known.sequence).max().unwrap_or(0);
        let has_tombstone = self.found.tombstone_of(&self.source.uuid, &whole.header).is_some();
        let is_replaced = || {
            let mut headers = self.source.manifests.iter().map(|who| &self.found.whole[who].header);
            headers.any(|header| header.replaces == Some(sequence))
        };
        if sequence > newest {
            return sequence <= self.known.last_sequence && (has_tombstone || is_replaced());
        }
        if self.sequence_at(at) != Some(sequence) && !has_tombstone && !is_replaced() {
            self.leave_out(at, whole.path.clone(), Why::Passed);
        }
        true
    }

    fn manifest(&mut self, whole: &Whole) -> Result<(), Error> {
        let header = &whole.header;
        let at = header.taken_at;
        if self.is_done(whole) {
            return Ok(());
        }
        if let Some(why) = self.why_not(whole)? {
            self.leave_out(at, whole.path.clone(), why);
            return Ok(());
        }
        let again = match (self.sequence_at(at), header.replaces) {
            (Some(there), Some(replaced)) if there == replaced => true,
            (Some(_), _) => {
                self.forget_unknown(at, header.sequence)?;
                false
            }
            (None, _) => false,
        };
        for unknown in self.between(whole) {
            self.forget_unknown(unknown, header.sequence)?;
        }
        match self.apply(whole, again) {
            Ok(published) => self.applied(whole, &published)?,
            Err(Trouble::Contradicts(what)) => {
                // Its writer is spent.
                self.target.open()?;
                self.keep_manifests();
                self.leave_out(at, whole.path.clone(), Why::Contradicts(what));
            }
            Err(Trouble::Catalog(e)) => return Err(e.into()),
        }
        Ok(())
    }

    /// Returns the generations between a manifest's base and itself, which it does not know.
    fn between(&self, whole: &Whole) -> Vec<Time> {
        let at = whole.header.taken_at;
        match whole.header.base {
            Some(base) => self.live.range(Time(base.at.0 + 1)..at).map(|(at, _)| *at).collect(),
            None => self.live.range(..at).map(|(at, _)| *at).collect(),
        }
    }

    /// Returns why a manifest cannot be applied to what is there.
    fn why_not(&self, whole: &Whole) -> Result<Option<Why>, Error> {
        let header = &whole.header;
        let Some(restored) = &self.restored else { return Ok(Some(Why::NumbersTaken)) };
        if header.format == 1 && source::description(header.source.kind).has_extents {
            return Ok(Some(Why::NoExtents));
        }
        if let Some(base) = header.base {
            // Format 1 knows it by its instant alone.
            let is_numbered = header.format != 1;
            match self.live.get(&base.at) {
                None => return Ok(Some(Why::NoBase(base))),
                Some(there) if is_numbered && there.sequence != base.sequence => return Ok(Some(Why::NoBase(base))),
                Some(there) if is_numbered && !there.is(base.sequence, base.indexed_at) => {
                    return Ok(Some(Why::OtherBase(base)));
                }
                Some(_) if restored.keeps_numbers() && self.has_another_state(&base)? => {
                    return Ok(Some(Why::OtherBase(base)));
                }
                Some(_) => {}
            }
        }
        // What was there is not taken away.
        let was_there = |at: &Time| self.live.contains_key(at) && !self.told.contains(at);
        let is_replaced = header.replaces.is_some() && self.sequence_at(header.taken_at) == header.replaces;
        let unknown = self.between(whole).into_iter().find(was_there);
        let same = Some(header.taken_at).filter(|at| was_there(at) && !is_replaced);
        // A catalog that went on by itself has given numbers of nodes anew, too.
        let mut there =
            self.known.generations.iter().filter(|known| was_there(&known.at) && known.at != header.taken_at);
        let numbered = there.find(|known| known.number == header.number).map(|known| known.at);
        let diverged = |at: Option<Time>| at.map(|at| Why::Diverged { at });
        Ok(diverged(unknown).or(same.map(|_| Why::Same)).or(diverged(numbered)))
    }

    fn sequence_at(&self, at: Time) -> Option<u64> {
        self.live.get(&at).map(|made| made.sequence)
    }

    /// Tells whether the state of the generation that is there is known to be another one than edits count from.
    fn has_another_state(&self, base: &Base) -> Result<bool, Error> {
        let writer = self.target.writer.as_ref().expect("it is open");
        let (there, wanted) = (writer.state_of(self.row.id, base.at)?, base.state_hash);
        Ok(there.zip(wanted).is_some_and(|(there, wanted)| there != wanted))
    }

    fn apply(&mut self, whole: &Whole, again: bool) -> Result<Published, Trouble> {
        let (header, end) = (&whole.header, &whole.end);
        let restored = self.restored.as_ref().expect("else it is left out");
        let file = open_manifest(&whole.path).map_err(manifest::Error::Io)?;
        let mut reader = Reader::new(file)?;
        let (store, below) = copy_of(&whole.path, header)?;
        let writer = self.target.writer.as_mut().expect("it is open");
        // A catalog that was put back gave numbers anew: the second of two that have one gets another one.
        let is_taken = |(other, number): (&Time, &u64)| *other != header.taken_at && *number == header.number;
        let number = if self.numbers.iter().any(is_taken) { self.last_number + 1 } else { header.number };
        writer.set_next_numbers(self.row.id, number, header.sequence)?;
        let store = writer.store_at(&store)?;
        let (at, level, now) = (header.taken_at, header.level, header.indexed_at);
        let new = NewGeneration { source: &self.row, at, level, copy: (store, &below), now, again };
        let mut generation = writer.begin(&new)?;
        let (objects, found, uuid) = (&self.objects, self.found, self.source.uuid);
        let holder = |sequence: u64| {
            let made_for = || found.whole.get(&Who::Sequence(uuid, sequence)).map(|whole| whole.header.taken_at);
            objects.get(&sequence).copied().map(Holder::Object).or_else(|| made_for().map(Holder::MadeFor))
        };
        // Node numbers go into the state.
        if let Some(hash) = end.state_hash.filter(|_| restored.keeps_numbers()) {
            generation.expect_state(hash);
        }
        let mut applying = Applying::new(generation, restored, &holder);
        if let Err(trouble) = applying.all(&mut reader, Part::All) {
            // The trouble that is told is the first one.
            let _ = applying.into_generation().abandon();
            return Err(trouble);
        }
        let (walked, index_ms) = (applying.walked(end), end.counts.map_or(0, |counts| counts.index_ms));
        let published = applying.into_generation().publish(walked, index_ms)?;
        if !again {
            self.numbers.insert(at, number);
            self.last_number = self.last_number.max(number);
        }
        Ok(published)
    }

    fn applied(&mut self, whole: &Whole, published: &Published) -> Result<(), Error> {
        let (header, end) = (&whole.header, &whole.end);
        let at = header.taken_at;
        self.live.insert(at, Made::of(header));
        self.told.insert(at);
        let object = self.target.writer().copies(self.row.id, at)?.first().map(|copy| copy.object);
        self.objects.extend(object.map(|object| (header.sequence, object)));
        if let Some(said) = end.counts.filter(|said| *said != published.counts) {
            self.rebuilt.unlike.push(Unlike { when: When(at), said, found: published.counts });
        }
        Ok(())
    }
}

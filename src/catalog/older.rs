//! What rows of a program of an older format say in another way, said as this format says it; a part of bringing a catalog up to date.
//!
//! Promises: what a generation shows stays as it was; afterwards `asof check --deep` finds nothing that it would not have found in a
//! catalog of this format. Runs inside the transaction that changes the tables.
//!
//! Never reads a copy, and never mends what is damaged: what was not written by one of the ways below is as it was, and is
//! for the check to find. So notes and counts are not simply made anew.
//!
//! What programs up to format 4 wrote in another way, as their catalogs in `tests/data/migrate` have it:
//! - a generation that was put in before another one left a version there that is equal to the one before it;
//! - of a disk, an inode that is none any more got a version when it had no name;
//! - the number of the generation that brought the bytes of a version was not written down: its note tells whether it did, or whether
//!   it only brought other attributes;
//! - what came back was noted as linked, a directory that could be listed again as other bytes, and by the first program of
//!   format 1 the top directory not at all;
//! - a generation that is not whole counted what was walked, without what it shows of the one before.

use super::check::notes::{each_change, is_same};
use super::history::{History, Instants, VersionRow, blocks, each_history};
use super::rows::{ChangeOps, Place, read_rule};
use super::tables;
use super::timeline::{Generations, Timeline, common};
use crate::model::{Kind, NodeId, Rule, SourceId, Time};
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, HashMap};

/// Says all rows as this format says them; the tables are those of this format.
pub(super) fn say_anew(c: &Connection) -> rusqlite::Result<()> {
    add_texts(c)?;
    let mut statement = c.prepare("SELECT id, root, kind = 'block', rule, by_inode FROM source ORDER BY id")?;
    let sources =
        statement.query_map([], |r| Ok((SourceId(r.get(0)?), NodeId(r.get(1)?), r.get(2)?, read_rule(r, 3)?)))?;
    for (id, root, is_disk, rule) in sources.collect::<rusqlite::Result<Vec<_>>>()? {
        let generations = Generations { instants: Instants::load(c, id)?, unfinished: Vec::new() };
        Source { c, id, root, is_disk, rule, generations }.say_anew()?;
    }
    Ok(())
}

/// Adds the texts of link targets and paths, of which the first program of format 1 wrote none.
fn add_texts(c: &Connection) -> rusqlite::Result<()> {
    for sql in [
        "SELECT DISTINCT t.bytes FROM inode i JOIN perm p ON p.id = i.perm JOIN content t ON t.id = i.content \
          WHERE i.place = 4 AND p.mode & 61440 = 40960",
        "SELECT path FROM store",
        "SELECT DISTINCT path FROM copy",
        "SELECT DISTINCT path FROM disk_file",
        "SELECT DISTINCT path FROM finding",
    ] {
        let mut statement = c.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            tables::insert_odd_name(c, row.get_ref(0)?.as_blob()?)?;
        }
    }
    Ok(())
}

/// Old notes of some nodes: what was noted, by the place of the generation.
type Notes = HashMap<i64, BTreeMap<usize, ChangeOps>>;

struct Source<'c> {
    c: &'c Connection,
    id: SourceId,
    root: NodeId,
    is_disk: bool,
    rule: Rule,
    generations: Generations,
}

/// What a node has in this format.
struct Said {
    history: History,
    /// Notes, by the place of the generation.
    notes: BTreeMap<usize, ChangeOps>,
}

/// What generations show, as steps from one to the next, and how many notes each has more than before.
struct Shown {
    entries: Vec<i64>,
    sizes: Vec<i64>,
    notes: Vec<i64>,
}

impl Source<'_> {
    fn say_anew(&self) -> rusqlite::Result<()> {
        let ends = self.generations.instants.len() + 1;
        let mut shown = Shown { entries: vec![0; ends], sizes: vec![0; ends], notes: vec![0; ends] };
        for block in blocks(self.c, self.id)? {
            let mut noted = self.notes(block)?;
            let mut edits = Vec::new();
            each_history(self.c, block, &mut |history| {
                let noted = noted.remove(&history.node.0).unwrap_or_default();
                let said = self.node(history, &noted);
                self.count(&said.history, &mut shown);
                for place in noted.keys().chain(said.notes.keys()) {
                    shown.notes[*place] +=
                        i64::from(said.notes.contains_key(place)) - i64::from(noted.contains_key(place));
                }
                edits.extend(edits_of(history, &noted, &said));
                Ok(())
            })?;
            edits.iter().try_for_each(|edit| self.write(edit))?;
        }
        self.write_counts(&shown)
    }

    /// Reads what is noted of the nodes of a block.
    fn notes(&self, (first, last): (i64, i64)) -> rusqlite::Result<Notes> {
        let mut statement = self
            .c
            .prepare_cached("SELECT node, op FROM change WHERE source = ?1 AND at = ?2 AND node BETWEEN ?3 AND ?4")?;
        let mut notes = Notes::new();
        for place in 0..self.generations.instants.len() {
            let mut rows = statement.query(params![self.id.0, self.generations.instants.at(place), first, last])?;
            while let Some(row) = rows.next()? {
                notes.entry(row.get(0)?).or_default().insert(place, ChangeOps(row.get(1)?));
            }
        }
        Ok(notes)
    }

    fn node(&self, history: &History, noted: &BTreeMap<usize, ChangeOps>) -> Said {
        let node = Timeline::new(history, self.root, &self.generations);
        let versions = self.versions(&node, noted);
        let history = History { node: history.node, names: history.names.clone(), versions };
        let mut notes = noted.clone();
        let node = Timeline::new(&history, self.root, &self.generations);
        // Nothing is asked of the catalog.
        let Ok(()) = each_change(&node, self.rule, &mut |place, expected| {
            let old = noted.get(&place).copied();
            let new = match old {
                Some(old) if expected.allows(old.0) => old,
                Some(old) => expected.must | ChangeOps(old.0 & expected.may.0),
                None if node.is_root => expected.must,
                // That something was not noted at all is not one of their ways.
                None => ChangeOps::default(),
            };
            match new.is_empty() {
                true => notes.remove(&place),
                false => notes.insert(place, new),
            };
            Ok::<(), std::convert::Infallible>(())
        });
        Said { history, notes }
    }

    /// Returns the versions that a node has in this format.
    fn versions(&self, node: &Timeline<'_>, noted: &BTreeMap<usize, ChangeOps>) -> Vec<VersionRow> {
        let mut kept: Vec<VersionRow> = Vec::with_capacity(node.versions.len());
        for (place, version) in &node.versions {
            if self.is_disk && !node.lives_at(*place) {
                continue;
            }
            let mut version = (*version).clone();
            let lived = *place > 0 && node.lives_at(place - 1) && node.lives_at(*place);
            if let Some(before) = kept.last().filter(|_| lived) {
                let has_other_bytes = noted.get(place).is_some_and(|ops| ops.has(ChangeOps::CONTENT));
                if version.row.place.holds_a_file() && before.row.place.holds_a_file() && !has_other_bytes {
                    version.row.bytes = before.row.bytes;
                }
                // What lies in the copies of all generations of its span reaches over none whose copy has other files only.
                let is_elsewhere = before.row.place == Place::OwnPath && version.row.place.is_in_an_object();
                if is_same(before, &version, self.rule) && !is_elsewhere {
                    continue;
                }
            }
            kept.push(version);
        }
        kept
    }

    fn count(&self, history: &History, shown: &mut Shown) {
        let node = Timeline::new(history, self.root, &self.generations);
        let mut add = |steps: fn(&mut Shown) -> &mut Vec<i64>, span: &std::ops::Range<usize>, number: i64| {
            let steps = steps(shown);
            steps[span.start] = steps[span.start].wrapping_add(number);
            steps[span.end] = steps[span.end].wrapping_sub(number);
        };
        node.names.iter().for_each(|(span, _)| add(|shown| &mut shown.entries, span, 1));
        if node.names.first().is_none_or(|(_, name)| name.kind != Kind::File) {
            return;
        }
        for (number, (_, version)) in node.versions.iter().enumerate() {
            let holds = node.holds(number);
            let size = version.row.size_bytes as i64;
            node.life.iter().for_each(|life| add(|shown| &mut shown.sizes, &common(life, &holds), size));
        }
    }

    fn write(&self, edit: &Edit) -> rusqlite::Result<()> {
        match *edit {
            Edit::Drop(node, born, place) => {
                tables::delete_version(self.c, node, born)?;
                tables::drop_content(self.c, node, place)
            }
            Edit::Bytes(node, born, bytes) => self
                .c
                .prepare_cached("UPDATE inode SET bytes = ?3 WHERE node = ?1 AND born = ?2")?
                .execute([node.0, born, bytes])
                .map(drop),
            Edit::Note(node, place, ops) => {
                let at = Time(self.generations.instants.at(place).expect("it was read there"));
                tables::set_note(self.c, self.id, at, node, ops)
            }
        }
    }

    /// Writes counts: names and bytes of a generation that is not whole, and as many notes more or less as there are.
    fn write_counts(&self, shown: &Shown) -> rusqlite::Result<()> {
        let (mut entries, mut size) = (0_i64, 0_i64);
        for place in 0..self.generations.instants.len() {
            entries = entries.wrapping_add(shown.entries[place]);
            size = size.wrapping_add(shown.sizes[place]);
            let at = self.generations.instants.at(place);
            // All of the oldest one is new.
            let changed = if place == 0 { "entries = ?3, changed_nodes = ?3" } else { "entries = ?3" };
            self.c
                .prepare_cached(&format!(
                    "UPDATE generation SET {changed}, size_bytes = ?4 WHERE source = ?1 AND taken_at = ?2 AND losses > 0"
                ))?
                .execute(params![self.id.0, at, entries, size])?;
            self.c
                .prepare_cached(
                    "UPDATE generation SET changed_nodes = changed_nodes + ?3 WHERE source = ?1 AND taken_at = ?2 AND ?3 <> 0",
                )?
                .execute(params![self.id.0, at, shown.notes[place]])?;
        }
        Ok(())
    }
}

/// What is written, after the rows of a block were read.
enum Edit {
    /// The version of a node that was born then goes, with what it keeps.
    Drop(NodeId, i64, Place),
    /// The number of its bytes.
    Bytes(NodeId, i64, i64),
    /// What the generation at a place did to a node; nothing: there is no note.
    Note(NodeId, usize, ChangeOps),
}

/// Returns what has to be written.
fn edits_of(old: &History, noted: &BTreeMap<usize, ChangeOps>, said: &Said) -> Vec<Edit> {
    let node = old.node;
    let new: HashMap<i64, i64> = said.history.versions.iter().map(|v| (v.row.born, v.row.bytes)).collect();
    let mut edits = Vec::new();
    for version in &old.versions {
        match new.get(&version.row.born) {
            None => edits.push(Edit::Drop(node, version.row.born, version.row.place)),
            Some(bytes) if *bytes == version.row.bytes => {}
            Some(bytes) => edits.push(Edit::Bytes(node, version.row.born, *bytes)),
        }
    }
    for (place, ops) in &said.notes {
        if noted.get(place) != Some(ops) {
            edits.push(Edit::Note(node, *place, *ops));
        }
    }
    let needless = noted.keys().filter(|place| !said.notes.contains_key(place));
    edits.extend(needless.map(|place| Edit::Note(node, *place, ChangeOps::default())));
    edits
}

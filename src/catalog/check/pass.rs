//! What one pass over a source knows: what its generations say of themselves, what it has given out, and what the rows that were
//! met so far add up to.
//!
//! Promises: what a row says of time is a span of places among the generations, so a row is looked at once, however many generations
//! show it; what holds at each generation (entries, bytes, states) is a sum of steps. Rows that an unfinished generation
//! wrote are left aside, and what it closed still lives.

use super::report::{Report, Subject};
use crate::catalog::history::Instants;
use crate::catalog::listing::hot_directories;
use crate::catalog::rows::SourceRow;
use crate::catalog::state::{States, Steps};
use crate::catalog::tables;
use crate::catalog::timeline::Generations;
use crate::model::{Kind, NodeId};
use foldhash::{HashMap, HashSet};
use rusqlite::Connection;
use std::ops::Range;

/// What a generation says of itself.
pub(super) struct Generation {
    pub(super) is_published: bool,
    pub(super) entries: i64,
    pub(super) size_bytes: i64,
    pub(super) changed_nodes: i64,
    pub(super) losses: i64,
    pub(super) state: Option<[u8; 32]>,
}

/// A row of `dirent` in its directory.
pub(super) struct Child {
    pub(super) dir: i64,
    pub(super) name: Vec<u8>,
    pub(super) born: i64,
    pub(super) died: i64,
    pub(super) fork: Option<i64>,
    pub(super) node: NodeId,
    pub(super) kind: Kind,
}

/// A number at each generation, as the steps from one to the next.
pub(super) struct Counts(Vec<i128>);

impl Counts {
    pub(super) fn add(&mut self, places: &Range<usize>, number: i64) {
        self.0[places.start] += i128::from(number);
        self.0[places.end] -= i128::from(number);
    }

    pub(super) fn at_each(&self) -> impl Iterator<Item = i64> {
        self.0.iter().scan(0_i128, |sum, step| {
            *sum += step;
            Some(tables::at_most(*sum))
        })
    }
}

pub(super) struct Pass<'p, 'r> {
    pub(super) report: &'p mut Report<'r>,
    pub(super) c: &'p Connection,
    pub(super) source: &'p SourceRow,
    pub(super) generations: Generations,
    pub(super) said: Vec<Generation>,
    /// How many of the generations before each place are complete.
    pub(super) complete_before: Vec<usize>,
    pub(super) blocks: HashSet<i64>,
    pub(super) hot: HashSet<i64>,
    /// Objects of the source: when each was made, and whether its generation is there.
    pub(super) objects: HashMap<i64, (i64, bool)>,
    pub(super) next_node: i64,
    pub(super) last_sequence: i64,
    /// Whether there were more generations than there are.
    pub(super) has_forgotten: bool,
    pub(super) states: States,
    /// States, where they are counted.
    pub(super) sums: Option<Steps>,
    pub(super) entries: Counts,
    pub(super) sizes: Counts,
    /// Notes that were found where one was expected, by place.
    pub(super) noted: Vec<i64>,
    pub(super) before: Option<Child>,
    pub(super) names: u64,
}

impl<'p, 'r> Pass<'p, 'r> {
    pub(super) fn new(
        report: &'p mut Report<'r>,
        c: &'p Connection,
        source: &'p SourceRow,
        deep: bool,
    ) -> rusqlite::Result<Self> {
        let id = source.id.0;
        let instants = Instants::load(c, source.id)?;
        let mut statement = c.prepare_cached(
            "SELECT status = 'published', coalesce(entries, 0), coalesce(size_bytes, 0), coalesce(changed_nodes, 0), coalesce(losses, 0), state_hash \
             FROM generation WHERE source = ?1 AND status IN ('published', 'deleting') ORDER BY taken_at",
        )?;
        let said = statement.query_map([id], |r| {
            Ok(Generation {
                is_published: r.get(0)?,
                entries: r.get(1)?,
                size_bytes: r.get(2)?,
                changed_nodes: r.get(3)?,
                losses: r.get(4)?,
                state: r.get(5)?,
            })
        })?;
        let said: Vec<Generation> = said.collect::<rusqlite::Result<_>>()?;
        let ids =
            |sql| -> rusqlite::Result<Vec<i64>> { c.prepare_cached(sql)?.query_map([id], |r| r.get(0))?.collect() };
        let unfinished = ids("SELECT taken_at FROM generation WHERE source = ?1 AND status = 'creating'")?;
        let blocks = ids("SELECT block FROM node_block WHERE source = ?1")?;
        let mut objects = c.prepare_cached(
            "SELECT o.id, o.at, EXISTS (SELECT 1 FROM generation g WHERE g.id = o.generation) FROM object o WHERE o.source = ?1",
        )?;
        let objects = objects.query_map([id], |r| Ok((r.get(0)?, (r.get(1)?, r.get(2)?))))?;
        let (next_node, last_sequence, has_forgotten) = c.query_row(
            "SELECT next_node, last_sequence, last_number > (SELECT count(*) FROM generation g WHERE g.source = s.id) \
             FROM source s WHERE s.id = ?1",
            [id],
            |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)),
        )?;
        let complete_before = std::iter::once(0)
            .chain(said.iter().scan(0, |complete, generation| {
                *complete += usize::from(generation.losses == 0);
                Some(*complete)
            }))
            .collect();
        let newest = said.last().and_then(|generation| u64::try_from(generation.entries).ok());
        report.begin(&format!("checking \"{}\"", source.name), newest);
        report.checked.sources += 1;
        report.checked.generations += said.iter().filter(|g| g.is_published).count() as u64;
        report.checked.uncounted += said.iter().filter(|g| g.is_published && g.state.is_none()).count() as u64;
        Ok(Self {
            c,
            source,
            said,
            complete_before,
            blocks: blocks.into_iter().collect(),
            hot: hot_directories(c)?,
            objects: objects.collect::<rusqlite::Result<_>>()?,
            next_node,
            last_sequence,
            has_forgotten,
            states: States::new(report.path()),
            sums: deep.then(|| Steps::new(&instants)),
            entries: Counts(vec![0; instants.len() + 1]),
            sizes: Counts(vec![0; instants.len() + 1]),
            noted: vec![0; instants.len()],
            before: None,
            names: 0,
            generations: Generations { instants, unfinished },
            report,
        })
    }

    pub(super) fn add(
        &mut self,
        check: &'static str,
        place: Option<usize>,
        subject: Subject<'_>,
        what: &'static str,
        detail: String,
    ) {
        let at = place.and_then(|place| self.generations.instants.at(place));
        self.report.add(check, (Some(self.source.id), at), subject, what, detail);
    }

    /// Checks that a row is born at a generation; where older ones were forgotten, it may be older than the oldest.
    pub(super) fn born(&mut self, born: i64, subject: Subject<'_>) {
        let instants = &self.generations.instants;
        let since_the_oldest = self.has_forgotten && instants.at(0).is_some_and(|oldest| born < oldest);
        if !since_the_oldest && !instants.has(born) {
            let place = instants.place(born);
            self.add("spans", Some(place), subject, "it begins at no generation", format!("born {born}"));
        }
    }
}

//! One source in one pass: its nodes with their names and versions, and its directories with what is in them, side by side.
//!
//! Promises: what a row says of time is a span of places among the generations, so a row is looked at once, however many generations
//! show it; what holds at each generation (entries, bytes, states) is a sum of steps. Rows that an unfinished generation
//! wrote are left aside, and what it closed still lives.

use super::notes;
use super::report::{Report, Subject};
use super::rules::has_text;
use crate::catalog::Error;
use crate::catalog::history::{History, Instants, VersionRow, blocks, each_history, history_of};
use crate::catalog::reader::{self, SourceRow};
use crate::catalog::rows::{KindNumber, Place};
use crate::catalog::state::{StateSum, States, Steps};
use crate::catalog::tables::fork_of;
use crate::catalog::timeline::{Generations, Timeline, common, covers};
use crate::model::{EntryName, FOREVER, FileMap, Kind, NodeId};
use rusqlite::{Connection, OptionalExtension, Rows, params};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Names between two words about progress.
const PROGRESS: u64 = 10_000;

const CHILDREN: &str = "SELECT parent, name, born, died, fork, node, kind FROM dirent \
     WHERE parent BETWEEN ?1 AND ?2 ORDER BY parent, name, born";

pub(super) fn check(report: &mut Report<'_>, source: &SourceRow, deep: bool) -> Result<(), Error> {
    report.step("checking a source", |report, c| {
        let mut pass = Pass::new(report, c, source, deep)?;
        pass.root()?;
        for block in blocks(c, source.id)? {
            pass.block(block)?;
        }
        pass.finish()
    })?;
    Ok(())
}

/// What a generation says of itself.
struct Generation {
    is_published: bool,
    entries: i64,
    size_bytes: i64,
    changed_nodes: i64,
    losses: i64,
    state: Option<[u8; 32]>,
}

/// A row of `dirent` in its directory.
struct Child {
    dir: i64,
    name: Vec<u8>,
    born: i64,
    died: i64,
    fork: Option<i64>,
    node: NodeId,
    kind: Kind,
}

/// The rows of `dirent` in the order of directories, the next one at hand.
struct Children<'s> {
    rows: Rows<'s>,
    next: Option<Child>,
}

impl Children<'_> {
    fn advance(&mut self) -> rusqlite::Result<Option<Child>> {
        let next = match self.rows.next()? {
            None => None,
            Some(row) => Some(Child {
                dir: row.get(0)?,
                name: row.get(1)?,
                born: row.get(2)?,
                died: row.get(3)?,
                fork: row.get(4)?,
                node: NodeId(row.get(5)?),
                kind: row.get::<_, KindNumber>(6)?.0,
            }),
        };
        Ok(std::mem::replace(&mut self.next, next))
    }
}

/// A number at each generation, as the steps from one to the next.
struct Counts(Vec<i64>);

impl Counts {
    fn add(&mut self, places: &Range<usize>, number: i64) {
        self.0[places.start] = self.0[places.start].wrapping_add(number);
        self.0[places.end] = self.0[places.end].wrapping_sub(number);
    }

    fn at_each(&self) -> impl Iterator<Item = i64> {
        self.0.iter().scan(0_i64, |sum, step| {
            *sum = sum.wrapping_add(*step);
            Some(*sum)
        })
    }
}

struct Pass<'p, 'r> {
    report: &'p mut Report<'r>,
    c: &'p Connection,
    source: &'p SourceRow,
    generations: Generations,
    said: Vec<Generation>,
    /// How many of the generations before each place are complete.
    complete_before: Vec<usize>,
    blocks: HashSet<i64>,
    hot: HashSet<i64>,
    /// Objects of the source: when each was made, and whether its generation is there.
    objects: HashMap<i64, (i64, bool)>,
    next_node: i64,
    last_sequence: i64,
    /// Whether there were more generations than there are.
    has_forgotten: bool,
    states: States,
    /// States, where they are counted.
    sums: Option<Steps>,
    entries: Counts,
    sizes: Counts,
    /// Notes that were found where one was expected, by place.
    noted: Vec<i64>,
    before: Option<Child>,
    names: u64,
}

impl<'p, 'r> Pass<'p, 'r> {
    fn new(report: &'p mut Report<'r>, c: &'p Connection, source: &'p SourceRow, deep: bool) -> rusqlite::Result<Self> {
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
            hot: reader::hot_directories(c)?,
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

    fn add(
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

    /// Looks for the top directory, which no name leads to: without any row it would not be met.
    fn root(&mut self) -> rusqlite::Result<()> {
        let root = history_of(self.c, self.source.root)?;
        if self.generations.instants.len() > 0 && root.names.is_empty() && root.versions.is_empty() {
            self.add("versions", Some(0), Subject::Node(root.node), "no version", String::new());
        }
        Ok(())
    }

    fn block(&mut self, block: (i64, i64)) -> rusqlite::Result<()> {
        let c = self.c;
        let mut statement = c.prepare_cached(CHILDREN)?;
        let mut children = Children { rows: statement.query([block.0, block.1])?, next: None };
        children.advance()?;
        each_history(c, block, &mut |history| {
            // What lies in a node without rows lies in no directory.
            self.children(&mut children, history.node.0 - 1, &[])?;
            let node = Timeline::new(history, self.source.root, &self.generations);
            let life = self.node(&node)?;
            if self.sums.is_some() {
                self.state(history)?;
                self.notes(&node)?;
            }
            self.children(&mut children, history.node.0, &life)
        })?;
        self.children(&mut children, block.1, &[])
    }

    /// Checks the rows of directories up to `last`, of which that one lives as a directory during `life`, and the others never.
    fn children(&mut self, children: &mut Children<'_>, last: i64, life: &[Range<usize>]) -> rusqlite::Result<()> {
        while children.next.as_ref().is_some_and(|child| child.dir <= last) {
            let Some(child) = children.advance()? else { break };
            let life = if child.dir == last { life } else { &[] };
            self.child(&child, life)?;
            self.before = Some(child);
            self.names += 1;
            if self.names == PROGRESS {
                self.report.advance(std::mem::take(&mut self.names));
            }
        }
        Ok(())
    }

    /// Checks one name in a directory that lives during `life`.
    fn child(&mut self, child: &Child, life: &[Range<usize>]) -> rusqlite::Result<()> {
        let span = self.generations.span(child.born, child.died);
        let place = Some(span.start);
        let subject = Subject::Name(NodeId(child.dir), &child.name);
        if EntryName::new(&child.name).is_err() {
            self.add("names", place, subject, "not a name that a directory can hold", String::new());
        }
        if !has_text(self.c, &child.name)? {
            self.add("texts", place, subject, "a name has no text", String::new());
        }
        if !self.blocks.contains(&(child.node.0 >> 16)) {
            let detail = format!("node {}", child.node);
            self.add("references", place, subject, "it points to a node of another source", detail);
        }
        let is_hot = self.hot.contains(&child.dir);
        let has_fork = 1 <= child.born && child.born < child.died;
        if has_fork && child.fork != fork_of(is_hot, child.born, child.died) {
            let what = "not where the listing of its directory looks for it";
            let fork = child.fork.map_or("no fork".to_owned(), |fork| format!("fork {fork}"));
            self.add("forks", place, subject, what, format!("{fork}, born {}, died {}", child.born, child.died));
        }
        if self.generations.is_unfinished(child.born) {
            return Ok(());
        }
        self.born(child.born, subject);
        let known = |at| self.generations.instants.has(at) || self.generations.is_unfinished(at);
        if child.died != FOREVER.0 && !known(child.died) {
            self.add("spans", place, subject, "it ends at no generation", format!("died {}", child.died));
        }
        if span.is_empty() {
            let detail = format!("born {}, died {}", child.born, child.died);
            self.add("spans", None, subject, "no generation shows it", detail);
            return Ok(());
        }
        let before = self.before.as_ref().filter(|b| b.dir == child.dir && b.name == child.name);
        if let Some(before) = before.filter(|before| !self.generations.is_unfinished(before.born)) {
            let until = self.generations.span(before.born, before.died).end;
            if until > span.start {
                self.add("names", place, subject, "two names at once", format!("node {}", child.node));
            } else if until == span.start && before.node == child.node {
                self.add(
                    "names",
                    place,
                    subject,
                    "two rows after each other that are one",
                    format!("node {}", child.node),
                );
            }
        }
        if !covers(life, &span) {
            let lost = (span.start..span.end).find(|place| !covers(life, &(*place..place + 1)));
            self.add("tree", lost, subject, "its directory is not there", format!("node {}", child.dir));
        }
        if child.kind == Kind::Directory
            && self.may_close_a_loop(child, span.start)
            && self.is_in_a_loop(child, span.start)?
        {
            self.add("tree", place, Subject::Node(child.node), "it lies in itself", format!("in node {}", child.dir));
        }
        self.entries.add(&span, 1);
        Ok(())
    }

    /// Checks that a row is born at a generation; where older ones were forgotten, it may be older than the oldest.
    fn born(&mut self, born: i64, subject: Subject<'_>) {
        let instants = &self.generations.instants;
        let since_the_oldest = self.has_forgotten && instants.at(0).is_some_and(|oldest| born < oldest);
        if !since_the_oldest && !instants.has(born) {
            let place = instants.place(born);
            self.add("spans", Some(place), subject, "it begins at no generation", format!("born {born}"));
        }
    }

    /// Tells whether the directories above a directory have to be looked at: a loop has a name that begins with it, and at the
    /// oldest generation, where all names begin, one whose directory has the higher number.
    fn may_close_a_loop(&self, child: &Child, place: usize) -> bool {
        place > 0 || child.dir >= child.node.0
    }

    /// Tells whether the directories above `child` lead back to it at `place`.
    fn is_in_a_loop(&self, child: &Child, place: usize) -> rusqlite::Result<bool> {
        let at = self.generations.instants.at(place);
        let mut statement = self.c.prepare_cached(reader::NAMES)?;
        let (mut here, mut passed) = (child.dir, HashSet::new());
        while here != self.source.root.0 && here != child.node.0 && passed.insert(here) {
            match statement.query_row(params![here, at], |r| r.get(0)).optional()? {
                Some(above) => here = above,
                None => return Ok(false),
            }
        }
        Ok(here == child.node.0)
    }

    /// Checks the names and versions of one node; returns the times at which it is a directory.
    fn node(&mut self, node: &Timeline<'_>) -> rusqlite::Result<Vec<Range<usize>>> {
        let subject = Subject::Node(node.node);
        if node.node.0 >> 16 == (self.next_node - 1) >> 16 && node.node.0 >= self.next_node {
            let detail = format!("the next one is {}", self.next_node);
            self.add(
                "numbers",
                node.life.first().map(|life| life.start),
                subject,
                "its number would be given out again",
                detail,
            );
        }
        if node.is_root && !node.names.is_empty() {
            self.add("tree", Some(node.names[0].0.start), subject, "the top directory has a name", String::new());
        }
        for life in &node.life {
            match node.versions.binary_search_by_key(&life.start, |(born, _)| *born) {
                Ok(_) => {}
                Err(0) => self.add("versions", Some(life.start), subject, "no version", String::new()),
                Err(next) => {
                    let detail = format!("of {}", node.versions[next - 1].1.row.born);
                    let what = "a version reaches over a time in which it has no name";
                    self.add("versions", Some(life.start), subject, what, detail);
                }
            }
        }
        let counts = node.name_counts();
        for (number, (place, version)) in node.versions.iter().enumerate() {
            self.born(version.row.born, subject);
            let holds = node.holds(number);
            if holds.is_empty() {
                self.add(
                    "versions",
                    None,
                    subject,
                    "a version that no generation shows",
                    format!("born {}", version.row.born),
                );
                continue;
            }
            if !node.lives_at(*place) {
                let detail = format!("born {}", version.row.born);
                self.add("versions", Some(*place), subject, "a version while it has no name", detail);
            } else if let Some(before) = number.checked_sub(1).map(|before| node.versions[before].1)
                && *place > 0
                && node.lives_at(place - 1)
                && notes::is_same(before, version, self.source.rule)
            {
                let detail = format!("born {}", version.row.born);
                self.add("versions", Some(*place), subject, "a version that equals the one before it", detail);
            }
            self.version(node, version, &holds, &counts)?;
        }
        if node.is_root {
            return Ok(node.life.clone());
        }
        let is_dir = node.names.first().is_some_and(|(_, name)| name.kind == Kind::Directory);
        if is_dir && let Some((span, names)) = counts.iter().find(|(_, names)| *names > 1) {
            self.add("tree", Some(span.start), subject, "a directory has several names", format!("{names} names"));
        }
        Ok(if is_dir { node.life.clone() } else { Vec::new() })
    }

    /// Checks one version of a node against the names that show it, and against what it refers to.
    fn version(
        &mut self,
        node: &Timeline<'_>,
        version: &VersionRow,
        holds: &Range<usize>,
        counts: &[(Range<usize>, u32)],
    ) -> rusqlite::Result<()> {
        let (row, subject, place) = (&version.row, Subject::Node(node.node), Some(holds.start));
        if row.bytes != 0 && !(1..=self.last_sequence).contains(&row.bytes) {
            let detail = format!("bytes of generation {} of {}", row.bytes, self.last_sequence);
            self.add("numbers", place, subject, "its bytes came with a generation that never was", detail);
        }
        let Some(rights) = self.states.rights(self.c, row.perm)? else {
            let detail = format!("perm {}", row.perm);
            self.add("references", place, subject, "its owner and mode are not there", detail);
            return Ok(());
        };
        // A mode without a type is reported with its row.
        let Some(kind) = Kind::from_mode(rights.perm.mode) else { return Ok(()) };
        let names = node.names.iter().map(|(span, name)| (common(span, holds), name.kind));
        let top = node.is_root.then(|| (holds.clone(), Kind::Directory));
        if let Some((span, _)) = names.chain(top).find(|(span, named)| !span.is_empty() && *named != kind) {
            let detail = format!("mode {:o}", rights.perm.mode);
            self.add("kinds", Some(span.start), subject, "its name has another type", detail);
        }
        if rights.perm.xattr != 0 {
            let mut statement = self.c.prepare_cached("SELECT EXISTS (SELECT 1 FROM xattr_node WHERE node = ?1)")?;
            if !statement.query_row([node.node.0], |r| r.get::<_, bool>(0))? {
                let what = "it has extended attributes, and is not among those that have";
                self.add("references", place, subject, what, String::new());
            }
        }
        self.place(node, version, kind, holds)?;
        if kind != Kind::Directory {
            self.links(node.node, row.nlink, holds, counts);
        }
        if kind == Kind::File {
            let size = row.size_bytes as i64;
            for life in &node.life {
                self.sizes.add(&common(life, holds), size);
            }
        }
        Ok(())
    }

    /// Checks where the bytes of a version are.
    fn place(
        &mut self,
        node: &Timeline<'_>,
        version: &VersionRow,
        kind: Kind,
        holds: &Range<usize>,
    ) -> rusqlite::Result<()> {
        let (subject, place) = (Subject::Node(node.node), Some(holds.start));
        let on_disk = matches!(kind, Kind::File | Kind::Directory);
        let fits = match version.row.place {
            Place::None => !matches!(kind, Kind::File | Kind::Symlink),
            Place::OwnPath | Place::InObject(_) | Place::WholeDisk => kind == Kind::File,
            Place::OnDisk(_) | Place::Run(_) => on_disk,
            Place::Inline(_) => on_disk || kind == Kind::Symlink,
            Place::Device(_) => matches!(kind, Kind::CharDevice | Kind::BlockDevice),
            Place::Lost => true,
        };
        if !fits {
            let detail = format!("place {}", version.row.place.columns().0);
            self.add("places", place, subject, "its bytes are where those of its type cannot be", detail);
        }
        match (version.row.place, &version.content) {
            (Place::Inline(id) | Place::OnDisk(Some(id)), None) => {
                self.add(
                    "references",
                    place,
                    subject,
                    "what it keeps in the catalog is not there",
                    format!("content {id}"),
                );
            }
            (Place::Inline(_), Some(target)) if kind == Kind::Symlink && !has_text(self.c, target)? => {
                self.add("texts", place, subject, "a link target has no text", String::new());
            }
            (Place::OnDisk(Some(id)), Some(map)) => {
                if let Err(e) = FileMap::decode(map) {
                    self.add("places", place, subject, "its runs cannot be read", format!("content {id}, {e}"));
                }
            }
            (Place::InObject(object), _) => match self.objects.get(&object.0) {
                None => {
                    let detail = format!("object {object}");
                    self.add("references", place, subject, "its bytes are in an object that is not there", detail);
                }
                Some((made_at, has_generation)) => {
                    let instants = &self.generations.instants;
                    let has_path = *has_generation && instants.has(*made_at) && node.lives_at(instants.place(*made_at));
                    let mut pinned = self
                        .c
                        .prepare_cached("SELECT EXISTS (SELECT 1 FROM object_path WHERE object = ?1 AND node = ?2)")?;
                    if !has_path && !pinned.query_row([object.0, node.node.0], |r| r.get::<_, bool>(0))? {
                        let detail = format!("object {object}");
                        self.add("places", place, subject, "nothing says where its bytes are in their object", detail);
                    }
                }
            },
            _ => {}
        }
        Ok(())
    }

    /// Checks a link count against the names that there are. Of a generation that is not complete nobody knows all.
    fn links(&mut self, node: NodeId, nlink: u32, holds: &Range<usize>, counts: &[(Range<usize>, u32)]) {
        // A node that lost and got names in thousands of generations is looked at once, not once a version.
        let first = counts.partition_point(|(span, _)| span.end <= holds.start);
        for (span, names) in counts[first..].iter().take_while(|(span, _)| span.start < holds.end) {
            let span = common(span, holds);
            if *names == nlink || self.complete_before[span.end] == self.complete_before[span.start] {
                continue;
            }
            let complete = span.clone().find(|place| self.complete_before[place + 1] > self.complete_before[*place]);
            let detail = format!("{names} names, link count {nlink}");
            self.add("links", complete, Subject::Node(node), "a link count is not the number of names", detail);
            return;
        }
    }

    /// Adds what a node shows to the states.
    fn state(&mut self, history: &History) -> rusqlite::Result<()> {
        let Self { sums: Some(sums), states, generations, .. } = self else { return Ok(()) };
        // A name without a version has been reported.
        states.pieces(self.c, history, self.source.root, &generations.instants, &mut |places, digest| {
            digest.iter().for_each(|digest| sums.add(places.clone(), digest));
        })
    }

    /// Compares what is noted of a node with what differs.
    fn notes(&mut self, node: &Timeline<'_>) -> rusqlite::Result<()> {
        let mut statement =
            self.c.prepare_cached("SELECT op FROM change WHERE source = ?1 AND at = ?2 AND node = ?3")?;
        notes::each_change(node, self.source.rule, &mut |place, expected| {
            let key = params![self.source.id.0, self.generations.instants.at(place), node.node.0];
            let noted: Option<i64> = statement.query_row(key, |r| r.get(0)).optional()?;
            self.noted[place] += i64::from(noted.is_some());
            let noted = noted.unwrap_or_default();
            if !expected.allows(noted) {
                let detail = format!("noted {noted}, found {}", expected.must.0);
                self.add("notes", Some(place), Subject::Node(node.node), "what is noted is not what changed", detail);
            }
            Ok(())
        })
    }

    /// Compares what holds at each generation with what it says of itself.
    fn finish(mut self) -> rusqlite::Result<()> {
        self.report.advance(std::mem::take(&mut self.names));
        let said = std::mem::take(&mut self.said);
        let entries: Vec<i64> = self.entries.at_each().collect();
        let sizes: Vec<i64> = self.sizes.at_each().collect();
        for (place, said) in said.iter().enumerate() {
            let mut compare = |what, said: i64, found: i64| {
                if said != found {
                    self.add("counts", Some(place), Subject::Source, what, format!("{said}, and {found} are there"));
                }
            };
            compare("it does not have the names that it says", said.entries, entries[place]);
            compare("its files do not have the bytes that it says", said.size_bytes, sizes[place]);
        }
        self.count_notes(&said)?;
        let sums = self.sums.take().map(Steps::sums).unwrap_or_default();
        for (place, (said, found)) in said.iter().zip(sums).enumerate() {
            let Some(state) = said.state.map(StateSum::from_bytes) else { continue };
            if state != found {
                let what = "it does not show what was published";
                self.add("state", Some(place), Subject::Source, what, String::new());
            }
        }
        Ok(())
    }

    /// Compares the notes of each generation with their number, and, where what changed was counted, with those that were found.
    fn count_notes(&mut self, said: &[Generation]) -> rusqlite::Result<()> {
        let deep = self.sums.is_some();
        let mut statement = self.c.prepare_cached("SELECT at, count(*) FROM change WHERE source = ?1 GROUP BY at")?;
        let rows = statement.query_map([self.source.id.0], |r| Ok((r.get(0)?, r.get(1)?)))?;
        let notes: HashMap<i64, i64> = rows.collect::<rusqlite::Result<_>>()?;
        for at in notes.keys() {
            let place = Some(self.generations.instants.place(*at));
            if self.generations.is_unfinished(*at) {
                continue;
            }
            if !self.generations.instants.has(*at) {
                self.add(
                    "notes",
                    place,
                    Subject::Source,
                    "notes of a generation that is not there",
                    format!("at {at}"),
                );
            } else if place == Some(0) {
                self.add("notes", place, Subject::Source, "the oldest generation has notes", String::new());
            }
        }
        for (place, said) in said.iter().enumerate() {
            let at = self.generations.instants.at(place).unwrap_or_default();
            let count = notes.get(&at).copied().unwrap_or_default();
            // All of the oldest one is new.
            let changed = if place == 0 { said.entries } else { count };
            if said.changed_nodes != changed {
                let detail = format!("{}, and {changed} are noted", said.changed_nodes);
                self.add("counts", Some(place), Subject::Source, "it did not change what it says", detail);
            }
            if deep && place > 0 && count > self.noted[place] {
                self.needless_notes(place, at)?;
            }
        }
        Ok(())
    }

    /// Reports the notes of one generation about nodes to which nothing happened.
    fn needless_notes(&mut self, place: usize, at: i64) -> rusqlite::Result<()> {
        let mut statement = self.c.prepare_cached("SELECT node, op FROM change WHERE source = ?1 AND at = ?2")?;
        let mut rows = statement.query([self.source.id.0, at])?;
        while let Some(row) = rows.next()? {
            let (id, op): (i64, i64) = (row.get(0)?, row.get(1)?);
            let history = history_of(self.c, NodeId(id))?;
            let node = Timeline::new(&history, self.source.root, &self.generations);
            if !node.turns().contains(&place) {
                self.add(
                    "notes",
                    Some(place),
                    Subject::Node(NodeId(id)),
                    "noted, and nothing changed",
                    format!("noted {op}"),
                );
            }
        }
        Ok(())
    }
}

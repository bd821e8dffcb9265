//! What changed in a span of time, for those who know nothing of how the volume was: from records and the present alone.
//!
//! Promises: every node that a record of the span names is told, by its present names; a name that it had before is told
//! as gone or moved only if records prove that it was there. A hole in the changelogs is a finding, and what is known
//! besides is listed. Nothing is remembered.
//!
//! What it cannot know, and a session (see [`super::session`]) can: what was renamed over (no record names it); what
//! changelogs do not record (`fallocate`, what rebalance does); whether a file that self-heal brought back was new;
//! whether something that was written is other than before. What changed after the span is told as it is now:
//! a file that was made in the span and renamed since is new by its new name, one that was removed since is not
//! told. Lines, their order and the paths of old names are those of [`super::lists`].

use super::lines::{Each, Lines};
use super::lists::{TOP, join, pair, with_asking};
use crate::clock::Clock;
use crate::jobs::take::gluster::{Error, load_started};
use crate::model::{EntryName, FileKey, Finding, FindingKind, Kind, NodeState, RelPath, Time};
use crate::monitor::Monitor;
use crate::source::gluster::collect::{Windowed, collect_window};
use crate::source::gluster::part::{NodeName, Recorded};
use crate::source::gluster::{Gfid, Settings};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// The deepest directory whose path is told.
const DEPTH_MAX: usize = 65_536;

/// Calls `each` for every change that the changelogs of a volume recorded in the span, its ends included, and returns
/// what was found amiss. `program` is this program, for agents on this machine; answers of bricks lie in `folder`, which
/// is made and removed again.
///
/// Costs what the changelogs of the span and the nodes that they name cost; memory likewise.
///
/// # Errors
/// Those of the run ([`Error`]) and of `each`.
pub fn list_window<E: From<Error>>(
    settings: &Settings,
    program: &Path,
    folder: &Path,
    (from, until): (Time, Time),
    (clock, monitor): (&dyn Clock, &dyn Monitor),
    each: &mut Each<'_, E>,
) -> Result<Vec<Finding>, E> {
    let volume = load_started(settings)?;
    let span = (u64::try_from(from.0).unwrap_or(0), u64::try_from(until.0).unwrap_or(0));
    with_asking(settings, program, folder, |asking| {
        let told = collect_window(&volume, span, asking, clock, monitor).map_err(Error::from)?;
        list_windowed(told, monitor, each)
    })
}

/// Does so with what bricks told.
pub(super) fn list_windowed<E>(
    told: Windowed,
    monitor: &dyn Monitor,
    each: &mut Each<'_, E>,
) -> Result<Vec<Finding>, E> {
    let (lines, findings) = lines_of(told);
    findings.iter().for_each(|finding| monitor.finding(finding));
    // Nothing is known of what is not in the list.
    lines.tell(&|_| Ok(false), each)?;
    Ok(findings)
}

/// Makes lines of what bricks told.
fn lines_of(told: Windowed) -> (Lines, Vec<Finding>) {
    let Windowed { changes, recorded, findings } = told;
    let nodes: HashMap<FileKey, &NodeState> = changes.nodes.iter().map(|node| (node.key, node)).collect();
    let taken = changes.names.iter().filter(|(_, _, now)| now.is_some());
    let taken: HashSet<(FileKey, &[u8])> = taken.map(|(parent, name, _)| (*parent, name.as_bytes())).collect();
    let mut past =
        Past { nodes, recorded: &recorded, taken, places: HashMap::new(), lines: Lines::default(), findings };
    for (gfid, recorded) in &recorded {
        past.node(*gfid, recorded);
    }
    (past.lines, past.findings)
}

type Name = (Gfid, EntryName);

struct Past<'a> {
    nodes: HashMap<FileKey, &'a NodeState>,
    recorded: &'a BTreeMap<Gfid, Recorded>,
    /// Names that lead somewhere now.
    taken: HashSet<(FileKey, &'a [u8])>,
    /// Paths of directories, none: not known.
    places: HashMap<Gfid, Option<Vec<u8>>>,
    lines: Lines,
    findings: Vec<Finding>,
}

impl Past<'_> {
    fn node(&mut self, gfid: Gfid, recorded: &Recorded) {
        let Some(node) = self.nodes.get(&gfid.key()).copied() else {
            let kind = if recorded.directory { Kind::Directory } else { Kind::File };
            return recorded.was.iter().for_each(|was| self.delete(&was.name, was.path.as_ref().map(|p| &*p.0), kind));
        };
        let kind = node.attrs.kind();
        if gfid == Gfid::ROOT {
            if recorded.changed {
                self.lines.modify(TOP.to_vec(), kind);
            }
            return;
        }
        let now: Vec<Name> = node.names.iter().map(|(dir, name)| (Gfid::of_key(*dir), name.clone())).collect();
        let is_now =
            |name: &NodeName| now.iter().any(|(dir, text)| *dir == name.parent && text.as_bytes() == name.name.0);
        let is_made = recorded.made && recorded.was.is_empty();
        let is_got = |name: &&Name| {
            is_made || recorded.came.iter().any(|came| came.parent == name.0 && came.name.0 == name.1.as_bytes())
        };
        let got: Vec<Name> = now.iter().filter(is_got).cloned().collect();
        let lost: Vec<&crate::source::gluster::part::Was> =
            recorded.was.iter().filter(|was| !is_now(&was.name)).collect();
        let lost_names: Vec<Name> = lost.iter().filter_map(|was| name_of(&was.name)).collect();
        let (moved, lost_names, got) = pair(lost_names, got);
        for (from, to) in moved {
            match (self.path_of(&from), self.path_of(&to)) {
                (Some(from), Some(to)) => self.lines.rename(from, to, kind),
                // Where it was cannot be told, so it is new where it is.
                (None, Some(to)) => self.lines.appear(to, kind),
                (_, None) => self.unknown(&to),
            }
        }
        for name in lost_names {
            let was = lost.iter().find(|was| name_of(&was.name).as_ref() == Some(&name));
            if let Some(was) = was {
                self.delete(&was.name, was.path.as_ref().map(|path| &*path.0), kind);
            }
        }
        for name in &now {
            let is_new = got.contains(name);
            if !is_new && !recorded.changed {
                continue;
            }
            match (self.path_of(name), is_new) {
                (Some(path), true) => self.lines.appear(path, kind),
                (Some(path), false) => self.lines.modify(path, kind),
                (None, _) => self.unknown(name),
            }
        }
    }

    /// Tells that a name is gone, unless it is something else's by now. `path` is what the record says that it was.
    fn delete(&mut self, name: &NodeName, path: Option<&[u8]>, kind: Kind) {
        if self.taken.contains(&(name.parent.key(), &name.name.0)) {
            return;
        }
        let Some(name) = name_of(name) else { return };
        let recorded =
            || path.map(|path| path.strip_prefix(b"/").unwrap_or(path).to_vec()).filter(|path| !path.is_empty());
        match self.path_of(&name).or_else(recorded) {
            Some(path) => self.lines.delete(path, kind),
            None => self.unknown(&name),
        }
    }

    fn unknown(&mut self, (dir, name): &Name) {
        let path = RelPath::parse(dir.handle().as_bytes()).unwrap_or_default();
        let detail = format!("no brick and no record tells where the directory of the name \"{name}\" is or was");
        self.findings.push(Finding { kind: FindingKind::Unreadable, path, detail });
    }

    fn path_of(&mut self, (dir, name): &Name) -> Option<Vec<u8>> {
        Some(join(&self.place(*dir)?, name))
    }

    /// Returns where a directory is, else where records say that it was.
    fn place(&mut self, dir: Gfid) -> Option<Vec<u8>> {
        let (mut chain, mut here) = (Vec::new(), dir);
        let mut path = loop {
            if here == Gfid::ROOT {
                break Some(Vec::new());
            }
            if let Some(known) = self.places.get(&here) {
                break known.clone();
            }
            let now = self.nodes.get(&here.key()).and_then(|node| node.names.first());
            let name = match now {
                Some((parent, name)) => Some((Gfid::of_key(*parent), name.clone())),
                None => self.recorded.get(&here).and_then(|recorded| {
                    let was = recorded.was.first().map(|was| &was.name);
                    name_of(was.or(recorded.came.first())?)
                }),
            };
            // Of a loop, which only contradicting records can make, nothing is told.
            let Some(name) = name.filter(|_| chain.len() < DEPTH_MAX) else {
                self.places.insert(here, None);
                break None;
            };
            let parent = name.0;
            chain.push((here, name.1));
            here = parent;
        };
        while let Some((node, name)) = chain.pop() {
            path = path.map(|path| join(&path, &name));
            self.places.insert(node, path.clone());
        }
        path
    }
}

fn name_of(name: &NodeName) -> Option<Name> {
    Some((name.parent, EntryName::new(&name.name.0).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Attrs, Changes, Timestamp, XattrSet};
    use crate::source::gluster::list::Change;
    use crate::source::gluster::part::{Text, Was};

    fn gfid(number: u8) -> Gfid {
        Gfid([number; 16])
    }

    fn node(number: u8, kind: Kind, names: &[(Gfid, &str)]) -> NodeState {
        let attrs = Attrs {
            mode: kind.mode_bits() | 0o644,
            uid: 0,
            gid: 0,
            size_bytes: 0,
            allocated_bytes: None,
            mtime: Timestamp::default(),
            ctime: Timestamp::default(),
            nlink: 1,
            rdev: 0,
            xattrs: XattrSet::default(),
            target: Vec::new(),
        };
        let names = names.iter().map(|(dir, name)| (dir.key(), EntryName::new(name.as_bytes()).unwrap())).collect();
        NodeState { key: gfid(number).key(), attrs, unreadable: false, origin: 0, names, data: false, made: false }
    }

    fn name(parent: Gfid, name: &str) -> NodeName {
        NodeName { parent, name: Text(name.as_bytes().to_vec()) }
    }

    fn recorded(number: u8, was: &[(Gfid, &str)], came: &[(Gfid, &str)]) -> Recorded {
        let was = was.iter().map(|(dir, text)| Was { name: name(*dir, text), path: None }).collect();
        let came = came.iter().map(|(dir, text)| name(*dir, text)).collect();
        Recorded { gfid: gfid(number), made: false, changed: false, directory: false, was, came }
    }

    fn listed(nodes: Vec<NodeState>, records: Vec<Recorded>) -> (Vec<Change>, Vec<String>) {
        let recorded = records.into_iter().map(|recorded| (recorded.gfid, recorded)).collect();
        let changes = Changes { nodes, ..Changes::default() };
        let (lines, findings) = lines_of(Windowed { changes, recorded, findings: Vec::new() });
        let mut told = Vec::new();
        let each = &mut |change, _| -> Result<(), ()> {
            told.push(change);
            Ok(())
        };
        lines.tell(&|_| Ok(false), each).unwrap();
        (told, findings.into_iter().map(|finding| finding.detail).collect())
    }

    #[test]
    fn a_removed_tree_has_the_paths_that_its_records_tell() {
        let directory = |recorded| Recorded { directory: true, ..recorded };
        let (told, findings) = listed(
            vec![node(1, Kind::Directory, &[(Gfid::ROOT, "now")])],
            vec![
                directory(recorded(1, &[(Gfid::ROOT, "before")], &[(Gfid::ROOT, "now")])),
                directory(recorded(2, &[(gfid(1), "tree")], &[])),
                recorded(3, &[(gfid(2), "x")], &[]),
            ],
        );
        let delete = |path: &str| Change::Delete(path.as_bytes().to_vec());
        let rename = Change::Rename { from: b"before".to_vec(), to: b"now".to_vec() };
        assert_eq!(told, [rename, delete("now/tree/x"), delete("now/tree")]);
        assert_eq!(findings, [""; 0]);
    }

    #[test]
    fn a_path_that_nobody_knows_is_the_captured_one_or_a_finding() {
        let mut captured = recorded(3, &[(gfid(9), "x")], &[]);
        captured.was[0].path = Some(Text(b"lost/x".to_vec()));
        let (told, findings) = listed(vec![], vec![captured, recorded(4, &[(gfid(9), "y")], &[])]);
        assert_eq!(told, [Change::Delete(b"lost/x".to_vec())]);
        assert_eq!(findings, ["no brick and no record tells where the directory of the name \"y\" is or was"]);
    }

    #[test]
    fn what_one_brick_saw_before_counts_over_what_another_saw_come() {
        let mut one = recorded(1, &[(Gfid::ROOT, "a")], &[(Gfid::ROOT, "b")]);
        one.add(Recorded { made: true, ..recorded(1, &[], &[(Gfid::ROOT, "a"), (Gfid::ROOT, "c")]) });
        let expected = recorded(1, &[(Gfid::ROOT, "a")], &[(Gfid::ROOT, "b"), (Gfid::ROOT, "c")]);
        assert_eq!(one, Recorded { made: true, ..expected });
        // Made, says a brick that was healed; but it was there.
        let (told, _) = listed(vec![node(1, Kind::File, &[(Gfid::ROOT, "c")])], vec![one]);
        assert_eq!(told, [Change::Rename { from: b"a".to_vec(), to: b"c".to_vec() }]);
    }

    #[test]
    fn directories_that_lead_in_a_circle_are_no_trap() {
        let nodes = vec![
            node(1, Kind::Directory, &[(gfid(2), "a")]),
            node(2, Kind::Directory, &[(gfid(1), "b")]),
            node(3, Kind::File, &[(gfid(1), "f")]),
        ];
        let (told, findings) = listed(nodes, vec![Recorded { changed: true, ..recorded(3, &[], &[]) }]);
        assert_eq!((told, findings.len()), (vec![], 1));
    }
}

//! Objects: what holds bytes, and where in it those of a node are.
//!
//! - A version of a volume's file names the object that has its bytes. Where they are in there is the path of the node as of
//!   the object's generation, or a pin once that generation is forgotten.
//! - An object of a disk is a layer over its parent, or a full one. A version names no object: it is read from the disk as of the
//!   generation at which its row begins to show.
//! - A full image that is put in late takes, file by file, the write number of the neighbour that has the same bytes in
//!   the same place (the one before, else the one after), else a new one.
//! - An object is dropped when no generation and no version needs it, and no object that stays needs it as parent, at any depth.

use super::tree::{names_of, path_of};
use super::{Break, Catalog, FOREVER, Insertion, Instant, Node, ROOT, Rule, Slot};
use std::collections::{BTreeMap, BTreeSet};

/// Number of an object; never given twice.
pub(crate) type ObjectId = u32;

/// What an object holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A tree of files: which bytes are at which path.
    Files { is_full: bool, files: BTreeMap<String, u8> },
    /// A layer of a disk: which bytes are at which place. No parent: it has all.
    Layer { parent: Option<ObjectId>, cells: BTreeMap<u8, u8> },
}

/// An object; it outlives its generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    /// The generation that it was taken for.
    pub(crate) at: Instant,
    pub(crate) content: Content,
}

impl Object {
    fn parent(&self) -> Option<ObjectId> {
        match &self.content {
            Content::Layer { parent, .. } => *parent,
            Content::Files { .. } => None,
        }
    }
}

/// A version row, by node and birth, whose path is to be pinned.
pub(super) type ToPin = (Node, ObjectId);

impl Catalog {
    pub(crate) fn new_object(&mut self, at: Instant) -> ObjectId {
        if self.is_without(Break::ObjectsByInstant) {
            return at as ObjectId;
        }
        self.last_object += 1;
        self.last_object
    }

    /// Returns the path of the first name (by directory and name) of `node` that the generation of `at` saw.
    pub(crate) fn path_at(&self, node: Node, at: Instant) -> Option<String> {
        let names = if self.is_without(Break::KeptPaths) { self.state(Some(at)) } else { self.seen(at) };
        if node == ROOT {
            return Some(String::new());
        }
        names_of(&names, node).first().and_then(|slot: &Slot| path_of(&names, *slot))
    }

    /// Returns where the bytes of a node are in an object: its pin, else its path in the object's generation.
    pub(crate) fn path_in(&self, object: ObjectId, node: Node) -> Option<String> {
        if let Some(path) = self.pins.get(&(object, node)) {
            return Some(path.clone());
        }
        let at = self.objects.get(&object)?.at;
        if self.holds.get(&at) == Some(&object) { self.path_at(node, at) } else { None }
    }

    /// Reads a place of a disk through the layers from `object` on. None: a layer of the chain is not there.
    pub(crate) fn read_disk(&self, object: ObjectId, cell: u8) -> Option<u8> {
        let Content::Layer { parent, cells } = &self.objects.get(&object)?.content else { return None };
        match (cells.get(&cell), parent) {
            (Some(bytes), _) => Some(*bytes),
            (None, Some(parent)) => self.read_disk(*parent, cell),
            (None, None) => None,
        }
    }

    /// Returns the objects that a look into one may need, itself first.
    pub(crate) fn chain(&self, object: ObjectId) -> Vec<ObjectId> {
        let next = |id: &ObjectId| self.objects.get(id).and_then(Object::parent);
        std::iter::successors(Some(object), next).collect()
    }

    /// Pins where the bytes of a generation that is put in are in objects whose own generation is not there.
    pub(super) fn pin_places(&mut self, insertion: &Insertion) {
        for (node, object) in &insertion.places {
            let Some(at) = self.objects.get(object).map(|object| object.at) else { continue };
            if self.holds.get(&at) == Some(object) {
                continue;
            }
            let path = match self.setting.broken {
                Some(Break::NoPathsInManifest) => self.path_in(*object, *node),
                _ => insertion.paths.get(node).cloned(),
            };
            if let Some(path) = path {
                self.pins.entry((*object, *node)).or_insert(path);
            }
        }
    }

    /// Before a generation is forgotten: sees to every version row whose bytes are in its object and that goes on without it.
    ///
    /// Found by place, not by notes, and for the oldest and the newest too. A full object that stays and has the bytes
    /// takes the row over; else the path is pinned. Returns what is pinned only after the names were edited, where that
    /// rule is left out.
    pub(super) fn pin(&mut self, at: Instant) -> Vec<ToPin> {
        let object = self.holds[&at];
        let beside = self.beside(at);
        let mut late = Vec::new();
        if self.is_without(Break::PinsOnlyBetween) && (beside.before.is_none() || beside.after.is_none()) {
            return late;
        }
        let by_notes = self.is_without(Break::PinsByNotes) && beside.before.is_some();
        let noted: BTreeSet<Node> = self.notes.get(&at).into_iter().flatten().map(|(node, _)| *node).collect();
        let rows: Vec<(Node, Instant)> =
            self.versions.iter().filter(|(_, v)| v.place == Some(object)).map(|(key, _)| *key).collect();
        for (node, born) in rows {
            if by_notes && !noted.contains(&node) || !self.shows_without(node, born, at) {
                continue;
            }
            if let Some(other) = self.full_with(node, born, at) {
                self.versions.get_mut(&(node, born)).expect("the row is there").place = Some(other);
            } else if self.is_without(Break::PinsAfterNames) {
                late.push((node, object));
            } else if let Some(path) = self.path_at(node, at) {
                self.pins.entry((object, node)).or_insert(path);
            }
        }
        late
    }

    pub(super) fn pin_late(&mut self, at: Instant, late: Vec<ToPin>) {
        for (node, object) in late {
            if let Some(path) = self.path_at(node, at) {
                self.pins.entry((object, node)).or_insert(path);
            }
        }
    }

    /// Returns a full object, of a generation other than `but` that shows this version row, that has the bytes at the node's path.
    fn full_with(&self, node: Node, born: Instant, but: Instant) -> Option<ObjectId> {
        if self.is_without(Break::PlacesForEver) {
            return None;
        }
        let has = |at: &Instant| {
            let object = self.holds[at];
            let Content::Files { is_full: true, files } = &self.objects.get(&object)?.content else { return None };
            let is_there = self.shows_at(node, born, *at) && files.contains_key(&self.path_at(node, *at)?);
            is_there.then_some(object)
        };
        self.gens.iter().filter(|at| **at != but).find_map(has)
    }

    /// Tells whether the generation of `at` shows a version row.
    fn shows_at(&self, node: Node, born: Instant, at: Instant) -> bool {
        let mut later = self.versions.range((node, born + 1)..=(node, FOREVER));
        let end = later.next().map_or(FOREVER, |((_, born), _)| *born);
        born <= at && at < end && self.state(Some(at)).values().any(|n| *n == node)
    }

    fn shows_without(&self, node: Node, born: Instant, without: Instant) -> bool {
        let is_asked = |at: &&Instant| **at != without && (!self.is_without(Break::PinsOnlyForLater) || **at > without);
        self.gens.iter().filter(is_asked).any(|at| self.shows_at(node, born, *at))
    }

    /// Drops the objects that no generation and no version needs, nor one that stays as parent, and their pins.
    pub(crate) fn gc(&mut self) {
        let named = self.holds.values().copied().chain(self.versions.values().filter_map(|version| version.place));
        let needed: BTreeSet<ObjectId> = match self.setting.broken {
            Some(Break::GcWithoutParents) => named.collect(),
            _ => named.flat_map(|object| self.chain(object)).collect(),
        };
        self.objects.retain(|object, _| needed.contains(object));
        self.pins.retain(|(object, _), _| self.objects.contains_key(object));
    }

    /// Tells whether the bytes lie in objects.
    pub(crate) fn has_objects(&self) -> bool {
        matches!(self.setting.rule, Rule::Write | Rule::Disk)
    }
}

//! The algebra of the catalog in memory: what putting in and forgetting generations does to rows.
//!
//! [`Catalog`] holds the rows that the tables hold: names, versions, notes, kept names, doubts, objects, pins. Beside it is
//! the naive model, one whole tree per instant ([`Truth`]). After every step of a random history ([`Play`]) and at every
//! edge of a small world that is searched exhaustively ([`exhaustive`]), [`check`] compares the two, and the rows with those of a
//! catalog that indexed only what is left, in order ([`fresh`]). Nothing here uses `asof` or SQL, so the same histories
//! can be played against the real catalog.
//!
//! - A **name row** (parent, name, born) is a maximal run of generations in which the name points to one node.
//! - A **version row** (node, born) exists at t if and only if the node lives at t and not (it lives at the generation before
//!   and is the same there). It never reaches over a gap in the node's life.
//! - A **birth** older than the oldest generation means "since the oldest". Compare the generations at which rows
//!   begin to show, never the births themselves.
//! - Two versions are **the same** if mode, stamp (size and mtime), link count and the key of the source's [`Rule`] are equal.
//!
//! Doubts, identity by path, and objects are described in `doubt`, `identity` and `objects`. Not covered: two sources in one
//! second, crashes, symlink targets, findings, and which other copy a read falls back to.

#![allow(dead_code, unused_imports)] // each test binary uses its own part

mod catalog;
mod check;
mod dice;
mod doubt;
mod identity;
mod objects;
mod runs;
mod small;
mod tree;
mod world;

pub(crate) use catalog::{Catalog, Insertion, Ver, Views};
pub(crate) use check::{Settled, Truth, Violation, check, fresh, settle};
pub(crate) use dice::Dice;
pub(crate) use objects::{Content, Object, ObjectId};
pub(crate) use runs::{FOREVER, Run, Runs, fork_of, fork_path};
pub(crate) use small::{exhaustive, small_walks};
pub(crate) use tree::{File, Node, ROOT, Slot, Tree, Walk};
pub(crate) use world::{Act, Play, World, run};

/// The second of a generation.
pub(crate) type Instant = i64;

/// What a source compares to tell that two versions have the same bytes; an equivalence, and the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Full copies, compared by size and mtime. Other bytes under an equal stamp are not seen.
    Stamp,
    /// Full copies, each version with its digest.
    Digest,
    /// Volumes: the number of the write that the bytes came by; bytes lie in the object that took them.
    Write,
    /// Disks: the same number; bytes are read through layers.
    Disk,
}

/// How a node is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    Inode,
    Path,
}

/// What kind of history is played, and on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) rule: Rule,
    pub(crate) identity: Identity,
    /// Whether walks are not always whole.
    pub(crate) has_doubts: bool,
    /// The rule that is left out.
    pub(crate) broken: Option<Break>,
}

impl Setting {
    pub(crate) const fn new(rule: Rule) -> Self {
        Self { rule, identity: Identity::Inode, has_doubts: false, broken: None }
    }

    pub(crate) const fn by_path(self) -> Self {
        Self { identity: Identity::Path, ..self }
    }

    pub(crate) const fn with_doubts(self) -> Self {
        Self { has_doubts: true, ..self }
    }

    pub(crate) const fn without(self, rule: Break) -> Self {
        Self { broken: Some(rule), ..self }
    }

    pub(crate) const fn with_all_rules(self) -> Self {
        Self { broken: None, ..self }
    }
}

/// One rule left out, or one that looks as good in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    /// Paths are pinned when one between two others is forgotten, not for the oldest and the newest.
    PinsOnlyBetween,
    /// What to pin is found through the notes of what is forgotten, not by place.
    PinsByNotes,
    /// Only rows that show later are pinned, not those that show earlier.
    PinsOnlyForLater,
    /// Paths are pinned after the names were edited.
    PinsAfterNames,
    /// A manifest names the objects of its places, not the paths.
    NoPathsInManifest,
    /// Rows keep the object that they came with, though a later full one has the bytes.
    PlacesForEver,
    /// Objects are known by their instant.
    ObjectsByInstant,
    /// An object that is a parent goes when no generation and no version needs it.
    GcWithoutParents,
    /// A version row reaches over a gap in the node's life.
    VersionsOverGaps,
    /// Between two others: the version that moves is compared with the one before, what follows is not.
    MovedVersionAlone,
    /// Before the oldest: births older than it are raised, those between it and the old oldest stay.
    OlderBirthsOnly,
    /// Before the oldest: births stay.
    BirthsStay,
    /// The oldest: versions go where there is a later one, not where the node is dead.
    DeadVersionsStay,
    /// The row before is not joined with the one behind what is forgotten.
    NoJoin,
    /// The fork stays when an end of the row moves.
    ForkStays,
    /// Notes compare versions without asking whether the node lives.
    NotesWithoutLife,
    /// Bytes are known by the instant that first had them.
    BytesByInstant,
    /// Some versions have no digest; these compare by stamp.
    SomeDigests,
    /// A full image put in late takes the number of the neighbour that looks the same.
    NumberByStamp,
    /// What is put back is its edits, on whatever is before it now.
    EditsOnAnyBase,
    /// What follows and is in doubt stays as it is.
    DoubtsStay,
    /// The next one is settled again, those behind it are not.
    NextOnly,
    /// Below a doubt names follow one by one; what a directory brings along does not.
    NamesOneByOne,
    /// Kept names are not marked: what is in a doubtful directory is kept.
    KeptUnmarked,
    /// Kept names are not marked: what is in a doubtful directory was seen.
    KeptSeen,
    /// A kept directory stays though it was seen elsewhere.
    DirectoriesTwice,
    /// Doubt does not reach what is below a directory that is in doubt with all below.
    NoSubtrees,
    /// Paths of bytes in an object go by any name.
    KeptPaths,
    /// Links are counted with those that are kept.
    LinksWithKept,
    /// A name takes the node that the generation before has there, else that of the one after.
    IdentityOfNeighbours,
    /// A name takes the node of any row of it, the first of its group or not.
    IdentityOfAnyLink,
    /// A kept name counts when the first of a group is looked for.
    IdentityOfKept,
    /// A group takes the node of its first name that has one.
    IdentityOfAnyName,
}

impl Break {
    /// Tells whether it is about who is who.
    pub(crate) const fn is_of_identity(self) -> bool {
        use Break::{IdentityOfAnyLink, IdentityOfAnyName, IdentityOfKept, IdentityOfNeighbours};
        matches!(self, IdentityOfNeighbours | IdentityOfAnyLink | IdentityOfKept | IdentityOfAnyName)
    }
}

//! What a volume is made of: its bricks in sets, and the options that were set.
//! Pure; asks nobody.

use crate::source::gluster::Gfid;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// `trusted.glusterfs.volume-id` of its bricks.
    pub id: Gfid,
    /// Clients can use it.
    pub started: bool,
    /// How the bricks of one set share what they hold.
    pub kind: VolumeKind,
    /// Its bricks, in the volume's order: set after set.
    pub bricks: Vec<Brick>,
    /// The options that were set, by name. What is not here has its default.
    pub options: BTreeMap<String, String>,
    /// Why it is not known which bricks are up; none if it is known.
    pub status_unknown: Option<String>,
    /// The thin arbiter of its only set, `host:path`. Asked for only where one of two copies does not run: while both do, they know.
    pub thin_arbiter: Option<String>,
}

/// How the bricks of one set share what they hold. With more than one set, names are distributed over the sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeKind {
    /// Every set is one brick.
    Distribute,
    /// Every brick of a set holds all of it.
    Replicate {
        /// Bricks in a set.
        copies: u32,
    },
    /// As [`VolumeKind::Replicate`], but files are empty on the arbiters.
    Arbiter {
        /// Bricks in a set that hold bytes.
        copies: u32,
        /// Bricks in a set that do not.
        arbiters: u32,
    },
    /// Every brick of a set holds a fragment of every file, and all names.
    Disperse {
        /// Bricks in a set.
        fragments: u32,
        /// How many of them may be lacking.
        redundancy: u32,
    },
}

/// A brick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brick {
    /// Its place in the volume, from 0.
    pub number: u32,
    /// The machine, by the name or address that the volume knows it by.
    pub host: String,
    /// Its root directory there, absolute.
    pub path: PathBuf,
    /// It holds names and attributes, and no bytes.
    pub arbiter: bool,
    /// The set that it belongs to, from 0.
    pub set: u32,
    /// Whether its process runs; none where that is not known.
    pub online: Option<bool>,
    /// The id of the machine in the pool; none where it is not told.
    pub host_uuid: Option<Gfid>,
}

impl VolumeKind {
    /// Returns how many bricks make a set.
    pub fn bricks_per_set(self) -> u32 {
        match self {
            Self::Distribute => 1,
            Self::Replicate { copies } => copies,
            Self::Arbiter { copies, arbiters } => copies + arbiters,
            Self::Disperse { fragments, .. } => fragments,
        }
    }
}

impl Volume {
    /// Returns how many sets there are.
    pub fn sets(&self) -> usize {
        self.bricks.len() / self.kind.bricks_per_set() as usize
    }

    /// Returns the bricks of a set, in order.
    pub fn bricks_of(&self, set: u32) -> impl Iterator<Item = &Brick> {
        self.bricks.iter().filter(move |brick| brick.set == set)
    }

    /// Tells whether large files are cut: bytes after the first block lie below `.shard`.
    ///
    /// Files that were made while the option was on stay cut when it is off: a brick with `.shard` tells that.
    pub fn is_sharded(&self) -> bool {
        self.is_on("features.shard")
    }

    /// Tells whether files on bricks are fragments.
    pub fn is_dispersed(&self) -> bool {
        matches!(self.kind, VolumeKind::Disperse { .. })
    }

    /// Tells whether bricks keep changelogs.
    pub fn changelog_on(&self) -> bool {
        self.is_on("changelog.changelog") || self.is_on("changelog")
    }

    /// Tells whether the switch `option` is on. Off, as by default, if it was never set.
    pub fn is_on(&self, option: &str) -> bool {
        // The words of gf_string2boolean.
        let is_yes =
            |value: &String| ["1", "on", "yes", "true", "enable"].iter().any(|yes| value.eq_ignore_ascii_case(yes));
        self.options.get(option).is_some_and(is_yes)
    }
}

#[cfg(test)]
impl Volume {
    /// Returns a volume `v` of one set, of which all bricks run and the arbiters are the last.
    pub(in crate::source::gluster) fn of_one_set(kind: VolumeKind) -> Self {
        let size = kind.bricks_per_set();
        let arbiters = if let VolumeKind::Arbiter { arbiters, .. } = kind { arbiters } else { 0 };
        let brick = |number| Brick {
            number,
            host: "h".to_owned(),
            path: format!("/b{number}").into(),
            arbiter: number >= size - arbiters,
            set: 0,
            online: Some(true),
            host_uuid: None,
        };
        Self {
            name: "v".to_owned(),
            id: Gfid([1; 16]),
            started: true,
            kind,
            bricks: (0..size).map(brick).collect(),
            options: BTreeMap::new(),
            status_unknown: None,
            thin_arbiter: None,
        }
    }
}

impl std::fmt::Display for Brick {
    /// Writes `HOST:PATH`, as Gluster does.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.path.display())
    }
}

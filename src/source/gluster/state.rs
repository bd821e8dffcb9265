//! What a generation of a volume leaves for the next one.
//! Kept in the catalog, published with the generation: so a window has neither a hole nor an overlap that matters.

use super::Gfid;
use super::part::Cursor;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Where the next scan of a volume goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// How far the changelogs of each brick were processed, by `host:path`.
    pub cursors: BTreeMap<String, Cursor>,
    /// Nodes to be looked at again whatever changelogs say: they changed while they were copied, or could not be read.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub retake: BTreeSet<Gfid>,
    /// Why the next scan has to look at everything, if it has to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub walk_next: Option<String>,
    /// When everything was looked at last, in unix seconds.
    #[serde(default)]
    pub walked_at: i64,
    /// When everything was copied last, in unix seconds.
    #[serde(default)]
    pub full_at: i64,
    /// The bricks of the volume, by `host:path`, and what was seen of them. The view `bricks` tells it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bricks: BTreeMap<String, BrickSeen>,
}

/// What a generation saw of a brick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrickSeen {
    /// Its number in the volume, from 1.
    pub number: u32,
    /// The number of its set, from 1.
    pub set: u32,
    /// It has no bytes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub arbiter: bool,
    /// Whether its process ran; none where that was not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<bool>,
    /// It told what it has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answered: bool,
    /// How far its clock was ahead, in ms, at most: the way to it is in that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead_ms: Option<i64>,
    /// Its clock differed by more than the way to it explains.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skewed: bool,
    /// Nodes that it had noted for healing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_heal: Option<u64>,
}

impl State {
    /// Returns the state that `text` holds.
    ///
    /// # Errors
    /// If it is not what this version writes.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Returns it as text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a state is text, numbers and maps with text for keys")
    }
}

//! The settings of a share as a source: JSON in the catalog.
//! Checked at the door; what is not UTF-8 cannot be kept here and is refused by the command line.

use crate::model::{Key, Rule};
use crate::source::{Error, instant};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;

/// What the catalog keeps of a source of this kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The folder that holds the copies; absolute and canonical.
    pub copies: PathBuf,
    /// Where the instant of a copy comes from, in order of preference.
    #[serde(default = "default_instant_from")]
    pub instant_from: Vec<InstantFrom>,
    /// Patterns for names of copies, as `strptime(3)` writes them; empty: the built-in list.
    #[serde(default)]
    pub name_patterns: Vec<String>,
    /// IANA name of the zone of names that carry none; none: the machine's.
    #[serde(default)]
    pub zone: Option<String>,
    /// How a file is found again in the next copy.
    #[serde(default)]
    pub identity: IdentityRule,
    /// Whether bytes are compared where attributes say that nothing changed.
    #[serde(default)]
    pub checksum: bool,
    /// How long nothing in a copy must have changed, in seconds, for it to be whole; none: [`SETTLE_S`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle_s: Option<u64>,
}

/// How long nothing in a copy must have changed for it to be whole, in seconds, where the settings do not say.
pub const SETTLE_S: u64 = 15 * 60;

/// A place that tells the instant of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InstantFrom {
    /// The name of its directory.
    Name,
    /// The time of last change of its directory. `rsync -a` sets that to the one of the directory that
    /// was backed up, so it is asked for only where the settings say so.
    Mtime,
}

/// How a file of one copy is found again in the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentityRule {
    /// By its path: copies made by copying.
    #[default]
    Path,
    /// By inode number and birth time: snapshots of one file system.
    Inode,
}

fn default_instant_from() -> Vec<InstantFrom> {
    vec![InstantFrom::Name]
}

impl Settings {
    /// Returns the settings of a source with its copies in `copies` and all else as it is by default.
    pub fn new(copies: PathBuf) -> Self {
        Self {
            copies,
            instant_from: default_instant_from(),
            name_patterns: Vec::new(),
            zone: None,
            identity: IdentityRule::default(),
            checksum: false,
            settle_s: None,
        }
    }

    /// Returns when two versions of a file of this source are the same.
    pub fn rule(&self) -> Rule {
        let key = if self.checksum { Key::Digest } else { Key::Stamp };
        Rule { key, by_inode: self.identity == IdentityRule::Inode }
    }

    /// Returns the form that the catalog keeps.
    ///
    /// # Errors
    /// [`Error::Settings`] if the path of the copies is not UTF-8, which JSON cannot hold.
    pub fn to_json(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(Error::Settings)
    }

    /// Returns the settings that `text` holds.
    ///
    /// # Errors
    /// [`Error::Settings`] if it is not what [`Settings::to_json`] writes; an unknown field is one.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(Error::Settings)
    }

    /// Checks that the folder of copies is there and that patterns and zone mean something.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn check(&self) -> Result<(), Error> {
        if !self.copies.is_absolute() {
            return Err(Error::NotAbsolute(self.copies.clone()));
        }
        let metadata =
            fs::metadata(&self.copies).map_err(|source| Error::Copies { path: self.copies.clone(), source })?;
        if !metadata.is_dir() {
            return Err(Error::NotADirectory(self.copies.clone()));
        }
        self.zone_of_names(&TimeZone::UTC).map(drop)
    }

    /// Returns the zone of names that carry none; `zone` is the machine's, for settings that name none.
    ///
    /// # Errors
    /// [`Error::Zone`]; [`Error::Pattern`] for a pattern that tells no date.
    pub(super) fn zone_of_names(&self, zone: &TimeZone) -> Result<TimeZone, Error> {
        let zone = match &self.zone {
            Some(name) => TimeZone::get(name).map_err(|_| Error::Zone(name.clone()))?,
            None => zone.clone(),
        };
        for pattern in &self.name_patterns {
            instant::check_pattern(pattern).map_err(|why| Error::Pattern { pattern: pattern.clone(), why })?;
        }
        Ok(zone)
    }

    /// Tells whether no directory of one folder could be a copy of both sources, by what its name has to look like.
    pub fn has_other_names_than(&self, other: &Self) -> bool {
        let by_name = [InstantFrom::Name];
        self.instant_from == by_name
            && other.instant_from == by_name
            && instant::are_apart(&self.name_patterns, &other.name_patterns)
    }
}

//! The settings of a volume as a source: JSON in the catalog.
//! Checked at the door; what is not UTF-8 cannot be kept here and is refused by the command line.

use super::volume::is_this_machine;
use crate::source::{Error, SetBy};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Everything is looked at this often unless the settings say otherwise, in seconds: a week.
pub const RESCAN_EVERY_S: u64 = 7 * 86_400;

/// How a volume is scanned, and where its copies go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Generations come from lists of another tool only; then there is no server, no volume and no store.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lists_only: bool,
    /// A server of the volume.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// The volume.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub volume: String,
    /// The store.
    #[serde(default, skip_serializing_if = "is_nowhere")]
    pub store: PathBuf,
    /// The command that runs a program on `{host}`; empty: all bricks are on this machine.
    #[serde(default)]
    pub exec: String,
    /// The program `asof` over there; none: `asof`, or where all is on this machine this program itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<PathBuf>,
    /// The program `gluster`.
    #[serde(default = "gluster")]
    pub gluster: PathBuf,
    /// Read all bytes through a client mount, also where a brick of this machine has them.
    #[serde(default)]
    pub client_reads: bool,
    /// A command that runs before a generation is taken, and can forbid it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre: Option<String>,
    /// A command that runs after that, whatever became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post: Option<String>,
    /// How often everything is looked at, in seconds; 0: only when changelogs have a gap.
    #[serde(default = "rescan_every_s")]
    pub rescan_every_s: u64,
}

fn is_nowhere(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

fn gluster() -> PathBuf {
    "gluster".into()
}

fn rescan_every_s() -> u64 {
    RESCAN_EVERY_S
}

impl Settings {
    /// Returns the commands and programs that are run when it is taken, but for `gluster` and this program itself.
    pub fn commands(&self) -> Vec<String> {
        let program = |path: &PathBuf| path.to_string_lossy().into_owned();
        let exec = Some(self.exec.clone()).filter(|exec| !exec.is_empty());
        let gluster = Some(&self.gluster).filter(|path| **path != gluster()).map(program);
        let programs = [exec, self.program.as_ref().map(program), gluster];
        programs.into_iter().chain([self.pre.clone(), self.post.clone()]).flatten().collect()
    }

    /// Takes away the commands and programs.
    pub fn take_commands(&mut self) -> Vec<SetBy> {
        let program = |path: PathBuf| path.to_string_lossy().into_owned();
        let own = std::mem::replace(&mut self.gluster, gluster());
        let taken = [
            ("--exec", Some(std::mem::take(&mut self.exec)).filter(|exec| !exec.is_empty())),
            ("--program", self.program.take().map(program)),
            ("--gluster", Some(own).filter(|path| *path != gluster()).map(program)),
            ("--pre", self.pre.take()),
            ("--post", self.post.take()),
        ];
        taken.into_iter().filter_map(|(option, what)| Some((option, what?))).collect()
    }

    /// Returns the settings of a source that has lists of another tool, and nobody to ask.
    pub fn of_lists() -> Self {
        Self {
            lists_only: true,
            host: String::new(),
            volume: String::new(),
            store: PathBuf::new(),
            exec: String::new(),
            program: None,
            gluster: gluster(),
            client_reads: false,
            pre: None,
            post: None,
            rescan_every_s: RESCAN_EVERY_S,
        }
    }

    /// Reads what [`Settings::to_json`] wrote.
    ///
    /// # Errors
    /// [`Error::Settings`].
    pub fn from_json(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(Error::Settings)
    }

    /// Checks what can be checked without asking anybody.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |what, found: &str, why| Err(Error::Setting { what, found: found.to_owned(), why });
        let is_plain = |text: &str, more: &str| {
            !text.is_empty()
                && !text.starts_with('-')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        if self.lists_only {
            return Ok(());
        }
        if !is_plain(&self.host, ".:_-") {
            return refuse("host", &self.host, "a name or an address is expected");
        }
        if !is_plain(&self.volume, "_-") {
            return refuse("volume", &self.volume, "names of volumes have letters, digits, - and _");
        }
        if self.exec.split_whitespace().next().is_some() && !self.exec.contains("{host}") {
            return refuse("exec", &self.exec, "{host} is missing in it");
        }
        Ok(())
    }

    /// Returns the server that the program `gluster` is to ask; none: the one of this machine.
    pub fn remote_host(&self) -> Option<&str> {
        // A program of one's own knows whom to ask.
        (!is_this_machine(&self.host) && self.gluster == gluster()).then_some(&self.host)
    }

    /// Returns the settings as the catalog keeps them.
    ///
    /// # Errors
    /// [`Error::Settings`] for a path that is not UTF-8.
    pub fn to_json(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(Error::Settings)
    }
}

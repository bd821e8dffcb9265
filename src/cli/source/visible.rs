//! Who may go into a source in a mount.
//!
//! Promises: a group that there is not is refused. Copies and catalog are closed or opened by nothing here.

use crate::cli::report::Failure;
use crate::model::{Policy, Visibility};
use crate::sys::group;
use clap::Args;

/// Who may go into a source in a mount.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access")]
pub(in crate::cli) struct VisibleArgs {
    /// Who may go into this source in a mount: root alone, root and the members of GROUP, or whomever the modes let in. For
    /// backups whose user numbers mean other people than those of this machine
    #[arg(long, value_name = "root|GROUP|modes")]
    visible_to: Option<String>,
}

impl VisibleArgs {
    /// Tells whether anything is said.
    pub(super) fn is_given(&self) -> bool {
        self.visible_to.is_some()
    }

    /// Returns who is to be let in, where that is said.
    pub(super) fn asked(&self) -> Result<Option<Visibility>, Failure> {
        let Some(who) = &self.visible_to else { return Ok(None) };
        Ok(Some(match who.as_str() {
            "modes" => Visibility::Modes,
            "root" => Visibility::Root,
            name => Visibility::Group { gid: gid_of(name)?, name: name.to_owned() },
        }))
    }
}

/// Returns the number of a group that is called so, or has this number.
pub(in crate::cli) fn gid_of(name: &str) -> Result<u32, Failure> {
    if let Ok(gid) = name.parse() {
        return Ok(gid);
    }
    match group::gid_of(name) {
        Ok(Some(gid)) => Ok(gid),
        Ok(None) => Err(Failure::new(format!("this machine has no group {name:?}"))
            .hint("getent group lists the groups; or give its number")),
        Err(e) => Err(Failure::because(format!("looking for the group {name:?}"), &e)),
    }
}

/// Keeps who is to be let in.
pub(super) fn apply(asked: Option<Visibility>, policy: &mut Policy) {
    if let Some(visible_to) = asked {
        policy.set_visible_to(&visible_to);
    }
}

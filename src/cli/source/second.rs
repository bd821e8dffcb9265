//! Where the manifests of a source are kept a second time.
//!
//! Promises: a folder that is lost with the catalog is told; it is made of what is there, and nothing is written to it here.

use super::given;
use crate::catalog::Writer;
use crate::cli::World;
use crate::cli::report::Failure;
use crate::jobs::manifests::is_on_one_file_system;
use crate::model::{Policy, SourceId};
use clap::Args;
use std::path::Path;

/// Where manifests are kept a second time.
#[derive(Debug, Args)]
#[command(next_help_heading = "Manifests")]
pub(in crate::cli) struct SecondArgs {
    /// Keep a second copy of each manifest (asof rebuild makes a lost catalog again from them) in this directory, which is there and should
    /// be on another file system than the catalog; "" for none
    #[arg(long, value_name = "DIR")]
    manifests: Option<String>,
}

/// What is asked for: nothing, that there is to be no second place, or a folder and whether it is on another file system.
pub(super) type Second = Option<Option<(String, bool)>>;

impl SecondArgs {
    /// Tells whether anything is said.
    pub(super) fn is_given(&self) -> bool {
        self.manifests.is_some()
    }

    /// Returns the second place that is asked for.
    pub(super) fn place(&self, world: &World) -> Result<Second, Failure> {
        let Some(given) = &self.manifests else { return Ok(None) };
        if given.is_empty() {
            return Ok(Some(None));
        }
        let given = Path::new(given);
        let folder = match given::canonical(given, "manifests") {
            Err(e) if !given.exists() => return Err(e.hint(format!("mkdir {given:?}, once its disk is mounted"))),
            found => found?,
        };
        let is_apart = !is_on_one_file_system(&folder, &world.catalog);
        if !is_apart {
            eprintln!("{folder:?} is on the same file system as the catalog: one lost disk takes both");
        }
        Ok(Some(folder.to_str().map(|folder| (folder.to_owned(), is_apart))))
    }
}

/// Keeps the second place that was asked for.
pub(super) fn apply(second: Second, policy: &mut Policy) {
    if let Some(place) = second {
        policy.set_manifests(place.as_ref().map(|(folder, is_apart)| (folder.as_str(), *is_apart)));
    }
}

/// Keeps the second place that was asked for a source that is new.
pub(super) fn keep(writer: &mut Writer, source: SourceId, second: Second) -> Result<(), Failure> {
    if second.is_none() {
        return Ok(());
    }
    let mut policy = Policy::default();
    apply(second, &mut policy);
    Ok(writer.set_policy(source, &policy.to_json())?)
}

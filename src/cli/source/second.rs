//! Where the manifests of a source are kept a second time.
//!
//! Promises: a folder that is lost with the catalog is told; it is made of what is there, and nothing is written to it here.

use super::given;
use crate::catalog::Writer;
use crate::cli::World;
use crate::cli::report::Failure;
use crate::model::{Policy, SourceId};
use clap::Args;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where manifests are kept a second time.
#[derive(Debug, Args)]
#[command(next_help_heading = "Manifests")]
pub(in crate::cli) struct SecondArgs {
    /// Keep a second copy of each manifest (asof rebuild makes a lost catalog again from them) in this directory, which should be
    /// on another file system than the catalog; "" for none
    #[arg(long, value_name = "DIR")]
    manifests: Option<String>,
}

/// What is asked for: nothing, that there is to be no second place, or a folder.
pub(super) type Second = Option<Option<String>>;

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
        let folder = given::canonical(Path::new(given), "manifests")?;
        let device = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.dev()).ok();
        if device(&folder).is_some() && device(&folder) == device(&world.catalog) {
            eprintln!("{folder:?} is on the same file system as the catalog: one lost disk takes both");
        }
        Ok(Some(folder.to_str().map(str::to_owned)))
    }
}

/// Keeps the second place that was asked for.
pub(super) fn apply(second: Second, policy: &mut Policy) {
    if let Some(folder) = second {
        policy.set_manifests(folder.as_deref());
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

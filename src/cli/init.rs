//! `asof init`: a new, empty catalog.
//! Makes the directory that it lies in, for its owner alone, and the group that is named; touches nothing else. When it fails nothing is
//! left of it.

use super::World;
use super::report::{Failure, Outcome};
use super::say::say;
use super::source::gid_of;
use crate::catalog::{self, Writer};
use crate::store::let_group_read_manifests;
use crate::sys::group;
use clap::Args;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Let the members of this group read the catalog, its manifests and its log, with the names of all files of all users
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
}

pub(super) fn run(args: &InitArgs, world: &World) -> Result<Outcome, Failure> {
    let gid = args.group.as_deref().map(gid_of).transpose()?;
    let folder = world.catalog.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let missing: Vec<&Path> =
        folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).collect();
    let made = make(folder, &missing, &world.catalog, gid);
    if made.is_err() {
        // What somebody else has put something into stays.
        missing.iter().take_while(|folder| std::fs::remove_dir(folder).is_ok()).for_each(drop);
    }
    made?;
    say!("made the catalog {:?}", world.catalog);
    if let (Some(gid), Some(name)) = (gid, &args.group)
        && !may_enter(folder, gid)
    {
        eprintln!("group {name} may not enter {folder:?}: it can read the catalog once it may");
    }
    say!("hint: asof source add nfs NAME --copies DIR adds a source; asof source add --help lists the other kinds");
    Ok(Outcome::Done)
}

fn make(folder: &Path, missing: &[&Path], catalog: &Path, gid: Option<u32>) -> Result<(), Failure> {
    let failed = |e| Failure::because(format!("making the directory {folder:?}"), &e);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let Some(gid) = gid else { return Ok(Writer::create(catalog)?) };
    missing.iter().try_for_each(|made| group::let_in(made, gid)).map_err(failed)?;
    Writer::create_for_group(catalog, gid)?;
    let shared = let_group_read_manifests(catalog, gid);
    if shared.is_err() {
        // The error that is told is the first one.
        let _ = catalog::remove(catalog);
    }
    Ok(shared?)
}

/// Tells whether the members of a group may pass through a directory that was there.
fn may_enter(folder: &Path, gid: u32) -> bool {
    fs::metadata(folder).is_ok_and(|m| m.mode() & 0o001 != 0 || (m.gid() == gid && m.mode() & 0o010 != 0))
}

//! `asof init`: a new, empty catalog.
//! Makes the directory that it lies in; touches nothing else. When it fails nothing is left of it.

use super::World;
use super::report::{Failure, Outcome};
use super::say::say;
use crate::catalog::Writer;
use std::path::Path;

pub(super) fn run(world: &World) -> Result<Outcome, Failure> {
    let folder = world.catalog.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let missing: Vec<&Path> =
        folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).collect();
    let made = make(folder, &world.catalog);
    if made.is_err() {
        // What somebody else has put something into stays.
        missing.iter().take_while(|folder| std::fs::remove_dir(folder).is_ok()).for_each(drop);
    }
    made?;
    say!("made the catalog {:?}", world.catalog);
    say!("hint: asof source add nfs NAME --copies DIR adds a source; asof source add --help lists the other kinds");
    Ok(Outcome::Done)
}

fn make(folder: &Path, catalog: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|e| Failure::because(format!("making the directory {folder:?}"), &e))?;
    Ok(Writer::create(catalog)?)
}

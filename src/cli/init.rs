//! `asof init`: a new, empty catalog.
//! Makes the directory that it lies in; touches nothing else.

use super::World;
use super::report::{Failure, Outcome};
use crate::catalog::Writer;

pub(super) fn run(world: &World) -> Result<Outcome, Failure> {
    if let Some(folder) = world.catalog.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .map_err(|e| Failure::because(format!("making the directory {folder:?}"), &e))?;
    }
    Writer::create(&world.catalog)?;
    eprintln!("made the catalog {:?}", world.catalog);
    Ok(Outcome::Done)
}

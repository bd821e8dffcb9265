//! `asof migrate`: a catalog of an older format is brought up to date.
//! The verbs that write do this too; those that read never do.

use super::World;
use super::report::{Failure, Outcome};
use super::say::say;
use crate::catalog::FORMAT;

pub(super) fn run(world: &World) -> Result<Outcome, Failure> {
    match world.bring_up_to_date("migrate")? {
        None => say!("the catalog {:?} has format {FORMAT} already", world.catalog),
        Some(0) => {}
        Some(_) => return Ok(Outcome::WithFindings),
    }
    Ok(Outcome::Done)
}

//! `asof catalog`: what is done to the catalog itself.
//! Nothing that it does changes what a generation is, or what any verb answers; it may change how soon.

use super::World;
use super::output::{human_bytes, number_of};
use super::progress::Terminal;
use super::report::{Failure, Outcome};
use super::say::say;
use crate::catalog;
use crate::monitor::Monitor;
use clap::{Args, Subcommand, ValueHint};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum CatalogVerb {
    /// Copy the catalog as it is now, check the copy, and put it in the place of an older one
    Backup(BackupArgs),
    /// Make an index of all names of all generations, by which asof find -name answers at once
    IndexNames(IndexNamesArgs),
}

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// Where the copy goes; on another disk than the catalog, best
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
}

fn back_up(args: &BackupArgs, world: &World) -> Result<Outcome, Failure> {
    let size = catalog::back_up(&world.catalog, &args.file)?;
    say!("copied the catalog {:?} to {:?}: {}", world.catalog, args.file, human_bytes(size as i64));
    Ok(Outcome::Done)
}

#[derive(Debug, Args)]
#[command(
    after_help = "It takes some 20 bytes a name, and is kept up by every run from then on. Made while others read and write; one that was killed is gone on with \
    by the next one."
)]
pub(super) struct IndexNamesArgs {
    /// Make it anew, without the names of generations that were forgotten since
    #[arg(long)]
    again: bool,
    /// Remove it
    #[arg(long, conflicts_with = "again")]
    drop: bool,
}

pub(super) fn run(verb: &CatalogVerb, world: &World) -> Result<Outcome, Failure> {
    match verb {
        CatalogVerb::Backup(args) => back_up(args, world),
        CatalogVerb::IndexNames(args) => index_names(args, world),
    }
}

fn index_names(args: &IndexNamesArgs, world: &World) -> Result<Outcome, Failure> {
    let mut writer = world.writer("catalog index-names")?;
    if args.drop {
        match writer.drop_name_index()? {
            true => say!("the index of names is removed"),
            false => say!("there is no index of names"),
        }
        return Ok(Outcome::Done);
    }
    let terminal = Terminal::new();
    terminal.begin("indexing names, directories", None);
    let mut shown = 0;
    let count = writer.index_names(args.again, &mut |done| {
        terminal.advance(done - shown);
        shown = done;
    });
    terminal.end();
    match count? {
        0 => say!("all names are indexed"),
        count => say!("the names of {} are indexed", number_of(count, "directory", "directories")),
    }
    Ok(Outcome::Done)
}

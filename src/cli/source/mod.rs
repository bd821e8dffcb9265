//! `asof source`: what is backed up.
//!
//! Promises: settings are checked before they are stored; nothing below a source's copies is ever touched.

mod block;
mod given;
mod gluster;
mod nfs;
mod second;
mod set;
mod visible;

use super::args::{JsonArgs, PRINT_JSON, SOURCE};
use super::output::{self, grouped};
use super::report::{Failure, Outcome};
use super::say::{local, say};
use super::{SourceRun, World, complete, show};
use crate::catalog::GenerationRow;
use crate::clock::Clock;
use crate::jobs::manifests;
use crate::model::chain;
use block::BlockArgs;
use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use gluster::GlusterArgs;
use nfs::NfsArgs;
use serde_json::json;
use set::SetArgs;
pub(super) use visible::gid_of;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum SourceVerb {
    /// Add a source
    #[command(subcommand)]
    Add(SourceKindArgs),
    /// List the sources
    List(JsonArgs),
    /// Show a source and its settings
    Show(SourceNameArgs),
    /// Change the settings of a source
    Set(Box<SetArgs>),
    /// Forget a source and its generations; its copies are not touched
    Remove(RemoveArgs),
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum SourceKindArgs {
    /// A share whose backups are directories: one full tree per generation
    Nfs(NfsArgs),
    /// A GlusterFS volume: one full generation, then what its changelogs name; copied into a store
    Gluster(Box<GlusterArgs>),
    /// A disk: its images (raw, qcow2), full ones and increments
    Block(Box<BlockArgs>),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SourceNameArgs {
    #[arg(help = SOURCE, add = ArgValueCompleter::new(complete::sources))]
    name: String,
    #[arg(long, help = PRINT_JSON)]
    json: bool,
}

pub(super) fn run(verb: SourceVerb, world: &World) -> Result<Outcome, Failure> {
    match verb {
        SourceVerb::Add(SourceKindArgs::Nfs(args)) => nfs::add(&args, world),
        SourceVerb::Add(SourceKindArgs::Gluster(args)) => gluster::add(&args, world),
        SourceVerb::Add(SourceKindArgs::Block(args)) => block::add(&args, world),
        SourceVerb::List(args) => list(args.json, world),
        SourceVerb::Show(args) => show::source(&args.name, args.json, world),
        SourceVerb::Set(args) => set::run(&args, world),
        SourceVerb::Remove(args) => remove(&args, world),
    }
}

fn list(as_json: bool, world: &World) -> Result<Outcome, Failure> {
    let reader = world.reader()?;
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for source in reader.sources()? {
        let generations = reader.generations(source.id)?;
        let instant = |g: Option<&GenerationRow>| g.map(|g| g.taken_at.to_string());
        let (oldest, newest) = (generations.first(), generations.last());
        values.push(json!({
            "name": source.name, "kind": source.kind, "generations": generations.len(), "oldest": instant(oldest),
            "newest": instant(newest),
        }));
        let or_dash = |g: Option<&GenerationRow>| g.map_or_else(|| "-".to_owned(), |g| local(g.taken_at));
        rows.push(vec![source.name, source.kind, grouped(generations.len() as i64), or_dash(oldest), or_dash(newest)]);
    }
    match as_json {
        true => output::json(&values.into())?,
        false => output::table(
            &["source", "kind", "generations", "oldest", "newest"],
            &[false, false, true, false, false],
            &rows,
        )?,
    }
    Ok(Outcome::Done)
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RemoveArgs {
    #[arg(help = SOURCE, add = ArgValueCompleter::new(complete::sources))]
    name: String,
    /// Do it even though the source has generations
    #[arg(long)]
    force: bool,
}

fn remove(args: &RemoveArgs, world: &World) -> Result<Outcome, Failure> {
    let SourceRun { lock, source, mut writer } = world.source_run("source remove", &args.name)?;
    let generations = world.reader()?.generations(source.id)?.len();
    if generations > 0 && !args.force {
        return Err(Failure::new(format!(
            "source {:?} has {}; nothing was removed",
            source.name,
            output::counted(generations as u64, "generation")
        ))
        .hint("--force forgets them; their copies stay where they are and can be indexed again"));
    }
    writer.remove_source(source.id)?;
    drop(writer);
    lock.remove();
    say!(
        "forgot source \"{}\" and {}; no copy was touched",
        source.name,
        output::counted(generations as u64, "generation")
    );
    if let Err(e) = manifests::mark_removed(&world.catalog, &source, world.clock.now(), &world.patience) {
        eprintln!("asof: the source was removed, but asof rebuild would bring it back: {}", chain(&e));
        return Ok(Outcome::WithFindings);
    }
    Ok(Outcome::Done)
}

//! `asof generations`: what there is, per source.
//! One row a generation, oldest first.

use super::World;
use super::args::PRINT_JSON;
use super::complete;
use super::output::{self, grouped, human_bytes};
use super::report::{Failure, Outcome};
use super::say::local;
use crate::jobs::generations::generations;
use clap::Args;
use clap_complete::ArgValueCompleter;

#[derive(Debug, Args)]
pub(super) struct GenerationsArgs {
    /// The source [default: all]
    #[arg(add = ArgValueCompleter::new(complete::sources))]
    name: Option<String>,
    #[arg(long, help = PRINT_JSON)]
    json: bool,
}

pub(super) fn run(args: &GenerationsArgs, world: &World) -> Result<Outcome, Failure> {
    let all = generations(&world.reader()?, args.name.as_deref())?;
    if args.json {
        output::report(&all)?;
        return Ok(Outcome::Done);
    }
    let rows: Vec<Vec<String>> = all
        .into_iter()
        .map(|g| {
            let notes = notes(&g.status, g.losses, g.notices);
            let (entries, changed) = (grouped(g.entries), grouped(g.changed));
            vec![g.source, local(g.when.0), g.level, entries, human_bytes(g.size_bytes), changed, notes]
        })
        .collect();
    output::table(
        &["source", "taken_at", "level", "entries", "size", "changed", "notes"],
        &[false, false, false, true, true, true, false],
        &rows,
    )?;
    Ok(Outcome::Done)
}

/// Returns what is not as it should be about a generation, in a few words: what was last seen of its copies, and what was found
/// when it was indexed.
pub(super) fn notes(status: &str, losses: i64, notices: i64) -> String {
    let mut notes = Vec::new();
    if status != "available" {
        notes.push(status.to_owned());
    }
    if losses > 0 {
        notes.push(format!("partial: {losses} unreadable"));
    }
    if notices > 0 {
        notes.push(output::counted(notices as u64, "notice"));
    }
    if notes.is_empty() { "-".to_owned() } else { notes.join(", ") }
}

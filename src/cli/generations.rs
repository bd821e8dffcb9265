//! `asof generations`: what there is, per source.
//! One row a generation, oldest first.

use super::World;
use super::args::PRINT_JSON;
use super::output::{self, grouped, human_bytes};
use super::report::{Failure, Outcome};
use crate::catalog::GenerationRow;
use clap::Args;
use serde_json::json;

#[derive(Debug, Args)]
pub(super) struct GenerationsArgs {
    /// The source [default: all]
    name: Option<String>,
    #[arg(long, help = PRINT_JSON)]
    json: bool,
}

pub(super) fn run(args: &GenerationsArgs, world: &World) -> Result<Outcome, Failure> {
    let reader = world.reader()?;
    let sources = match &args.name {
        Some(name) => vec![reader.source(name)?],
        None => reader.sources()?,
    };
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for source in sources {
        for g in reader.generations(source.id)? {
            rows.push(vec![
                source.name.clone(),
                g.taken_at.to_string(),
                g.level.clone(),
                grouped(g.entries),
                human_bytes(g.size_bytes),
                grouped(g.changed_nodes),
                notes(&g),
            ]);
            values.push(json!({
                "source": source.name,
                "taken_at": g.taken_at.to_string(),
                "taken_at_unix": g.taken_at.0,
                "level": g.level,
                "status": g.status,
                "looked_at": g.looked_at,
                "partial": g.losses > 0,
                "entries": g.entries,
                "size_bytes": g.size_bytes,
                "changed": g.changed_nodes,
                "losses": g.losses,
                "notices": g.notices,
                "indexed_at": g.indexed_at.to_string(),
                "index_ms": g.index_ms,
            }));
        }
    }
    match args.json {
        true => output::json(&values.into())?,
        false => output::table(
            &["source", "taken_at", "level", "entries", "size", "changed", "notes"],
            &[false, false, false, true, true, true, false],
            &rows,
        )?,
    }
    Ok(Outcome::Done)
}

/// Returns what is not as it should be about a generation, in a few words: what was last seen of its copies, and what was found
/// when it was indexed.
pub(super) fn notes(g: &GenerationRow) -> String {
    let mut notes = Vec::new();
    if g.status != "available" {
        notes.push(g.status.clone());
    }
    if g.losses > 0 {
        notes.push(format!("partial: {} unreadable", g.losses));
    }
    if g.notices > 0 {
        notes.push(format!("{} notices", g.notices));
    }
    if notes.is_empty() { "-".to_owned() } else { notes.join(", ") }
}

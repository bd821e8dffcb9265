//! `asof resolve DATE`: what a date means, and which generation each source shows for it.
//! Refuses a local time that a clock change repeats; a mount takes the later one. `oldest` is one instant for all sources, as it is at the
//! top of a mount.

use super::World;
use super::args::PRINT_JSON;
use super::complete;
use super::output;
use super::report::{Failure, Outcome};
use super::say::local;
use super::target::pick;
use crate::catalog::{GenerationRow, SourceRow};
use crate::clock::Clock;
use crate::model::{AsOf, Fold, Time, parse_date};
use clap::Args;
use clap_complete::ArgValueCompleter;
use serde_json::json;

#[derive(Debug, Args)]
pub(super) struct ResolveArgs {
    /// The date
    #[arg(allow_hyphen_values = true, add = ArgValueCompleter::new(complete::dates))]
    date: String,
    #[arg(long, help = PRINT_JSON)]
    json: bool,
}

pub(super) fn run(args: &ResolveArgs, world: &World) -> Result<Outcome, Failure> {
    let now = world.clock.now();
    let asked = parse_date(&args.date, now, &world.zone, Fold::Refuse)?;
    let reader = world.reader()?;
    let sources: Vec<(SourceRow, Vec<GenerationRow>)> = reader
        .sources()?
        .into_iter()
        .map(|source| reader.generations(source.id).map(|generations| (source, generations)))
        .collect::<Result<_, _>>()?;
    // One instant for all of them, as at the top of a mount.
    let oldest = sources.iter().filter_map(|(_, generations)| generations.first()).map(|first| first.taken_at).min();
    let as_of = match (asked, oldest) {
        (AsOf::Oldest, Some(oldest)) => AsOf::At(oldest),
        (as_of, _) => as_of,
    };
    let is_future = matches!(as_of, AsOf::At(at) if at > now);
    let means = |shown: fn(Time) -> String| match (asked, as_of) {
        (AsOf::Latest, _) => "the newest generation of each source".to_owned(),
        (AsOf::Oldest, AsOf::At(at)) => format!("the oldest generation of any source, {}", shown(at)),
        (AsOf::Oldest, _) => "the oldest generation of any source".to_owned(),
        (AsOf::At(at), _) => shown(at),
    };
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for (source, generations) in sources {
        let picked = pick(&generations, as_of, now);
        let why = |shown: fn(Time) -> String| match (picked, generations.first()) {
            (Some(g), _) => super::generations::notes(&g.status, g.losses, g.notices),
            (None, Some(first)) => format!("its first generation is of {}", shown(first.taken_at)),
            (None, None) => "it has no generation yet".to_owned(),
        };
        values.push(json!({
            "source": source.name,
            "generation": picked.map(|g| g.taken_at.to_string()),
            "notes": why(utc),
        }));
        let shown = picked.map_or_else(|| "absent".to_owned(), |g| local(g.taken_at));
        rows.push(vec![source.name, shown, why(local)]);
    }
    if args.json {
        let means = means(utc);
        output::json(&json!({ "date": args.date, "means": means, "in_the_future": is_future, "sources": values }))?;
        return Ok(Outcome::Done);
    }
    let future = if is_future { " (in the future: what is newest)" } else { "" };
    output::facts(&[("date", args.date.clone()), ("means", format!("{}{future}", means(local)))])?;
    output::table(&["source", "generation", "notes"], &[false, false, false], &rows)?;
    Ok(Outcome::Done)
}

fn utc(at: Time) -> String {
    at.to_string()
}

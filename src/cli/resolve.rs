//! `asof resolve DATE`: what a date means, and which generation each source shows for it.
//! Refuses a local time that a clock change repeats; a mount takes the later one.

use super::World;
use super::args::PRINT_JSON;
use super::output;
use super::report::{Failure, Outcome};
use super::target::pick;
use crate::clock::Clock;
use crate::model::{AsOf, Fold, parse_date};
use clap::Args;
use serde_json::json;

#[derive(Debug, Args)]
pub(super) struct ResolveArgs {
    /// The date
    #[arg(allow_hyphen_values = true)]
    date: String,
    #[arg(long, help = PRINT_JSON)]
    json: bool,
}

pub(super) fn run(args: &ResolveArgs, world: &World) -> Result<Outcome, Failure> {
    let now = world.clock.now();
    let as_of = parse_date(&args.date, now, &world.zone, Fold::Refuse)?;
    let reader = world.reader()?;
    let (meaning, is_future) = match as_of {
        AsOf::Latest => ("the newest generation of each source".to_owned(), false),
        AsOf::Oldest => ("the oldest generation of each source".to_owned(), false),
        AsOf::At(at) => (at.to_string(), at > now),
    };
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for source in reader.sources()? {
        let generations = reader.generations(source.id)?;
        let picked = pick(&generations, as_of, now);
        let (shown, why) = match (picked, generations.first()) {
            (Some(g), _) => (g.taken_at.to_string(), super::generations::notes(&g.status, g.losses, g.notices)),
            (None, Some(first)) => ("absent".to_owned(), format!("its first generation is of {}", first.taken_at)),
            (None, None) => ("absent".to_owned(), "it has no generation yet".to_owned()),
        };
        values
            .push(json!({ "source": source.name, "generation": picked.map(|g| g.taken_at.to_string()), "notes": why }));
        rows.push(vec![source.name, shown, why]);
    }
    if args.json {
        output::json(&json!({ "date": args.date, "means": meaning, "in_the_future": is_future, "sources": values }))?;
        return Ok(Outcome::Done);
    }
    let future = if is_future { " (in the future: what is newest)" } else { "" };
    output::facts(&[("date", args.date.clone()), ("means", format!("{meaning}{future}"))])?;
    output::table(&["source", "generation", "notes"], &[false, false, false], &rows)?;
    Ok(Outcome::Done)
}

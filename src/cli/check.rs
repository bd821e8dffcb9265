//! `asof check`: the catalog against itself, read-only; every violation is one line.
//! Violations go to standard output, progress and counts to standard error.

use super::World;
use super::args::PRINT_JSON;
use super::output::{self, counted};
use super::progress::Terminal;
use super::report::{Failure, Outcome};
use super::say::say;
use crate::catalog::{Checked, Checking, PAGES, Violation, damaged};
use crate::monitor::Monitor;
use clap::Args;
use serde_json::{Value, json};

#[derive(Debug, Args)]
#[command(
    after_help = "Every violation is one line; the first 20 of each kind are printed and the rest is counted. Exit codes: 0 clean, \
    1 violations, 2 not checked. catalog-schema/README.md explains the checks."
)]
pub(super) struct CheckArgs {
    /// Also recompute the state hash of each generation, and what it changed
    #[arg(long)]
    deep: bool,
    #[arg(long, help = PRINT_JSON)]
    json: bool,
}

pub(super) fn run(args: &CheckArgs, world: &World) -> Result<Outcome, Failure> {
    let reader = world.reader()?;
    let (terminal, mut values, mut printed) = (Terminal::new(), Vec::new(), Ok(()));
    let mut is_torn = false;
    let checked = reader.check(args.deep, &mut |what| match what {
        Checking::Begin(part, names) => {
            terminal.end();
            terminal.begin(part, names);
        }
        Checking::Names(names) => terminal.advance(names),
        Checking::Found(violation) if args.json => {
            is_torn |= violation.check == PAGES;
            values.push(as_json(violation));
        }
        Checking::Found(violation) if printed.is_ok() => {
            is_torn |= violation.check == PAGES;
            printed = terminal.suspend(|| output::line(&violation.to_string()));
        }
        // Nobody reads any more.
        Checking::Found(_) => {}
    });
    terminal.end();
    let checked = checked?;
    printed?;
    if args.json {
        output::json(&summary(&checked, args.deep, values))?;
    } else {
        for (check, what, count) in &checked.untold {
            output::line(&format!("{check}: {what}: {count} more"))?;
        }
    }
    tell(&checked, args.deep);
    if is_torn {
        eprintln!("hint: {}", damaged(&world.catalog));
    }
    Ok(if checked.violations == 0 { Outcome::Done } else { Outcome::WithFindings })
}

fn as_json(violation: &Violation) -> Value {
    json!({
        "check": violation.check,
        "source": violation.source,
        "taken_at": violation.at.map(|at| at.to_string()),
        "taken_at_unix": violation.at.map(|at| at.0),
        "path": violation.path,
        "what": violation.what,
        "detail": violation.detail,
    })
}

fn summary(checked: &Checked, deep: bool, violations: Vec<Value>) -> Value {
    let untold =
        checked.untold.iter().map(|(check, what, count)| json!({ "check": check, "what": what, "count": count }));
    json!({
        "deep": deep,
        "sources": checked.sources,
        "generations": checked.generations,
        "names": checked.names,
        "without_state_hash": checked.uncounted,
        "violation_count": checked.violations,
        "violations": violations,
        "more": untold.collect::<Vec<_>>(),
    })
}

/// Says what was checked, and what could not be.
fn tell(checked: &Checked, deep: bool) {
    let generations = counted(checked.generations, "generation");
    let sources = counted(checked.sources, "source");
    let violations = match checked.violations {
        0 => "nothing is wrong".to_owned(),
        count => counted(count, "violation"),
    };
    if checked.violations == 0 {
        say!("checked {generations} of {sources}: {violations}");
    } else {
        eprintln!("checked {generations} of {sources}: {violations}");
    }
    if deep && checked.uncounted > 0 {
        let generations = counted(checked.uncounted, "generation");
        say!(
            "{generations} without a state hash yet: whether their names and attributes are as published was not checked"
        );
    }
}

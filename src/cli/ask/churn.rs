//! `asof churn`: how much each generation of a source changed against the one before it.
//!
//! What the view `churn` says: each file counts once.

use super::growth::since;
use super::rows::{FormArgs, Rows};
use crate::catalog::Scope;
use crate::cli::World;
use crate::cli::complete;
use crate::cli::output::{grouped, human_bytes};
use crate::cli::report::{Failure, Outcome};
use crate::cli::say::local;
use crate::cli::target::Target;
use crate::jobs::ask::amounts::{ChurnRow, churn};
use crate::model::Time;
use clap::Args;
use clap_complete::ArgValueCompleter;

const HEADER: [&str; 10] =
    ["taken_at", "changed", "created", "deleted", "modified", "renamed", "attributes", "new", "gone", "source"];
const RIGHT: [bool; 10] = [false, true, true, true, true, true, true, true, true, false];

#[derive(Debug, Args)]
pub(in crate::cli) struct ChurnArgs {
    /// The source [default: all of them]
    #[arg(add = ArgValueCompleter::new(complete::sources))]
    source: Option<std::ffi::OsString>,
    /// Leave out generations before this date
    #[arg(long, value_name = "DATE", allow_hyphen_values = true, add = ArgValueCompleter::new(complete::dates))]
    since: Option<String>,
    #[command(flatten)]
    form: FormArgs,
}

pub(in crate::cli) fn run(args: &ChurnArgs, world: &World) -> Result<Outcome, Failure> {
    let reader = world.reader()?;
    let since = since(args.since.as_deref(), world)?;
    let scopes: Vec<Scope> = match args.source.as_deref().map(Target::parse).transpose()? {
        None => reader.sources()?.into_iter().map(|source| reader.scope(source)).collect::<Result<_, _>>()?,
        Some(Target::Source(name)) => vec![reader.scope_of(&name)?],
        Some(Target::Entry(name, path)) => {
            return Err(Failure::new("churn is that of a whole source")
                .hint(format!("asof history {name}:{path} lists what each generation changed there")));
        }
        Some(Target::Generation(name, _)) => {
            return Err(Failure::new("churn is that of all generations")
                .hint(format!("asof churn {name} --since DATE leaves out those before")));
        }
    };
    let mut rows = Rows::new(&args.form, &HEADER, &RIGHT);
    for scope in &scopes {
        for row in churn(&reader, scope, since)? {
            rows.row(|| cells(&row), &row, row.restore_path.as_bytes())?;
        }
    }
    rows.finish()?;
    Ok(Outcome::Done)
}

fn cells(row: &ChurnRow) -> Vec<String> {
    let counts = [row.changed, row.created, row.deleted, row.modified, row.renamed, row.attributes];
    let mut cells = vec![local(Time(row.taken_at_unix))];
    cells.extend(counts.map(grouped));
    cells.extend([human_bytes(row.new_bytes), human_bytes(row.gone_bytes), row.source.clone()]);
    cells
}

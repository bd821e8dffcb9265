//! `asof du`: how much lies in each directory, as of a date.
//!
//! Counts as `du --apparent-size` does; a file with several names counts once.

use super::find::end;
use super::rows::{FormArgs, Rows, go_on};
use crate::cli::World;
use crate::cli::complete;
use crate::cli::output::{grouped, human_bytes};
use crate::cli::report::{Failure, Outcome};
use crate::cli::target::{Target, instant_at};
use crate::jobs::ask::du::du;
use crate::model::RelPath;
use clap::Args;
use clap_complete::ArgValueCompleter;

#[derive(Debug, Args)]
pub(in crate::cli) struct DuArgs {
    /// SOURCE or SOURCE:PATH
    #[arg(add = ArgValueCompleter::new(complete::targets))]
    target: std::ffi::OsString,
    /// As of when [default: latest]
    #[arg(long, value_name = "DATE", allow_hyphen_values = true, add = ArgValueCompleter::new(complete::dates))]
    at: Option<String>,
    /// Directories so many levels below are listed; 0: the total alone
    #[arg(short, long, value_name = "LEVELS", default_value_t = 1)]
    depth: usize,
    #[command(flatten)]
    form: FormArgs,
}

pub(in crate::cli) fn run(args: &DuArgs, world: &World) -> Result<Outcome, Failure> {
    let reader = world.reader()?;
    let (name, path, date) = match Target::parse(&args.target)? {
        Target::Source(name) => (name, RelPath::root(), args.at.clone()),
        Target::Entry(name, path) => (name, path, args.at.clone()),
        Target::Generation(name, date) if args.at.is_none() => (name, RelPath::root(), Some(date)),
        Target::Generation(..) => return Err(Failure::new("two dates are given: one after @ and one with --at")),
    };
    let scope = reader.scope_of(&name)?;
    let at = instant_at(&reader, &scope, date.as_deref(), world)?;
    let mut rows = Rows::new(&args.form, &["size", "bytes", "entries", "path"], &[true, true, true, false]);
    let mut trouble = Ok(());
    let searched = du(&reader, &scope, (&path, at), args.depth, &mut |row| {
        let cells = || {
            let size = human_bytes(i64::try_from(row.size_bytes).unwrap_or(i64::MAX));
            let path = format!("{}:{}", row.source, row.path);
            vec![size, row.size_bytes.to_string(), grouped(i64::try_from(row.entries).unwrap_or(i64::MAX)), path]
        };
        go_on(rows.row(cells, &row, row.restore_path.as_bytes()), &mut trouble)
    })?;
    trouble?;
    let outcome = end(&searched, &name, &path)?;
    rows.finish()?;
    Ok(outcome)
}

//! `asof man` and `asof completions`: made from the same definition as `--help`.
//! Nothing is written by hand, so nothing can be out of date.

use super::args::{Cli, CompletionsArgs, ManArgs};
use super::report::{Failure, Outcome};
use clap::CommandFactory;
use std::io::Write;

pub(super) fn man(args: &ManArgs) -> Result<Outcome, Failure> {
    let command = Cli::command();
    match &args.dir {
        Some(dir) => {
            let fail = |e| Failure::because(format!("writing manual pages into {dir:?}"), &e);
            std::fs::create_dir_all(dir).map_err(fail)?;
            clap_mangen::generate_to(command, dir).map_err(fail)?;
            eprintln!("wrote the manual pages into {dir:?}");
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            std::io::stdout().write_all(&page)?;
        }
    }
    Ok(Outcome::Done)
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "asof", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(Outcome::Done)
}

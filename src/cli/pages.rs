//! `asof man` and `asof completions`: made from the same definition as `--help`.
//! Nothing is written by hand, so nothing can be out of date.

use super::report::{Failure, Outcome};
use clap::{Args, Command};
use std::io::Write;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write asof.1 and a page for each verb into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn man(args: &ManArgs, asof: Command) -> Result<Outcome, Failure> {
    match &args.dir {
        Some(dir) => {
            let fail = |e| Failure::because(format!("writing manual pages into {dir:?}"), &e);
            std::fs::create_dir_all(dir).map_err(fail)?;
            clap_mangen::generate_to(asof, dir).map_err(fail)?;
            eprintln!("wrote the manual pages into {dir:?}");
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(asof).render(&mut page)?;
            std::io::stdout().write_all(&page)?;
        }
    }
    Ok(Outcome::Done)
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

pub(super) fn completions(args: &CompletionsArgs, mut asof: Command) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut asof, "asof", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(Outcome::Done)
}

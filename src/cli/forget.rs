//! `asof forget`: a generation leaves the catalog, its copy stays.
//! A date that may mean another one is refused.

use super::args::PRINT_JSON;
use super::complete;
use super::output;
use super::report::{Failure, Outcome};
use super::say::{local, say};
use super::target::{Target, generation_of};
use super::{SourceRun, World};
use crate::jobs::forget::forget;
use clap::Args;
use clap_complete::ArgValueCompleter;
use std::ffi::OsString;

#[derive(Debug, Args)]
pub(super) struct ForgetArgs {
    /// SOURCE@DATE; a date that means more than one generation is refused
    #[arg(add = ArgValueCompleter::new(complete::generations))]
    target: OsString,
    #[arg(long, help = PRINT_JSON)]
    json: bool,
}

pub(super) fn run(args: &ForgetArgs, world: &World) -> Result<Outcome, Failure> {
    let Target::Generation(name, date) = Target::parse(&args.target)? else {
        return Err(Failure::new(format!("{:?} is not one generation", args.target))
            .hint("write asof forget SOURCE@DATE; asof generations lists the dates"));
    };
    let SourceRun { lock: _lock, source, mut writer } = world.source_run("forget", &name)?;
    let at = generation_of(&world.reader()?, &source, &date, world)?;
    let report = forget(&mut writer, &source, at)?;
    say!("forgot {} of \"{}\"", local(at), report.source);
    for path in &report.copies {
        match report.own {
            _ if report.missing.contains(path) => {
                say!("its copy is not there, {path:?}: only one that is put there again can be indexed again");
            }
            true => say!("its bytes stay in {path:?}"),
            false => say!("its copy stays in {path:?}, and is not indexed again by itself"),
        }
    }
    let there = report.copies.iter().find(|path| !report.missing.contains(path));
    if let (Some(path), true) = (there, report.indexed_by_path) {
        say!("hint: asof index {} {path:?} --at DATE takes it back", report.source);
    }
    if args.json {
        output::report(&report)?;
    }
    Ok(Outcome::Done)
}

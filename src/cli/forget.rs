//! `asof forget`: a generation leaves the catalog, its copy stays.
//! A date that may mean another one is refused.

use super::output;
use super::report::{Failure, Outcome};
use super::target::{Target, generation_of};
use super::{SourceRun, World};
use crate::jobs::forget::forget;
use clap::Args;
use std::ffi::OsString;

#[derive(Debug, Args)]
pub(super) struct ForgetArgs {
    /// SOURCE@DATE; a date that means more than one generation is refused
    target: OsString,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ForgetArgs, world: &World) -> Result<Outcome, Failure> {
    let Target::Generation(name, date) = Target::parse(&args.target)? else {
        return Err(Failure::new(format!("{:?} names no generation", args.target)).hint("asof forget SOURCE@DATE"));
    };
    let SourceRun { lock: _lock, source, mut writer } = world.source_run("forget", &name)?;
    let at = generation_of(&world.reader()?, &source, &date, world)?;
    let report = forget(&mut writer, &source, at)?;
    eprintln!("forgot {} of \"{}\"", at, report.source);
    for path in &report.copies {
        match report.own {
            true => eprintln!("its bytes stay in {path:?}"),
            false => eprintln!("its copy stays in {path:?}, and is not indexed again by itself"),
        }
    }
    if let (Some(path), true) = (report.copies.first(), report.indexed_by_path) {
        eprintln!("hint: asof index {} {path:?} --at DATE takes it back", report.source);
    }
    if args.json {
        output::report(&report)?;
    }
    Ok(Outcome::Done)
}

//! `asof gluster full | inc`: lists for a consumer that is not known.
//!
//! Promises: nothing is remembered and nothing is made but the list; answers of bricks lie in a directory for temporary
//! files until they are merged.

use super::list::{List, ListArgs};
use super::session::shown;
use super::volume::{AskArgs, VolumeArgs, settings};
use crate::cli::World;
use crate::cli::output;
use crate::cli::progress::Terminal;
use crate::cli::report::{Failure, Outcome};
use crate::cli::say::say;
use crate::clock::Clock;
use crate::jobs::gluster::lists::list_volume;
use crate::jobs::gluster::window::list_window;
use crate::model::{AsOf, Finding, Fold, Time, parse_date, parse_instant};
use crate::monitor::Monitor;
use crate::source::gluster::Settings;
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(in crate::cli) struct FullArgs {
    #[command(flatten)]
    volume: VolumeArgs,
    #[command(flatten)]
    how: AskArgs,
    #[command(flatten)]
    list: ListArgs,
}

pub(super) fn full(args: FullArgs, world: &World) -> Result<Outcome, Failure> {
    let settings = settings(args.volume, args.how, 0);
    settings.check()?;
    list(&settings, &args.list, |program, folder, monitor, list| {
        list_volume::<Failure>(&settings, program, folder, &world.clock, monitor, &mut |change, kind| {
            list.line(&change, kind)
        })
    })
}

#[derive(Debug, Args)]
pub(in crate::cli) struct IncArgs {
    #[command(flatten)]
    volume: VolumeArgs,
    /// The beginning: unix seconds, or any date
    #[arg(allow_hyphen_values = true)]
    start: String,
    /// The end; a day or longer means its end [default: now]
    #[arg(allow_hyphen_values = true)]
    end: Option<String>,
    #[command(flatten)]
    how: AskArgs,
    #[command(flatten)]
    list: ListArgs,
}

pub(super) fn inc(args: IncArgs, world: &World) -> Result<Outcome, Failure> {
    let settings = settings(args.volume, args.how, 0);
    settings.check()?;
    let (from, until) = span_of(&args.start, args.end.as_deref(), world)?;
    let outcome = list(&settings, &args.list, |program, folder, monitor, list| {
        list_window::<Failure>(
            &settings,
            program,
            folder,
            (from, until),
            (&world.clock, monitor),
            &mut |change, kind| list.line(&change, kind),
        )
    })?;
    say!("window {} {}", from.0, until.0);
    Ok(outcome)
}

/// Returns the instants that a beginning and an end mean; without an end until now.
pub(super) fn span_of(start: &str, end: Option<&str>, world: &World) -> Result<(Time, Time), Failure> {
    let now = world.clock.now();
    let from = parse_instant(start, now, &world.zone, Fold::Refuse)?;
    let until = match end {
        None => now,
        Some(end) => match parse_date(end, now, &world.zone, Fold::Refuse)? {
            AsOf::At(until) => until,
            AsOf::Latest => now,
            AsOf::Oldest => return Err(Failure::new(format!("{end:?} cannot be the end of a time span"))),
        },
    };
    if until < from || from < Time(0) {
        return Err(Failure::new(format!("the time span ends at {until}, before it begins at {from}"))
            .hint("asof gluster inc HOST VOLUME START END; asof resolve DATE shows what a date means"));
    }
    Ok((from, until))
}

/// Writes the list that `tell` tells, and says what was found amiss.
fn list(
    settings: &Settings,
    args: &ListArgs,
    tell: impl FnOnce(&Path, &Path, &Terminal, &mut List) -> Result<Vec<Finding>, Failure>,
) -> Result<Outcome, Failure> {
    let folder = std::env::temp_dir().join(format!("asof-list-{}", std::process::id()));
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("asof"));
    list_of(&settings.volume, args, |monitor, list| tell(&program, &folder, monitor, list))
}

/// Does so where nobody is asked.
pub(super) fn list_of(
    volume: &str,
    args: &ListArgs,
    tell: impl FnOnce(&Terminal, &mut List) -> Result<Vec<Finding>, Failure>,
) -> Result<Outcome, Failure> {
    let mut list = List::begin(args)?;
    let monitor = Terminal::new();
    monitor.begin(volume, None);
    let told = tell(&monitor, &mut list);
    monitor.end();
    let findings = told?;
    let counts = list.finish()?;
    say!("listed {counts} in {}", shown(&args.out_file));
    let losses = findings.iter().filter(|finding| finding.kind.is_loss()).count();
    if losses > 0 {
        eprintln!("the list may lack changes: {}", output::losses(losses as u64));
    }
    Ok(if findings.is_empty() { Outcome::Done } else { Outcome::WithFindings })
}

//! `asof take`: a generation is made and indexed in one go.
//!
//! Arguments to the job, its report to text. Promises: what was taken is said in one line with counts, what was not in further ones;
//! a run that is told to end (SIGTERM, SIGINT, SIGHUP) while it holds a guest does so in order.

pub(super) mod args;

use super::output::{self, grouped, human_bytes};
use super::progress::Terminal;
use super::report::{self, Failure, Outcome};
use super::say::{local, say};
use super::{SourceRun, World};
use crate::jobs::take::block::acquire::DiskWish;
use crate::jobs::take::block::{Ending, guard};
use crate::jobs::take::{Inputs, Report, Taken, TakenDisk, TakenVolume, Wish, take};
use crate::model::{Consistency, Level, chain};
use crate::source::block::Location;
use crate::sys::process;
use args::{TakeArgs, TakeDiskArgs};
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

/// How long a run that was told to end may take to do so in order.
const END_WITHIN: Duration = Duration::from_secs(3);

pub(super) fn run(args: &TakeArgs, world: &World) -> Result<Outcome, Failure> {
    let SourceRun { lock: _lock, source, mut writer } = world.source_run("take", &args.name)?;
    let wish =
        Wish { full: args.full, differential: args.differential, rescan: args.rescan, disk: disk_wish(&args.disk)? };
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("asof"));
    let inputs = Inputs { program: &program, clock: &world.clock, monitor: &Terminal::new(), on_hold: &end_in_order };
    let taken = take(&mut writer, &source, &wish, &inputs)?;
    print(&taken);
    if args.json {
        output::report(&taken)?;
    }
    Ok(if taken.has_findings() { Outcome::WithFindings } else { Outcome::Done })
}

/// Lets a guest go when the run that holds it does not: what it needs is on standard input.
pub(super) fn let_go() -> Result<Outcome, Failure> {
    let done = guard::serve(io::stdin(), io::stdout());
    done.map(|()| Outcome::Done).map_err(|e| Failure::new(chain(&e)))
}

fn disk_wish(args: &TakeDiskArgs) -> Result<DiskWish, Failure> {
    let location = args.location.as_deref().map(Location::parse).transpose();
    Ok(DiskWish {
        nbd: args.nbd.clone(),
        bitmap: args.bitmap.clone(),
        checkpoint: args.checkpoint.clone(),
        since: args.since.clone(),
        guest: args.guest.asked(),
        consistency: args.consistency.map(Consistency::from),
        location: location.map_err(|e| Failure::new(chain(&e)))?,
    })
}

/// Has a run end when it is told to; if it does not in time, has it let go what it holds.
fn end_in_order(ending: Ending) -> io::Result<()> {
    let mut told = process::terminations()?;
    let end = move || {
        if told.read_exact(&mut [0]).is_err() {
            return;
        }
        ending.tell();
        std::thread::sleep(END_WITHIN);
        // A server that is silent is waited for longer than that, and an index run is not ours to stop: what it had is kept
        // by its catalog, and what was taken by the next run.
        eprintln!("asof: ended by a signal; nothing was published");
        for e in ending.let_go() {
            report::end(Err(e.into()));
        }
        std::process::exit(2);
    };
    std::thread::Builder::new().name("end".to_owned()).spawn(end).map(drop)
}

fn print(report: &Report) {
    match &report.taken {
        Taken::Volume(volume) => print_volume(report, volume),
        Taken::Disk(disk) => print_disk(report, disk),
    }
    if let Some(trouble) = &report.trouble {
        report::end(Err(trouble.into()));
    }
    if report.losses + report.notices > 0 {
        eprintln!("hint: asof show {}@{} lists what was found", report.source, local(report.when.0));
    }
}

fn print_volume(report: &Report, volume: &TakenVolume) {
    let how = match &volume.looked_at_everything {
        Some(why) => format!("a full scan was made ({why})"),
        None => "the changelogs named what changed".to_owned(),
    };
    let text = format!(
        "took {} of \"{}\" into {:?}: {}, {}, {} changed, {} files of {} copied, in {}; {how}",
        local(report.when.0),
        report.source,
        report.path,
        report.level,
        output::entries(report.entries),
        grouped(report.changed as i64),
        grouped(volume.copied_files as i64),
        human_bytes(volume.copied_bytes as i64),
        output::took(report.index_ms),
    );
    emit(report, &text);
    if volume.taken_over_files > 0 {
        let files = grouped(volume.taken_over_files as i64);
        say!("an interrupted run had copied {files} of the files already");
    }
    if report.losses > 0 {
        eprintln!("the generation is partial: {}", output::losses(report.losses));
    }
    if let Some(why) = &volume.next_looks_at_everything {
        say!("the next run makes a full scan: {why}");
    }
}

fn print_disk(report: &Report, disk: &TakenDisk) {
    let on = disk.parent.map_or_else(String::new, |parent| format!(" on top of {}", local(parent)));
    let human = |bytes: u64| human_bytes(bytes as i64);
    let read = match (report.level, disk.disk_bytes, disk.dirty_bytes, disk.fetched_bytes) {
        (Level::Full, Some(size), _, Some(fetched)) => format!(", {} of {} read", human(fetched), human(size)),
        (Level::Incremental, Some(size), Some(dirty), Some(fetched)) => {
            format!(", {} of {} dirty, {} read", human(dirty), human(size), human(fetched))
        }
        _ => String::new(),
    };
    let text = format!(
        "took {} of \"{}\" into {:?}{on}: {}{read}, {}, {}, {} changed, in {}",
        local(report.when.0),
        report.source,
        report.path,
        report.level,
        disk.consistency,
        output::entries(report.entries),
        grouped(report.changed as i64),
        output::took(report.index_ms),
    );
    emit(report, &text);
}

/// Prints what was taken: with `--quiet` only if a person has to look at it.
fn emit(report: &Report, text: &str) {
    match report.has_findings() {
        true => eprintln!("{text}"),
        false => say!("{text}"),
    }
}

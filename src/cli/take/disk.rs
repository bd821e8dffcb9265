//! `asof take` for a disk: a generation is pulled from an NBD export, or a command makes an image of it.
//!
//! Promises: a guest that was held still is let go, also when the run is told to end (SIGTERM, SIGINT, SIGHUP); if it was
//! killed, by the next `asof take` or `asof index` of the source.

use super::super::World;
use super::super::output::{self, grouped, human_bytes};
use super::super::progress::Terminal;
use super::super::report::{Failure, Outcome};
use super::args::TakeArgs;
use crate::catalog::{SourceRow, Writer};
use crate::jobs::take::block::acquire::{DiskJob, DiskReport, DiskWish, about};
use crate::jobs::take::block::libvirt::Backup;
use crate::jobs::take::block::still::{self, Still};
use crate::jobs::take::block::stop::Stop;
use crate::model::{Consistency, Level, chain};
use crate::source::block::{Location, Settings};
use crate::sys::process;
use serde_json::json;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

/// How long a run that was told to end may take to do so in order.
const END_WITHIN: Duration = Duration::from_secs(3);

pub(super) fn run(writer: &mut Writer, source: &SourceRow, args: &TakeArgs, world: &World) -> Result<Outcome, Failure> {
    if args.differential || args.rescan {
        return Err(Failure::new(format!(
            "source {:?} is a disk: --differential and --rescan are for volumes",
            source.name
        )));
    }
    let settings = Settings::from_json(&source.settings)?;
    let disk = &args.disk;
    let wish = DiskWish {
        nbd: disk.nbd.clone(),
        bitmap: disk.bitmap.clone(),
        checkpoint: disk.checkpoint.clone(),
        since: disk.since.clone(),
        domain: match disk.guest.is_given() {
            true => super::super::source::domain(&disk.guest, settings.domain.clone())?,
            false => None,
        },
        consistency: disk.consistency.map(Consistency::from),
        location: disk.location.as_deref().map(Location::parse).transpose().map_err(|e| Failure::new(chain(&e)))?,
        full: args.full,
    };
    let (still, backup, stop) = (Arc::new(still(source, &settings)), Arc::new(Backup::default()), Stop::default());
    end_in_order(&still, &backup, &stop)?;
    let left = still.release_left(about(source, &settings));
    if let Some(done) = left.map_err(|e| not_released(&e).about(NOT_TAKEN))? {
        eprintln!("{done}");
    }
    let (still, stop, monitor) = (&*still, &stop, &Terminal::new());
    let job = DiskJob {
        source,
        settings: &settings,
        wish: &wish,
        still,
        backup: &backup,
        stop,
        clock: &world.clock,
        monitor,
    };
    // Not by this thread: a signal for the process goes to its first one (complete_signal in the kernel), and waits as long as
    // that waits on a frozen file system.
    let taken = std::thread::scope(|scope| scope.spawn(|| job.take(writer)).join());
    let report = taken
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        .map_err(|e| Failure::from(e).about(&format!("cannot take a generation of \"{}\"", source.name)))?;
    tell(source, &report);
    if args.json {
        output::json(&as_json(source, &report))?;
    }
    let counts = &report.done.counts;
    let is_amiss = counts.losses + counts.notices > 0 || report.not_released.is_some();
    Ok(if is_amiss { Outcome::WithFindings } else { Outcome::Done })
}

const NOT_TAKEN: &str = "nothing was taken, since a guest is held still";

fn still(source: &SourceRow, settings: &Settings) -> Still {
    Still::new(&source.name, settings)
}

fn not_released(e: &still::Error) -> Failure {
    Failure::new(chain(e)).hint("the guest may be held still; the next asof take or index of the source runs it again")
}

/// Has the run end when it is told to; if it does not in time, lets the guest go and ends what libvirt runs for it.
fn end_in_order(still: &Arc<Still>, backup: &Arc<Backup>, stop: &Stop) -> Result<(), Failure> {
    let mut told =
        process::terminations().map_err(|e| Failure::because("preparing for being told to end".to_owned(), &e))?;
    let (still, backup, stop) = (Arc::clone(still), Arc::clone(backup), stop.clone());
    std::thread::spawn(move || {
        if told.read_exact(&mut [0]).is_err() {
            return;
        }
        stop.tell();
        std::thread::sleep(END_WITHIN);
        // A server that is silent is waited for longer than that, and an index run is not ours to stop: what it had is kept
        // by its catalog, and what was taken by the next run.
        eprintln!("asof: told to end; nothing was published");
        if let Err(e) = still.release("failed") {
            super::super::report::end(Err(not_released(&e)));
        }
        if let Err(e) = backup.end() {
            super::super::report::end(Err(Failure::new(chain(&e))));
        }
        std::process::exit(2);
    });
    Ok(())
}

fn tell(source: &SourceRow, report: &DiskReport) {
    let done = &report.done;
    let on = report.parent.map_or_else(String::new, |parent| format!(" on top of {parent}"));
    let read = report.pulled.map_or_else(String::new, |(disk_bytes, dirty_bytes, fetched_bytes)| {
        let human = |bytes: u64| human_bytes(bytes as i64);
        match report.level {
            Level::Full => format!(", {} of {} read", human(fetched_bytes), human(disk_bytes)),
            Level::Incremental => {
                format!(", {} of {} dirty, {} read", human(dirty_bytes), human(disk_bytes), human(fetched_bytes))
            }
        }
    });
    eprintln!(
        "took {} of \"{}\" into {:?}{on}: {}{read}, {}, {} entries, {} changed, in {:.1} s",
        done.at,
        source.name,
        report.image,
        report.level,
        report.consistency,
        grouped(done.counts.entries as i64),
        grouped(done.changed_nodes as i64),
        done.counts.index_ms as f64 / 1000.0,
    );
    if let Some(e) = &report.not_released {
        super::super::report::end(Err(not_released(e)));
    }
    if done.counts.losses + done.counts.notices > 0 {
        eprintln!("hint: asof show {}@{} lists what was found", source.name, done.at.view_name());
    }
}

fn as_json(source: &SourceRow, report: &DiskReport) -> serde_json::Value {
    let done = &report.done;
    let (disk_bytes, dirty_bytes, fetched_bytes) =
        report.pulled.map_or((None, None, None), |(disk, dirty, fetched)| (Some(disk), Some(dirty), Some(fetched)));
    json!({
        "source": source.name,
        "taken_at": done.at.to_string(),
        "level": report.level.word(),
        "path": report.image.to_string_lossy(),
        "parent": report.parent.map(|parent| parent.to_string()),
        "checkpoint": report.checkpoint,
        "consistency": report.consistency.word(),
        "full_because": report.full_because,
        "disk_bytes": disk_bytes,
        "dirty_bytes": dirty_bytes,
        "fetched_bytes": fetched_bytes,
        "entries": done.counts.entries,
        "size_bytes": done.counts.size_bytes,
        "changed": done.changed_nodes,
        "losses": done.counts.losses,
        "notices": done.counts.notices,
        "index_ms": done.counts.index_ms,
    })
}

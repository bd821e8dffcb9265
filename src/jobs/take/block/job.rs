//! The job for a disk: what an interrupted run had held is let go first, then a generation is taken.
//!
//! Promises: a guest that was held still is let go, also when the run is told to end; if it was killed, by the next run.

use super::acquire::{DiskJob, DiskReport, about};
use super::ending::Ending;
use crate::jobs::hooks::{self, About, Limit};
use crate::jobs::take::error::{Error, NOT_RELEASED};
use crate::jobs::take::inputs::Run;
use crate::jobs::take::report::{Report, Taken, TakenDisk, Trouble};
use crate::model::chain;
use crate::source::block::{AskedGuest, DESCRIPTION, Settings};
use crate::sys::random::random_id;
use std::sync::OnceLock;

/// Takes a generation of a disk.
pub(in crate::jobs) fn take(run: &mut Run<'_>) -> Result<Report, Error> {
    let (source, wish, inputs) = (run.source, run.wish, run.inputs);
    if wish.differential || wish.rescan {
        return Err(Error::NotOfThisKind {
            name: source.name.clone(),
            noun: DESCRIPTION.noun,
            what: "--differential and --rescan are for volumes",
        });
    }
    let settings = Settings::from_json(&source.settings)?;
    let domain = match &wish.disk.guest {
        asked if *asked == AskedGuest::default() => None,
        asked => asked.of(settings.domain.clone())?,
    };
    let ending = Ending::new(&source.name, &settings, inputs.program);
    (inputs.on_hold)(ending.clone()).map_err(Error::Prepare)?;
    match ending.still.release_left(about(source, &settings)) {
        Ok(done) => done.into_iter().for_each(|done| inputs.monitor.warn(&done)),
        // A night without a backup helps nobody. This run holds the guest as well, and lets it go as well: what becomes of that is said.
        Err(e) => inputs.monitor.warn(&format!("{}; {NOT_RELEASED}", chain(&e))),
    }
    let job = DiskJob {
        source,
        settings: &settings,
        id: random_id(),
        wish: &wish.disk,
        domain,
        full: wish.full,
        still: &ending.still,
        folder: OnceLock::new(),
        backup: &ending.backup,
        stop: &ending.stop,
        clock: inputs.clock,
        monitor: inputs.monitor,
    };
    let writer = &mut *run.writer;
    // Not by this thread: a signal for the process goes to its first one (complete_signal in the kernel), and waits as long as
    // that waits on a frozen file system.
    let taken = std::thread::scope(|scope| scope.spawn(|| job.take(writer)).join());
    let taken = taken.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    if let Some(cleanup) = &settings.cleanup {
        let status = if taken.is_ok() { "taken" } else { "failed" };
        let about: About = about(source, &settings).into_iter().chain([("ASOF_STATUS", status.into())]).collect();
        let limit = Limit { time: settings.hook_timeout(), is_over: &|| false, may_outlive_us: true };
        if let Err(e) = hooks::run_within("cleanup", cleanup, &about, limit, None) {
            inputs.monitor.warn(&chain(&e));
        }
    }
    Ok(report(&source.name, taken.map_err(|e| Error::Disk { name: source.name.clone(), source: Box::new(e) })?))
}

fn report(source: &str, taken: DiskReport) -> Report {
    let disk = TakenDisk {
        parent: taken.parent,
        checkpoint: taken.checkpoint,
        consistency: taken.consistency,
        full_because: taken.full_because,
        disk_bytes: taken.pulled.map(|(disk, ..)| disk),
        dirty_bytes: taken.pulled.map(|(_, dirty, _)| dirty),
        fetched_bytes: taken.pulled.map(|(.., fetched)| fetched),
    };
    let report = Report::new(source, &taken.done, taken.level, taken.image, Taken::Disk(disk));
    Report { trouble: taken.not_released.map(Trouble::NotReleased), ..report }
}

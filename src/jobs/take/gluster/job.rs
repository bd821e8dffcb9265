//! The job for a volume: the commands of the admin around a run, and its report.
//!
//! Promises: the command that runs at last runs after a failure too, for it may have to undo what the first one did.

use super::run;
use super::volume::take_volume;
use crate::jobs::hooks::{self, About};
use crate::jobs::take::block::acquire::DiskWish;
use crate::jobs::take::error::Error;
use crate::jobs::take::inputs::Run;
use crate::jobs::take::report::{Report, Taken, TakenVolume, Trouble};
use crate::model::chain;
use crate::source::gluster::{DESCRIPTION, Settings};

/// Takes a generation of a volume.
pub(in crate::jobs) fn take(run: &mut Run<'_>) -> Result<Report, Error> {
    let source = run.source;
    if run.wish.disk != DiskWish::default() {
        return Err(Error::NotOfThisKind {
            name: source.name.clone(),
            noun: DESCRIPTION.noun,
            what: "--nbd, --bitmap, --checkpoint, --since, --consistency, --location, --domain, --disk and --method are for disks",
        });
    }
    let settings = Settings::from_json(&source.settings)?;
    let mut about = vec![
        ("ASOF_SOURCE", source.name.clone().into()),
        ("ASOF_VOLUME", settings.volume.clone().into()),
        ("ASOF_STORE", settings.store.clone().into_os_string()),
    ];
    if let Some(command) = &settings.pre {
        hooks::run("pre", command, &about).map_err(Error::Pre)?;
    }
    let mut taken = take_and_tell(run, &mut about);
    about.push(("ASOF_STATUS", if taken.is_ok() { "taken" } else { "failed" }.into()));
    if let Some(command) = &settings.post
        && let Err(e) = hooks::run("post", command, &about)
    {
        match &mut taken {
            Ok(report) => report.trouble = Some(Trouble::Post(e)),
            Err(_) => run.inputs.monitor.warn(&chain(&e)),
        }
    }
    taken
}

/// Takes the generation, and adds to `about` what became of it.
fn take_and_tell(run: &mut Run<'_>, about: &mut About) -> Result<Report, Error> {
    let (source, inputs) = (run.source, run.inputs);
    let wish = run::Wish { full: run.wish.full, differential: run.wish.differential, rescan: run.wish.rescan };
    let taken = take_volume(run.writer, source, wish, inputs.program, inputs.clock, inputs.monitor);
    let taken = taken.map_err(|e| Error::Volume { name: source.name.clone(), source: Box::new(e) })?;
    about.push(("ASOF_TAKEN_AT", taken.done.at.0.to_string().into()));
    about.push(("ASOF_LEVEL", taken.level.word().into()));
    about.push(("ASOF_COPY", taken.copy.clone().into_os_string()));
    let volume = TakenVolume {
        copied_files: taken.written.files,
        copied_bytes: taken.written.size_bytes,
        taken_over_files: taken.written.taken_over,
        looked_at_everything: taken.walked,
        next_looks_at_everything: taken.walk_next,
    };
    Ok(Report::new(&source.name, &taken.done, taken.level, taken.copy, Taken::Volume(volume)))
}

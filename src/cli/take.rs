//! `asof take`: a generation is made and indexed in one go.
//!
//! Promises: what was taken is said in one line with counts, what was not in further ones; a generation is there whole or
//! not at all.

pub(super) mod args;
pub(super) mod disk;

use super::output::{self, grouped, human_bytes};
use super::progress::Terminal;
use super::report::{Failure, Outcome};
use super::{SourceRun, World};
use crate::catalog::{SourceRow, Writer};
use crate::jobs::hooks::{self, About};
use crate::jobs::take::gluster::{Report, Wish, take_volume};
use crate::model::{SourceKind, chain};
use crate::source::gluster::Settings;
use args::TakeArgs;
use serde_json::json;
use std::path::PathBuf;

pub(super) fn run(args: &TakeArgs, world: &World) -> Result<Outcome, Failure> {
    let SourceRun { lock: _lock, source, mut writer } = world.source_run("take", &args.name)?;
    match SourceKind::from_word(&source.kind) {
        Some(SourceKind::Gluster) => {}
        Some(SourceKind::Block) => return disk::run(&mut writer, &source, args, world),
        Some(SourceKind::Nfs) => {
            return Err(Failure::new(format!(
                "source {:?} is of kind nfs: another tool makes its copies",
                source.name
            ))
            .hint(format!("asof index {} indexes those that are there", source.name)));
        }
        None => return Err(super::target::unknown_kind(&source)),
    }
    let disk = &args.disk;
    let words = [&disk.nbd, &disk.bitmap, &disk.checkpoint, &disk.since, &disk.location];
    if words.iter().any(|word| word.is_some()) || disk.consistency.is_some() || disk.guest.is_given() {
        return Err(Failure::new(format!(
            "source {:?} is a Gluster volume: --nbd, --bitmap, --checkpoint, --since, --consistency, --location, --domain, \
             --disk and --method are for disks",
            source.name
        )));
    }
    let settings = Settings::from_json(&source.settings)?;
    let mut about = vec![
        ("ASOF_SOURCE", source.name.clone().into()),
        ("ASOF_VOLUME", settings.volume.clone().into()),
        ("ASOF_STORE", settings.store.clone().into_os_string()),
    ];
    if let Some(command) = &settings.pre {
        hooks::run("pre", command, &about).map_err(|e| Failure::new(chain(&e)).hint("nothing was taken"))?;
    }
    let outcome = take(args, &source, &mut writer, &mut about, world);
    about.push(("ASOF_STATUS", if outcome.is_ok() { "taken" } else { "failed" }.into()));
    let Some(command) = &settings.post else { return outcome };
    // It runs after a failure too: it may have to undo what the other one did.
    match (hooks::run("post", command, &about), outcome) {
        (Ok(()), outcome) => outcome,
        (Err(e), Ok(_)) => {
            eprintln!("asof: {}", chain(&e));
            eprintln!("hint: the generation is there");
            Ok(Outcome::WithFindings)
        }
        (Err(e), Err(failure)) => {
            eprintln!("asof: {}", chain(&e));
            Err(failure)
        }
    }
}

/// Takes the generation, and adds to `about` what became of it.
fn take(
    args: &TakeArgs,
    source: &SourceRow,
    writer: &mut Writer,
    about: &mut About,
    world: &World,
) -> Result<Outcome, Failure> {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("asof"));
    let wish = Wish { full: args.full, differential: args.differential, rescan: args.rescan };
    let taken = take_volume(writer, source, wish, &program, &world.clock, &Terminal::new());
    let report =
        taken.map_err(|e| Failure::from(e).about(&format!("cannot take a generation of \"{}\"", source.name)))?;
    tell(source, &report);
    about.push(("ASOF_TAKEN_AT", report.done.at.0.to_string().into()));
    about.push(("ASOF_LEVEL", report.level.word().into()));
    about.push(("ASOF_COPY", report.copy.clone().into_os_string()));
    if args.json {
        output::json(&as_json(source, &report))?;
    }
    let counts = &report.done.counts;
    Ok(if counts.losses + counts.notices > 0 { Outcome::WithFindings } else { Outcome::Done })
}

fn tell(source: &SourceRow, report: &Report) {
    let (done, written) = (&report.done, &report.written);
    let how = match &report.walked {
        Some(why) => format!("everything was looked at ({why})"),
        None => "changelogs told what changed".to_owned(),
    };
    eprintln!(
        "took {} of \"{}\" into {:?}: {}, {} entries, {} changed, {} files of {} copied, in {:.1} s; {how}",
        done.at,
        source.name,
        report.copy,
        report.level,
        grouped(done.counts.entries as i64),
        grouped(done.changed_nodes as i64),
        grouped(written.files as i64),
        human_bytes(written.size_bytes as i64),
        done.counts.index_ms as f64 / 1000.0,
    );
    if written.taken_over > 0 {
        eprintln!("{} of the files had been copied by a run that was interrupted", grouped(written.taken_over as i64));
    }
    if done.counts.losses > 0 {
        eprintln!("the generation is partial: {} losses", grouped(done.counts.losses as i64));
    }
    if let Some(why) = &report.walk_next {
        eprintln!("the next run looks at everything: {why}");
    }
    if done.counts.losses + done.counts.notices > 0 {
        eprintln!("hint: asof show {}@{} lists what was found", source.name, done.at.view_name());
    }
}

fn as_json(source: &SourceRow, report: &Report) -> serde_json::Value {
    let (done, written) = (&report.done, &report.written);
    json!({
        "source": source.name,
        "taken_at": done.at.to_string(),
        "level": report.level.word(),
        "path": report.copy.to_string_lossy(),
        "entries": done.counts.entries,
        "size_bytes": done.counts.size_bytes,
        "changed": done.changed_nodes,
        "copied_files": written.files,
        "copied_bytes": written.size_bytes,
        "losses": done.counts.losses,
        "notices": done.counts.notices,
        "gaps": done.counts.gaps,
        "looked_at_everything": report.walked,
        "next_looks_at_everything": report.walk_next,
        "index_ms": done.counts.index_ms,
    })
}

//! A generation of a disk is taken: the guest is held still, the moment is made, its bytes come into the source's folder,
//! the guest goes on, and what came is indexed and published.
//!
//! What an increment counts from is known by the name of a checkpoint: each generation records one, and an increment is
//! taken only where the bitmap is known to count from that of the newest generation. A bitmap that keeps its name while
//! it is cleared at each moment has one flaw: after a run that failed nobody knows whether it was cleared. So each run
//! leaves a note in the folder until it is published; where there is one, and the name is the same again, all is read.
//!
//! Promises: a failed run leaves the catalog as it was, and no image that is not whole. What cannot be proved to be an
//! increment becomes a full generation, and that is said. Never decides when: whoever calls does.

mod guest;
mod snapshot;

use super::disk::{self, NewImage, index_image};
use super::hooks::{self, About, Limit};
use super::libvirt::{self, Backup, Guest};
use super::manifest;
use super::pull::{self, Pull, Pulled, Since};
use super::still::{self, Guard, Still, Stop, write_durably};
use crate::catalog::{self, SourceRow, Writer};
use crate::clock::Clock;
use crate::index::Done;
use crate::model::{Consistency, Hinted, Level, Time};
use crate::monitor::Monitor;
use crate::source::block::image::Moment;
use crate::source::block::{Domain, Location, Settings, image, nbd};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How far the newest generation may lie ahead of the clock to be waited for, in seconds.
const AHEAD_S_MAX: i64 = 5;

/// What can keep a generation of a disk from being taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalog.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// Indexing.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// The image that came.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// The bytes.
    #[error(transparent)]
    Pull(#[from] pull::Error),
    /// A command of the admin.
    #[error(transparent)]
    Hook(#[from] hooks::Error),
    /// The address of the export.
    #[error(transparent)]
    Uri(nbd::Error),
    /// The guest.
    #[error(transparent)]
    Guest(#[from] libvirt::Error),
    /// Something in the folder cannot be written.
    #[error("cannot write {path:?}")]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It could not be written while the guest was held.
    #[error("nothing could be written to {path:?} for {} s while the guest was held", .limit.as_secs())]
    Frozen {
        /// The folder.
        path: PathBuf,
        /// What a command may take.
        limit: Duration,
    },
    /// Nothing says where the bytes come from.
    #[error("source {0:?} names neither an NBD export, nor a domain, nor a snapshot command")]
    NoOrigin(String),
    /// It was said what the bitmap counts from, and that is not the newest generation.
    #[error("the bitmap is said to count from checkpoint {since:?}, and the newest generation, of {newest}, has {}", .found.as_ref().map_or_else(|| "none".to_owned(), |found| format!("{found:?}")))]
    NotSince {
        /// What was said.
        since: String,
        /// The newest generation.
        newest: Time,
        /// Its checkpoint.
        found: Option<String>,
    },
    /// The command left nothing.
    #[error(
        "the snapshot command {command:?} left no image: {said:?} is the last line that it printed, and no file is at $ASOF_IMAGE"
    )]
    NoImage {
        /// The command.
        command: String,
        /// The last line that it printed.
        said: String,
    },
    /// It names an image of before.
    #[error("the snapshot command left {image:?}, which is the generation of {at} already")]
    Known {
        /// The image.
        image: PathBuf,
        /// Its generation.
        at: Time,
    },
    /// The clock went back.
    #[error("the newest generation is of {newest}, and the clock says {now}")]
    ClockBehind {
        /// The newest generation.
        newest: Time,
        /// Now.
        now: Time,
    },
    /// The run was told to end.
    #[error("the run was told to end")]
    Stopped,
}

impl Hinted for Error {
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Catalog(e) => return e.hint(),
            Self::Disk(e) => return e.hint(),
            Self::Pull(e) => return e.hint(),
            Self::NoOrigin(name) => {
                return Some(format!("asof take {name} --nbd URI or --domain NAME, or asof source set {name}"));
            }
            Self::Guest(e) => return Some(e.hint().unwrap_or_else(|| "nothing was taken".to_owned())),
            Self::NotSince { .. } => "export the bitmap of that checkpoint, or take --full reads everything",
            Self::NoImage { .. } => {
                "it prints the path of the image as its last line, or writes the image to $ASOF_IMAGE"
            }
            Self::Frozen { .. } => {
                "does the pre command freeze the file system that the folder or the catalog is on? nothing was taken"
            }
            Self::Known { .. } => "each snapshot needs a file of its own",
            Self::ClockBehind { .. } => "set the clock, or wait: a generation is never older than one that is there",
            Self::Hook(_) | Self::Stopped => "nothing was taken",
            Self::Write { .. } => "is the folder there, and has it room? nothing was taken",
            Self::Image(_) | Self::Uri(_) => return None,
        };
        Some(text.to_owned())
    }
}

/// What is asked of a run; what is none is as the settings say.
#[derive(Clone, Debug, Default)]
pub struct DiskWish {
    /// The address of the export.
    pub nbd: Option<String>,
    /// The bitmap.
    pub bitmap: Option<String>,
    /// The mark of the new generation.
    pub checkpoint: Option<String>,
    /// The mark that the bitmap counts from.
    pub since: Option<String>,
    /// The guest.
    pub domain: Option<Domain>,
    /// How much the data is at rest.
    pub consistency: Option<Consistency>,
    /// Where the bytes come from, as others shall know it.
    pub location: Option<Location>,
    /// Read everything.
    pub full: bool,
}

/// What a run did.
#[derive(Debug)]
pub struct DiskReport {
    /// What was indexed.
    pub done: Done,
    /// How much of the disk the image holds.
    pub level: Level,
    /// The image.
    pub image: PathBuf,
    /// The generation that it rests on.
    pub parent: Option<Time>,
    /// Its mark.
    pub checkpoint: Option<String>,
    /// How much the data was at rest.
    pub consistency: Consistency,
    /// Size of the disk, what of it was dirty, and what was read from the server, in bytes; none: a command made the image.
    pub pulled: Option<(u64, u64, u64)>,
    /// Why everything was read, where there is a bitmap.
    pub full_because: Option<String>,
    /// What kept the guest from being let go.
    pub not_released: Option<still::Error>,
}

/// A run that is not published yet, in the folder of images: `.asof-pull-NAME.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Note {
    /// The instant of what it takes, once that is known.
    at: Option<i64>,
    /// The marks that this run and those before it would have made: bitmaps of these names may count from another moment by
    /// now than from that of a generation. None: any may.
    marks: Option<Vec<String>>,
    consistency: Option<String>,
    /// By what a backup that libvirt runs is known to be of this run: its socket, or its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backup: Option<PathBuf>,
}

/// What is to be known of runs that did not end.
struct Unsettled {
    why: String,
    marks: Option<Vec<String>>,
}

/// What came while the guest was held.
struct Acquired {
    at: Time,
    consistency: Consistency,
    image: PathBuf,
    location: Option<Location>,
    pulled: Option<Pulled>,
    /// Why everything was read, if that was found out only now.
    full_because: Option<String>,
    /// It was to be let go, and was not.
    not_released: Option<still::Error>,
}

/// Where the bytes come from.
enum Origin {
    /// An export of somebody.
    Export { text: String, uri: nbd::Uri },
    /// A guest, by libvirt.
    Guest { guest: Guest, domain: Domain },
    /// An image that a command makes.
    Command(String),
}

/// What every step of a run has.
pub struct DiskJob<'a> {
    /// The source, and its settings.
    pub source: &'a SourceRow,
    /// As stored.
    pub settings: &'a Settings,
    /// What is asked.
    pub wish: &'a DiskWish,
    /// How the guest is let go.
    pub still: &'a Still,
    /// What libvirt runs for this run.
    pub backup: &'a Backup,
    /// What tells the run to end.
    pub stop: &'a Stop,
    /// Tells the time.
    pub clock: &'a dyn Clock,
    /// Hears what happens.
    pub monitor: &'a dyn Monitor,
}

/// Returns what commands are told of a source.
pub fn about(source: &SourceRow, settings: &Settings) -> About {
    vec![("ASOF_SOURCE", source.name.clone().into()), ("ASOF_IMAGES", settings.own_folder().as_os_str().to_owned())]
}

/// Returns what every moment is told of.
fn moment(at: Time, consistency: Consistency, since: Option<&Since>) -> Moment {
    Moment {
        parent: since.map(|since| since.checkpoint.clone()),
        consistency: Some(consistency.word().to_owned()),
        taken_at: Some(at.to_string()),
        ..Moment::default()
    }
}

/// What an image holds.
enum Basis {
    /// Everything, for this reason where there is one to tell.
    All(Option<String>),
    /// What changed.
    Since(Since),
}

impl DiskJob<'_> {
    /// Takes a generation.
    ///
    /// # Errors
    /// [`Error`]; then the catalog is as before, and the guest was let go if that was possible.
    pub fn take(&self, writer: &mut Writer) -> Result<DiskReport, Error> {
        let origin = self.origin()?;
        let unsettled = self.settle(writer, &origin)?;
        let bitmap = match &origin {
            Origin::Export { .. } => self.wish.bitmap.as_ref().or(self.settings.bitmap.as_ref()),
            Origin::Guest { .. } | Origin::Command(_) => None,
        };
        // What an earlier run left in doubt stays so until a generation is published.
        let mark = self.wish.checkpoint.as_ref().or(bitmap);
        let is_certain = mark.is_none() && unsettled.is_none();
        let marks = unsettled.as_ref().map_or_else(|| Some(Vec::new()), |unsettled| unsettled.marks.clone());
        let basis = match (&origin, bitmap) {
            (Origin::Guest { guest, .. }, _) => {
                guest.check_idle()?;
                self.basis_of_guest(writer, guest)?
            }
            (_, Some(bitmap)) => self.basis(writer, bitmap, unsettled)?,
            (_, None) => Basis::All(None),
        };
        if let Basis::All(Some(why)) = &basis {
            self.monitor.warn(&format!("everything is read: {why}"));
        }
        let marks = marks.map(|marks| marks.into_iter().chain(mark.cloned()).collect());
        let mut note = Note { marks, ..Note::default() };
        self.write_note(&note)?;
        let guard = Guard(self.still);
        let held = self.acquire(writer, &origin, bitmap, &basis, &mut note);
        let status = if held.is_ok() { "taken" } else { "failed" };
        let mut not_released = self.still.release(status).err();
        drop(guard);
        let held = match held {
            Ok(mut held) => {
                not_released = not_released.or(held.not_released.take());
                held
            }
            Err(e) => {
                let is_undone = match &origin {
                    Origin::Guest { guest, .. } => self.undo(writer, guest, &note),
                    Origin::Export { .. } | Origin::Command(_) => is_certain,
                };
                if is_undone {
                    self.remove_note();
                }
                if let Some(e) = not_released {
                    self.monitor.warn(&crate::model::chain(&e));
                }
                return Err(e);
            }
        };
        let Acquired { at, image, consistency, location, pulled, .. } = held;
        let (done, parent, checkpoint) = self.index(writer, &image, at, consistency, location.as_ref())?;
        self.remove_note();
        if let Origin::Guest { guest, .. } = &origin {
            self.trim_checkpoints(writer, guest)?;
        }
        Ok(DiskReport {
            level: if parent.is_some() { Level::Incremental } else { Level::Full },
            done,
            image,
            parent,
            checkpoint,
            consistency,
            pulled: pulled.map(|pulled| (pulled.disk_bytes, pulled.dirty_bytes, pulled.fetched_bytes)),
            full_because: match basis {
                Basis::All(why) => why,
                Basis::Since(_) => held.full_because,
            },
            not_released,
        })
    }

    /// Tells where the bytes come from: as is asked, else as the settings say.
    fn origin(&self) -> Result<Origin, Error> {
        let (wish, settings) = (self.wish, self.settings);
        let nbd = wish.nbd.as_ref().or(settings.nbd.as_ref().filter(|_| wish.domain.is_none()));
        if let Some(text) = nbd {
            return Ok(Origin::Export { text: text.clone(), uri: settings.uri(text).map_err(Error::Uri)? });
        }
        if let Some(domain) = wish.domain.as_ref().or(settings.domain.as_ref()) {
            return Ok(Origin::Guest { guest: Guest::find(domain)?, domain: domain.clone() });
        }
        let command = settings.snapshot.clone().map(Origin::Command);
        command.ok_or_else(|| Error::NoOrigin(self.source.name.clone()))
    }

    /// From the first command to the last byte: what has to be done while the guest is held.
    fn acquire(
        &self,
        writer: &Writer,
        origin: &Origin,
        bitmap: Option<&String>,
        basis: &Basis,
        note: &mut Note,
    ) -> Result<Acquired, Error> {
        let folder = self.settings.own_folder();
        let mut about = about(self.source, self.settings);
        match origin {
            Origin::Export { text, .. } => about.push(("ASOF_NBD", text.into())),
            Origin::Guest { guest, .. } => {
                about.push(("ASOF_DOMAIN", guest.name().into()));
                about.push(("ASOF_DISK", guest.disk().into()));
            }
            Origin::Command(_) => {}
        }
        if let Some(bitmap) = bitmap {
            about.push(("ASOF_BITMAP", bitmap.into()));
        }
        if let Some(checkpoint) = &self.wish.checkpoint {
            about.push(("ASOF_CHECKPOINT", checkpoint.into()));
        }
        if let Basis::Since(since) = basis {
            about.push(("ASOF_SINCE", since.checkpoint.clone().into()));
        }
        let failed = |source| Error::Write { path: folder.to_owned(), source };
        self.still.hold(about.clone(), &self.clock.now().to_string()).map_err(failed)?;
        let is_over = || self.stop.is_told();
        // One that went on after us could hold the guest when the next run has let it go already.
        let limit = Limit { time: self.settings.hook_timeout(), is_over: &is_over, may_outlive_us: false };
        if let Some(pre) = &self.settings.pre {
            hooks::run_within("pre", pre, &about, limit, None)?;
        }
        if let Origin::Guest { guest, domain } = origin
            && domain.freeze
        {
            guest.freeze()?;
        }
        let consistency = self.consistency(origin);
        let at = self.while_held(|| {
            let at = self.instant(writer)?;
            (note.at, note.consistency) = (Some(at.0), Some(consistency.word().to_owned()));
            self.write_note(note)?;
            Ok(at)
        })?;
        about.push(("ASOF_TAKEN_AT", at.0.to_string().into()));
        self.still.tell("ASOF_TAKEN_AT", at.0.to_string());
        let since = match basis {
            Basis::All(_) => None,
            Basis::Since(since) => Some(since),
        };
        match origin {
            Origin::Command(command) => self.snapshot(writer, command, about, (at, consistency), limit),
            Origin::Guest { guest, domain } => self.guest(guest, domain, since, (at, consistency), note),
            Origin::Export { text, uri } => {
                if let Some(command) = &self.settings.snapshot {
                    hooks::run_within("snapshot", command, &about, limit, None)?;
                }
                let checkpoint = self.wish.checkpoint.as_ref().or(bitmap).cloned().unwrap_or_else(|| at.view_name());
                let location = self.wish.location.clone().or_else(|| Location::parse(text).ok());
                let moment = Moment {
                    checkpoint: Some(checkpoint),
                    location: location.as_ref().map(|location| location.as_str().to_owned()),
                    ..moment(at, consistency, since)
                };
                let pulled = self.pull((text, uri.clone()), since, &moment, at)?;
                let (image, pulled) = (pulled.image.clone(), Some(pulled));
                Ok(Acquired { at, consistency, image, location, pulled, full_because: None, not_released: None })
            }
        }
    }

    /// Returns how much the data is at rest in what is taken.
    fn consistency(&self, origin: &Origin) -> Consistency {
        let said = || self.settings.consistency.as_deref().and_then(Consistency::from_word);
        self.wish.consistency.or_else(said).unwrap_or_else(|| {
            let has_pre = self.settings.pre.is_some();
            match origin {
                Origin::Guest { .. } if has_pre => Consistency::App,
                Origin::Guest { domain, .. } if domain.freeze => Consistency::Frozen,
                Origin::Export { .. } | Origin::Command(_) if has_pre && self.settings.snapshot.is_some() => {
                    Consistency::App
                }
                _ => Consistency::Crash,
            }
        })
    }

    fn pull(&self, uri: (&str, nbd::Uri), since: Option<&Since>, moment: &Moment, at: Time) -> Result<Pulled, Error> {
        let wanted = Pull { uri, since, moment, at, folder: self.settings.own_folder() };
        self.monitor.begin(&format!("{} {at}", self.source.name), None);
        let pulled = pull::pull(&wanted, self.stop, self.monitor);
        self.monitor.end();
        Ok(pulled?)
    }

    /// Does what needs the folder and the catalog, just after the guest was held. On a file system that was frozen with it this
    /// has no end, not even by a signal: then the guest is let go after the time that a command may take, and there is one.
    fn while_held<T>(&self, deed: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let (still, limit) = (self.still, self.settings.hook_timeout());
        let (done, is_done) = channel::<()>();
        thread::scope(|scope| {
            let watch = scope.spawn(move || match is_done.recv_timeout(limit) {
                Err(RecvTimeoutError::Timeout) => Some(still.release("failed")),
                Ok(()) | Err(RecvTimeoutError::Disconnected) => None,
            });
            let result = deed();
            drop(done);
            let Some(released) = watch.join().expect("it does not panic") else { return result };
            if let Err(e) = released {
                self.monitor.warn(&crate::model::chain(&e));
            }
            Err(Error::Frozen { path: self.settings.own_folder().to_owned(), limit })
        })
    }

    /// Indexes an image and returns its generation's parent and mark, too.
    fn index(
        &self,
        writer: &mut Writer,
        path: &Path,
        at: Time,
        consistency: Consistency,
        location: Option<&Location>,
    ) -> Result<(Done, Option<Time>, Option<String>), Error> {
        let folders = self.settings.folders();
        let image = self.settings.open(path, &folders)?;
        for note in &image.notes {
            self.monitor.warn(&format!("{path:?}: {note}"));
        }
        let manifest = manifest::path_of(self.settings.own_folder(), &at.view_name());
        let new = NewImage {
            source: self.source,
            image: &image,
            snapshot: None,
            at,
            rests_on: None,
            folders: &folders,
            acquire: (image.kind != image::Kind::Pull && image.moment.domain.is_none()).then_some("snapshot"),
            consistency: Some(consistency),
            location,
            manifest: Some(&manifest),
        };
        self.monitor.begin(&format!("{} {at}", self.source.name), None);
        let indexed = index_image(writer, &new, self.clock, self.monitor);
        self.monitor.end();
        let (done, parent) = indexed?;
        Ok((done, parent, image.moment.checkpoint))
    }

    /// Tells what is taken with this bitmap, and why.
    fn basis(&self, writer: &Writer, bitmap: &str, unsettled: Option<Unsettled>) -> Result<Basis, Error> {
        if self.wish.full {
            return Ok(Basis::All(None));
        }
        let Some(newest) = writer.instants(self.source.id)?.pop() else { return Ok(Basis::All(None)) };
        let checkpoint = writer.checkpoint(self.source.id, newest)?;
        if let Some(since) = self.wish.since.as_ref().filter(|since| checkpoint.as_ref() != Some(*since)) {
            return Err(Error::NotSince { since: since.clone(), newest, found: checkpoint });
        }
        let all = |why: String| Ok(Basis::All(Some(why)));
        let Some(checkpoint) = checkpoint else {
            return all(format!(
                "the generation of {newest} has no checkpoint that bitmap {bitmap:?} could count from"
            ));
        };
        if self.wish.since.is_none() && checkpoint != bitmap {
            return all(format!(
                "nothing tells that bitmap {bitmap:?} counts from the generation of {newest}, whose checkpoint is \
                 {checkpoint:?}; --since {checkpoint} says that it does"
            ));
        }
        let is_mark = |marks: &Option<Vec<String>>| marks.as_ref().is_none_or(|marks| marks.contains(&checkpoint));
        if let Some(Unsettled { why, .. }) = unsettled.filter(|unsettled| is_mark(&unsettled.marks)) {
            return all(format!(
                "{why}, so what bitmap {bitmap:?} counts from is not known; checkpoints of different names tell"
            ));
        }
        let since = self.since(writer, newest, &checkpoint, bitmap)?;
        Ok(since.map_or_else(|why| Basis::All(Some(why)), Basis::Since))
    }

    /// Returns what an increment on the generation of `at` counts from, or why there can be none: what it would rest on is
    /// not as it was.
    fn since(&self, writer: &Writer, at: Time, checkpoint: &str, bitmap: &str) -> Result<Result<Since, String>, Error> {
        let layers = writer.disk_layers(self.source.id, at)?;
        for file in layers.iter().flat_map(|layer| &layer.files) {
            let is_there = fs::metadata(&file.path).is_ok_and(|now| {
                let mtime = (now.mtime(), now.mtime_nsec() as u32);
                !now.is_file() || (now.len(), mtime) == (file.size_bytes, (file.mtime.seconds, file.mtime.nanos))
            });
            if !is_there {
                let path = &file.path;
                return Ok(Err(format!("{path:?}, which an increment would rest on, is gone or was written to")));
            }
        }
        let Some(newest) = layers.first() else { return Ok(Err(format!("the disk as of {at} is not whole"))) };
        let (bitmap, checkpoint) = (bitmap.to_owned(), checkpoint.to_owned());
        Ok(Ok(Since { bitmap, at, checkpoint, size_bytes: newest.size_bytes }))
    }

    /// Looks after what a run left that did not end: what is whole becomes a generation, the rest is removed. Returns what
    /// is to be known of it, if it is of no generation.
    fn settle(&self, writer: &mut Writer, origin: &Origin) -> Result<Option<Unsettled>, Error> {
        let path = self.note_path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Write { path, source }),
        };
        // A note that is damaged is one all the same.
        let note: Note = serde_json::from_str(&text).unwrap_or_default();
        if let (Origin::Guest { guest, .. }, Some(mark)) = (origin, &note.backup)
            && guest.end_left(mark)?
        {
            self.monitor
                .warn(&format!("ended the backup of domain {:?} that an interrupted run had left", guest.name()));
        }
        if let Some(mark) = &note.backup {
            guest::remove_socket(mark);
        }
        let Some(at) = note.at.map(Time) else {
            return Ok(Some(Unsettled { why: "the run before did not come to its end".to_owned(), marks: note.marks }));
        };
        let folder = self.settings.own_folder();
        for removed in pull::remove_left(folder, at).map_err(|source| Error::Write { path: path.clone(), source })? {
            self.monitor.warn(&format!("removed {removed:?}, which an interrupted run had left"));
        }
        let images = [pull::names(folder, at).0, pull::pushed_name(folder, at)];
        let mut is_known = writer.instants(self.source.id)?.contains(&at);
        if let Some(image) = images.iter().find(|image| !is_known && image.is_file()) {
            let consistency = note.consistency.as_deref().and_then(Consistency::from_word);
            match self.index(writer, image, at, consistency.unwrap_or(Consistency::Crash), None) {
                Ok((done, ..)) => {
                    is_known = true;
                    self.monitor.warn(&format!(
                        "indexed {} of \"{}\" from {image:?}, which an interrupted run had taken whole",
                        done.at, self.source.name
                    ));
                }
                Err(e) => {
                    let why = crate::model::chain(&e);
                    self.monitor.warn(&format!("{image:?} of an interrupted run does not become a generation: {why}"));
                }
            }
        }
        if let Origin::Guest { guest, .. } = origin {
            self.drop_checkpoints(writer, guest, &note)?;
            is_known = true;
        }
        if is_known {
            self.remove_note();
            return Ok(None);
        }
        Ok(Some(Unsettled { why: format!("the run of {at} did not come to its end"), marks: note.marks }))
    }

    fn note_path(&self) -> PathBuf {
        self.settings.own_folder().join(format!(".asof-pull-{}.json", self.source.name))
    }

    fn write_note(&self, note: &Note) -> Result<(), Error> {
        let path = self.note_path();
        let text = serde_json::to_string(note).expect("numbers and text have a form in JSON");
        write_durably(&path, text.as_bytes()).map_err(|source| Error::Write { path, source })
    }

    /// If the note stays, the next run looks at more than it had to.
    fn remove_note(&self) {
        let _ = fs::remove_file(self.note_path());
    }

    /// Returns the instant of the generation: now, after waiting for the second of the newest generation to be over.
    fn instant(&self, writer: &Writer) -> Result<Time, Error> {
        let newest = writer.instants(self.source.id)?.pop();
        let began = Instant::now();
        loop {
            let now = self.clock.now();
            let Some(newest) = newest.filter(|newest| *newest >= now) else { return Ok(now) };
            if newest.0 - now.0 > AHEAD_S_MAX || began.elapsed() > Duration::from_secs(2 * AHEAD_S_MAX as u64) {
                return Err(Error::ClockBehind { newest, now });
            }
            if self.stop.is_told() {
                return Err(Error::Stopped);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

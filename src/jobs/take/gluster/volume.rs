//! A generation of a Gluster volume is taken: its bricks are asked, the bytes that changed come into a copy, and that is
//! indexed and published.
//!
//! Promises: what the changelogs are not complete of is looked at as a whole, and the reason is told. A copy that is gone is noticed before
//! anything is based on it, and what it held is taken again; a store in which no copy is left is refused.

use super::bare::Bare;
use super::bytes::{Origins, Taking};
use super::error::Error;
use super::held::HeldCopies;
use super::run::{Extent, Report, Wish};
use crate::catalog::{KnownCopy, Resume, SourceRow, Writer};
use crate::clock::Clock;
use crate::index::{self, Done, Keep, Taken, Told, index_taken};
use crate::model::{CopyState, FileKey, Level, Scan, Time};
use crate::monitor::Monitor;
use crate::source::gluster::brick::Brick;
use crate::source::gluster::collect::{Asking, Collected, collect};
use crate::source::gluster::volume::Volume;
use crate::source::gluster::{Gfid, Settings, State, volume};
use crate::store::{self, CopyWriter, WriterCounts};
use crate::{source, sys};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What an agent may take: a walk of 10,000,000 files from cold disks is done in a few hours.
pub(in crate::jobs) const AGENT_DEADLINE: Duration = Duration::from_secs(12 * 3600);
/// How far the newest generation may lie ahead of the clock to be waited for, in seconds.
const AHEAD_S_MAX: i64 = 5;

/// A volume that is being taken.
struct Job<'a> {
    source: &'a SourceRow,
    settings: &'a Settings,
    volume: Volume,
    /// The bytes of files are left where they are: what is taken is names and attributes.
    is_bare: bool,
    /// `STORE/NAME`: all copies of the source, and what is being made.
    folder: PathBuf,
    program: &'a Path,
    clock: &'a dyn Clock,
    monitor: &'a dyn Monitor,
}

/// Takes a generation of a Gluster volume. `program` is this program, for agents on this machine.
///
/// # Errors
/// [`Error`]; then the catalog is as before.
pub fn take_volume(
    writer: &mut Writer,
    source: &SourceRow,
    wish: Wish,
    program: &Path,
    clock: &dyn Clock,
    monitor: &dyn Monitor,
) -> Result<Report, Error> {
    let settings = Settings::from_json(&source.settings)?;
    if settings.lists_only {
        return Err(Error::ListsOnly(source.name.clone()));
    }
    let store = std::fs::metadata(&settings.store);
    store.map_err(|source| Error::NoStore { path: settings.store.clone(), source })?;
    let volume = load_started(&settings)?;
    let folder = settings.store.join(&source.name);
    Job { source, settings: &settings, volume, is_bare: false, folder, program, clock, monitor }.start(writer, wish)
}

/// Takes a generation that has the names and attributes of a volume and no bytes. `settings` are told apart from the
/// source, whose own hold more; their store is where answers of bricks lie meanwhile.
///
/// # Errors
/// [`Error`]; then the catalog is as before.
pub(in crate::jobs) fn take_bare(
    writer: &mut Writer,
    source: &SourceRow,
    settings: &Settings,
    wish: Wish,
    (program, clock, monitor): (&Path, &dyn Clock, &dyn Monitor),
) -> Result<Report, Error> {
    let volume = load_started(settings)?;
    let folder = settings.store.clone();
    Job { source, settings, volume, is_bare: true, folder, program, clock, monitor }.start(writer, wish)
}

/// Returns what the volume is made of.
pub(in crate::jobs) fn load_started(settings: &Settings) -> Result<Volume, Error> {
    let asked = settings.remote_host();
    let volume = volume::load(&settings.gluster, asked, &settings.volume)?;
    if asked.is_none() {
        volume::check_host(&settings.gluster, &settings.host, &volume)?;
    }
    if volume.started { Ok(volume) } else { Err(Error::NotStarted(volume.name)) }
}

/// What a generation is based on.
#[derive(Clone, Copy)]
struct Basis<'b> {
    /// The newest generation.
    before: Option<&'b Resume>,
    /// Where its scan stopped.
    state: Option<&'b State>,
    /// Generations whose copies are gone, with bytes that no other has.
    lost: &'b BTreeSet<Time>,
}

impl Job<'_> {
    fn start(&self, writer: &mut Writer, wish: Wish) -> Result<Report, Error> {
        let (source, monitor) = (self.source, self.monitor);
        let before = writer.resume(source.id)?;
        let state = match &before {
            Some(Resume { at, state: Some(text), .. }) => {
                Some(State::from_json(text).map_err(|source| Error::State { at: *at, source })?)
            }
            _ => None,
        };
        let lost = match &before {
            Some(before) if !self.is_bare => self.lost_copies(writer, before, wish.full)?,
            _ => BTreeSet::new(),
        };
        let at = self.instant(before.as_ref())?;
        let full = wish.full || before.is_none();
        let extent = match (&state, full, wish.differential) {
            (_, true, _) => Extent::All,
            (Some(state), false, true) => Extent::SinceFull(Time(state.full_at)),
            _ => Extent::Changed,
        };
        let why = self.why_walk(before.as_ref(), state.as_ref(), wish, at);
        let why = match (why, &before) {
            (None, Some(before)) if writer.is_in_doubt(source.id, before.at)? => {
                Some("not everything could be listed in the generation before".to_owned())
            }
            (why, _) => why,
        };
        let why = why.or_else(|| {
            let first = lost.first()?;
            Some(format!("the copy of the generation of {first} is gone, and what it held is taken again"))
        });
        let (before, state) = (before.as_ref(), state.as_ref());
        let basis = Basis { before, state, lost: &lost };
        match self.run(writer, at, basis, extent, why) {
            Err(Error::Index(e @ (index::Error::UnknownDirectory { .. } | index::Error::UntoldDirectory { .. }))) => {
                let why = format!("the changelogs are not complete: {e}");
                monitor.note(&format!("making a full scan: {why}"));
                self.run(writer, at, basis, extent, Some(why))
            }
            done => done,
        }
    }

    /// Returns the generations whose copies are gone and hold bytes of the newest generation: they have to be taken again. Refuses a
    /// store in which no copy is left, unless a `full` generation is taken: a directory without its file system looks like that.
    fn lost_copies(&self, writer: &mut Writer, before: &Resume, full: bool) -> Result<BTreeSet<Time>, Error> {
        let known = writer.known_copies(self.source)?;
        let (there, gone): (Vec<&KnownCopy>, Vec<&KnownCopy>) = known.iter().partition(|copy| copy.path.is_dir());
        let own = gone.iter().rfind(|copy| copy.path.starts_with(&self.folder));
        if let Some(copy) = own.filter(|_| !full && !there.iter().any(|copy| copy.path.starts_with(&self.folder))) {
            return Err(Error::StoreIsAnother { at: before.at, path: copy.path.clone() });
        }
        let mut lost = BTreeSet::new();
        for copy in gone {
            // Of a store in which nothing is, nothing is known.
            let is_known = full || there.iter().any(|other| other.store_path == copy.store_path);
            if !is_known || there.iter().any(|other| other.object == copy.object) {
                continue;
            }
            if !copy.forgotten && copy.state != CopyState::Gone {
                writer.set_copy_state(copy.id, CopyState::Gone, self.clock.now())?;
            }
            if writer.has_bytes_in(copy.object, before.at)? {
                self.monitor.warn(&format!(
                    "the copy {:?} of the generation of {} is gone; what it held is taken again",
                    copy.path, copy.at
                ));
                lost.insert(copy.at);
            }
        }
        Ok(lost)
    }

    /// Returns the instant of the generation: now, after waiting for the second of the newest generation to be over. An
    /// instant in the future would not be in any view yet.
    fn instant(&self, before: Option<&Resume>) -> Result<Time, Error> {
        let began = Instant::now();
        loop {
            let now = self.clock.now();
            let Some(newest) = before.filter(|newest| newest.at >= now) else { return Ok(now) };
            if newest.at.0 - now.0 > AHEAD_S_MAX || began.elapsed() > Duration::from_secs(2 * AHEAD_S_MAX as u64) {
                return Err(Error::ClockBehind { newest: newest.at, now });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns why everything has to be looked at, if it has to.
    fn why_walk(&self, before: Option<&Resume>, state: Option<&State>, wish: Wish, at: Time) -> Option<String> {
        let every = i64::try_from(self.settings.rescan_every_s).unwrap_or(i64::MAX);
        match (before, state) {
            (None, _) => Some("this is the first generation".to_owned()),
            (_, None) => Some("the generation before left no cursor".to_owned()),
            _ if wish.full => Some("a full generation was asked for".to_owned()),
            _ if wish.rescan => Some("a rescan was asked for".to_owned()),
            (_, Some(State { walk_next: Some(why), .. })) => Some(why.clone()),
            (_, Some(state)) if every > 0 && at.0 - state.walked_at >= every => {
                Some(format!("the last look at everything was at {}", Time(state.walked_at)))
            }
            _ => None,
        }
    }

    fn run(
        &self,
        writer: &mut Writer,
        at: Time,
        basis: Basis<'_>,
        extent: Extent,
        why: Option<String>,
    ) -> Result<Report, Error> {
        let store = |path: &Path| {
            let path = path.to_owned();
            move |source| store::Error::CannotWrite { path, source }
        };
        let parts = self.folder.join(".parts");
        remove_if_there(&parts).map_err(store(&parts))?;
        std::fs::create_dir_all(&parts).map_err(store(&parts))?;
        self.tell_strangers(writer)?;
        let asking = Asking {
            template: &self.settings.exec,
            program: self.settings.program.as_deref().unwrap_or(self.program),
            deadline: AGENT_DEADLINE,
            folder: &parts,
        };
        self.monitor.begin(&format!("{} {at}", self.source.name), basis.before.map(|before| before.entries));
        let outcome = self.take(writer, at, basis, extent, why, &asking);
        self.monitor.end();
        remove_if_there(&parts).map_err(store(&parts))?;
        outcome
    }

    /// Says which copies are in the folder and in no generation: of a run that was killed in the moment before it was
    /// published, or of another catalog.
    fn tell_strangers(&self, writer: &Writer) -> Result<(), Error> {
        let known: HashSet<String> = writer.instants(self.source.id)?.into_iter().map(Time::view_name).collect();
        let Ok(names) = std::fs::read_dir(&self.folder) else { return Ok(()) };
        for entry in names.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            let name = entry.file_name();
            let is_known = name.to_str().is_some_and(|name| name.starts_with('.') || known.contains(name));
            if !is_known {
                self.monitor.warn(&format!(
                    "{:?} is of no generation in this catalog: it is another catalog's, or a run was killed in the moment \
                     before it was published; nothing was done to it",
                    entry.path()
                ));
            }
        }
        Ok(())
    }

    fn take(
        &self,
        writer: &mut Writer,
        at: Time,
        basis: Basis<'_>,
        extent: Extent,
        why: Option<String>,
        asking: &Asking<'_>,
    ) -> Result<Report, Error> {
        let Basis { before, state, lost } = basis;
        let mut collected = collect(&self.volume, state, why, asking, self.clock, self.monitor)?;
        let level = if extent == Extent::All { Level::Full } else { Level::Incremental };
        let mut next = std::mem::take(&mut collected.next);
        let was = state.cloned().unwrap_or_default();
        next.walked_at = if collected.walked.is_some() { at.0 } else { was.walked_at };
        next.full_at = if level == Level::Full { at.0 } else { was.full_at };
        let name = at.view_name();
        let below = Path::new(&self.source.name).join(&name);
        let taken = Taken {
            source: self.source,
            at,
            level,
            store: &self.settings.store,
            below: below.as_os_str().as_encoded_bytes(),
        };
        if self.is_bare {
            let mut bare = Bare { next };
            let done = self.index(writer, &taken, before, &mut collected, &mut bare)?;
            let (written, walked) = (WriterCounts::default(), collected.walked);
            return Ok(Report { done, written, level, walked, copy: PathBuf::new(), walk_next: bare.next.walk_next });
        }
        let known = writer.known_copies(self.source)?;
        let boot = sys::process::boot_id().unwrap_or_default();
        let bricks = self.bricks();
        // A brick without a free descriptor is read through the client mount.
        let readers = bricks.iter().filter_map(|(number, brick)| Some((*number, brick.reader().ok()?))).collect();
        let mut taking = Taking {
            copy: Some(CopyWriter::begin(&self.folder, &name, &boot)?),
            origins: Origins {
                bricks: readers,
                mount: (&self.settings.host, &self.volume.name, self.folder.join(".client")),
                client: None,
                dispersed: self.volume.is_dispersed(),
                has_copies: self.volume.kind.bricks_per_set() > 1,
            },
            extent,
            next,
            monitor: self.monitor,
            written: WriterCounts::default(),
            sharded: self.volume.is_sharded(),
            lost,
            held: HeldCopies::new(known.iter().filter(|copy| copy.path.is_dir())),
        };
        let done = self.index(writer, &taken, before, &mut collected, &mut taking)?;
        for (held, files) in taking.held.missing() {
            for copy in known.iter().filter(|copy| copy.at == held && !copy.forgotten) {
                writer.set_copy_state(copy.id, CopyState::Damaged, self.clock.now())?;
            }
            let files = if files == 1 { "1 file was".to_owned() } else { format!("{files} files were") };
            self.monitor.warn(&format!(
                "{files} gone from the copy of the generation of {held}, and taken again; older generations have lost what was only there"
            ));
        }
        Ok(Report {
            done,
            written: taking.written,
            level,
            walked: collected.walked,
            copy: self.folder.join(&name),
            walk_next: taking.next.walk_next,
        })
    }

    fn index(
        &self,
        writer: &mut Writer,
        taken: &Taken<'_>,
        before: Option<&Resume>,
        collected: &mut Collected<'_>,
        taking: &mut dyn Keep,
    ) -> Result<Done, Error> {
        let root: FileKey = Gfid::ROOT.key();
        match (collected.take_changes(), before) {
            (Some(mut changes), Some(_)) => {
                changes.findings.splice(0..0, collected.findings.iter().cloned());
                let told = Told::Changes { changes, root, scan: Scan::Changelog };
                Ok(index_taken(writer, taken, told, taking, self.clock, self.monitor)?)
            }
            _ => {
                let mut walk = |each: &mut dyn FnMut(crate::model::Listing) -> std::ops::ControlFlow<()>| {
                    collected.walk(each).map_err(|e| source::Error::Gluster(Box::new(e)))
                };
                Ok(index_taken(writer, taken, Told::All(&mut walk), taking, self.clock, self.monitor)?)
            }
        }
    }

    /// Opens the bricks whose files can be read without a client: on this machine, and whole.
    fn bricks(&self) -> HashMap<u32, Brick> {
        let mut bricks = HashMap::new();
        if !self.volume.is_sharded() && !self.volume.is_dispersed() && !self.settings.client_reads {
            for place in self.volume.bricks.iter().filter(|brick| !brick.arbiter) {
                if let Ok(brick) = Brick::open(&place.path, &self.volume.name, false)
                    && brick.volume_id() == self.volume.id
                {
                    bricks.insert(place.number, brick);
                }
            }
        }
        bricks
    }
}

pub(in crate::jobs) fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

//! `asof index` for a disk: images that are there become generations.
//!
//! Promises: running it again finds nothing to do; images are taken oldest first, or with `--base` in the order in which
//! they are named; one that cannot be indexed does not stop those that do not rest on it.

use super::super::World;
use super::super::args::IndexArgs;
use super::super::output::{self, grouped, human_bytes};
use super::super::progress::Terminal;
use super::super::report::{self, Failure, Outcome};
use crate::catalog::{SourceRow, Writer};
use crate::clock::Clock;
use crate::index::Done;
use crate::model::{Consistency, Fold, Time, chain, nameable_instant, parse_instant};
use crate::monitor::Monitor;
use crate::source::block::{Location, Settings, image};
use crate::take::disk::{NewImage, index_image, manifest_of_taken};
use serde_json::json;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// An image that is to be indexed.
struct Wanted {
    /// Shared: an image has the maps of all its snapshots.
    image: Rc<image::Image>,
    /// One of the snapshots in it, none: its present state.
    snapshot: Option<usize>,
    at: Time,
    rests_on: Option<Time>,
}

pub(super) fn run(
    writer: &mut Writer,
    source: &SourceRow,
    args: &IndexArgs,
    world: &World,
) -> Result<Outcome, Failure> {
    let settings = Settings::from_json(&source.settings)?;
    let trouble = !super::super::take::disk::let_go_left(source, &settings);
    let location = match &args.disk.location {
        Some(text) if args.paths.len() == 1 => Some(Location::parse(text).map_err(|e| Failure::new(chain(&e)))?),
        Some(_) => {
            let count = args.paths.len();
            return Err(Failure::new(format!("--location tells where one image came from, and {count} are named")));
        }
        None => None,
    };
    let mut job = Job { source, args, world, folders: settings.folders(), settings, location, trouble };
    let wanted = if args.paths.is_empty() { job.discover(writer)? } else { job.named(writer)? };
    let (mut done, count) = (Vec::new(), wanted.len());
    for one in wanted {
        match job.index(writer, &one) {
            Ok((done_one, parent)) => {
                job.trouble |= done_one.counts.losses + done_one.counts.notices > 0;
                job.tell(&one, &done_one, parent);
                done.push(as_json(source, &one, &done_one, parent));
            }
            Err(failure) if count == 1 => return Err(failure),
            // What follows rests on it, one on the other.
            Err(failure) if args.disk.base.is_some() => {
                report::end(Err(failure));
                job.trouble = true;
                break;
            }
            Err(failure) => {
                report::end(Err(failure));
                job.trouble = true;
            }
        }
    }
    let indexed = done.len();
    if args.json {
        output::json(&done.into())?;
    }
    if count == 0 && !job.trouble {
        eprintln!("nothing to index: no image of \"{}\" is new", source.name);
    }
    if count > 0 && indexed == 0 {
        return Err(Failure::new(format!("none of {count} images of {:?} was indexed", source.name)));
    }
    Ok(if job.trouble { Outcome::WithFindings } else { Outcome::Done })
}

struct Job<'j> {
    source: &'j SourceRow,
    args: &'j IndexArgs,
    world: &'j World,
    settings: Settings,
    folders: Vec<PathBuf>,
    location: Option<Location>,
    trouble: bool,
}

impl Job<'_> {
    /// Returns the images in the source's folders that are not indexed, oldest first.
    fn discover(&mut self, writer: &Writer) -> Result<Vec<Wanted>, Failure> {
        let mut paths = Vec::new();
        for folder in self.settings.folders() {
            let fail = |e| Failure::because(format!("listing the images in {folder:?}"), &e);
            for entry in std::fs::read_dir(&folder).map_err(fail)? {
                let entry = entry.map_err(fail)?;
                let name = entry.file_name();
                // What asof take is writing, or a run of it that was killed, ends in .part.
                let name = name.as_encoded_bytes();
                let is_none = name.starts_with(b".") || name.ends_with(b".part") || name.ends_with(b".manifest.zst");
                let kind = entry.file_type().map_err(fail)?;
                if kind.is_symlink() && !is_none {
                    eprintln!("left aside {:?}: it is a link, and only files in the folder are opened", entry.path());
                }
                if kind.is_file() && !is_none {
                    paths.push(entry.path());
                }
            }
        }
        paths.sort();
        let mut wanted = Vec::new();
        for path in paths {
            if let Some(known) = self.known(writer, &path)? {
                self.check_known(writer, &path, known)?;
                continue;
            }
            match self.settings.open(&path, &self.folders) {
                // Every file is a raw image, if one says so: notes and checksums beside images are none.
                Ok(image) if image.kind == image::Kind::Raw && !is_named_raw(&path) => {
                    if is_named_image(&path) {
                        eprintln!("left aside {path:?}: by its name it is an image, and it does not begin as one");
                        self.trouble = true;
                    }
                }
                Ok(image) => match self.instant_of(&image) {
                    Ok(at) => self.add(writer, &mut wanted, image, at)?,
                    Err(failure) => {
                        report::end(Err(failure));
                        self.trouble = true;
                    }
                },
                Err(e) => {
                    report::end(Err(Failure::new(chain(&e))));
                    self.trouble = true;
                }
            }
        }
        self.tell_missing(writer)?;
        wanted.sort_by_key(|one| one.at);
        Ok(wanted)
    }

    /// Says which images are gone: their generations, and those that rest on them, cannot be read.
    fn tell_missing(&self, writer: &Writer) -> Result<(), Failure> {
        for at in writer.instants(self.source.id)? {
            for file in writer.image_files(self.source.id, at)?.iter().filter(|file| !file.path.exists()) {
                eprintln!(
                    "not there any more: {:?}, which the generation of {at} and those that rest on it need",
                    file.path
                );
            }
        }
        Ok(())
    }

    /// Returns the images that the admin named: oldest first, or in their order where each rests on the one before it.
    fn named(&mut self, writer: &Writer) -> Result<Vec<Wanted>, Failure> {
        let paths = &self.args.paths;
        let at = match &self.args.at {
            Some(_) if paths.len() > 1 => {
                return Err(Failure::new(format!(
                    "--at gives the instant of one image, and {} are named",
                    paths.len()
                )));
            }
            Some(date) => Some(parse_instant(date, self.world.clock.now(), &self.world.zone, Fold::Refuse)?),
            None => None,
        };
        let mut wanted = Vec::new();
        for path in paths {
            let path = canonical(path)?;
            if let Some(known) = self.known(writer, &path)? {
                eprintln!("{path:?} is indexed already, as {known}");
                self.check_known(writer, &path, known)?;
                continue;
            }
            if let Some(folder) = path.parent().filter(|folder| !self.folders.iter().any(|f| folder.starts_with(f))) {
                // What the admin names may be read; what the image names must lie beside it.
                self.folders.push(folder.to_owned());
            }
            let image = self.settings.open(&path, &self.folders).map_err(|e| Failure::new(chain(&e)))?;
            let at = at.map_or_else(|| self.instant_of(&image), Ok)?;
            self.add(writer, &mut wanted, image, at)?;
        }
        match &self.args.disk.base {
            Some(base) => self.in_line(writer, base, &mut wanted)?,
            None => wanted.sort_by_key(|one| one.at),
        }
        Ok(wanted)
    }

    /// Has each image rest on the one before it, and the first one on `base`.
    fn in_line(&self, writer: &Writer, base: &Path, wanted: &mut [Wanted]) -> Result<(), Failure> {
        let base = canonical(base)?;
        let Some(mut below) = self.known(writer, &base)? else {
            return Err(Failure::new(format!("{base:?} is not indexed: nothing can rest on it"))
                .hint(format!("asof index {} {base:?} first", self.source.name)));
        };
        for one in wanted.iter_mut().filter(|one| one.snapshot.is_none()) {
            one.rests_on = Some(below);
            below = one.at;
        }
        Ok(())
    }

    /// Adds an image, and the snapshots in it that are not indexed.
    fn add(&mut self, writer: &Writer, wanted: &mut Vec<Wanted>, image: image::Image, at: Time) -> Result<(), Failure> {
        for note in &image.notes {
            eprintln!("{:?}: {note}", image.path);
        }
        let (image, instants) = (Rc::new(image), writer.instants(self.source.id)?);
        for (number, snapshot) in image.snapshots.iter().enumerate() {
            let Some(taken_at) = nameable_instant(snapshot.taken_at) else {
                let (name, at) = (&snapshot.name, Time(snapshot.taken_at));
                eprintln!(
                    "left aside the snapshot {name:?} in {:?}: {at} lies outside the years 1970 to 9998",
                    image.path
                );
                self.trouble = true;
                continue;
            };
            if !instants.contains(&taken_at) {
                wanted.push(Wanted { image: Rc::clone(&image), snapshot: Some(number), at: taken_at, rests_on: None });
            }
        }
        wanted.push(Wanted { image, snapshot: None, at, rests_on: None });
        Ok(())
    }

    /// Returns when an image was taken: as its name says, as it says itself, or when it was last written.
    fn instant_of(&self, image: &image::Image) -> Result<Time, Failure> {
        if let Some(at) = self.settings.instant_of_name(&image.path, &self.world.zone)? {
            return Ok(at);
        }
        let now = self.world.clock.now();
        let told = image
            .moment
            .taken_at
            .as_ref()
            .and_then(|told| parse_instant(told, now, &self.world.zone, Fold::Refuse).ok());
        if let Some(at) = told {
            return Ok(at);
        }
        let metadata = std::fs::metadata(&image.path)
            .map_err(|e| Failure::because(format!("looking at the image {:?}", image.path), &e))?;
        nameable_instant(metadata.mtime()).ok_or_else(|| {
            let (path, at) = (&image.path, Time(metadata.mtime()));
            Failure::new(format!("{path:?} was last written {at}, which lies outside the years 1970 to 9998"))
                .hint("asof index NAME PATH --at DATE gives it a date")
        })
    }

    /// Returns the generation that an image is.
    fn known(&self, writer: &Writer, path: &Path) -> Result<Option<Time>, Failure> {
        Ok(writer.generation_of_image(self.source.id, path)?)
    }

    /// Says so if an image was written since it was indexed.
    fn check_known(&mut self, writer: &Writer, path: &Path, at: Time) -> Result<(), Failure> {
        let files = writer.image_files(self.source.id, at)?;
        let Some(file) = files.first() else { return Ok(()) };
        let now = std::fs::metadata(path).map_err(|e| Failure::because(format!("looking at {path:?}"), &e))?;
        let (mtime, nanos) = (now.mtime(), now.mtime_nsec() as u32);
        if (now.size(), mtime, nanos) != (file.size_bytes, file.mtime.seconds, file.mtime.nanos) {
            eprintln!(
                "{path:?} was written after it was indexed as {at}: that generation, and those that rest on it, cannot be read until it is \
                 put back as it was; what was written needs a name of its own"
            );
            self.trouble = true;
        }
        Ok(())
    }

    fn index(&self, writer: &mut Writer, one: &Wanted) -> Result<(Done, Option<Time>), Failure> {
        let monitor = Terminal::new();
        monitor.begin(&format!("{} {}", self.source.name, one.at), None);
        let consistency = self.args.disk.consistency.map(Consistency::from);
        let manifest = manifest_of_taken(&self.settings, &one.image.path, one.at).filter(|_| one.snapshot.is_none());
        let new = NewImage {
            source: self.source,
            image: &one.image,
            snapshot: one.snapshot,
            at: one.at,
            rests_on: one.rests_on,
            folders: &self.folders,
            acquire: None,
            consistency,
            location: self.location.as_ref(),
            manifest: manifest.as_deref(),
        };
        let indexed = index_image(writer, &new, &self.world.clock, &monitor);
        monitor.end();
        indexed.map_err(|e| {
            Failure::from(e).about(&format!("cannot index generation {} of \"{}\"", one.at, self.source.name))
        })
    }

    fn tell(&self, one: &Wanted, done: &Done, parent: Option<Time>) {
        let counts = &done.counts;
        let what = match one.snapshot {
            Some(number) => format!("snapshot \"{}\" in {:?}", one.image.snapshots[number].name, one.image.path),
            None => format!("{:?}", one.image.path),
        };
        let on = parent.map_or_else(String::new, |parent| format!(" on top of {parent}"));
        let mut text = format!(
            "indexed {} of \"{}\" from {what}{on}: {} entries, {}, {} changed, in {:.1} s",
            done.at,
            self.source.name,
            grouped(counts.entries as i64),
            human_bytes(counts.size_bytes as i64),
            grouped(done.changed_nodes as i64),
            counts.index_ms as f64 / 1000.0,
        );
        if counts.losses > 0 {
            text.push_str(&format!("; {} could not be read, the generation is partial", grouped(counts.losses as i64)));
        }
        eprintln!("{text}");
        if counts.losses + counts.notices > 0 {
            eprintln!("hint: asof show {}@{} lists what was found", self.source.name, done.at.view_name());
        }
    }
}

/// Tells whether a file that begins as no image does is one: by its name.
fn is_named_raw(path: &Path) -> bool {
    let raw = ["raw", "img", "bin", "dd"];
    path.extension().is_some_and(|extension| raw.iter().any(|name| extension.eq_ignore_ascii_case(name)))
}

/// Tells whether a file is an image of another format than raw, by its name.
fn is_named_image(path: &Path) -> bool {
    let images = ["qcow", "qcow2"];
    path.extension().is_some_and(|extension| images.iter().any(|name| extension.eq_ignore_ascii_case(name)))
}

fn canonical(path: &Path) -> Result<PathBuf, Failure> {
    std::fs::canonicalize(path).map_err(|e| Failure::because(format!("looking for the image {path:?}"), &e))
}

fn as_json(source: &SourceRow, one: &Wanted, done: &Done, parent: Option<Time>) -> serde_json::Value {
    json!({
        "source": source.name,
        "taken_at": done.at.to_string(),
        "path": one.image.path.to_string_lossy(),
        "snapshot": one.snapshot.map(|number| &one.image.snapshots[number].name),
        "parent": parent.map(|parent| parent.to_string()),
        "entries": done.counts.entries,
        "size_bytes": done.counts.size_bytes,
        "changed": done.changed_nodes,
        "losses": done.counts.losses,
        "notices": done.counts.notices,
        "index_ms": done.counts.index_ms,
    })
}

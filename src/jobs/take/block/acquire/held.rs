//! What is done while the guest is held: from the first command to the last byte.
//!
//! Promises: a folder or a catalog that is frozen with the guest does not keep it from being let go. A generation is never
//! of a second that another one has.

use super::error::Error;
use super::job::{Acquired, Basis, DiskJob, Origin, about, moment};
use super::note::Note;
use crate::catalog::Writer;
use crate::jobs::hooks::{self, About, Limit};
use crate::jobs::take::block::pull::{self, Pull, Pulled, Since};
use crate::model::{Consistency, Time, chain};
use crate::source::block::image::Moment;
use crate::source::block::{Location, nbd};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How far the newest generation may lie ahead of the clock to be waited for, in seconds.
const AHEAD_S_MAX: i64 = 5;

impl DiskJob<'_> {
    /// From the first command to the last byte: what has to be done while the guest is held.
    pub(super) fn acquire(
        &self,
        writer: &Writer,
        origin: &Origin,
        bitmap: Option<&String>,
        basis: &Basis,
        note: &mut Note,
    ) -> Result<Acquired, Error> {
        let folder = self.settings.own_folder();
        let mut about = self.about_moment(origin, bitmap, basis);
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
                self.export((text, uri.clone()), bitmap, since, (at, consistency))
            }
        }
    }

    /// Returns what commands are told of this moment before it is made.
    fn about_moment(&self, origin: &Origin, bitmap: Option<&String>, basis: &Basis) -> About {
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
        about
    }

    /// Gets the bytes of the moment from an export.
    fn export(
        &self,
        uri: (&str, nbd::Uri),
        bitmap: Option<&String>,
        since: Option<&Since>,
        (at, consistency): (Time, Consistency),
    ) -> Result<Acquired, Error> {
        let checkpoint = self.wish.checkpoint.as_ref().or(bitmap).cloned().unwrap_or_else(|| at.view_name());
        let location = self.wish.location.clone().or_else(|| Location::parse(uri.0).ok());
        let moment = Moment {
            checkpoint: Some(checkpoint),
            location: location.as_ref().map(|location| location.as_str().to_owned()),
            ..moment(at, consistency, since)
        };
        let pulled = self.pull(uri, since, &moment, at)?;
        let (image, pulled) = (pulled.image.clone(), Some(pulled));
        Ok(Acquired { at, consistency, image, location, pulled, full_because: None, not_released: None })
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

    pub(super) fn pull(
        &self,
        uri: (&str, nbd::Uri),
        since: Option<&Since>,
        moment: &Moment,
        at: Time,
    ) -> Result<Pulled, Error> {
        let wanted = Pull { uri, since, moment, at, folder: self.settings.own_folder() };
        self.monitor.begin(&format!("{} {at}", self.source.name), None);
        let pulled = pull::pull(&wanted, self.stop, self.monitor);
        self.monitor.end();
        Ok(pulled?)
    }

    /// Does what needs the folder and the catalog, just after the guest was held. On a file system that was frozen with it this
    /// has no end, not even by a signal: then the guest is let go after the time that a command may take, and there is one.
    pub(super) fn while_held<T>(&self, deed: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
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
                self.monitor.warn(&chain(&e));
            }
            Err(Error::Frozen { path: self.settings.own_folder().to_owned(), limit })
        })
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

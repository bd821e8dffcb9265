//! What is done while the guest is held: from the first command to the last byte.
//!
//! Promises: a folder or a catalog that is frozen with the guest does not keep it from being let go. A generation is never
//! of a second that another one has, nor of one that another run has in the folder.

use super::error::Error;
use super::job::{Acquired, Basis, DiskJob, GuestBasis, Origin, about, on};
use super::note::Note;
use crate::catalog::Writer;
use crate::jobs::hooks::{self, About, Limit};
use crate::jobs::take::block::claim::Claim;
use crate::jobs::take::block::pull::{self, Pull, Pulled, Since};
use crate::jobs::take::block::still;
use crate::model::{Consistency, Time, chain};
use crate::source::block::image::Moment;
use crate::source::block::{Location, OWN_BITMAP, nbd};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How far the newest generation may lie ahead of the clock to be waited for, in seconds.
const AHEAD_S_MAX: i64 = 5;
/// How long a second of its own may be waited for: as many runs as this has seconds may begin at once in one folder.
const CLAIM_WITHIN: Duration = Duration::from_secs(120);

impl DiskJob<'_> {
    /// From the first command to the last byte: what has to be done while the guest is held.
    pub(super) fn acquire(
        &self,
        writer: &mut Writer,
        origin: &Origin,
        (bitmap, checkpoint): (Option<&String>, Option<&String>),
        basis: &Basis,
        (note, claim): (&mut Note, &mut Claim),
    ) -> Result<Acquired, Error> {
        let folder = self.settings.own_folder();
        let mut about = self.about_moment(origin, (bitmap, checkpoint), basis);
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
            if self.clock.now() != claim.at {
                *claim = self.claim_second(writer)?;
            }
            let at = claim.at;
            (note.at, note.consistency) = (Some(at.0), Some(consistency.word().to_owned()));
            self.write_note(writer, note)?;
            Ok(at)
        })?;
        about.push(("ASOF_TAKEN_AT", at.0.to_string().into()));
        self.still.tell("ASOF_TAKEN_AT", at.0.to_string());
        let since = match basis {
            Basis::All(_) | Basis::Guest(_) => None,
            Basis::Since(since) => Some(since),
        };
        match origin {
            Origin::Command(command) => self.snapshot(writer, command, about, (at, consistency), (limit, note)),
            Origin::Guest { guest, domain } => {
                let Basis::Guest(basis) = basis else { unreachable!("it is that of a guest") };
                self.guest(writer, (guest, domain), basis, (at, consistency), note)
            }
            Origin::Export { text, uri } => {
                if let Some(command) = &self.settings.snapshot {
                    hooks::run_within("snapshot", command, &about, limit, None)?;
                }
                // What the command has made does not change any more, however long its bytes take.
                let not_released = match self.settings.snapshot.is_some() {
                    true => self.let_go()?,
                    false => None,
                };
                let acquired = self.export((text, uri.clone()), checkpoint.cloned(), since, (at, consistency))?;
                Ok(Acquired { not_released, ..acquired })
            }
        }
    }

    /// Lets the guest go, as the moment is made. Returns what kept it from being let go.
    ///
    /// # Errors
    /// [`Error::Still`] if that was done before the moment was made.
    pub(super) fn let_go(&self) -> Result<Option<still::Error>, Error> {
        match self.still.release("taken") {
            Ok(()) => Ok(None),
            Err(e @ still::Error::Late { .. }) => Err(Error::Still(e)),
            Err(e) => Ok(Some(e)),
        }
    }

    /// Returns what commands are told of this moment before it is made.
    fn about_moment(
        &self,
        origin: &Origin,
        (bitmap, checkpoint): (Option<&String>, Option<&String>),
        basis: &Basis,
    ) -> About {
        let mut about = about(self.source, self.settings);
        match origin {
            Origin::Export { text, .. } => about.push(("ASOF_NBD", text.into())),
            Origin::Guest { guest, .. } => {
                about.push(("ASOF_DOMAIN", guest.name().into()));
                about.push(("ASOF_DISK", guest.disks().collect::<Vec<_>>().join(" ").into()));
            }
            Origin::Command(_) => {}
        }
        match (basis, bitmap) {
            (Basis::Since(since), Some(_)) => about.push(("ASOF_BITMAP", since.bitmap.clone().into())),
            (Basis::All(_), Some(bitmap)) if bitmap != OWN_BITMAP => about.push(("ASOF_BITMAP", bitmap.into())),
            _ => {}
        }
        if let Some(checkpoint) = checkpoint.or(self.wish.checkpoint.as_ref()) {
            about.push(("ASOF_CHECKPOINT", checkpoint.into()));
        }
        match basis {
            Basis::Since(Since { checkpoint, .. }) | Basis::Guest(GuestBasis { checkpoint: Some(checkpoint), .. }) => {
                about.push(("ASOF_SINCE", checkpoint.clone().into()));
            }
            Basis::All(_) | Basis::Guest(_) => {}
        }
        about
    }

    /// Gets the bytes of the moment from an export.
    fn export(
        &self,
        uri: (&str, nbd::Uri),
        checkpoint: Option<String>,
        since: Option<&Since>,
        (at, consistency): (Time, Consistency),
    ) -> Result<Acquired, Error> {
        let location = self.wish.location.clone().or_else(|| Location::parse(uri.0).ok());
        let moment = Moment {
            checkpoint,
            location: location.as_ref().map(|location| location.as_str().to_owned()),
            ..self.moment(at, consistency, since)
        };
        let (pulled, full_because) = self.pull(uri, since, moment, (at, None))?;
        let (images, pulled) = (vec![(None, pulled.image.clone())], Some(pulled));
        Ok(Acquired { at, consistency, images, location, pulled, full_because, not_released: None })
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

    /// Reads what changed, or all of the moment if that turns out not to be known; then why is returned, too.
    pub(super) fn pull(
        &self,
        uri: (&str, nbd::Uri),
        since: Option<&Since>,
        moment: Moment,
        (at, disk): (Time, Option<&str>),
    ) -> Result<(Pulled, Option<String>), Error> {
        let pull = |since: Option<&Since>, moment: &Moment| {
            let uri = uri.clone();
            let wanted = Pull { uri, since, moment, id: &self.id, at, disk, folder: self.folder() };
            self.monitor.begin(&format!("{} {at}", self.source.name), None);
            let pulled = pull::pull(&wanted, self.stop, self.monitor);
            self.monitor.end();
            pulled
        };
        let why = match (pull(since, &moment), since) {
            (Err(e), Some(since)) if e.is_of_lineage(since) => chain(&e),
            (pulled, _) => return Ok((pulled?, None)),
        };
        self.monitor.note(&format!("the whole disk is read: {why}"));
        Ok((pull(None, &on(None, moment))?, Some(why)))
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

    /// Claims the second that it is, once that of the newest generation is over and nobody else has it in the folder. Where the guest is
    /// held already, it is the second of an earlier claim that was over when it was.
    pub(super) fn claim_second(&self, writer: &Writer) -> Result<Claim, Error> {
        let instants = writer.instants(self.source.id)?;
        let began = Instant::now();
        loop {
            let busy = match self.claim_now(&instants)? {
                Ok(claim) => return Ok(claim),
                Err(busy) => busy,
            };
            if began.elapsed() > CLAIM_WITHIN {
                return Err(busy);
            }
            if self.stop.is_told() {
                return Err(Error::Stopped);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Claims the second that it is, or returns why it cannot be had. A generation that lies far ahead is no reason to wait: it was given a
    /// wrong date, and is not what comes before this one.
    fn claim_now(&self, instants: &[Time]) -> Result<Result<Claim, Error>, Error> {
        let now = self.clock.now();
        let is_ahead = |instant: &&Time| (0..=AHEAD_S_MAX).contains(&(instant.0 - now.0));
        if let Some(newest) = instants.iter().rev().find(is_ahead) {
            return Ok(Err(Error::ClockBehind { newest: *newest, now }));
        }
        self.check_folder()?;
        let folder = self.settings.own_folder();
        match Claim::of(folder, now, &self.id) {
            Ok(claim) => Ok(claim.map_err(|path| Error::Pull(pull::Error::Taken { path }))),
            Err(source) => Err(Error::Write { path: folder.to_owned(), source }),
        }
    }
}

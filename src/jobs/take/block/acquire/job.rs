//! What is asked of a run, what every step of it has, and what comes of it.
//! Nothing is done here.

use crate::catalog::SourceRow;
use crate::clock::Clock;
use crate::index::Done;
use crate::jobs::hooks::About;
use crate::jobs::take::block::folder::Folder;
use crate::jobs::take::block::libvirt::{Backup, Guest};
use crate::jobs::take::block::pull::{self, Pulled, Since};
use crate::jobs::take::block::still::{self, Still};
use crate::jobs::take::block::stop::Stop;
use crate::model::{Consistency, Level, Time};
use crate::monitor::Monitor;
use crate::source::block::image::Moment;
use crate::source::block::{AskedGuest, Domain, Location, Settings, nbd};
use crate::store::uuid_text;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

/// What is asked of a run; what is none is as the settings say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    pub guest: AskedGuest,
    /// How much the data is at rest.
    pub consistency: Option<Consistency>,
    /// Where the bytes come from, as others shall know it.
    pub location: Option<Location>,
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

/// What is to be known of a run that did not end.
pub(super) struct Unsettled {
    pub(super) why: String,
    /// The marks that it would have made; none: any.
    pub(super) marks: Option<Vec<String>>,
}

/// What is to be known of runs that did not end.
#[derive(Default)]
pub(super) struct Pending(pub(super) Vec<Unsettled>);

impl Pending {
    /// Returns why what counts from `mark` may count from another moment by now.
    pub(super) fn why(&self, mark: &String) -> Option<&str> {
        let may_have_made = |one: &&Unsettled| one.marks.as_ref().is_none_or(|marks| marks.contains(mark));
        self.0.iter().find(may_have_made).map(|one| one.why.as_str())
    }
}

/// What came while the guest was held.
pub(super) struct Acquired {
    pub(super) at: Time,
    pub(super) consistency: Consistency,
    /// One, or one of each disk of a guest.
    pub(super) images: Vec<(Option<String>, PathBuf)>,
    pub(super) location: Option<Location>,
    pub(super) pulled: Option<Pulled>,
    /// Why everything was read, if that was found out only now.
    pub(super) full_because: Option<String>,
    /// It was to be let go, and was not.
    pub(super) not_released: Option<still::Error>,
}

impl Acquired {
    /// Removes what came: it is of no moment.
    pub(super) fn discard(&self) {
        for (_, image) in &self.images {
            let _ = fs::remove_file(image);
            let _ = fs::remove_file(image.with_extension("json"));
        }
    }
}

/// Where the bytes come from.
pub(super) enum Origin {
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
    /// 32 hexadecimal digits at random, of the moment that is taken.
    pub id: String,
    /// What is asked.
    pub wish: &'a DiskWish,
    /// The guest that is asked for.
    pub domain: Option<Domain>,
    /// Read everything.
    pub full: bool,
    /// How the guest is let go.
    pub still: &'a Still,
    /// Where the images go, once that was looked at.
    pub(in crate::jobs::take::block) folder: OnceLock<Folder>,
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

impl DiskJob<'_> {
    /// Returns what every moment is told of.
    pub(super) fn moment(&self, at: Time, consistency: Consistency, since: Option<&Since>) -> Moment {
        Moment {
            id: Some(self.id.clone()),
            source: self.source_uuid(),
            consistency: Some(consistency.word().to_owned()),
            taken_at: Some(at.to_string()),
            ..on(since, Moment::default())
        }
    }

    /// Returns the folder that the images go to, which was looked at.
    pub(super) fn folder(&self) -> &Folder {
        self.folder.get().expect("it is looked at first")
    }

    /// Checks that the folder is there still. What is not mounted is not written to.
    pub(super) fn check_folder(&self) -> Result<(), pull::Error> {
        let folder = self.folder();
        if folder.is_there() { Ok(()) } else { Err(pull::Error::Elsewhere { folder: folder.path().to_owned() }) }
    }

    /// Returns the UUID of the source as text.
    pub(super) fn source_uuid(&self) -> Option<String> {
        self.source.uuid.as_ref().map(uuid_text)
    }
}

/// Returns a moment with what it is told of what it counts from.
pub(super) fn on(since: Option<&Since>, moment: Moment) -> Moment {
    Moment {
        parent: since.map(|since| since.checkpoint.clone()),
        parent_id: since.and_then(|since| since.id.clone()),
        parent_at: since.map(|since| since.at.to_string()),
        counted_by: since.map(|since| since.counted_by.word().to_owned()),
        ..moment
    }
}

/// What an image holds.
pub(super) enum Basis {
    /// Everything, for this reason where there is one to tell.
    All(Option<String>),
    /// What changed.
    Since(Since),
    /// What changed of disks of a guest, and why not of each.
    Guest(GuestBasis),
}

/// What the images of a guest's disks hold.
#[derive(Default)]
pub(super) struct GuestBasis {
    /// The checkpoint that libvirt counts from; none: everything.
    pub(super) checkpoint: Option<String>,
    /// What that is of each disk of which what changed is known.
    pub(super) since: BTreeMap<String, Since>,
    /// Why everything is read of others.
    pub(super) why: Option<String>,
}

impl Basis {
    /// Returns why everything is read, where there is something to tell.
    pub(super) fn why(&self) -> Option<&String> {
        match self {
            Self::All(why) | Self::Guest(GuestBasis { why, .. }) => why.as_ref(),
            Self::Since(_) => None,
        }
    }
}

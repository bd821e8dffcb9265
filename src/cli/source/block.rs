//! A disk as a source: where its images are, how they are read, and how a generation is taken.
//! Nothing is opened here: images, exports and guests are looked for when they are needed.

use super::second::SecondArgs;
use super::{given, second};
use crate::cli::World;
use crate::cli::args::{ConsistencyArg, GuestArgs, NEW_SOURCE, YesNo};
use crate::cli::report::{Failure, Outcome};
use crate::cli::say::say;
use crate::jobs::take::block::libvirt::Guest;
use crate::model::{Consistency, Rule};
use crate::source::Error;
use crate::source::block::{DESCRIPTION, Settings, disks_of_names, image};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(in crate::cli) struct BlockArgs {
    #[arg(help = NEW_SOURCE)]
    name: String,
    /// The directory that holds the images; only files in it are opened
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// The pattern of image names that have a date, as date(1) writes it; may be given more than once
    /// [default: common forms, as in db01-2026-11-20T0200.qcow2; else the date in the image, else its mtime]
    #[arg(long, value_name = "PATTERN")]
    name_pattern: Vec<String>,
    /// The time zone of names that have none, from the IANA database [default: that of this machine]
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// The directory that asof take writes to [default: that of the images]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Run this command first: it quiesces the guest. No shell; ASOF_* is in its environment
    #[arg(long, value_name = "COMMAND")]
    pre: Option<String>,
    /// Run this command as soon as the moment is taken, in any case: it thaws the guest
    #[arg(long, value_name = "COMMAND")]
    post: Option<String>,
    #[command(flatten)]
    how: DiskHowArgs,
    #[command(flatten)]
    second: SecondArgs,
}

/// How a disk is read and taken; "" takes back an optional setting.
#[derive(Debug, Args)]
#[command(next_help_heading = "Disks")]
pub(in crate::cli) struct DiskHowArgs {
    /// The format of the images [default: read from each image]. A guest can write a qcow2 header into its raw disk: say raw if
    /// all images are raw
    #[arg(long, value_name = "FORMAT")]
    format: Option<FormatArg>,
    /// The NBD export that asof take pulls generations from: nbd://HOST/EXPORT, nbd+unix:///EXPORT?socket=PATH; nbds for TLS
    #[arg(long, value_name = "URI")]
    nbd: Option<String>,
    /// The dirty bitmap of that export that records what changed since the newest generation; own: each checkpoint has one of its name,
    /// which --snapshot begins ($ASOF_CHECKPOINT) and exports ($ASOF_SINCE). One of another name is believed only with --since
    #[arg(long, value_name = "BITMAP")]
    bitmap: Option<String>,
    /// The CA certificate that signed the server's, a file ca-cert.pem; client-cert.pem and client-key.pem must be beside it if
    /// the server asks for them
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Run this command after --pre: it makes the export; without --nbd it makes an image, at $ASOF_IMAGE or at the path that it
    /// prints as its last line
    #[arg(long, value_name = "COMMAND")]
    snapshot: Option<String>,
    #[command(flatten)]
    guest: GuestArgs,
    /// The source is a guest with all its disks, each in a folder of its own (vm1/vda/disk.raw, vm1/vdb/p1); no: one disk, at the top. Cannot
    /// be changed while there are generations [default: yes where several disks are found, and --disk names none]
    #[arg(long, value_name = "YES|NO", num_args = 0..=1, default_missing_value = "yes")]
    all_disks: Option<YesNo>,
    /// The address of libvirt [default: qemu:///system]
    #[arg(long, value_name = "URI")]
    connect: Option<String>,
    /// Have the agent in the guest freeze its file systems while the backup begins
    #[arg(long, value_name = "YES|NO", num_args = 0..=1, default_missing_value = "yes")]
    freeze: Option<YesNo>,
    /// The directory for the socket of a guest's disk, and for the data that the guest overwrites while its disk is read
    /// [default: /var/tmp]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Kill a command that takes longer [default: 60]
    #[arg(long, value_name = "SECONDS")]
    hook_timeout: Option<u64>,
    /// Thaw the guest after so long in any case, by a process of its own; nothing is taken then [default: 600 with --snapshot or --domain,
    /// else no limit]
    #[arg(long, value_name = "SECONDS")]
    freeze_max: Option<u64>,
    /// Run this command at the very end, in any case: it removes the export or the snapshot that was read
    #[arg(long, value_name = "COMMAND")]
    cleanup: Option<String>,
    /// How consistent the data is in what is taken [default: app with --pre and --snapshot or --domain, frozen with --freeze,
    /// else crash]
    #[arg(long, value_name = "HOW")]
    consistency: Option<ConsistencyArg>,
}

impl DiskHowArgs {
    /// Tells whether anything is said.
    pub(super) fn is_given(&self) -> bool {
        let DiskHowArgs {
            format,
            nbd,
            bitmap,
            tls_ca,
            snapshot,
            guest,
            all_disks,
            connect,
            freeze,
            scratch,
            hook_timeout,
            freeze_max,
            cleanup,
            consistency,
        } = self;
        let texts = [nbd, bitmap, snapshot, connect, cleanup];
        texts.iter().any(|text| text.is_some())
            || (tls_ca.is_some() || scratch.is_some())
            || (guest.is_given() || all_disks.is_some())
            || (format.is_some() || freeze.is_some() || consistency.is_some())
            || (hook_timeout.is_some() || freeze_max.is_some())
    }
}

/// The format of an image.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::cli) enum FormatArg {
    /// The bytes of the disk
    Raw,
    /// QEMU's own
    Qcow2,
}

pub(super) fn add(args: &BlockArgs, world: &World) -> Result<Outcome, Failure> {
    let mut settings = Settings {
        images: given::folder(&args.images, "images")?,
        name_patterns: args.name_pattern.clone(),
        zone: Some(given::zone(args.zone.clone(), world)?),
        store: args.store.as_deref().map(|store| given::folder(store, "store")).transpose()?,
        ..Settings::default()
    };
    given::apply_hooks(&args.pre, &args.post, (&mut settings.pre, &mut settings.post))?;
    apply(&args.how, &mut settings)?;
    settings.check()?;
    if args.how.all_disks.is_none() {
        settings.all_disks = several_disks(&settings)?;
    }
    let how = (DESCRIPTION.kind, &*settings.to_json()?, Rule::WRITES);
    let second = args.second.place(world)?;
    let mut writer = given::writer(&args.name, world)?;
    let id = given::add(&mut writer, &args.name, how, world)?;
    second::keep(&mut writer, id, second)?;
    let what = match &settings.all_disks {
        None => "a disk".to_owned(),
        Some(disks) if disks.is_empty() => "all disks of a guest".to_owned(),
        Some(disks) => format!("all disks of a guest ({})", disks.join(", ")),
    };
    say!("added source \"{}\": {what}, images in {:?}", args.name, settings.images);
    match settings.nbd.is_some() || settings.snapshot.is_some() || settings.domain.is_some() {
        true => say!("hint: asof take {} takes a generation", args.name),
        false => say!("hint: asof index {} indexes those that are there", args.name),
    }
    Ok(Outcome::Done)
}

/// Returns the disks of the guest that the source is, if there are several and none is chosen.
fn several_disks(settings: &Settings) -> Result<Option<Vec<String>>, Failure> {
    if settings.own_disk().is_some() || settings.nbd.is_some() || settings.snapshot.is_some() {
        return Ok(None);
    }
    let disks: Vec<String> = match &settings.domain {
        // Where libvirt does not answer now, the first take says what there is to choose.
        Some(domain) => Guest::disks_of(domain).unwrap_or_default(),
        None => disks_of_names(&settings.folders())?.into_iter().collect(),
    };
    Ok(Some(disks).filter(|disks| disks.len() > 1))
}

pub(super) fn apply(how: &DiskHowArgs, settings: &mut Settings) -> Result<(), Failure> {
    if let Some(format) = how.format {
        settings.format = Some(match format {
            FormatArg::Raw => image::Kind::Raw,
            FormatArg::Qcow2 => image::Kind::Qcow2,
        });
    }
    match how.all_disks {
        Some(YesNo::Yes) => drop(settings.all_disks.get_or_insert_default()),
        Some(YesNo::No) => settings.all_disks = None,
        None => {}
    }
    given::apply_text(&how.nbd, &mut settings.nbd);
    given::apply_text(&how.bitmap, &mut settings.bitmap);
    given::apply_command("snapshot", &how.snapshot, &mut settings.snapshot)?;
    if let Some(ca) = &how.tls_ca {
        settings.tls_ca = Some(given::folder(ca, "certificate")?);
    }
    given::apply_command("cleanup", &how.cleanup, &mut settings.cleanup)?;
    if let Some(seconds) = how.freeze_max {
        settings.freeze_max_s = Some(seconds);
    }
    if let Some(seconds) = how.hook_timeout {
        settings.hook_timeout_s = Some(seconds);
    }
    if let Some(consistency) = how.consistency {
        settings.consistency = Some(Consistency::from(consistency).word().to_owned());
    }
    if how.guest.domain.as_deref() == Some("") {
        settings.domain = None;
    }
    let mut asked = how.guest.asked();
    let has_domain = settings.domain.is_some() || asked.domain.as_ref().is_some_and(|name| !name.is_empty());
    if !has_domain && asked.method.is_none() {
        given::apply_text(&asked.disk.take(), &mut settings.disk);
    }
    settings.domain = asked.of(settings.domain.take())?;
    let rest = how.connect.is_some() || how.freeze.is_some() || how.scratch.is_some();
    let Some(domain) = &mut settings.domain else {
        if rest {
            return Err(Error::NoDomain("--connect, --freeze and --scratch").into());
        }
        return Ok(());
    };
    given::apply_text(&how.connect, &mut domain.connect);
    if let Some(freeze) = how.freeze {
        domain.freeze = freeze == YesNo::Yes;
    }
    if let Some(scratch) = &how.scratch {
        domain.scratch = Some(given::folder(scratch, "scratch files")?);
    }
    Ok(())
}

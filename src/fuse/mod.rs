//! A view tree as a mounted file system; the only room that speaks FUSE.
//!
//! Promises: the mount is read-only, whoever asks for what ([`Mount::keep_read_only`]), and modes decide on access as on any file system
//! (`default_permissions`; ACLs too, once the catalog has any: whoever asks a mount of before for a file with an ACL gets
//! ESTALE). The kernel is told to keep everything inside
//! a generation for ever, and is told of every change of the virtual top ([`Mount::invalidate`]). A store
//! that hangs delays only those who read from it, and they get EIO after a set time. When a catalog gets
//! its first extended attribute or ACL, [`Mount::prepare`] mounts anew in the same place without a moment in
//! which the mount point is empty.
//!
//! Two ways to serve bytes, which cannot mix in one mount: by default the kernel opens files by itself and
//! reads by inode (best for many small files, with store-ahead); with passthrough it reads large
//! files straight from the copy.
//!
//! Never decides what is in a directory; that is the view's.

mod ahead;
mod answer;
mod aside;
mod backing;
mod convert;
mod filesystem;
mod lane;
mod looked;
mod page_cache;
mod point;
mod turns;

pub use point::{Error, catalog_at, left_behind, plain_path, unmount};

use crate::sys::mount as sys;
use crate::view::{Refreshed, Tree, XattrNeed};
use filesystem::{AsofFilesystem, Attributes, Shared, Xattrs};
use fuser::{Config, INodeNo, MountOption, Notifier, Session, SessionACL};
use point::{Point, SUBTYPE};
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The kernel offers 128 KiB; with 1 MiB a large file is read 2.2 times as fast (16,384 reads become 2,048).
const READ_AHEAD_KIB: u32 = 1024;

/// Each keeps a descriptor open, and in older ones hardly anybody is left, who sees changes a second later.
const LEFT_BEHIND_MAX: usize = 4;

pub use sys::WhenBusy;

/// How to mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// What `df` shows as the device: the catalog.
    pub source: PathBuf,
    /// Let the kernel read large files straight from the copies (root only).
    pub passthrough: bool,
    /// Push the next small files of a directory that is being read.
    pub store_ahead: bool,
    /// Show no extended attributes, `user.asof.*` included. ACLs still decide on
    /// access.
    pub noxattr: bool,
    /// Let nobody in but the user who mounts, whatever the modes say.
    pub is_private: bool,
    /// After that time without an answer of its store, a read is EIO.
    pub store_timeout: Duration,
    /// Threads that answer the kernel; at least two, so that a wake-up can stay on one processor.
    pub threads: usize,
}

impl Default for Options {
    /// Returns the options of a plain `asof mount`.
    fn default() -> Self {
        Self {
            source: PathBuf::from("asof"),
            passthrough: false,
            store_ahead: true,
            noxattr: false,
            is_private: false,
            store_timeout: Duration::from_secs(30),
            threads: std::thread::available_parallelism().map_or(2, |n| n.get().max(2)),
        }
    }
}

/// Called when a mount ended that nobody has renewed: it was unmounted, by whomever.
pub type OnEnd = Arc<dyn Fn() + Send + Sync>;

/// A live mount.
pub struct Mount {
    tree: Arc<Tree>,
    dir: PathBuf,
    options: Options,
    on_end: OnEnd,
    live: Live,
    /// What the mount has to be able to do with attributes, by what is shown or will be next.
    need: XattrNeed,
    /// What those who are inside a mount that was left behind are told of changes through; the last [`LEFT_BEHIND_MAX`].
    left_behind: Vec<Notifier>,
    layers: Layers,
}

/// File systems of ours over each other, the live one last; more than one only where the kernel cannot mount beneath.
#[derive(Clone, Debug)]
pub struct Layers(Arc<Mutex<Vec<sys::MountId>>>);

impl Layers {
    /// Returns where they are now: directories above may have been renamed. None: nothing is mounted any more.
    pub fn dir(&self) -> Option<PathBuf> {
        sys::mounted_as(&self.live()?).ok().flatten().map(|mounted| mounted.dir)
    }

    fn live(&self) -> Option<sys::MountId> {
        self.lock().last().cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<sys::MountId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection to the kernel.
struct Live {
    id: sys::MountId,
    shared: Arc<Shared>,
    notifier: Notifier,
    is_current: Arc<AtomicBool>,
    has_ended: Arc<AtomicBool>,
    is_privileged: bool,
    allows_other: bool,
}

impl Live {
    /// Tells whether it was unmounted: there is nothing any more to keep as it was.
    fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::SeqCst)
    }
}

impl Mount {
    /// Mounts `tree` at `dir` and serves it from threads of its own. When it returns, the mount answers.
    ///
    /// As root with `allow_other`; otherwise through `fusermount3`, with `allow_other` where that is
    /// permitted ([`Mount::allows_other`] tells). Without it where it is to be private.
    ///
    /// # Errors
    /// [`Error`]; nothing is mounted then.
    pub fn start(tree: Arc<Tree>, dir: &Path, options: Options, on_end: OnEnd) -> Result<Self, Error> {
        let Point { dir, target } = point::check(dir)?;
        let need = tree.xattr_need();
        let live = connect(&tree, need, &dir, &options, &on_end, Attach::Over(&target))?;
        let layers = Layers(Arc::new(Mutex::new(vec![live.id.clone()])));
        let mount = Self { tree, dir, options, on_end, live, need, left_behind: Vec::new(), layers };
        mount.raise_read_ahead();
        Ok(mount)
    }

    /// Returns the mount point as it was when it was mounted, absolute.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns what tells where it is, apart from it.
    pub fn layers(&self) -> Layers {
        self.layers.clone()
    }

    /// Tells whether other users than the one who mounted are let in.
    pub fn allows_other(&self) -> bool {
        self.live.allows_other
    }

    /// Tells whether the kernel reads files by itself.
    pub fn is_passthrough(&self) -> bool {
        self.live.shared.is_passthrough.load(Ordering::Relaxed)
    }

    /// Makes the kernel forget what has changed. Not to be called from a thread that answers it.
    pub fn invalidate(&self, changed: &Refreshed) {
        self.left_behind.iter().chain([&self.live.notifier]).for_each(|notifier| invalidate(notifier, changed));
    }

    /// Mounts anew in the same place if the catalog now needs more of the mount than can be had without. To be called before what needs
    /// it is shown.
    ///
    /// Processes that are inside go on in the old mount until they leave it; who comes by path sees the
    /// new one. Where the kernel cannot mount beneath (before 6.5), the new one lies over the old one. Returns whether it was done.
    ///
    /// # Errors
    /// [`Error`]; the old mount goes on.
    pub fn prepare(&mut self, need: XattrNeed) -> Result<bool, Error> {
        let is_outgrown = self.live.is_privileged
            && !self.live.has_ended()
            && attributes(&self.options, need, true) != self.live.shared.attributes;
        self.need = need;
        if is_outgrown {
            self.renew()?;
        }
        Ok(is_outgrown)
    }

    fn renew(&mut self) -> Result<(), Error> {
        let lost = |source| Error::Mount { dir: self.dir.clone(), source };
        let top = sys::Target::of_mount(&self.live.id).map_err(lost)?;
        let connect = |attach| connect(&self.tree, self.need, &self.dir, &self.options, &self.on_end, attach);
        let (live, is_over) = match connect(Attach::Beneath(&top)) {
            Err(Error::Mount { source, .. }) => {
                tracing::debug!("cannot mount beneath: {source}; mounting over");
                (connect(Attach::Over(&top))?, true)
            }
            live => (live?, false),
        };
        let old = std::mem::replace(&mut self.live, live);
        old.is_current.store(false, Ordering::SeqCst);
        let mut layers = self.layers.lock();
        if !is_over {
            layers.pop();
        }
        layers.push(self.live.id.clone());
        drop(layers);
        self.left_behind.truncate(LEFT_BEHIND_MAX - 1);
        self.left_behind.insert(0, old.notifier);
        if !is_over {
            sys::unmount(&old.id, WhenBusy::Detach)
                .map_err(|source| Error::Unmount { dir: self.dir.clone(), source })?;
        }
        self.raise_read_ahead();
        Ok(())
    }

    /// Looks whether somebody remounted it read-write, and makes it read-only again. Returns whether it had to.
    ///
    /// Nothing can be written to a backup by way of the mount; but what a program writes through a shared mapping is in the kernel's
    /// memory of the file, which shows it to everybody. So the file system is replaced, with what the kernel has of it.
    ///
    /// # Errors
    /// [`Error::Writable`]: it is writable still.
    pub fn keep_read_only(&mut self) -> Result<bool, Error> {
        if self.live.has_ended() {
            return Ok(false);
        }
        let Ok(Some(mounted)) = sys::mounted_as(&self.live.id) else { return Ok(false) };
        if mounted.is_read_only && mounted.is_file_system_read_only {
            return Ok(false);
        }
        // Whoever is inside goes on in it: he is to write nothing more, once he has closed what he has open for writing.
        let made = sys::make_read_only(&self.live.id);
        if made.as_ref().is_err_and(sys::is_not_mounted) {
            return Ok(false);
        }
        if let Err(e) = &made {
            tracing::info!("what is open for writing in {:?} stays so: {e}", self.dir);
        }
        if made.is_err() || !mounted.is_file_system_read_only {
            self.renew().map_err(|e| Error::Writable { dir: self.dir.clone(), source: Box::new(e) })?;
        }
        Ok(true)
    }

    /// Unmounts.
    ///
    /// # Errors
    /// [`Error::Busy`] with [`WhenBusy::Refuse`]; [`Error::Unmount`].
    pub fn unmount(&mut self, when_busy: WhenBusy) -> Result<(), Error> {
        while let Some(layer) = self.layers.live() {
            point::unmount_layer(&layer, &self.dir, when_busy)?;
            self.layers.lock().pop();
        }
        Ok(())
    }

    fn raise_read_ahead(&self) {
        let Ok(Some(own)) = sys::mounted_as(&self.live.id) else { return };
        if let Err(e) = sys::set_read_ahead(own.device, READ_AHEAD_KIB) {
            tracing::debug!("reading ahead stays at the kernel's default: {e}");
        }
    }
}

fn invalidate(notifier: &Notifier, changed: &Refreshed) {
    let names =
        changed.names.iter().map(|(parent, name)| notifier.inval_entry(INodeNo(parent.0), OsStr::from_bytes(name)));
    // From 0 on with no end: attributes, and content or the cached listing.
    let inodes = changed.inodes.iter().map(|ino| notifier.inval_inode(INodeNo(ino.0), 0, 0));
    for error in names.chain(inodes).filter_map(Result::err) {
        tracing::debug!("the kernel did not take an invalidation: {error}");
    }
}

/// Where a new file system goes.
#[derive(Clone, Copy)]
enum Attach<'a> {
    Over(&'a sys::Target),
    Beneath(&'a sys::Target),
}

fn connect(
    tree: &Arc<Tree>,
    need: XattrNeed,
    dir: &Path,
    options: &Options,
    on_end: &OnEnd,
    attach: Attach<'_>,
) -> Result<Live, Error> {
    let at = |source| Error::Mount { dir: dir.to_owned(), source };
    let share = |can_renew| share(tree, options, attributes(options, need, can_renew)).map_err(at);
    match connect_privileged(|| share(true), dir, options, on_end, attach) {
        Err(Error::Mount { source, .. }) if sys::is_unknown_call(&source) && matches!(attach, Attach::Over(_)) => {}
        other => return other,
    }
    for allows_other in [true, false].into_iter().filter(|allows_other| !(*allows_other && options.is_private)) {
        let shared = share(false)?;
        let mut config = config(options, allows_other);
        config.mount_options = vec![
            MountOption::RO,
            MountOption::NoDev,
            MountOption::NoSuid,
            MountOption::DefaultPermissions,
            MountOption::FSName(point::filesystem_name(&options.source)),
            MountOption::Subtype(SUBTYPE.to_owned()),
        ];
        match Session::new(AsofFilesystem(Arc::clone(&shared)), dir, &config) {
            Ok(session) => {
                let id = point::seen_at(dir).map_err(at)?;
                return serve(session, id, shared, on_end, false, allows_other).map_err(at);
            }
            // The directory is there: it was looked at.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(Error::NoHelper { dir: dir.to_owned() }),
            Err(e) if allows_other => tracing::debug!("not mounted for other users: {e}"),
            Err(e) => return Err(at(e)),
        }
    }
    unreachable!("the second round returns")
}

/// Mounts by ourselves: the type is then `fuse.asof`, and the file system answers before anybody sees it.
fn connect_privileged(
    share: impl FnOnce() -> Result<Arc<Shared>, Error>,
    dir: &Path,
    options: &Options,
    on_end: &OnEnd,
    attach: Attach<'_>,
) -> Result<Live, Error> {
    let at = |source| Error::Mount { dir: dir.to_owned(), source };
    let device = sys::open_fuse_device().map_err(|source| Error::NoDevice { source })?;
    let wanted = sys::FuseMount { source: &options.source, subtype: SUBTYPE, allow_other: !options.is_private };
    let (detached, id) = match (sys::create(device.as_fd(), &wanted), attach) {
        (Ok(detached), _) => {
            let id = detached.id().map_err(at)?;
            (Some(detached), id)
        }
        (Err(e), Attach::Over(target)) if sys::is_unknown_call(&e) => {
            sys::mount_at_once(device.as_fd(), &wanted, target).map_err(at)?;
            (None, point::seen_at(dir).map_err(at)?)
        }
        (Err(e), _) => return Err(at(e)),
    };
    let shared = share()?;
    let filesystem = AsofFilesystem(Arc::clone(&shared));
    let allows_other = wanted.allow_other;
    let config = config(options, allows_other);
    let session = Session::from_fd(filesystem, device, config.acl, config).map_err(at)?;
    let live = serve(session, id, shared, on_end, true, allows_other).map_err(at)?;
    let attached = match (&detached, attach) {
        (None, _) => Ok(()),
        (Some(detached), Attach::Over(target)) => detached.attach(target),
        (Some(detached), Attach::Beneath(target)) => detached.attach_beneath(target),
    };
    if let Err(e) = attached {
        live.is_current.store(false, Ordering::SeqCst);
        return Err(at(e));
    }
    Ok(live)
}

/// Returns what a mount does about attributes, given what the catalog has.
fn attributes(options: &Options, need: XattrNeed, can_renew: bool) -> Attributes {
    let xattrs = match need {
        _ if options.noxattr => Xattrs::AccessOnly,
        // The kernel never asks again for what it was once told not to ask for; that needs a new mount.
        XattrNeed::None if can_renew => Xattrs::VirtualOnly,
        XattrNeed::None | XattrNeed::Plain | XattrNeed::Acl => Xattrs::Recorded,
    };
    // So does another answer to who decides on access.
    Attributes { xattrs, enforces_acls: need == XattrNeed::Acl || !can_renew }
}

fn share(tree: &Arc<Tree>, options: &Options, attributes: Attributes) -> std::io::Result<Arc<Shared>> {
    let lanes = Arc::new(lane::Lanes::new(options.store_timeout)?);
    let is_ahead = options.store_ahead && !options.passthrough;
    Ok(Arc::new(Shared {
        tree: Arc::clone(tree),
        ahead: is_ahead.then(|| ahead::Ahead::new(tree, &lanes)).transpose()?,
        lanes,
        aside: aside::Aside::default(),
        attributes,
        is_passthrough: AtomicBool::new(options.passthrough),
        backings: backing::Backings::default(),
    }))
}

fn config(options: &Options, allows_other: bool) -> Config {
    let mut config = Config::default();
    config.acl = if allows_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(options.threads.max(2));
    config.clone_fd = true;
    config
}

/// Starts the threads that answer the kernel.
fn serve(
    session: Session<AsofFilesystem>,
    id: sys::MountId,
    shared: Arc<Shared>,
    on_end: &OnEnd,
    is_privileged: bool,
    allows_other: bool,
) -> std::io::Result<Live> {
    let notifier = session.notifier();
    if let Some(ahead) = &shared.ahead {
        ahead.connect(page_cache::PageCache::of(session.as_fd())?);
    }
    let is_current = Arc::new(AtomicBool::new(true));
    let has_ended = Arc::new(AtomicBool::new(false));
    let (own_current, own_end, on_end) = (Arc::clone(&is_current), Arc::clone(&has_ended), Arc::clone(on_end));
    std::thread::Builder::new().name("session".into()).spawn(move || {
        if let Err(e) = session.run() {
            tracing::error!("the connection to the kernel ended: {e}");
        }
        own_end.store(true, Ordering::SeqCst);
        if own_current.load(Ordering::SeqCst) {
            on_end();
        }
    })?;
    Ok(Live { id, shared, notifier, is_current, has_ended, is_privileged, allows_other })
}

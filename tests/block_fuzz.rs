//! Disks that are damaged or hostile: bits of real images flipped, sectors overwritten, maps and streams mutated.
//!
//! No image may panic or hang anything, whatever it says. Where the file system has checksums of its metadata (ext4
//! `metadata_csum`, XFS v5) nothing may be silently wrong: a directory lists all that it had or fails, a file has the bytes that
//! it had or fails, and whatever else differs from before is among the findings. File contents have no checksums there, so
//! they are left as they are. In a test run about twenty seconds in all; `scripts/fuzz SECONDS` takes longer. `ASOF_SEED`
//! begins elsewhere, and a failure names the seed.

mod common;

#[path = "common/disk.rs"]
mod disk;

use asof::catalog::{NewSource, Reader, Writer};
use asof::clock::Fixed;
use asof::jobs::take::block::disk::{NewImage, index_image};
use asof::model::{Kind, Rule, SourceKind, Time};
use asof::monitor::Collect;
use asof::source::block::nbd::{Chunk, Client, Options, Uri};
use asof::source::block::volumes::{self, VolumeDevice};
use asof::source::block::{Content, Device, FileSystem, Settings, ext4, fat, image, xfs};
use asof::view::{Ino, Tree};
use common::dice::Dice;
use common::{NOW, Picture, ino_of, joined};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rounds of a run at least.
const ROUNDS_MIN: u64 = 11;

/// Calls `round` with one seed after the other for as long as the run is to take: `share` of ten parts of two seconds; on a busy machine
/// longer, until a few rounds were made.
fn fuzz(what: &str, share: u32, mut round: impl FnMut(u64)) {
    let number = |name: &str, usual: u64| {
        std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
    };
    let (first, seconds) = (number("ASOF_SEED", 1), number("ASOF_FUZZ_SECONDS", 2));
    let (began, mut seed) = (Instant::now(), first);
    while seed < first + ROUNDS_MIN || began.elapsed() < Duration::from_millis(100 * seconds) * share {
        let before = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| round(seed)));
        assert!(outcome.is_ok(), "{what}: ASOF_SEED={seed} fails");
        let took = before.elapsed();
        assert!(took < Duration::from_secs(20), "{what}: ASOF_SEED={seed} takes {took:?}");
        seed += 1;
    }
    println!("{what}: {} rounds", seed - first);
}

/// What is written over an image: where, and which bytes.
type Scars = Vec<(u64, Vec<u8>)>;

/// Hurts one to four places of `sectors`, each 512 bytes that are not all zero.
fn scars(bytes: &[u8], sectors: &[u64], dice: &mut Dice) -> Scars {
    let hurt = |dice: &mut Dice| {
        let at = sectors[dice.roll(sectors.len())];
        let sector = &bytes[at as usize..(at as usize + 512).min(bytes.len())];
        let whole = match dice.roll(8) {
            0 => vec![0; sector.len()],
            1 => sector.iter().map(|_| dice.roll(256) as u8).collect(),
            kind => {
                let mut sector = sector.to_vec();
                // One bit, or a number of up to eight bytes that is very small or very large.
                let byte = dice.roll(sector.len());
                match kind {
                    2 => {
                        let end = (byte + (1 << dice.roll(4))).min(sector.len());
                        sector[byte..end].fill([0, 0xff, 0x7f, 1][dice.roll(4)]);
                    }
                    _ => sector[byte] ^= 1 << dice.roll(8),
                }
                sector
            }
        };
        (at, whole)
    };
    (0..=dice.roll(4)).map(|_| hurt(dice)).collect()
}

/// An image in memory with scars.
struct Scarred {
    bytes: Arc<Vec<u8>>,
    scars: Scars,
}

impl Device for Scarred {
    fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = usize::try_from(offset).ok().and_then(|at| at.checked_add(buffer.len()));
        let end = end.filter(|end| *end <= self.bytes.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(&self.bytes[offset as usize..end]);
        for (at, scar) in &self.scars {
            let (from, until) = ((*at).max(offset), (at + scar.len() as u64).min(end as u64));
            if from < until {
                let piece = &scar[(from - at) as usize..(until - at) as usize];
                buffer[(from - offset) as usize..(until - offset) as usize].copy_from_slice(piece);
            }
        }
        Ok(())
    }
}

/// Returns an image of `tests/data/block` as bytes.
fn load(name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    disk::unpack_image(name, &path);
    fs::read(path).unwrap()
}

/// Returns the sectors within `range` that are not all zero.
fn sectors(bytes: &[u8], range: Range<u64>) -> Vec<u64> {
    let all = (range.start..range.end.min(bytes.len() as u64)).step_by(512);
    all.filter(|at| bytes[*at as usize..].iter().take(512).any(|byte| *byte != 0)).collect()
}

fn open(device: &Arc<dyn Device>) -> Option<Box<dyn FileSystem>> {
    if ext4::is(&**device) {
        return ext4::open(Arc::clone(device)).ok().map(|fs| Box::new(fs) as Box<dyn FileSystem>);
    }
    if xfs::is(&**device) {
        return xfs::open(Arc::clone(device)).ok().map(|fs| Box::new(fs) as Box<dyn FileSystem>);
    }
    fat::open(Arc::clone(device)).ok().map(|fs| Box::new(fs) as Box<dyn FileSystem>)
}

/// Reads all that a file system tells, and returns how much that was.
fn read_all(fs: &dyn FileSystem) -> usize {
    let (mut inodes, mut directories) = (0, Vec::new());
    let _ = fs.scan_inodes(&mut |inode| {
        inodes += 1;
        if let Ok(inode) = inode
            && Kind::from_mode(inode.attrs.mode) == Some(Kind::Directory)
        {
            directories.push(inode);
        }
        ControlFlow::Continue(())
    });
    let mut numbers = vec![fs.root()];
    for directory in &directories {
        let _ = fs.list(directory, &mut |entry| numbers.push(entry.inode));
    }
    numbers.iter().for_each(|number| drop(fs.inode(*number)));
    inodes + numbers.len()
}

/// Returns the sectors of a bare file system that hold metadata in use, or nothing, and no content of files.
fn metadata(bytes: &Arc<Vec<u8>>) -> Vec<u64> {
    let device: Arc<dyn Device> = Arc::new(Scarred { bytes: Arc::clone(bytes), scars: Vec::new() });
    let fs = open(&device).expect("the image is sound");
    let mut content = vec![false; bytes.len().div_ceil(512)];
    fs.scan_inodes(&mut |inode| {
        let inode = inode.expect("the image is sound");
        if let (Content::Mapped(map), Some(Kind::File)) = (&inode.content, Kind::from_mode(inode.attrs.mode)) {
            for run in &map.extents {
                content[(run.at / 512) as usize..((run.at + run.length).div_ceil(512)) as usize].fill(true);
            }
        }
        ControlFlow::Continue(())
    })
    .expect("the image is sound");
    let all = sectors(bytes, 0..u64::MAX);
    all.into_iter().filter(|at| !content[(at / 512) as usize]).collect()
}

/// Returns where the log of an XFS lies (`xfs_format.h`, `struct xfs_dsb`).
fn log_of_xfs(bytes: &[u8]) -> Range<u64> {
    let u32_at = |at: usize| u64::from(u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()));
    let (block_bytes, start, ag_blocks) = (u32_at(4), u32_at(48) << 32 | u32_at(52), u32_at(84));
    let bits = bytes[124];
    let first = (start >> bits) * ag_blocks + (start & ((1 << bits) - 1));
    first * block_bytes..(first + u32_at(96)) * block_bytes
}

fn fuzz_file_system(name: &str, least: usize) {
    let bytes = Arc::new(load(name));
    let places = metadata(&bytes);
    let device = |scars| -> Arc<dyn Device> { Arc::new(Scarred { bytes: Arc::clone(&bytes), scars }) };
    assert!(read_all(&*open(&device(Vec::new())).unwrap()) > least, "the image is whole");
    fuzz(name, 8, |seed| {
        let device = device(scars(&bytes, &places, &mut Dice::new(seed)));
        if let Some(fs) = open(&device) {
            assert!(read_all(&*fs) < 1_000_000, "it tells no more than it can hold");
        }
    });
}

#[test]
fn a_damaged_ext2_that_has_no_checksums_neither_panics_nor_hangs() {
    fuzz_file_system("ext2", 800);
}

#[test]
fn a_damaged_ext4_with_a_journal_to_replay_neither_panics_nor_hangs() {
    fuzz_file_system("ext4-crash", 800);
}

#[test]
fn a_damaged_xfs_neither_panics_nor_hangs() {
    fuzz_file_system("xfs", 800);
}

#[test]
fn a_damaged_fat_neither_panics_nor_hangs() {
    fuzz_file_system("vfat", 100);
}

#[test]
fn damaged_partition_tables_and_volume_groups_neither_panic_nor_hang_nor_leave_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let chain = disk::unpack_chain("chain-gpt", folder.path());
    let gpt = Arc::new(fs::read(chain.join("pull/gen-0.raw")).unwrap());
    let end = gpt.len() as u64;
    let mut gpt_places = sectors(&gpt, 0..34 * 512);
    gpt_places.extend(sectors(&gpt, end - 33 * 512..end));
    let lvm = Arc::new(load("lvm"));
    let lvm_places = sectors(&lvm, 0..1 << 20);
    for (bytes, count) in [(&gpt, 3), (&lvm, 2)] {
        let device: Arc<dyn Device> = Arc::new(Scarred { bytes: Arc::clone(bytes), scars: Vec::new() });
        assert_eq!(volumes::find(&device).unwrap().volumes.len(), count, "the disk is sound");
    }
    fuzz("volumes", 8, |seed| {
        let mut dice = Dice::new(seed);
        let (bytes, places) = if seed % 2 == 0 { (&gpt, &gpt_places) } else { (&lvm, &lvm_places) };
        let scars = scars(bytes, places, &mut dice);
        let device: Arc<dyn Device> = Arc::new(Scarred { bytes: Arc::clone(bytes), scars });
        let Ok(found) = volumes::find(&device) else { return };
        for volume in found.volumes {
            for piece in &volume.pieces {
                assert!(piece.at.checked_add(piece.length).is_some_and(|end| end <= device.size_bytes()), "{volume:?}");
            }
            let volume: Arc<dyn Device> = Arc::new(VolumeDevice { device: Arc::clone(&device), volume });
            let _ = volumes::identify(&*volume);
            let _ = open(&volume);
        }
    });
}

/// Writes a stream as virtnbdbackup does.
fn stream() -> Vec<u8> {
    let meta = br#"{"virtualSize": 1048576, "dataSize": 131072, "date": "2026-11-20 02:00:00", "diskName": "vda", "diskFormat": "raw", "checkpointName": "virtnbdbackup.0", "compressed": false, "compressionMethod": "lz4", "parentCheckpoint": false, "incremental": false, "streamVersion": 2}"#;
    let mut out = format!("meta {:016x} {:016x}\r\n", 0, meta.len()).into_bytes();
    out.extend_from_slice(meta);
    out.extend_from_slice(b"\r\n");
    for (kind, at, length) in [("data", 0_u64, 65_536_usize), ("zero", 65_536, 917_504), ("data", 983_040, 65_536)] {
        out.extend(format!("{kind} {at:016x} {length:016x}\r\n").into_bytes());
        if kind == "data" {
            out.extend(std::iter::repeat_n(b'x', length));
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend(format!("stop {:016x} {:016x}\r\n", 0, 0).into_bytes());
    out
}

#[test]
fn damaged_image_files_neither_panic_nor_hang_nor_tell_of_bytes_that_they_have_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = fs::canonicalize(folder.path()).unwrap();
    fs::create_dir_all(&folder).unwrap();
    let chain = disk::unpack_chain("chain-guest", &folder);
    let qcow2 = fs::read(chain.join("push/gen-1.qcow2")).unwrap();
    let map = fs::read(disk::unpack_chain("chain-gpt", &folder).join("pull/gen-1.json")).unwrap();
    let stream = stream();
    let kinds: [(&str, &Vec<u8>); 3] = [("image.qcow2", &qcow2), ("image.json", &map), ("image.sdata", &stream)];
    let folders = [folder.clone()];
    fs::copy(chain.join("push/gen-0.qcow2"), folder.join("gen-0.qcow2")).unwrap();
    for (name, bytes) in kinds {
        fs::write(folder.join(name), bytes).unwrap();
    }
    let raw = File::create(folder.join("image.raw")).unwrap();
    raw.set_len(184_549_376).unwrap();
    for name in ["image.qcow2", "image.raw", "image.sdata"] {
        image::open(&folder.join(name), &folders).unwrap_or_else(|e| panic!("{name} is sound: {e}"));
    }
    fuzz("images", 16, |seed| {
        let mut dice = Dice::new(seed);
        let (name, bytes) = kinds[(seed % 3) as usize];
        // All of the tables of the qcow2 image lie in its first clusters and in some later ones.
        let places = if dice.roll(2) == 0 { sectors(bytes, 0..512) } else { sectors(bytes, 0..u64::MAX) };
        let mut hurt = bytes.clone();
        for (at, scar) in scars(bytes, &places, &mut dice) {
            hurt[at as usize..at as usize + scar.len()].copy_from_slice(&scar);
        }
        if dice.roll(10) == 0 {
            hurt.truncate(dice.roll(bytes.len()));
        }
        let file = File::options().write(true).open(folder.join(name)).unwrap();
        file.set_len(hurt.len() as u64).unwrap();
        file.write_all_at(&hurt, 0).unwrap();
        let opened = if name == "image.json" { "image.raw" } else { name };
        let Ok(found) = image::open(&folder.join(opened), &folders) else { return };
        let mut end = 0;
        for extent in &found.layer.extents {
            assert!(extent.offset >= end && extent.length > 0, "in order and without overlap: {extent:?}");
            end = extent.offset.checked_add(extent.length).expect("it ends somewhere");
        }
        assert!(end <= found.layer.size_bytes, "on the disk");
        let _ = image::chain(found, &folders);
    });
}

/// Passes on what client and server say to each other, the server with some of its bytes changed, cut or doubled.
fn pass_on(client: UnixStream, server: UnixStream, mut dice: Dice) {
    let (mut asking, mut asked) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let requests = std::thread::spawn(move || {
        let _ = io::copy(&mut asking, &mut asked);
        let _ = asked.shutdown(Shutdown::Write);
    });
    let (mut client, mut server) = (client, server);
    // Greeting and options are some hundred bytes, answers with bytes of the disk many more.
    let within = [64, 600, 4096, 200_000][dice.roll(4)];
    let mut hurt: Vec<usize> = (0..1 + dice.roll(3)).map(|_| dice.roll(within)).collect();
    hurt.sort_unstable();
    let mut passed = 0;
    let mut block = [0; 4096];
    while let Ok(length @ 1..) = server.read(&mut block) {
        let mut bytes = block[..length].to_vec();
        for at in hurt.iter().filter_map(|at| at.checked_sub(passed)).filter(|at| *at < length) {
            match dice.roll(8) {
                0 => bytes.truncate(at),
                1 => bytes.splice(at.min(bytes.len()).., block[..length].to_vec()).for_each(drop),
                _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << dice.roll(8)),
            }
        }
        passed += length;
        if client.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    let _ = requests.join();
}

#[test]
fn damaged_answers_of_a_server_neither_panic_nor_hang_nor_tell_of_bytes_that_were_not_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (real, damaged) = (dir.path().join("real"), dir.path().join("damaged"));
    let script = "qemu-img create -q -f qcow2 d 1M && qemu-io -c 'write -q -P 1 64k 192k' d && qemu-img bitmap --add d b \
                  && qemu-io -c 'write -q -P 2 512k 64k' d && exec qemu-nbd -t -e 4 -r -x d -B b -k \"$PWD/real\" d";
    let mut server = Command::new("bash").args(["-c", script]).current_dir(&dir).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while UnixStream::connect(&real).is_err() {
        assert!(began.elapsed() < Duration::from_secs(30), "qemu-nbd does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    let listener = UnixListener::bind(&damaged).unwrap();
    let uri = Uri::parse(&format!("nbd+unix:///d?socket={}", damaged.display())).unwrap();
    let contexts = ["base:allocation".to_owned(), "qemu:dirty-bitmap:b".to_owned()];
    let options = Options { connect_timeout: Duration::from_secs(1), timeout: Duration::from_millis(50) };
    let (mut whole, mut rounds) = (0, 0);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        fuzz("answers of an NBD server", 10, |seed| {
            let (listener, real) = (listener.try_clone().unwrap(), real.clone());
            let proxy = std::thread::spawn(move || {
                let (client, _) = listener.accept().unwrap();
                pass_on(client, UnixStream::connect(real).unwrap(), Dice::new(seed));
            });
            let told = Client::connect(&uri, &contexts, &options).and_then(|mut client| {
                let size = client.size_bytes();
                for context in &contexts {
                    let mut end = 0;
                    client.status(context, 0, size.min(1 << 20), |status| {
                        assert_eq!(status.offset, end, "runs follow each other");
                        end = status.offset + status.length;
                    })?;
                }
                let mut read = 0;
                client.read([(0, 1 << 20)].into_iter(), |at, chunk| {
                    let length = match chunk {
                        Chunk::Data(bytes) => bytes.len() as u64,
                        Chunk::Hole(length) => length,
                    };
                    assert!(at + length <= 1 << 20, "{length} bytes at {at}");
                    read += length;
                    Ok(())
                })?;
                assert_eq!(read, 1 << 20, "all was told once, or there is an error");
                Ok(())
            });
            // Where nothing but bytes of the disk was hurt there is nothing to be seen: they have no checksum.
            whole += usize::from(told.is_ok());
            rounds += 1;
            proxy.join().expect("the proxy does not panic");
        });
    }));
    let _ = (server.kill(), server.wait());
    assert!(outcome.is_ok());
    assert!(whole > 0 && whole < rounds, "{whole} of {rounds} rounds told all");
}

/// A folder with an image, and a catalog of it that is new each time.
struct Bench {
    folder: PathBuf,
    _kept: tempfile::TempDir,
    image: File,
    bytes: Arc<Vec<u8>>,
}

impl Bench {
    fn new(bytes: Arc<Vec<u8>>) -> Self {
        let kept = tempfile::tempdir().unwrap();
        let folder = fs::canonicalize(kept.path()).unwrap();
        let image = File::create(folder.join("hurt.raw")).unwrap();
        for at in sectors(&bytes, 0..u64::MAX) {
            image.write_all_at(&bytes[at as usize..at as usize + 512], at).unwrap();
        }
        image.set_len(bytes.len() as u64).unwrap();
        fs::copy(folder.join("hurt.raw"), folder.join("sound.raw")).unwrap();
        Self { folder, _kept: kept, image, bytes }
    }

    /// Has the generation before be another one than the sound image.
    fn before(self, older: &[u8]) -> Self {
        fs::write(self.folder.join("sound.raw"), older).unwrap();
        self
    }

    fn index(&self, writer: &mut Writer, name: &str, at: i64, monitor: &Collect) {
        let folders = [self.folder.clone()];
        let image = image::open(&self.folder.join(name), &folders).expect("a raw image opens");
        let source = Reader::open(&self.catalog()).and_then(|reader| reader.source("disk")).unwrap();
        let new = NewImage {
            source: &source,
            image: &image,
            disk: None,
            snapshot: None,
            at: Time(at),
            rests_on: None,
            folders: &folders,
            acquire: None,
            consistency: None,
            location: None,
            again: false,
            is_fresh: true,
        };
        index_image(writer, &new, &Fixed(NOW), monitor).expect("damage is no reason not to index");
    }

    fn catalog(&self) -> PathBuf {
        self.folder.join("catalog.db")
    }

    /// Indexes the image with scars, on top of the sound one or alone; returns its tree and what was found.
    fn hurt(&self, scars: &Scars, is_increment: bool) -> (Tree, Vec<String>) {
        for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
            let _ = fs::remove_file(self.folder.join(name));
        }
        for (at, scar) in scars {
            self.image.write_all_at(scar, *at).unwrap();
        }
        Writer::create(&self.catalog()).unwrap();
        let mut writer = Writer::open(&self.catalog()).unwrap();
        let settings = Settings { images: self.folder.clone(), ..Settings::default() };
        let settings = settings.to_json().unwrap();
        let source = NewSource {
            name: "disk",
            kind: SourceKind::Block,
            settings: &settings,
            rule: Rule::WRITES,
            added_at: Time(0),
        };
        writer.add_source(&source).unwrap();
        if is_increment {
            let monitor = Collect::default();
            self.index(&mut writer, "sound.raw", FIRST, &monitor);
            assert_eq!(monitor.findings.into_inner().unwrap(), []);
        }
        let monitor = Collect::default();
        self.index(&mut writer, "hurt.raw", FIRST + 86_400, &monitor);
        let found = monitor.findings.into_inner().unwrap();
        (disk::tree(&self.catalog()), found.iter().map(|one| format!("{:?} {}", one.kind, one.detail)).collect())
    }

    fn heal(&self, scars: &Scars) {
        for (at, scar) in scars {
            let at = *at as usize;
            self.image.write_all_at(&self.bytes[at..at + scar.len()], at as u64).unwrap();
        }
    }
}

/// 2026-11-01T00:00:00Z.
const FIRST: i64 = 1_793_491_200;

/// What a walk through a hurt tree saw.
#[derive(Default)]
struct Walk {
    /// What could not be had.
    errors: Vec<String>,
    /// What is not as it was, and was shown all the same.
    wrong: Vec<String>,
    /// What differs and need only be told of.
    differs: Vec<String>,
}

/// Lists every directory and reads every file, and compares them with the truth, if there is one.
fn walk(tree: &Tree, root: Ino, truth: Option<&Picture>) -> Walk {
    let mut walk = Walk::default();
    let mut todo = vec![(Vec::new(), root)];
    let mut listed = 0;
    while let Some((path, dir)) = todo.pop() {
        listed += 1;
        assert!(listed < 100_000, "the tree has an end");
        let mut entries = Vec::new();
        let outcome = tree.list(dir, 0, &mut |name, stat, _, _| {
            if name != b"." && name != b".." {
                entries.push((name.to_vec(), *stat));
            }
            ControlFlow::Continue(())
        });
        let here = String::from_utf8_lossy(&path).into_owned();
        if let Err(e) = outcome {
            walk.errors.push(format!("{here}: {e}"));
            continue;
        }
        if let Some(truth) = truth {
            let below = |other: &Vec<u8>| match other.iter().rposition(|byte| *byte == b'/') {
                Some(cut) => other[..cut] == path[..],
                None => path.is_empty() && !other.is_empty(),
            };
            let expected = truth.keys().filter(|other| below(other)).count();
            if expected != entries.len() {
                walk.wrong.push(format!("{here} has {} names, and had {expected}", entries.len()));
            }
        }
        for (name, stat) in entries {
            let below = joined(&path, &name);
            let text = String::from_utf8_lossy(&below).into_owned();
            let told = truth.map(|truth| truth.get(&below));
            if told == Some(None) {
                walk.wrong.push(format!("{text} is new"));
                continue;
            }
            let told = told.flatten();
            if let Some(told) = told {
                let found = (stat.kind, stat.perm, stat.uid, stat.gid, stat.size_bytes, stat.nlink, stat.rdev);
                let expected = (told.kind, told.perm, told.uid, told.gid, told.size_bytes, told.nlink, told.rdev);
                if found != expected || (stat.mtime.seconds, stat.mtime.nanos) != told.mtime {
                    walk.differs.push(format!("{text}: {found:?}, and was {expected:?}"));
                }
            }
            match stat.kind {
                Kind::Directory => todo.push((below, stat.ino)),
                Kind::File => match read(tree, stat.ino) {
                    Err(e) => walk.errors.push(format!("{text}: {e}")),
                    Ok(Some(hash)) => {
                        if told.is_some_and(|told| told.bytes.as_deref() != Some(hash.as_bytes())) {
                            walk.wrong.push(format!("{text} has other bytes"));
                        }
                    }
                    Ok(None) => {}
                },
                Kind::Symlink => match tree.readlink(stat.ino) {
                    Err(e) => walk.errors.push(format!("{text}: {e}")),
                    // A target outside the inode has no checksum in ext4.
                    Ok(target) if told.is_some_and(|told| target != told.target) && target.len() < 60 => {
                        walk.wrong.push(format!("{text} leads elsewhere"));
                    }
                    Ok(_) => {}
                },
                _ => {}
            }
            let names = tree.xattr_names(stat.ino).map(|names| names.len());
            match (names, told) {
                (Err(e), _) => walk.errors.push(format!("{text}: {e}")),
                (Ok(count), Some(told)) if count != told.xattrs.len() => {
                    walk.differs.push(format!("{text} has {count} attributes, and had {}", told.xattrs.len()));
                }
                _ => {}
            }
        }
    }
    walk
}

/// Returns the hash of a file; none for one that takes too long: of those the ends are read.
fn read(tree: &Tree, ino: Ino) -> Result<Option<String>, String> {
    let file = tree.open(ino).map_err(|e| e.to_string())?;
    let (size_bytes, mut piece) = (file.size_bytes(), vec![0; 1 << 16]);
    if size_bytes > 64 << 20 {
        for at in [0, size_bytes - piece.len() as u64] {
            file.read_at(&mut piece, at).map_err(|e| e.to_string())?;
        }
        let _ = file.seek_data(0).and_then(|at| file.seek_hole(at.unwrap_or(0)));
        return Ok(None);
    }
    let mut bytes = vec![0; size_bytes as usize];
    file.read_at(&mut bytes, 0).map_err(|e| e.to_string())?;
    Ok(Some(disk::hash_of_bytes(&bytes)))
}

/// Hurts all metadata but what lies in `log`.
fn fuzz_whole(what: &str, older: &[u8], bytes: Vec<u8>, truth: &Picture, log: &Range<u64>) {
    let bytes = Arc::new(bytes);
    let (mut places, bench) = (metadata(&bytes), Bench::new(Arc::clone(&bytes)).before(older));
    places.retain(|at| !log.contains(at));
    fuzz(what, 30, |seed| {
        let scars = scars(&bytes, &places, &mut Dice::new(seed));
        let (tree, found) = bench.hurt(&scars, seed % 2 == 1);
        let Some(root) = ino_of(&tree, "disk/@2026-11-02T000000Z/fs") else {
            // Without its magic number it is nothing that is known.
            assert!(
                scars.iter().any(|(at, _)| *at == 0 || *at == 1024),
                "a file system has a directory, listed or not"
            );
            return bench.heal(&scars);
        };
        let walk = walk(&tree, root, Some(truth));
        drop(tree);
        bench.heal(&scars);
        let places: Vec<u64> = scars.iter().map(|(at, _)| *at).collect();
        let told = format!("scars at {places:?}\nfindings {found:#?}\nerrors {:#?}", walk.errors);
        assert!(walk.wrong.is_empty(), "silently wrong: {:#?}\n{told}", walk.wrong);
        assert!(walk.differs.is_empty() || !found.is_empty(), "nothing was found, and {:#?}\n{told}", walk.differs);
        assert!(walk.errors.is_empty() || !found.is_empty(), "nothing was found, and {told}");
    });
}

/// Returns a partition of the first disk with partitions and of the newest one, and the truth of that.
fn partition(folder: &Path, number: usize) -> (Vec<u8>, Vec<u8>, Picture) {
    let chain = disk::unpack_chain("chain-gpt", folder);
    let disk: serde_json::Value = serde_json::from_slice(&fs::read(chain.join("disk.json")).unwrap()).unwrap();
    let part = disk["partitions"].as_array().unwrap().iter().find(|part| part["n"] == number).unwrap();
    let (offset, length) = (part["offset"].as_u64().unwrap(), part["length"].as_u64().unwrap());
    let read = |k: usize| {
        let (from, to) = (chain.join(format!("push/gen-{k}.qcow2")), chain.join("whole.raw"));
        common::run("qemu-img", ["convert".as_ref(), "-O".as_ref(), "raw".as_ref(), from.as_os_str(), to.as_os_str()]);
        let mut bytes = vec![0; length as usize];
        File::open(to).unwrap().read_exact_at(&mut bytes, offset).unwrap();
        bytes
    };
    let truth = File::open(chain.join(format!("gen-3.p{number}.jsonl"))).unwrap();
    (read(0), read(3), disk::truth(&mut io::BufReader::new(truth)))
}

#[test]
fn of_a_damaged_ext4_with_checksums_nothing_is_silently_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let (older, bytes, truth) = partition(folder.path(), 2);
    fuzz_whole("whole ext4", &older, bytes, &truth, &(0..0));
}

#[test]
fn of_a_damaged_xfs_nothing_is_silently_wrong() {
    // A clean log whose last record is gone looks like one in use, and what is older is replayed, by the kernel too.
    let folder = tempfile::tempdir().unwrap();
    let (older, bytes, truth) = partition(folder.path(), 3);
    let log = log_of_xfs(&bytes);
    fuzz_whole("whole xfs", &older, bytes, &truth, &log);
}

#[test]
fn of_an_ext4_whose_descriptor_of_a_group_is_damaged_nothing_is_shown_as_it_was_before() {
    let folder = tempfile::tempdir().unwrap();
    let (older, bytes, truth) = partition(folder.path(), 2);
    let bytes = Arc::new(bytes);
    let bench = Bench::new(Arc::clone(&bytes)).before(&older);
    // The checksum of the first group, whose inodes are the top directory and all else.
    let mut sector = bytes[4096..4096 + 512].to_vec();
    sector[0x1e] ^= 1;
    for is_increment in [false, true] {
        let (tree, found) = bench.hurt(&vec![(4096, sector.clone())], is_increment);
        let walk = walk(&tree, ino_of(&tree, "disk/@2026-11-02T000000Z/fs").unwrap(), Some(&truth));
        assert!(!found.is_empty() && walk.wrong.is_empty(), "{is_increment}: {found:#?} {:#?}", walk.wrong);
    }
}

#[test]
fn an_xfs_whose_header_of_inodes_is_damaged_is_read_from_the_top_directory_down_and_that_is_told() {
    let bytes = Arc::new(load("xfs"));
    let (bench, truth) = (Bench::new(Arc::clone(&bytes)), disk::truth_of_image("xfs"));
    let scars = vec![(1024, vec![0; 512])];
    for is_increment in [false, true] {
        let (tree, found) = bench.hurt(&scars, is_increment);
        let walk = walk(&tree, ino_of(&tree, "disk/@2026-11-02T000000Z/fs").unwrap(), Some(&truth));
        assert!(found.iter().any(|one| one.contains("what says where inodes are is damaged")), "{found:?}");
        assert!(walk.wrong.is_empty() && walk.differs.is_empty(), "{:#?} {:#?}", walk.wrong, walk.differs);
        assert_eq!(walk.errors, Vec::<String>::new(), "each record is where its number says");
    }
}

#[test]
fn a_damaged_ext2_is_indexed_listed_and_read_without_panic_or_hang() {
    let bytes = Arc::new(load("ext2"));
    let (places, bench) = (metadata(&bytes), Bench::new(Arc::clone(&bytes)));
    fuzz("whole ext2", 10, |seed| {
        let scars = scars(&bytes, &places, &mut Dice::new(seed));
        let (tree, _) = bench.hurt(&scars, seed % 2 == 1);
        if let Some(root) = ino_of(&tree, "disk/@2026-11-02T000000Z/fs") {
            walk(&tree, root, None);
        }
        drop(tree);
        bench.heal(&scars);
    });
}

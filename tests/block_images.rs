//! Image files as QEMU makes them, read by own code and by QEMU itself.
//!
//! Every form of one small disk is made by `qemu-img` and `qemu-io`; the bytes that the layers give must be those that
//! `qemu-img convert` gives, and the places those that `qemu-img map` tells. Without these programs the tests skip, loudly.

use asof::model::{Layer, LayerBytes, LayerExtent, Packing};
use asof::source::block::image::{self, Image, Kind, Parent, Why};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const DISK_BYTES: usize = 4 << 20;

/// A directory with `disk.raw`, in which QEMU's programs run.
struct World {
    directory: TempDir,
}

impl World {
    fn new() -> Option<Self> {
        let found =
            ["qemu-img", "qemu-io"].iter().all(|program| Command::new(program).arg("--version").output().is_ok());
        if !found {
            eprintln!("SKIPPED: this test needs qemu-img and qemu-io (Debian: qemu-utils)");
            return None;
        }
        let world = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::write(world.path("disk.raw"), disk()).unwrap();
        Some(world)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join(name)
    }

    fn folders(&self) -> [PathBuf; 1] {
        [self.path("")]
    }

    fn img(&self, arguments: &str) {
        self.run("qemu-img", arguments.split_whitespace());
    }

    /// Runs commands of `qemu-io`, parted by semicolons.
    fn io(&self, image: &str, commands: &str) {
        let commands = commands.split(';').flat_map(|command| ["-c", command.trim()]);
        self.run("qemu-io", ["-f", "qcow2", image].into_iter().chain(commands));
    }

    /// Makes an image that is encrypted with LUKS.
    ///
    /// QEMU first measures how fast the processor derives a key, and gives up when the clock of the processor is
    /// too coarse on a busy machine; then it is asked again.
    fn encrypted(&self, name: &str) {
        let options = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10";
        let line = format!("create -q -f qcow2 --object secret,id=s,data=x -o {options} {name} 1M");
        for _ in 0..50 {
            let output = self.output("qemu-img", &line.split_whitespace().collect::<Vec<_>>());
            if output.status.success() {
                return;
            }
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("Unable to get accurate CPU usage"), "qemu-img {line}: {said}");
        }
        panic!("qemu-img {line}: the clock of the processor was too coarse 50 times");
    }

    fn output(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new(program).args(arguments).current_dir(self.directory.path()).output().unwrap()
    }

    fn run<'a>(&self, program: &str, arguments: impl Iterator<Item = &'a str>) -> Vec<u8> {
        let arguments: Vec<&str> = arguments.collect();
        let output = self.output(program, &arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{program} {arguments:?}: {said}");
        output.stdout
    }

    /// Returns the disk as QEMU reads it.
    fn truth(&self, options: &str) -> Vec<u8> {
        self.img(&format!("convert -O raw {options} truth.out"));
        std::fs::read(self.path("truth.out")).unwrap()
    }

    fn chain(&self, name: &str) -> Vec<Image> {
        let image = image::open(&self.path(name), &self.folders()).unwrap();
        image::chain(image, &self.folders()).unwrap()
    }

    fn check(&self, name: &str) {
        let images = self.chain(name);
        assert!(merge(&images, &images[0].layer) == self.truth(name), "the bytes of {name}");
        self.check_map(name, &images[0].layer);
    }

    /// Compares the places that `qemu-img map` tells of the newest layer.
    fn check_map(&self, name: &str, layer: &Layer) {
        let map = self.run("qemu-img", ["map", "--output=json", name].into_iter());
        let map: serde_json::Value = serde_json::from_slice(&map).unwrap();
        let is_plain = |run: &&LayerExtent| matches!(run.bytes, LayerBytes::Plain { .. });
        let mut expected: u64 = layer.extents.iter().filter(is_plain).map(|run| run.length).sum();
        for run in map.as_array().unwrap() {
            let number = |key: &str| run[key].as_u64();
            let (start, length) = (number("start").unwrap(), number("length").unwrap());
            // QEMU 7.2 does not say that a run is compressed; what is has no offset in any version.
            let Some(at) = number("offset").filter(|_| number("depth") == Some(0) && run["data"] == true) else {
                continue;
            };
            check_plain(layer, start, length, at).unwrap_or_else(|found| panic!("{name}: {run}: {found}"));
            expected -= length;
        }
        assert_eq!(expected, 0, "bytes of {name} that QEMU has nowhere");
    }
}

fn check_plain(layer: &Layer, start: u64, length: u64, place: u64) -> Result<(), String> {
    let mut offset = start;
    while offset < start + length {
        let after = layer.extents.partition_point(|run| run.offset <= offset);
        let run = after.checked_sub(1).map(|index| layer.extents[index]).ok_or("nothing is there")?;
        let skip = offset - run.offset;
        match run.bytes {
            LayerBytes::Plain { at, .. } if skip < run.length && at + skip == place + (offset - start) => {}
            _ => return Err(format!("byte {offset} is not where QEMU has it: {run:?}")),
        }
        offset = run.offset + run.length;
    }
    Ok(())
}

/// A disk with text, noise, zeros, and an end that fills no cluster.
fn disk() -> Vec<u8> {
    let mut disk = vec![0; DISK_BYTES];
    let mut noise = 1_u32;
    for (index, byte) in disk.iter_mut().enumerate() {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = match index >> 18 {
            0 | 5 | 9 => (noise >> 24) as u8,
            1 | 6 | 15 => b"the quick brown fox "[index % 20],
            _ => 0,
        };
    }
    disk
}

fn merge(images: &[Image], top: &Layer) -> Vec<u8> {
    let mut disk = vec![0; usize::try_from(top.size_bytes).unwrap()];
    for image in images.iter().skip(1).rev() {
        paint(&mut disk, &image.layer);
    }
    paint(&mut disk, top);
    disk
}

fn paint(disk: &mut [u8], layer: &Layer) {
    let files: Vec<File> = layer.files.iter().map(|file| File::open(&file.path).unwrap()).collect();
    let mut end = 0;
    for run in &layer.extents {
        assert!(run.offset >= end && run.length > 0 && run.offset + run.length <= layer.size_bytes, "{run:?}");
        end = run.offset + run.length;
        let until = disk.len().min(end as usize);
        let out = &mut disk[until.min(run.offset as usize)..until];
        match run.bytes {
            LayerBytes::Zero => out.fill(0),
            LayerBytes::Plain { file, at } => files[usize::from(file)].read_exact_at(out, at).unwrap(),
            LayerBytes::Packed { file, at, stored_bytes, unpacked_bytes, skip, packing } => {
                let mut stored = vec![0; stored_bytes as usize];
                files[usize::from(file)].read_exact_at(&mut stored, at).unwrap();
                let unpacked = unpack(&stored, unpacked_bytes as usize, packing);
                out.copy_from_slice(&unpacked[skip as usize..skip as usize + out.len()]);
            }
        }
    }
}

fn unpack(stored: &[u8], length: usize, packing: Packing) -> Vec<u8> {
    let mut out = vec![0; length];
    match packing {
        Packing::Deflate => flate2::read::DeflateDecoder::new(stored).read_exact(&mut out).unwrap(),
        Packing::Zstd => zstd::Decoder::new(stored).unwrap().read_exact(&mut out).unwrap(),
        Packing::Lz4 => lz4_flex::frame::FrameDecoder::new(stored).read_exact(&mut out).unwrap(),
    }
    out
}

#[test]
fn every_form_of_a_disk_reads_as_qemu_reads_it() {
    let Some(world) = World::new() else { return };
    let forms = [
        "",
        "-o compat=0.10",
        "-o cluster_size=512",
        "-o cluster_size=4k",
        "-o cluster_size=2M",
        "-o extended_l2=on",
        "-o extended_l2=on,cluster_size=16k",
        "-o extended_l2=on,cluster_size=2M",
        "-o preallocation=metadata",
        "-o preallocation=full",
        "-o lazy_refcounts=on",
        "-o data_file=form.data,data_file_raw=on",
        "-o data_file=form.data",
        "-o data_file=form.data,extended_l2=on",
        "-c",
        "-c -o compat=0.10",
        "-c -o cluster_size=512",
        "-c -o cluster_size=2M",
        "-c -o extended_l2=on",
        "-c -o compression_type=zstd",
        "-c -o compression_type=zstd,cluster_size=2M",
    ];
    for form in forms {
        world.img(&format!("convert -f raw -O qcow2 {form} disk.raw form.qcow2"));
        world.check("form.qcow2");
        world.io("form.qcow2", "write -P 7 1000000 5000; write -z 70000 200000; discard 1400000 300000");
        world.io("form.qcow2", "write -P 8 4194000 304; write -z 0 512; write -P 9 2097152 512");
        world.check("form.qcow2");
    }
}

#[test]
fn a_raw_disk_reads_as_it_is() {
    let Some(world) = World::new() else { return };
    world.img("convert -f raw -O raw disk.raw sparse.img");
    let images = world.chain("sparse.img");
    assert_eq!(images[0].kind, Kind::Raw);
    assert!(merge(&images, &images[0].layer) == disk());
}

#[test]
fn a_chain_of_all_forms_reads_as_qemu_reads_it() {
    let Some(world) = World::new() else { return };
    world.img("convert -f raw -O qcow2 -c disk.raw base.qcow2");
    world.img("create -q -f qcow2 -o extended_l2=on -F qcow2 -b base.qcow2 mid.qcow2");
    world.io("mid.qcow2", "write -P 165 300000 3072; write -z 400000 65536; write -z 1310720 262144");
    world.img("create -q -f qcow2 -o cluster_size=4k -F qcow2 -b mid.qcow2 top.qcow2 6M");
    world.io("top.qcow2", "write -P 90 4194304 4096; write -P 91 12345 1; write -z 8192 4096");
    for name in ["base.qcow2", "mid.qcow2", "top.qcow2"] {
        world.check(name);
    }
    assert_eq!(world.chain("top.qcow2").len(), 3);
}

#[test]
fn past_the_end_of_a_shorter_parent_nothing_of_a_longer_one_below_it_shows() {
    let Some(world) = World::new() else { return };
    world.img("create -q -f qcow2 -F raw -b disk.raw short.qcow2 1000448");
    world.img("create -q -f qcow2 -F qcow2 -b short.qcow2 long.qcow2 4M");
    world.io("long.qcow2", "write -P 3 2000000 100");
    world.check("short.qcow2");
    world.check("long.qcow2");
    let images = world.chain("long.qcow2");
    assert!(merge(&images, &images[0].layer)[1_000_448..1_500_000].iter().all(|byte| *byte == 0));
}

#[test]
fn every_state_saved_in_an_image_reads_as_qemu_reads_it() {
    let Some(world) = World::new() else { return };
    for form in ["", "-o extended_l2=on", "-c", "-o compat=0.10", "-o cluster_size=512"] {
        world.img(&format!("convert -f raw -O qcow2 {form} disk.raw saved.qcow2"));
        world.img("snapshot -c first saved.qcow2");
        world.io("saved.qcow2", "write -P 1 0 70000; write -z 1310720 4096");
        world.img("snapshot -c second saved.qcow2");
        // QEMU resizes no image of version 2 that has states saved.
        if !form.contains("compat=0.10") {
            world.img("resize -q saved.qcow2 5M");
        }
        world.io("saved.qcow2", "write -P 2 100 70000; write -P 3 4190000 1000");
        world.check("saved.qcow2");
        let images = world.chain("saved.qcow2");
        let names: Vec<_> = images[0].snapshots.iter().map(|state| (state.id.as_str(), state.name.as_str())).collect();
        assert_eq!(names, [("1", "first"), ("2", "second")]);
        for state in &images[0].snapshots {
            let mut truth = world.truth(&format!("-l snapshot.name={} saved.qcow2", state.name));
            // What QEMU writes is as large as the disk is now.
            assert_eq!(state.layer.size_bytes, 4 << 20);
            truth.resize(usize::try_from(state.layer.size_bytes).unwrap(), 0);
            assert!(merge(&images, &state.layer) == truth, "{form} {}", state.name);
        }
    }
}

#[test]
fn bitmaps_are_told_by_name() {
    let Some(world) = World::new() else { return };
    world.img("create -q -f qcow2 marked.qcow2 4M");
    world.img("bitmap --add marked.qcow2 ck0");
    world.img("bitmap --add --disable marked.qcow2 ck1");
    let image = image::open(&world.path("marked.qcow2"), &world.folders()).unwrap();
    let told: Vec<_> = image.bitmaps.iter().map(|map| (map.name.as_str(), map.in_use, map.records)).collect();
    assert_eq!(told, [("ck0", false, true), ("ck1", false, false)]);
}

#[test]
fn a_chain_that_is_not_all_there_is_an_error() {
    let Some(world) = World::new() else { return };
    std::fs::create_dir(world.path("in")).unwrap();
    world.img("create -q -f qcow2 base.qcow2 4M");
    world.img("create -q -f qcow2 -F qcow2 -b ../base.qcow2 in/out.qcow2");
    let folders = [world.path("in")];
    let error = |path: &Path| image::chain(image::open(path, &folders).unwrap(), &folders).unwrap_err().to_string();
    let path = world.path("in/out.qcow2");
    let text = format!("image {path:?}: backing file \"../base.qcow2\" is outside of the folders of the source");
    assert_eq!(error(&path), text);

    world.img("create -q -f qcow2 -u -F qcow2 -b loop-b.qcow2 in/loop-a.qcow2 4M");
    world.img("create -q -f qcow2 -u -F qcow2 -b loop-a.qcow2 in/loop-b.qcow2 4M");
    let (a, b) = (world.path("in/loop-a.qcow2"), world.path("in/loop-b.qcow2"));
    assert_eq!(error(&a), format!("image {b:?} is based on {a:?}, which is based on it"));

    for (named, why) in [("gone.qcow2", Why::Missing), ("nbd://host/x", Why::Remote), ("json:{}", Why::Remote)] {
        world.img(&format!("create -q -f qcow2 -u -F qcow2 -b {named} in/{}.qcow2 4M", named.len()));
        let image = image::open(&world.path(&format!("in/{}.qcow2", named.len())), &folders).unwrap();
        assert_eq!(image.parent, Parent::Missing { named: named.to_owned(), why });
    }
}

#[test]
fn an_encrypted_image_is_refused() {
    let Some(world) = World::new() else { return };
    world.encrypted("locked.qcow2");
    let path = world.path("locked.qcow2");
    let error = image::open(&path, &world.folders()).unwrap_err().to_string();
    assert_eq!(error, format!("image {path:?} is encrypted (LUKS), and no key is known"));
}

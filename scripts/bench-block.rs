//! What `scripts/bench-block` measures of disks below the mount: the readers alone, the map of a chain, reads through it.
//!
//! Each deed is one process, so that the caller can make it a cold one; it says on stdout, as one line of JSON, what it
//! counted and, in seconds, what it measured itself. Writes nothing. Built by `cargo bench --no-run --bench block`.

use asof::catalog::Reader;
use asof::source::block::volumes::{self, VolumeDevice};
use asof::source::block::{Device, FileDevice, FileSystem, ext4, xfs};
use asof::store::{Disk, DiskMap};
use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

const USAGE: &str = "\
started by scripts/bench-block:
  walk IMAGE             every inode, with attributes and runs, and every name of the file systems on a raw image
  map CATALOG            the merged map of the newest generation of the first source
  read CATALOG RAW RUNS  that disk, and a raw file with the same bytes, from end to end in turns";

const READ_BYTES: u64 = 1 << 20;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["walk", image] => walk(Path::new(image)),
        ["map", catalog] => map(Path::new(catalog)),
        ["read", catalog, raw, runs] => read(Path::new(catalog), Path::new(raw), runs),
        // `cargo bench` of everything comes here with `--bench` alone.
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::SUCCESS;
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench-block: {e}");
            ExitCode::FAILURE
        }
    }
}

fn walk(image: &Path) -> Result<(), Box<dyn Error>> {
    let file = File::open(image)?;
    let size_bytes = file.metadata()?.len();
    let disk: Arc<dyn Device> = Arc::new(FileDevice { file, size_bytes });
    let (mut inodes, mut names) = (0, 0);
    for volume in volumes::find(&disk)?.volumes {
        let device: Arc<dyn Device> = Arc::new(VolumeDevice { device: Arc::clone(&disk), volume });
        let fs: Box<dyn FileSystem> =
            if ext4::is(&*device) { Box::new(ext4::open(device)?) } else { Box::new(xfs::open(device)?) };
        let mut directories = HashMap::new();
        let mut trouble = Ok(());
        fs.scan_inodes(&mut |inode| {
            match inode {
                Ok(inode) if inode.attrs.kind() == asof::model::Kind::Directory => {
                    directories.insert(inode.number, inode);
                    inodes += 1;
                }
                Ok(_) => inodes += 1,
                Err((_, e)) => trouble = Err(e),
            }
            ControlFlow::Continue(())
        })?;
        trouble?;
        let mut next = vec![fs.root()];
        while let Some(directory) = next.pop().and_then(|number| directories.remove(&number)) {
            fs.list(&directory, &mut |entry| {
                names += 1;
                if directories.contains_key(&entry.inode) {
                    next.push(entry.inode);
                }
            })?;
        }
    }
    println!("{{\"inodes\":{inodes},\"names\":{names}}}");
    Ok(())
}

fn map(catalog: &Path) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let reader = Reader::open(catalog)?;
    let source = reader.sources()?.into_iter().next().ok_or("the catalog has no source")?;
    let newest = reader.generations(source.id)?.pop().ok_or("the source has no generation")?;
    let opened_s = began.elapsed().as_secs_f64();
    let layers = reader.disk_layers(source.id, newest.taken_at)?;
    let decoded_s = began.elapsed().as_secs_f64();
    let count = layers.len();
    let map = DiskMap::of(&layers)?;
    let merged_s = began.elapsed().as_secs_f64();
    let extents = map.data().count();
    println!(
        "{{\"layers\":{count},\"extents\":{extents},\"total_s\":{merged_s},\"catalog_opened_s\":{opened_s},\
         \"layers_decoded_s\":{},\"merged_s\":{}}}",
        decoded_s - opened_s,
        merged_s - decoded_s
    );
    Ok(())
}

fn read(catalog: &Path, raw: &Path, runs: &str) -> Result<(), Box<dyn Error>> {
    let reader = Reader::open(catalog)?;
    let source = reader.sources()?.into_iter().next().ok_or("the catalog has no source")?;
    let newest = reader.generations(source.id)?.pop().ok_or("the source has no generation")?;
    let disk = Disk::of(DiskMap::of(&reader.disk_layers(source.id, newest.taken_at)?)?);
    let raw = File::open(raw)?;
    let size_bytes = disk.map().size_bytes();
    if raw.metadata()?.len() != size_bytes {
        return Err("the raw file is of another size than the disk".into());
    }
    let (mut ours, mut theirs) = (vec![0; READ_BYTES as usize], vec![0; READ_BYTES as usize]);
    each_part(size_bytes, |at, length| {
        disk.read_at(&mut ours[..length], at)?;
        raw.read_exact_at(&mut theirs[..length], at)?;
        if ours[..length] == theirs[..length] {
            Ok(())
        } else {
            Err("the raw file has other bytes than the disk".into())
        }
    })?;
    let (mut disk_s, mut raw_s) = (Vec::new(), Vec::new());
    for _ in 0..runs.parse::<u32>()? {
        let began = Instant::now();
        each_part(size_bytes, |at, length| Ok(disk.read_at(&mut ours[..length], at)?))?;
        disk_s.push(began.elapsed().as_secs_f64());
        let began = Instant::now();
        each_part(size_bytes, |at, length| Ok(raw.read_exact_at(&mut theirs[..length], at)?))?;
        raw_s.push(began.elapsed().as_secs_f64());
    }
    println!("{{\"disk_s\":{disk_s:?},\"raw_s\":{raw_s:?}}}");
    Ok(())
}

fn each_part(
    size_bytes: u64,
    mut each: impl FnMut(u64, usize) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    (0..size_bytes).step_by(READ_BYTES as usize).try_for_each(|at| each(at, READ_BYTES.min(size_bytes - at) as usize))
}

//! Layers piled up, against a look that goes through them byte by byte; and images that are not what they were.
//! Nothing here knows an image format.

use super::*;
use crate::model::Timestamp;

fn file(path: &str) -> ImageFile {
    ImageFile { path: path.into(), size_bytes: 100, mtime: Timestamp { seconds: 1, nanos: 0 } }
}

fn plain(offset: u64, length: u64, at: u64) -> LayerExtent {
    LayerExtent { offset, length, bytes: LayerBytes::Plain { file: 0, at } }
}

fn zero(offset: u64, length: u64) -> LayerExtent {
    LayerExtent { offset, length, bytes: LayerBytes::Zero }
}

fn layer(size_bytes: u64, path: &str, extents: &[LayerExtent]) -> Layer {
    Layer { size_bytes, files: vec![file(path)], extents: extents.to_vec() }
}

/// What each byte is, told slowly: the newest layer that has it, as far as all above are long enough.
fn slowly(layers: &[Layer], at: u64) -> Option<(String, u64)> {
    for layer in layers {
        if at >= layer.size_bytes {
            return None;
        }
        if let Some(e) = layer.extents.iter().find(|e| (e.offset..e.offset + e.length).contains(&at)) {
            return match e.bytes.skip_bytes(at - e.offset) {
                LayerBytes::Plain { file, at } => Some((layer.files[usize::from(file)].path.display().to_string(), at)),
                _ => None,
            };
        }
    }
    None
}

fn quickly(map: &DiskMap, at: u64) -> Option<(String, u64)> {
    let e = map.extents.get(map.first_after(at)).filter(|e| e.offset <= at)?;
    match e.bytes.skip_bytes(at - e.offset) {
        LayerBytes::Plain { file, at } => Some((map.files[usize::from(file)].path.display().to_string(), at)),
        _ => None,
    }
}

#[test]
fn a_newer_layer_hides_an_older_one_also_with_zeros() {
    let layers = [
        layer(100, "/new", &[plain(10, 10, 0), zero(40, 20)]),
        layer(100, "/old", &[plain(0, 50, 1000), plain(55, 45, 2000)]),
    ];
    let map = DiskMap::of(&layers).unwrap();
    assert_eq!(map.data().collect::<Vec<_>>(), [(0, 10), (10, 10), (20, 20), (60, 40)]);
    assert_eq!(map.allocated_bytes(), 80);
    for at in 0..100 {
        assert_eq!(quickly(&map, at), slowly(&layers, at), "at byte {at}");
    }
}

#[test]
fn a_disk_that_grew_is_zero_behind_what_was() {
    let layers = [layer(100, "/c", &[]), layer(60, "/b", &[plain(0, 10, 0)]), layer(80, "/a", &[plain(0, 80, 0)])];
    let map = DiskMap::of(&layers).unwrap();
    assert_eq!(map.data().collect::<Vec<_>>(), [(0, 10), (10, 50)]);
}

#[test]
fn random_piles_are_what_a_slow_look_says() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut dice = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for _ in 0..200 {
        let depth = 1 + dice(7);
        let layers: Vec<Layer> = (0..depth)
            .map(|number| {
                let size = 150 + dice(50);
                let (mut at, mut extents) = (0, Vec::new());
                loop {
                    at += dice(20);
                    let length = 1 + dice(20);
                    if at + length > size {
                        break;
                    }
                    extents.push(if dice(3) == 0 { zero(at, length) } else { plain(at, length, dice(1000)) });
                    at += length;
                }
                layer(size, &format!("/{number}"), &extents)
            })
            .collect();
        let map = DiskMap::of(&layers).unwrap();
        let older = DiskMap::of(&layers[1..]).unwrap();
        let changed = map.changed_since(&older);
        for at in 0..200 {
            assert_eq!(quickly(&map, at), slowly(&layers, at).filter(|_| at < map.size_bytes()), "at byte {at}");
            let is_told = changed.iter().any(|(from, length)| (*from..from + length).contains(&at));
            assert_eq!(is_told, quickly(&map, at) != quickly(&older, at), "at byte {at}");
        }
    }
}

#[test]
fn bytes_come_from_the_file_that_was_indexed_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    std::fs::write(&path, b"0123456789").unwrap();
    let stat = walk::stat_fd(File::open(&path).unwrap().as_fd()).unwrap();
    let image = ImageFile { path: path.clone(), size_bytes: 10, mtime: stat.mtime };
    let layer = Layer { size_bytes: 16, files: vec![image], extents: vec![plain(2, 5, 3)] };
    let read = |offset: u64, length: usize| {
        let disk = Disk::of(DiskMap::of(std::slice::from_ref(&layer)).unwrap());
        let mut buffer = vec![0xff; length];
        disk.read_at(&mut buffer, offset).map(|()| buffer)
    };
    assert_eq!(read(0, 16).unwrap(), b"\0\x0034567\0\0\0\0\0\0\0\0\0");
    assert_eq!(read(4, 2).unwrap(), b"56");
    std::fs::write(&path, b"012345678").unwrap();
    let error = read(4, 2).unwrap_err().to_string();
    assert!(error.contains("changed after it was indexed: found 9 bytes"), "{error}");
    assert_eq!(read(8, 2).unwrap(), b"\0\0", "holes ask no file");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(read(4, 2).unwrap_err().to_string(), format!("file \"{}\" is missing", path.display()));
}

//! What comes from outside as bytes: changelogs, parts, lists, XML, mutated at random from real ones.
//!
//! No input may panic, hang or be read for longer than it is; what a parser takes in must be what it gives back where it
//! can write too. In a test run two seconds for each; `scripts/fuzz SECONDS` takes longer. `ASOF_SEED` begins elsewhere, and a
//! failure names the seed and keeps the input.

#[path = "common/dice.rs"]
mod dice;

use asof::model::manifest::{self, EditSink};
use asof::source::gluster::list::{Form, Format, Reader};
use asof::source::gluster::part::Request;
use asof::source::gluster::part_reader::PartReader;
use asof::source::gluster::volume::Volume;
use asof::source::gluster::{State, changelog};
use dice::Dice;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/gluster")
}

/// Returns the contents of the files below `dir` whose name `wanted` accepts, in the order of their paths.
fn files(dir: &Path, wanted: &dyn Fn(&str) -> bool) -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if wanted(path.file_name().unwrap().to_str().unwrap()) {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let all: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(!all.is_empty(), "no file below {dir:?} to begin with");
    all
}

/// Cuts, flips, doubles and exchanges pieces.
fn mutate(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seeds[dice.roll(seeds.len())].clone();
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(bytes.len() + 1);
        let end = (at + dice.roll(64)).min(bytes.len());
        match dice.roll(8) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << dice.roll(8),
            2 if at < bytes.len() => bytes[at] = [0, b'\n', b'/', b'%', b' ', b'{', 0xff, b'\\'][dice.roll(8)],
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => {
                let other = &seeds[dice.roll(seeds.len())];
                let from = dice.roll(other.len() + 1);
                let until = (from + dice.roll(256)).min(other.len());
                bytes.splice(at..end, other[from..until].iter().copied());
            }
            6 => bytes.splice(at..end, [b'9'; 30]).for_each(drop),
            _ => bytes.insert(at, dice.roll(256) as u8),
        }
    }
    bytes
}

/// Gives mutations of `seeds` to `check` for as long as the run is to take.
fn fuzz(what: &str, seeds: &[Vec<u8>], check: impl Fn(&[u8])) {
    let number = |name: &str, usual: u64| {
        std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
    };
    let (first, seconds) = (number("ASOF_SEED", 1), number("ASOF_FUZZ_SECONDS", 2));
    let began = Instant::now();
    let mut seed = first;
    while began.elapsed() < Duration::from_secs(seconds) {
        let input = mutate(seeds, &mut Dice::new(seed));
        let before = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| check(&input)));
        let slow = before.elapsed() > Duration::from_secs(5);
        if outcome.is_err() || slow {
            let kept = std::env::temp_dir().join(format!("asof-fuzz-{what}-{seed}"));
            std::fs::write(&kept, &input).unwrap();
            panic!("{what}: seed {seed} {}; the input is in {kept:?}", if slow { "hangs" } else { "panics" });
        }
        seed += 1;
    }
    assert!(seed > first + 100, "{what}: only {} inputs in {seconds} s", seed - first);
    println!("{what}: {} inputs", seed - first);
}

#[test]
fn changelogs() {
    let slices = files(&data(), &|name| name.starts_with("CHANGELOG"));
    fuzz("changelog", &slices, |bytes| {
        for open in [false, true] {
            let mut records = 0;
            let parsed = changelog::parse(bytes, open, &mut |record| {
                records += 1;
                std::hint::black_box(record);
            });
            if let Ok(parsed) = parsed {
                assert_eq!(parsed.records, records);
                assert!(open || parsed.torn_bytes == 0, "a closed changelog is whole or broken");
                assert!(records <= bytes.len() as u64 / 18, "a record has at least a letter, a gfid and a zero byte");
            }
        }
    });
}

#[test]
fn parts() {
    let part = concat!(
        r#"{"part":{"format":2,"asof":"0.1.0","volume":"gv0","volume_id":"574de77c-5f11-49bc-b5b7-123ae2823a89","brick":"/bricks/b1","want":"since","began_ns":1}}"#,
        "\n",
        r#"{"node":{"state":{"gfid":"797243a5-527f-4f37-9d9c-3ee16cc33961","mode":33188,"uid":0,"gid":0,"size":3,"allocated":4096,"nlink":1,"mtime":[1,2],"ctime":[1,2],"xattrs":[["user.x","00ff"]],"behind":[{"brick":1,"data":true,"metadata":false,"entries":false}]},"names":[{"parent":"00000000-0000-0000-0000-000000000001","name":"a\\x80"}],"data":true}}"#,
        "\n",
        r#"{"gone":{"gfid":"797243a5-527f-4f37-9d9c-3ee16cc33962"}}"#,
        "\n",
        r#"{"name":{"parent":"00000000-0000-0000-0000-000000000001","name":"b","gfid":null}}"#,
        "\n",
        r#"{"directory":{"path":["a","b"]}}"#,
        "\n",
        r#"{"trouble":{"path":"a","detail":"no"}}"#,
        "\n",
        r#"{"end":{"lines":6,"cursor":{"volume_id":"574de77c-5f11-49bc-b5b7-123ae2823a89","htime":"HTIME.1","last":1,"done":["CHANGELOG.1"]},"gaps":[{"why":"x","from":1,"until":null}],"slices":["CHANGELOG.1"],"records":1}}"#,
        "\n",
    );
    let whole = PartReader::new(part.as_bytes(), Path::new("part")).unwrap();
    assert_eq!(whole.collect::<Result<Vec<_>, _>>().unwrap().len(), 5);
    fuzz("part", &[part.as_bytes().to_vec()], |bytes| {
        let Ok(mut reader) = PartReader::new(bytes, Path::new("part")) else { return };
        let lines = reader.by_ref().take_while(Result::is_ok).count();
        assert!(lines <= bytes.len());
        if let Some(end) = reader.end() {
            assert_eq!(end.lines, lines as u64 + 1, "a part that counts as whole has as many lines as it says");
        }
    });
}

#[test]
fn requests_and_states() {
    let request = r#"{"format":2,"volume":"gv0","volume_id":"574de77c-5f11-49bc-b5b7-123ae2823a89","brick":"/b","want":{"since":{"cursor":{"volume_id":"574de77c-5f11-49bc-b5b7-123ae2823a89","htime":"HTIME.1","last":1,"done":[]},"also":[]}},"fragments":false}"#;
    let state = r#"{"cursors":{"h:/b":{"volume_id":"574de77c-5f11-49bc-b5b7-123ae2823a89","htime":"HTIME.1","last":1,"done":[]}},"retake":["574de77c-5f11-49bc-b5b7-123ae2823a89"],"walked_at":1,"full_at":1}"#;
    assert!(serde_json::from_str::<Request>(request).is_ok());
    fuzz("request", &[request.into(), state.into()], |bytes| {
        if let Ok(request) = serde_json::from_slice::<Request>(bytes) {
            let again = serde_json::to_vec(&request).unwrap();
            assert_eq!(serde_json::from_slice::<Request>(&again).unwrap(), request);
        }
        if let Ok(state) =
            std::str::from_utf8(bytes).map_err(drop).and_then(|text| State::from_json(text).map_err(drop))
        {
            assert_eq!(State::from_json(&state.to_json()).unwrap(), state);
        }
    });
}

#[test]
fn lists() {
    let lists = files(&data(), &|name| name.ends_with(".txt"));
    let formats: Vec<Format> = [Form::Encoded, Form::Plain, Form::Nul, Form::Json]
        .into_iter()
        .flat_map(|form| {
            let prefix: Option<&[u8]> = Some(b"/snap");
            [Format::new(form, b" ", None), Format::new(form, b"==", None), Format::new(form, b" ", prefix)]
        })
        .filter_map(Result::ok)
        .collect();
    assert!(formats.len() >= 4);
    fuzz("list", &lists, |bytes| {
        for format in &formats {
            let items = Reader::new(bytes, format.clone()).take_while(Result::is_ok).count();
            assert!(items <= bytes.len());
        }
    });
}

#[test]
fn volumes() {
    let texts = files(&data().join("volumes"), &|name| name.ends_with(".xml"));
    fuzz("volume", &texts, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(volume) = Volume::from_xml(&text, Some(&text), "gv0") {
            assert!(!volume.bricks.is_empty(), "a volume has bricks");
        }
    });
}

/// Manifests of both formats, hurt as they lie on the disk, and below their compression, whose checksum sees nearly all that is done above.
#[test]
fn manifests() {
    let old = files(&data().join("../manifests"), &|name| name.ends_with(".manifest.zst"));
    let mut seeds = old.clone();
    for bytes in &old {
        // The same in the present format.
        let mut reader = manifest::Reader::new(bytes.as_slice()).unwrap();
        let uuid = Some([7; 16]);
        let source = manifest::SourceFacts { uuid, ..reader.header().source.clone() };
        let header = manifest::Header { format: 2, number: 1, sequence: 1, source, ..reader.header().clone() };
        let mut writer = manifest::Writer::new(Vec::new(), &header).unwrap();
        reader.skip_to_end(|edit| writer.edit(edit).unwrap()).unwrap();
        seeds.push(writer.finish(&manifest::End::new(asof::model::Counts::default(), None)).unwrap());
    }
    let read = |bytes: &[u8]| {
        let Ok(mut reader) = manifest::Reader::new(bytes) else { return };
        let mut edits = 0_u64;
        while let Ok(Some(edit)) = reader.next_edit() {
            std::hint::black_box(edit);
            edits += 1;
        }
        if let Some(end) = reader.end() {
            assert_eq!(end.edits, edits, "a manifest that counts as whole has as many edits as it says");
        }
        let is_whole = reader.end().is_some();
        assert_eq!(reader.next_edit().is_ok_and(|edit| edit.is_none()), is_whole, "what follows an error is not read");
    };
    fuzz("manifest", &seeds, read);
    let unpacked: Vec<Vec<u8>> = seeds.iter().map(|bytes| zstd::decode_all(bytes.as_slice()).unwrap()).collect();
    fuzz("unpacked manifest", &unpacked, |bytes| read(&zstd::encode_all(bytes, 1).unwrap()));
    fuzz("tombstone", &[tombstone()], |bytes| {
        if let Ok(tombstone) = manifest::Tombstone::decode(bytes) {
            assert_eq!(manifest::Tombstone::decode(&tombstone.encode()).unwrap(), tombstone);
        }
    });
}

fn tombstone() -> Vec<u8> {
    let [at, forgotten_at] = [1, 9].map(asof::model::Time);
    manifest::Tombstone { source: [7; 16], at, sequence: 3, indexed_at: None, after: 5, forgotten_at }.encode()
}

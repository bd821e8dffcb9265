//! Parts that are whole, cut, out of order, of another version, and no parts at all.
//! Each is compared with what both ways of reading say of it.

use super::super::part::{End, Header, Line};
use super::line::READ_BYTES;
use super::*;
use crate::source::gluster::Gfid;
use std::io::Read;
use std::io::{self, BufReader};
use std::path::Path;

const HEADER: &str = r#"{"part":{"format":2,"asof":"0.1.0","volume":"gv0","volume_id":"00000000-0000-0000-0000-0000000000aa","brick":"/bricks/b1","want":"look","began_ns":5}}"#;
const GONE: &str = r#"{"gone":{"gfid":"00000000-0000-0000-0000-0000000000bb"}}"#;

fn end(lines: u64) -> String {
    format!(r#"{{"end":{{"lines":{lines},"cursor":null,"gaps":[],"slices":["CHANGELOG.7"],"records":3}}}}"#)
}

fn read(text: &str) -> Result<(Vec<Line>, End), String> {
    let say = |e: Error| e.to_string();
    let mut reader = PartReader::new(text.as_bytes(), Path::new("p")).map_err(say)?;
    let lines = reader.by_ref().collect::<Result<_, _>>().map_err(say)?;
    assert!(reader.next().is_none(), "an iterator that is through stays so");
    Ok((lines, reader.end().expect("a part without an error has its end mark").clone()))
}

fn ends(text: &str) -> Result<(Header, End), String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p");
    std::fs::write(&path, text).unwrap();
    load_ends(&path).map_err(|e| e.to_string().replace(&format!("{}/", dir.path().display()), ""))
}

#[test]
fn a_whole_part_is_read_to_its_end() {
    let text = format!("{HEADER}\n{GONE}\n{GONE}\n{}\n", end(3));
    let (lines, end) = read(&text).unwrap();
    let gone = Line::Gone { gfid: "00000000-0000-0000-0000-0000000000bb".parse().unwrap() };
    assert_eq!(lines, [gone.clone(), gone]);
    assert_eq!((end.records, end.slices), (3, vec!["CHANGELOG.7".to_owned()]));
    let (header, end) = ends(&text).unwrap();
    assert_eq!(
        (header.volume_id, header.want.as_str(), end.lines),
        (Gfid::from_bytes(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xaa]).unwrap(), "look", 3)
    );
}

#[test]
fn a_part_without_anything_between_its_ends_is_whole() {
    let text = format!("{HEADER}\n{}\n", end(1));
    assert_eq!(read(&text).unwrap().0, []);
    assert_eq!(ends(&text).unwrap().1.lines, 1);
}

#[test]
fn an_end_mark_longer_than_one_read_is_found() {
    let slices: Vec<String> = (0..20_000).map(|at| format!("\"CHANGELOG.{}\"", 1_795_000_000 + at)).collect();
    let last = end(2).replace("\"CHANGELOG.7\"", &slices.join(","));
    assert!(last.len() > READ_BYTES, "{} bytes", last.len());
    let (_, end) = ends(&format!("{HEADER}\n{GONE}\n{last}\n")).unwrap();
    assert_eq!((end.slices.len(), end.slices[19_999].as_str()), (20_000, "CHANGELOG.1795019999"));
}

#[test]
fn a_part_that_is_cut_at_any_byte_is_no_part() {
    let text = format!("{HEADER}\n{GONE}\n{}\n", end(2));
    for length in 0..text.len() {
        let lines = text[..length].matches('\n').count();
        let expected = format!("the part \"p\" was cut off: no end mark after {lines} lines");
        assert_eq!(read(&text[..length]).unwrap_err(), expected, "{length} bytes");
        assert_eq!(ends(&text[..length]).unwrap_err(), expected, "{length} bytes, ends only");
    }
}

#[test]
fn what_is_hurt_is_named_with_its_line() {
    let damage = [
        ("\n".to_owned(), "\"p\" is not a part: its first line is \"\""),
        (
            format!("{GONE}\n"),
            "\"p\" is not a part: its first line is \"{\"gone\":{\"gfid\":\"00000000-0000-0000-0000-0000000000bb\"}}\"",
        ),
        (
            "bash: asof: command not found, \u{1b}[31m and so on and so on and so on and so on\n".to_owned(),
            "\"p\" is not a part: its first line is \"bash: asof: command not found, \\x1b[31m and so on and so on and...\"",
        ),
        (
            HEADER.replace("\"format\":2,\"asof\":\"0.1.0\"", "\"format\":3,\"asof\":\"0.9.0\"") + "\n",
            "the part \"p\" has format 3, written by asof 0.9.0: expected format 2, as asof 0.1.0 writes it",
        ),
        (format!("{HEADER}\n{{\"gone\":{{}}}}\n"), "line 2 of the part \"p\" is \"{\"gone\":{}}\""),
        (
            format!("{HEADER}\n{HEADER}\n"),
            "line 2 of the part \"p\" is \"{\"part\":{\"format\":2,\"asof\":\"0.1.0\",\"volume\":\"gv0\",\"volume_id...\": expected a header only in the first line",
        ),
        (
            format!("{HEADER}\n{}\n{GONE}\n", end(1)),
            "line 3 of the part \"p\" is \"{\"gone\":{\"gfid\":\"00000000-0000-0000-0000-0000000000bb\"}}\": expected nothing after the end mark",
        ),
        (format!("{HEADER}\n{}\nx", end(1)), "line 3 of the part \"p\" is \"x\": expected nothing after the end mark"),
        (
            format!("{HEADER}\n{GONE}\n{}\n", end(7)),
            "the part \"p\" has 2 lines before its end mark: expected 7, as the end mark tells",
        ),
    ];
    for (text, expected) in damage {
        assert_eq!(read(&text).unwrap_err(), expected);
    }
    assert_eq!(
        ends(&format!("{HEADER}\n{GONE}\n{}\n", end(7))).unwrap_err(),
        "the part \"p\" has 2 lines before its end mark: expected 7, as the end mark tells"
    );
    assert_eq!(
        ends(&format!("{HEADER}\n{GONE}\n")).unwrap_err(),
        "the part \"p\" was cut off: no end mark after 2 lines"
    );
}

#[test]
fn a_line_without_an_end_takes_bounded_memory() {
    let endless = io::repeat(b'x').take(4 * LINE_BYTES_MAX as u64);
    let error = PartReader::new(BufReader::new(endless), Path::new("p")).unwrap_err();
    assert_eq!(error.to_string(), "line 1 of the part \"p\" is longer than 67108864 bytes");
}

/// A part that somebody brought.
#[test]
fn what_is_no_part_is_not_waited_for_nor_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("secret"), "root:$6$salt\n").unwrap();
    std::os::unix::fs::symlink("secret", at("link")).unwrap();
    std::fs::create_dir(at("folder")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
    let told = |name: &str| crate::model::chain(&load_ends(&at(name)).unwrap_err().without_quote());
    assert_eq!(told("link"), format!("{:?} is not a part", at("link")));
    assert_eq!(told("fifo"), format!("cannot open the part {:?}: it is a fifo", at("fifo")));
    assert_eq!(told("folder"), format!("cannot open the part {:?}: it is a directory", at("folder")));
    // Terabytes of nothing are not read for their last line.
    std::fs::File::create(at("zeros")).unwrap().set_len(1 << 42).unwrap();
    assert_eq!(told("zeros"), format!("line 1 of the part {:?} is longer than {LINE_BYTES_MAX} bytes", at("zeros")));
}

#[test]
fn a_part_that_is_not_there_is_named() {
    let error = PartReader::open(Path::new("/nowhere/p")).unwrap_err();
    assert_eq!(error.to_string(), "cannot open the part \"/nowhere/p\"");
}

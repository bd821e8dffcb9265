//! Lists as glusterfind writes them, lists of every form there and back, and lists that are damaged.
//! Paths are any bytes that a path can have.

use super::*;
use crate::model::escape_bytes;
use proptest::prelude::*;
use std::io;

const SEPARATED: [&str; 13] = [
    "new \"lots/before-restart\"",
    "new \"lots/while-down\"",
    "new \"lots/dir-while-down\"",
    "delete \"old/o5\"",
    "new \"old/o5\"",
    "modify \"lots/f22\"",
    "rename \"lots/f23\" \"lots/f23-while-down\"",
    "delete \"old/o2\"",
    "new \"lots/dir-while-down/c\"",
    "modify \"old/o3\"",
    "rename \"old/o4\" \"old/o5\"",
    "new \"lots/after-restart\"",
    "modify \"lots/f00\"",
];

fn format(form: Form, separator: &str, prefix: Option<&str>) -> Format {
    Format::new(form, separator.as_bytes(), prefix.map(str::as_bytes)).unwrap()
}

fn written(format: &Format, changes: &[Change]) -> Vec<u8> {
    let mut out = Vec::new();
    changes.iter().for_each(|change| format.write(&mut out, change).unwrap());
    out
}

fn read(format: &Format, list: &[u8]) -> Vec<Item> {
    Reader::new(list, format.clone()).collect::<Result<_, _>>().unwrap()
}

fn sure(change: Change) -> Item {
    Item::Change { change, unsure: false }
}

/// The records of a list as text: `!` before an anomaly, `?` before what is unsure.
fn told(format: &Format, list: &[u8]) -> Vec<String> {
    let show = |path: &[u8]| escape_bytes(path).into_owned();
    read(format, list)
        .into_iter()
        .map(|item| match item {
            Item::Anomaly(Anomaly { record, bytes, why }) => format!("!{record} \"{}\" {why}", show(&bytes)),
            Item::Change { change, unsure } => {
                let text = match &change {
                    Change::New(path) => format!("new \"{}\"", show(path)),
                    Change::Modify(path) => format!("modify \"{}\"", show(path)),
                    Change::Rename { from, to } => format!("rename \"{}\" \"{}\"", show(from), show(to)),
                    Change::Delete(path) => format!("delete \"{}\"", show(path)),
                };
                if unsure { format!("?{text}") } else { text }
            }
        })
        .collect()
}

fn changes() -> Vec<Change> {
    vec![
        Change::New(b"a b/100%".to_vec()),
        Change::Modify(b"line\nbreak\xff".to_vec()),
        Change::Rename { from: b"old name".to_vec(), to: b"new".to_vec() },
        Change::Delete("käse,x".as_bytes().to_vec()),
    ]
}

#[test]
fn every_form_is_written_as_it_is_documented() {
    let text = |form, separator, prefix| written(&format(form, separator, prefix), &changes());
    assert_eq!(
        text(Form::Encoded, " ", None),
        b"NEW a%20b/100%25\nMODIFY line%0Abreak\xff\nRENAME old%20name new\nDELETE k\xc3\xa4se,x\n"
    );
    assert_eq!(
        text(Form::Encoded, "==", Some("/snap/x y")),
        b"NEW==/snap/x%20y/a%20b/100%25\nMODIFY==/snap/x%20y/line%0Abreak\xff\n\
          RENAME==/snap/x%20y/old%20name==/snap/x%20y/new\nDELETE==/snap/x%20y/k\xc3\xa4se,x\n"
    );
    assert_eq!(
        text(Form::Plain, " ", None),
        b"NEW a b/100%\nMODIFY line\nbreak\xff\nRENAME old name new\nDELETE k\xc3\xa4se,x\n"
    );
    assert_eq!(
        text(Form::Nul, " ", Some("/s/")),
        b"NEW\0/s/a b/100%\0MODIFY\0/s/line\nbreak\xff\0RENAME\0/s/old name\0/s/new\0DELETE\0/s/k\xc3\xa4se,x\0"
    );
    assert_eq!(
        String::from_utf8(text(Form::Json, " ", None)).unwrap(),
        concat!(
            "{\"what\":\"new\",\"path\":\"a b/100%\"}\n",
            "{\"what\":\"modify\",\"path\":\"line\\\\nbreak\\\\xff\"}\n",
            "{\"what\":\"rename\",\"path\":\"new\",\"old_path\":\"old name\"}\n",
            "{\"what\":\"delete\",\"path\":\"käse,x\"}\n"
        )
    );
}

#[test]
fn a_list_of_glusterfind_is_read_and_written_again_byte_for_byte() {
    let list = include_bytes!("../../../../tests/data/gluster/lists/created.encoded.txt");
    let format = format(Form::Encoded, " ", None);
    let told = told(&format, list);
    assert_eq!(told.len(), 52);
    assert_eq!(told[8], "new \"new/100% sure.txt\"");
    assert_eq!(told[13], "new \"new/%20literal%0A.txt\"");
    assert_eq!(told[15], "new \"new/line\\nbreak.txt\"");
    assert_eq!(told.iter().filter(|line| !line.starts_with("new ")).count(), 0);
    let again: Vec<Change> = read(&format, list)
        .into_iter()
        .map(|item| match item {
            Item::Change { change, unsure: false } => change,
            item => panic!("{item:?}"),
        })
        .collect();
    assert_eq!(escape_bytes(&written(&format, &again)), escape_bytes(list));
}

#[test]
fn a_list_with_a_separator_and_a_prefix_is_read() {
    let list = include_bytes!("../../../../tests/data/gluster/lists/changed.separator.txt");
    assert_eq!(told(&format(Form::Encoded, "==", Some("/snap/x")), list), SEPARATED);
    let other = told(&format(Form::Encoded, "==", Some("/snap/y/")), list);
    assert_eq!(
        other[0],
        format!(
            "!1 \"{}\" names a path that does not begin with the prefix",
            escape_bytes(list.split(|b| *b == b'\n').next().unwrap())
        )
    );
}

#[test]
fn the_rest_of_a_name_that_was_broken_is_handed_over() {
    let list = include_bytes!("../../../../tests/data/gluster/lists/created.plain.txt");
    let told = told(&format(Form::Plain, " ", None), list);
    let broken: Vec<&String> = told.iter().filter(|line| line.starts_with('!')).collect();
    assert_eq!(broken, ["!17 \"break.txt\" begins with none of NEW, MODIFY, RENAME, DELETE"]);
    assert_eq!(told[15], "new \"new/line\"");
}

#[test]
fn what_is_not_understood_is_told_with_its_place() {
    let encoded = format(Form::Encoded, " ", None);
    assert_eq!(
        told(
            &encoded,
            b"NEW a b\nNEW 50%\nNEW a%0ab\nNEW\nNEW \n\nNEWS x\nRENAME a\nRENAME a b c\nRENAME a \nDELETE cut"
        ),
        [
            "?new \"a b\"",
            "?new \"50%\"",
            "?new \"a%0ab\"",
            "!4 \"NEW\" begins with none of NEW, MODIFY, RENAME, DELETE",
            "!5 \"NEW \" names no path",
            "!6 \"\" begins with none of NEW, MODIFY, RENAME, DELETE",
            "!7 \"NEWS x\" begins with none of NEW, MODIFY, RENAME, DELETE",
            "!8 \"RENAME a\" is a rename that cannot be split into two names",
            "!9 \"RENAME a b c\" is a rename that cannot be split into two names",
            "!10 \"RENAME a \" names no path",
            "!11 \"DELETE cut\" is cut off by the end of the list",
        ]
    );
    assert_eq!(
        told(&format(Form::Nul, " ", None), b"x\0NEW\0a\0NEW\0\0RENAME\0a\0b\0RENAME\0a"),
        [
            "!1 \"x\" begins with none of NEW, MODIFY, RENAME, DELETE",
            "new \"a\"",
            "!3 \"NEW\\x00\" names no path",
            "rename \"a\" \"b\"",
            "!5 \"RENAME\\x00a\" is cut off by the end of the list",
        ]
    );
    assert_eq!(
        told(
            &format(Form::Json, " ", None),
            b"{\"what\":\"new\"}\n{\"what\":\"new\",\"path\":\"a\",\"old_path\":\"b\"}\n{\"what\":\"rename\",\"path\":\"a\"}\n"
        ),
        [
            "!1 \"{\"what\":\"new\"}\" is not a change in JSON",
            "!2 \"{\"what\":\"new\",\"path\":\"a\",\"old_path\":\"b\"}\" is a rename that cannot be split into two names",
            "!3 \"{\"what\":\"rename\",\"path\":\"a\"}\" is a rename that cannot be split into two names",
        ]
    );
}

#[test]
fn a_record_without_an_end_takes_bounded_memory() {
    for form in [Form::Encoded, Form::Plain, Form::Nul, Form::Json] {
        let endless = io::BufReader::new(io::repeat(b'x'));
        let mut reader = Reader::new(endless, format(form, " ", None));
        let error = reader.next().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "record 1 of the list is longer than 1048576 bytes");
        assert!(reader.next().is_none());
    }
}

#[test]
fn a_separator_that_separates_nothing_is_refused() {
    let refused = |separator: &[u8]| Format::new(Form::Plain, separator, None).unwrap_err().to_string();
    assert_eq!(refused(b""), "the field separator is empty");
    assert_eq!(refused(b"\n"), "the field separator holds a line feed");
}

fn any_path() -> impl Strategy<Value = Vec<u8>> {
    // The bytes that mean something somewhere come often.
    let byte = prop_oneof![prop::sample::select(b" %\n\\25A0,=/\"\x7f\xff".to_vec()), 1_u8..=255];
    prop::collection::vec(byte, 1..40)
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        any_path().prop_map(Change::New),
        any_path().prop_map(Change::Modify),
        (any_path(), any_path()).prop_map(|(from, to)| Change::Rename { from, to }),
        any_path().prop_map(Change::Delete),
    ]
}

proptest! {
    #[test]
    fn what_was_written_is_read_back(
        changes in prop::collection::vec(any_change(), 0..8),
        form in prop::sample::select(vec![Form::Encoded, Form::Nul, Form::Json]),
        prefix in prop::option::of(any_path()),
    ) {
        let format = Format::new(form, b" ", prefix.as_deref()).unwrap();
        let expected: Vec<Item> = changes.iter().cloned().map(sure).collect();
        prop_assert_eq!(read(&format, &written(&format, &changes)), expected);
    }

    #[test]
    fn no_byte_of_a_list_is_dropped(
        fields in prop::collection::vec(
            prop_oneof![
                prop::sample::select(vec!["NEW", "RENAME", "NEW a", "RENAME a b", "RENAME a", "DELETE ", "a"])
                    .prop_map(|field| field.as_bytes().to_vec()),
                prop::collection::vec(any::<u8>(), 0..9),
            ],
            0..9,
        ),
        is_cut in any::<bool>(),
    ) {
        for (form, end) in [(Form::Plain, b'\n'), (Form::Nul, b'\0')] {
            let format = format(form, " ", None);
            let mut list = fields.join(&end);
            if !is_cut {
                list.push(end);
            }
            let mut again = Vec::new();
            for item in read(&format, &list) {
                match item {
                    Item::Change { change, .. } => format.write(&mut again, &change).unwrap(),
                    Item::Anomaly(Anomaly { bytes, why, .. }) => {
                        again.extend_from_slice(&bytes);
                        again.extend((why != Why::CutOff).then_some(end));
                    }
                }
            }
            prop_assert_eq!(again, list);
        }
    }

    #[test]
    fn no_list_makes_reading_fail(list in prop::collection::vec(any::<u8>(), 0..200)) {
        for form in [Form::Encoded, Form::Plain, Form::Nul, Form::Json] {
            prop_assert_eq!(read(&format(form, " ", None), &list).is_empty(), list.is_empty());
        }
    }
}

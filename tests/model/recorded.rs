//! Histories that another implementation of the same rules was led through, row by row.
//!
//! `tests/data/model/README.md` says what a line is.

use super::model::{Catalog, Content, File, Insertion, Node, Object, Rule, Setting, Slot, Tree, Walk};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Plays one recorded history and compares every state; returns how many these were.
pub(crate) fn replay(line: &str) -> usize {
    let history: Value = serde_json::from_str(line).expect("a line is JSON");
    let rule = match text(&history["rule"]) {
        "stamp" => Rule::Stamp,
        "digest" => Rule::Digest,
        "write" => Rule::Write,
        other => panic!("no rule is called {other}"),
    };
    let mut catalog = Catalog::new(Setting::new(rule));
    let steps = list(&history["steps"]);
    for (number, step) in steps.iter().enumerate() {
        let operation = list(&step[0]);
        match text(&operation[0]) {
            "insert" => insert(&mut catalog, &operation[1..]),
            "forget" => catalog.forget(operation[1].as_i64().expect("an instant")),
            "gc" => catalog.gc(),
            other => panic!("no operation is called {other}"),
        }
        assert_eq!(state(&catalog), step[1], "step {number} of seed {} of {rule:?}", history["seed"]);
    }
    steps.len()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn number<T: TryFrom<u64>>(value: &Value) -> T {
    value.as_u64().and_then(|number| number.try_into().ok()).expect("a number of its column")
}

fn insert(catalog: &mut Catalog, operation: &[Value]) {
    let [at, tree, object, content, places, paths] = operation else { panic!("an insertion has six parts") };
    let (at, object) = (at.as_i64().expect("an instant"), number(object));
    if let [is_full, files] = content.as_array().map_or(&[][..], Vec::as_slice) {
        let files = list(files).iter().map(|file| (text(&file[0]).to_owned(), number(&file[1])));
        let is_full = is_full.as_bool().expect("full or not");
        catalog.objects.insert(object, Object { at, content: Content::Files { is_full, files: files.collect() } });
    }
    let places = list(places).iter().map(|place| (number(&place[0]), number(&place[1]))).collect();
    let paths = list(paths).iter().map(|path| (number(&path[0]), text(&path[1]).to_owned())).collect();
    catalog.insert(&Insertion { at, walk: Walk::whole(tree_of(tree)), object, places, paths });
}

fn tree_of(value: &Value) -> Tree {
    let name = |row: &Value| -> (Slot, Node) {
        let letter = text(&row[1]).chars().next().expect("a name is a letter");
        ((number(&row[0]), letter), number(&row[2]))
    };
    let file = |row: &Value| {
        let content = (!row[2].is_null()).then(|| number(&row[2]));
        (number(&row[0]), File { mode: number(&row[1]), content, write: number(&row[3]), cell: 0 })
    };
    let files: BTreeMap<Node, File> = list(&value[1]).iter().map(file).collect();
    Tree { names: list(&value[0]).iter().map(name).collect(), files }
}

/// Returns the rows as they are recorded.
fn state(catalog: &Catalog) -> Value {
    let names = catalog.names.rows().iter();
    let names = names.map(|((slot, born), row)| json!([slot.0, slot.1, born, row.died, row.value, row.fork]));
    let versions = catalog.versions.iter();
    let versions =
        versions.map(|((node, born), v)| json!([node, born, v.mode, v.stamp, v.nlink, v.key, v.place, v.content]));
    let notes = catalog.notes.iter().filter(|(_, notes)| !notes.is_empty());
    let notes = notes.map(|(at, notes)| json!([at, notes.iter().map(|note| json!(note)).collect::<Vec<_>>()]));
    let pins = catalog.pins.iter().map(|((object, node), path)| json!([object, node, path]));
    json!([
        names.collect::<Vec<_>>(),
        versions.collect::<Vec<_>>(),
        notes.collect::<Vec<_>>(),
        pins.collect::<Vec<_>>(),
        catalog.objects.keys().collect::<Vec<_>>(),
        catalog.holds.iter().map(|hold| json!(hold)).collect::<Vec<_>>(),
    ])
}

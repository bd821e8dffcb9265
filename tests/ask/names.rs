//! `asof find` by the index of names: finds what it finds without, whatever came before.

use crate::site::{Site, said, sh};

/// Searches that the index answers, or that it must leave alone.
const SEARCHES: [&[&str]; 14] = [
    &["--ever", "-name", "*report*"],
    &["--ever", "-iname", "*REPORT*"],
    &["--ever", "-name", "*rep*", "-name", "*txt"],
    &["--ever", "-iname", "*kelvin*"],
    &["--ever", "homes:a", "-name", "*repo*", "-type", "f"],
    &["--ever", "-name", "*rep*", "-maxdepth", "2"],
    &["--ever", "-name", "*re*"],
    &["--ever", "(", "-name", "*report*", "-o", "-name", "*bin*", ")"],
    &["--ever", "!", "-name", "*report*"],
    &["--ever", "-name", "rep[o]rt-1?txt"],
    &["--ever", "-name", "*new\nline*"],
    &["-name", "*report*"],
    &["--at", "2026-11-19", "-iname", "*report*", "-size", "-2"],
    &["--at", "2026-11-18", "homes:b", "-name", "*port*"],
];

fn night(site: &Site, date: &str, script: &str) {
    sh(&site.path("live"), script);
    site.copy(date);
    site.ok(&["index", "homes"]);
}

/// Returns what all searches print and how they end.
fn answers(site: &Site) -> Vec<(Option<i32>, String)> {
    let answer = |search: &[&str]| {
        let output = site.asof(&[&["find"], search].concat()).output().unwrap();
        (output.status.code(), said(&output))
    };
    SEARCHES.iter().map(|search| answer(search)).collect()
}

fn indexes(site: &Site) -> String {
    site.ok(&["sql", "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'name\\_%' ESCAPE '\\'"])
}

#[test]
fn a_search_with_the_index_finds_what_it_finds_without_in_the_same_order() {
    let site = Site::with_source();
    night(
        &site,
        "2026-11-18",
        "mkdir -p a/b/c b reports; for n in 1 2 30; do echo $n > a/report-$n.txt; echo x > a/b/Report-$n.bin; done; touch b/port a/b/c/rep
         touch $'b/new\\nline' $'a/\\xffreport\\xfe' $'a/b/\\u212aelvin' a/rep,ort 'b/\"rep\"ort' b/REPORT; touch a/b-report a/b.report",
    );
    night(
        &site,
        "2026-11-20",
        "mv a/b reports/b; rm b/port; mv a/report-1.txt a/old-report-1.txt; rm -r b; echo b > b",
    );
    let without = answers(&site);
    assert!(without.iter().filter(|(_, said)| said.lines().count() > 3).count() > 5, "{without:#?}");
    site.ok(&["catalog", "index-names"]);
    assert_eq!(answers(&site), without);
    site.ok(&["check", "--deep"]);

    // From now on it is kept up: by a generation behind the others, one in between, one that is forgotten, one made again.
    let both = |what: &str| {
        let with = answers(&site);
        sh(&site.path("."), "cp catalog.db aside.db");
        let mut drop = site.asof(&["catalog", "index-names", "--drop"]);
        assert!(drop.env("ASOF_CATALOG", site.path("aside.db")).status().unwrap().success());
        for (search, with) in SEARCHES.iter().zip(with) {
            let mut find = site.asof(&[&["find"], *search].concat());
            let output = find.env("ASOF_CATALOG", site.path("aside.db")).output().unwrap();
            let without = (output.status.code(), said(&output));
            assert!(
                with == without,
                "{what}: {search:?}: {} and {} lines",
                with.1.lines().count(),
                without.1.lines().count()
            );
        }
        site.ok(&["check"]);
    };
    both("nothing");
    night(
        &site,
        "2026-11-21",
        "mkdir new; for n in $(seq 1100); do : > new/n$n-report; done; mv new/n7-report new/n7; touch reports/report",
    );
    both("a night");
    sh(
        &site.path("."),
        "mv live later; cp -a copies/2026-11-18 live; touch live/a/report-between; rm live/a/report-2.txt",
    );
    night(&site, "2026-11-19", "true");
    both("one in between");
    site.ok(&["forget", "homes@2026-11-21"]);
    both("one that is forgotten");
    sh(&site.path("."), "rm -r copies/2026-11-20/reports; touch copies/2026-11-20/last-report");
    site.ok(&["index", "homes@2026-11-20", "--again"]);
    both("one made again");
    site.ok(&["catalog", "index-names", "--again"]);
    both("made anew");
    assert_eq!(site.ok(&["catalog", "index-names"]), "");
    site.ok(&["catalog", "index-names", "--drop"]);
    assert_eq!(indexes(&site).trim().lines().last().unwrap(), "0");
    site.ok(&["check"]);
}

#[test]
fn one_that_was_killed_is_gone_on_with_and_answers_nothing_until_it_is_whole() {
    let site = Site::with_source();
    night(
        &site,
        "2026-11-18",
        "for d in $(seq 300); do mkdir d$d; for f in 1 2 3; do : > d$d/report-$d-$f; done; done",
    );
    let without = answers(&site);
    site.ok(&["catalog", "index-names"]);
    // As a run leaves it that is killed after a part: the last directories lack.
    sh(
        &site.path("."),
        "sqlite3 catalog.db 'UPDATE name_fill SET upto = (SELECT max(dir) FROM name_doc) - 100; DELETE FROM name_doc WHERE dir > (SELECT upto FROM name_fill)'",
    );
    assert_eq!(answers(&site), without);
    let output = site.run(&["catalog", "index-names"], 0);
    assert!(said(&output).contains("the names of 100 directories are indexed"), "{}", said(&output));
    assert_eq!(answers(&site), without);
}

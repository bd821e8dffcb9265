//! A session of `asof sql`: statements that are typed at a terminal, one after the other.
//!
//! Promises: a statement ends with `;` and has the limits of its own; one that is refused does not end the session. Each sees the catalog as it is
//! when it is run.

use super::line::{Typed, read, word_of};
use super::past::Past;
use crate::catalog::{Column, Dates, Query, QueryLimits};
use crate::cli::World;
use crate::cli::report::{Failure, Outcome};
use crate::clock::Clock;
use crate::model::printable;
use console::Term;
use std::ops::ControlFlow;

const WORDS: [&str; 34] = [
    "SELECT",
    "FROM",
    "WHERE",
    "AND",
    "OR",
    "NOT",
    "IN",
    "IS",
    "NULL",
    "LIKE",
    "GLOB",
    "BETWEEN",
    "EXISTS",
    "ORDER",
    "GROUP",
    "BY",
    "HAVING",
    "LIMIT",
    "DESC",
    "JOIN",
    "LEFT",
    "USING",
    "ON",
    "AS",
    "DISTINCT",
    "UNION",
    "ALL",
    "EXCEPT",
    "INTERSECT",
    "WITH",
    "RECURSIVE",
    "CASE",
    "WHEN",
    "count",
];
const FUNCTIONS: [&str; 3] = ["files_at(", "history(", "diff("];

const HELP: &str = "\
A statement ends with ; and may have several lines. Tab completes views and columns, Up calls back what was asked before,
Ctrl-C gives a statement up, Ctrl-D or .quit ends.
  SELECT * FROM view_columns;       what there is to ask, and what it means
  .views                            the views";

/// Views, functions, and columns with the view that has each.
struct Names {
    views: Vec<String>,
    columns: Vec<String>,
}

/// Reads statements until the end, and has `ask` run each.
pub(super) fn run(
    world: &World,
    limits: QueryLimits,
    ask: &dyn Fn(&str) -> Result<Outcome, Failure>,
) -> Result<Outcome, Failure> {
    let names = names(world, limits)?;
    let term = Term::stderr();
    let mut past = Past::open();
    eprintln!("asof: the catalog {:?}, to be read; .help says how", world.catalog);
    let mut statement = String::new();
    loop {
        let prompt = if statement.is_empty() { "asof> " } else { "  ... " };
        let typed = read(&term, prompt, &past.statements, &|text| names.complete(text));
        match typed.map_err(|e| Failure::because("reading from the terminal", &e))? {
            Typed::End => return Ok(Outcome::Done),
            Typed::GivenUp => statement.clear(),
            Typed::Line(line) => {
                let first = statement.is_empty();
                match line.trim() {
                    "" if first => {}
                    ".quit" | ".exit" | "quit" | "exit" if first => return Ok(Outcome::Done),
                    ".help" | "help" if first => eprintln!("{HELP}"),
                    ".views" if first => eprintln!("{}", names.views.join("  ")),
                    _ => {
                        statement.push_str(&line);
                        statement.push('\n');
                        if line.trim_end().ends_with(';') {
                            let whole = std::mem::take(&mut statement);
                            past.add(whole.trim());
                            if let Err(failure) = ask(whole.trim()) {
                                let (text, hint) = failure.parts();
                                eprintln!("asof: {}", printable(text));
                                hint.iter().for_each(|hint| eprintln!("hint: {hint}"));
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Asks the catalog what there is to complete.
fn names(world: &World, limits: QueryLimits) -> Result<Names, Failure> {
    let dates = Dates { now: world.clock.now(), zone: world.zone.clone() };
    let mut query = Query::open(&world.catalog, limits, &dates)?;
    let (mut views, mut columns): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    query.run("SELECT \"view\", \"column\" FROM view_columns", &mut |_| {}, &mut |row| {
        for (value, list) in row.iter().zip([&mut views, &mut columns]) {
            if let Column::Text(text) = value {
                list.push(String::from_utf8_lossy(text).into_owned());
            }
        }
        ControlFlow::Continue(())
    })?;
    for list in [&mut views, &mut columns] {
        list.sort_unstable();
        list.dedup();
    }
    Ok(Names { views, columns })
}

impl Names {
    /// Returns how the word that ends a text can go on; after FROM and JOIN it is a view or a function.
    fn complete(&self, text: &str) -> Vec<String> {
        let word = word_of(text);
        let before = text[..text.len() - word.len()].trim_end().to_ascii_uppercase();
        let is_table =
            ["FROM", "JOIN"].iter().any(|end| before.ends_with(end)) || before.ends_with(',') && is_in_from(&before);
        let views = self.views.iter().map(String::as_str).chain(FUNCTIONS);
        let begins = |name: &&str| {
            name.len() >= word.len() && name.as_bytes()[..word.len()].eq_ignore_ascii_case(word.as_bytes())
        };
        let mut found: Vec<String> = match is_table {
            true => views.filter(begins).map(str::to_owned).collect(),
            false if word.is_empty() => Vec::new(),
            false => {
                let columns = self.columns.iter().map(String::as_str);
                columns.chain(views).chain(WORDS).filter(begins).map(str::to_owned).collect()
            }
        };
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Tells whether a comma here stands between tables.
fn is_in_from(before: &str) -> bool {
    let last = |word: &str| before.rfind(word);
    last("FROM ").is_some_and(|from| {
        [" WHERE ", "SELECT ", " BY ", "("].iter().all(|word| last(word).is_none_or(|at| at < from))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_completed_where_tables_are_and_columns_elsewhere() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let names =
            Names { views: list(&["deleted", "files", "findings"]), columns: list(&["findings", "path", "parent"]) };
        assert_eq!(names.complete("SELECT pa"), ["parent", "path"]);
        assert_eq!(names.complete("select * from f"), ["files", "files_at(", "findings"]);
        assert_eq!(names.complete("SELECT * FROM deleted, fin"), ["findings"]);
        assert_eq!(names.complete("SELECT a, pat"), ["path"]);
        assert_eq!(names.complete("SELECT * FROM files WHERE PAT"), ["path"]);
        assert_eq!(names.complete("SELECT "), Vec::<String>::new());
        assert_eq!(names.complete("SELECT * FROM files whe"), ["WHEN", "WHERE"]);
        assert_eq!(names.complete("x\u{fc}"), Vec::<String>::new());
    }
}

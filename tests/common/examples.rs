//! Examples in the documents: sessions of root, and how what is printed is compared with what is written.
//!
//! Lines that begin with `# ` are commands, the others what they print, on either output. `...` at the end of a line, or for a line, stands
//! for anything; durations, process numbers and, in lines that begin with `took `, times are not compared, and blanks and tabs are alike.
#![allow(dead_code, unreachable_pub)] // each test binary uses its own part

use std::path::Path;

/// A command, and what the document says that it prints.
pub struct Example {
    pub command: String,
    pub prints: Vec<String>,
}

impl Example {
    /// Fails if something else was printed.
    pub fn must_be_like(&self, printed: &str) {
        let prints = self.prints.join("\n");
        assert!(is_like(&self.prints, printed), "{}\nprints\n{printed}\nand is said to print\n{prints}", self.command);
    }

    /// Returns it with other words in the place of some.
    pub fn with(&self, words: &[(&str, &str)]) -> Self {
        let replaced = |text: &String| words.iter().fold(text.clone(), |text, (from, to)| text.replace(from, to));
        Self { command: replaced(&self.command), prints: self.prints.iter().map(replaced).collect() }
    }
}

/// Returns the examples of a page of which the sessions are marked with `needs`: ```` ```console NEEDS ````.
pub fn examples_of(page: &str, needs: &str) -> Vec<Example> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).expect("the page");
    let head = format!("console {needs}\n");
    let blocks = text.split("\n```").skip(1).step_by(2).filter_map(|block| block.strip_prefix(&head));
    let examples: Vec<Example> = blocks.flat_map(session).collect();
    assert!(!examples.is_empty(), "{page} has no session that needs {needs}");
    examples
}

/// Returns the examples of a session.
pub fn session(body: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    for line in body.lines() {
        match (line.strip_prefix("# "), examples.last_mut()) {
            (Some(command), _) => examples.push(Example { command: command.to_owned(), prints: Vec::new() }),
            (None, Some(example)) => example.prints.push(line.to_owned()),
            _ => panic!("a session begins with a command: {line}"),
        }
    }
    examples
}

/// Returns a line without what differs from one run to the next.
fn masked(line: &str) -> String {
    let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let is_took = words.first().is_some_and(|word| word == "took");
    for at in 0..words.len() {
        if at > 0
            && (words[at - 1] == "in" || words[at - 1] == "(process")
            && words[at].starts_with(|c: char| c.is_ascii_digit())
        {
            words[at] = "N".to_owned();
            if words.get(at + 1).is_some_and(|unit| unit.starts_with("ms") || unit.starts_with('s')) {
                words[at + 1] = words[at + 1].trim_start_matches('m').to_owned();
            }
        }
        if is_took && words[at].contains("202") {
            words[at] = words[at].split("202").next().unwrap_or_default().to_owned() + "DATE";
        }
    }
    words.join(" ")
}

/// Tells whether what was printed is what is written.
pub fn is_like(written: &[String], printed: &str) -> bool {
    let printed: Vec<String> = printed.lines().map(masked).collect();
    let written: Vec<String> = written.iter().map(|line| masked(line)).collect();
    if written.iter().any(|line| line == "...") {
        return true;
    }
    written.len() == printed.len()
        && written.iter().zip(&printed).all(|(written, printed)| match written.strip_suffix("...") {
            Some(beginning) => printed.starts_with(beginning.trim_end()),
            None => written == printed,
        })
}

//! The source text of the crate as tokens: paths that are written in it, and what of it is tests.
//!
//! Comments, strings, characters and lifetimes are left out. Macros are not expanded.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One source file: its path below the crate, and its text.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

pub(crate) fn load_sources() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src")];
    let mut paths: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths
        .into_iter()
        .map(|path| File {
            path: path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(),
            text: std::fs::read_to_string(&path).unwrap(),
        })
        .collect()
}

/// Returns the modules in files of their own that are declared under `#[cfg(test)]`, as paths without `.rs`.
pub(crate) fn test_files(files: &[File]) -> BTreeSet<String> {
    files.iter().flat_map(|file| read(file).test_files).collect()
}

/// Tells whether `path` is one of `tests` (paths without `.rs`) or lies below one.
pub(crate) fn is_test_file(path: &str, tests: &BTreeSet<String>) -> bool {
    let module = module_path(path);
    (1..=module.len()).any(|depth| tests.contains(&module[..depth].join("/")))
}

/// Returns the room that a file belongs to: the first part of its path below `src`.
pub(crate) fn room_of(path: &str) -> &str {
    let below = path.strip_prefix("src/").unwrap_or(path);
    let first = below.split('/').next().unwrap_or(below);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// Returns the names of the module that a file is, from the crate's root; empty for the root itself.
pub(crate) fn module_path(path: &str) -> Vec<String> {
    let below = path.strip_prefix("src/").unwrap_or(path);
    let below = below.strip_suffix(".rs").unwrap_or(below);
    let mut names: Vec<String> = below.split('/').map(str::to_owned).collect();
    if names.last().is_some_and(|name| name == "mod") || below == "lib" || below == "main" {
        names.pop();
    }
    names
}

/// What the check wants to know of one file.
pub(crate) struct Read {
    /// Every path outside of tests, with `use` groups written out and `self` and `super` resolved to `crate`.
    pub(crate) mentions: Vec<Mention>,
    /// Modules in files of their own that are declared under `#[cfg(test)]`: `store/tests`.
    pub(crate) test_files: Vec<String>,
}

pub(crate) struct Mention {
    pub(crate) line: usize,
    pub(crate) path: Vec<String>,
}

pub(crate) fn read(file: &File) -> Read {
    let module = module_path(&file.path);
    let (tokens, test_modules) = without_tests(&tokenize(&file.text));
    let test_files = test_modules.into_iter().map(|name| [module.as_slice(), &[name]].concat().join("/")).collect();
    let mut mentions = Vec::new();
    // The modules around this place, and at which depth of braces each inner one was opened.
    let mut around = module;
    let mut opened: Vec<usize> = Vec::new();
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let text = token.text.as_str();
        match text {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                if opened.last() == Some(&depth) {
                    opened.pop();
                    around.pop();
                }
            }
            "mod" => {
                let name = tokens.get(at + 1).map_or("", |token| token.text.as_str()).to_owned();
                mentions.push(Mention { line: token.line, path: vec!["mod".to_owned(), name.clone()] });
                if tokens.get(at + 2).is_some_and(|token| token.text == "{") {
                    opened.push(depth);
                    around.push(name);
                }
                at += 2;
                continue;
            }
            _ if is_name(text)
                && !at.checked_sub(1).is_some_and(|before| matches!(tokens[before].text.as_str(), "." | "::")) =>
            {
                // `pub(crate)` and `pub(super)` name nobody.
                let in_brackets =
                    at > 0 && tokens[at - 1].text == "(" && tokens.get(at + 1).is_some_and(|t| t.text == ")");
                let mut paths = Vec::new();
                at = read_path(&tokens, at, &mut Vec::new(), &mut paths);
                if !(in_brackets && matches!(text, "crate" | "super" | "self")) {
                    mentions
                        .extend(paths.into_iter().map(|m| Mention { line: m.line, path: resolve(&around, m.path) }));
                }
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    Read { mentions, test_files }
}

/// Returns the tokens of `file` outside of tests.
pub(crate) fn tokens_of(file: &File) -> Vec<Token> {
    without_tests(&tokenize(&file.text)).0
}

/// Reads the path that begins at `at`, with its groups, appends each way through it, and returns the place after it.
fn read_path(tokens: &[Token], mut at: usize, prefix: &mut Vec<String>, out: &mut Vec<Mention>) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let length = prefix.len();
    let line = tokens[at].line;
    loop {
        prefix.push(text(at).to_owned());
        at += 1;
        if text(at) != "::" {
            break;
        }
        if text(at + 1) == "{" {
            at += 2;
            while at < tokens.len() && text(at) != "}" {
                if is_name(text(at)) || text(at) == "*" {
                    at = read_path(tokens, at, prefix, out);
                }
                // What may follow a path in a group: `as name`, and the comma.
                while at < tokens.len() && !matches!(text(at), "," | "}") {
                    at += 1;
                }
                if text(at) == "," {
                    at += 1;
                }
            }
            prefix.truncate(length);
            return at + 1;
        }
        if !is_name(text(at + 1)) && text(at + 1) != "*" {
            break;
        }
        at += 1;
    }
    let mut path = prefix.clone();
    if text(at) == "!" && matches!(text(at + 1), "(" | "[" | "{") {
        path.last_mut().expect("a path has a name").push('!');
    }
    out.push(Mention { line, path });
    prefix.truncate(length);
    at
}

/// Returns `path` from the crate's root if it begins with `self` or `super`, else as it is.
fn resolve(around: &[String], path: Vec<String>) -> Vec<String> {
    if !matches!(path[0].as_str(), "self" | "super") {
        return path;
    }
    let steps = path.iter().take_while(|part| matches!(part.as_str(), "self" | "super")).count();
    let up = path[..steps].iter().filter(|part| *part == "super").count();
    let base = &around[..around.len().saturating_sub(up)];
    [&["crate".to_owned()], base, &path[steps..]].concat()
}

/// A name, a number, `::` or one other character.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) text: String,
}

pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Returns the tokens of `text` without comments, strings, characters and lifetimes.
fn tokenize(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let get = |at: usize| chars.get(at).copied().unwrap_or('\0');
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while at < chars.len() {
        let start = at;
        let mut token = None;
        match chars[at] {
            '/' if get(at + 1) == '/' => {
                while at < chars.len() && chars[at] != '\n' {
                    at += 1;
                }
            }
            '/' if get(at + 1) == '*' => {
                let mut depth = 0;
                while at < chars.len() {
                    match (get(at), get(at + 1)) {
                        ('/', '*') => (depth, at) = (depth + 1, at + 2),
                        ('*', '/') => (depth, at) = (depth - 1, at + 2),
                        _ => at += 1,
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
            '"' => at = after_string(&chars, at),
            '\'' if get(at + 1) == '\\' || get(at + 2) == '\'' => at = after_character(&chars, at),
            '\'' => {
                at += 1;
                while is_part(get(at)) {
                    at += 1;
                }
            }
            c if is_part(c) => {
                while is_part(get(at)) {
                    at += 1;
                }
                let name: String = chars[start..at].iter().collect();
                let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
                let is_raw = matches!(name.as_str(), "r" | "br" | "cr");
                if is_raw && get(at + hashes) == '"' {
                    at = after_raw_string(&chars, at + hashes + 1, hashes);
                } else if matches!(name.as_str(), "b" | "c") && get(at) == '"' {
                    at = after_string(&chars, at);
                } else if name == "b" && get(at) == '\'' {
                    at = after_character(&chars, at);
                } else if name == "r" && hashes == 1 {
                    // A raw name: `r#type`. The name itself is the next token.
                    at += 1;
                } else {
                    token = Some(name);
                }
            }
            ':' if get(at + 1) == ':' => {
                at += 2;
                token = Some("::".to_owned());
            }
            c => {
                at += 1;
                token = (!c.is_whitespace()).then(|| c.to_string());
            }
        }
        tokens.extend(token.map(|text| Token { line, text }));
        line += chars[start..at.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn after_string(chars: &[char], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn after_raw_string(chars: &[char], mut at: usize, hashes: usize) -> usize {
    while at < chars.len() {
        let closing = chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count();
        at += 1;
        if chars[at - 1] == '"' && closing == hashes {
            return at + hashes;
        }
    }
    at
}

fn after_character(chars: &[char], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < chars.len() && chars[at] != '\'' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// Returns `tokens` without what stands under `#[test]` or `#[cfg(test)]`, and the names of modules in
/// other files that are declared there.
fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<String>) {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut kept = Vec::new();
    let mut modules = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_inner = text(at) == "#" && text(at + 1) == "!" && text(at + 2) == "[";
        let is_outer = text(at) == "#" && text(at + 1) == "[";
        if !is_inner && !is_outer {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let open = if is_inner { at + 2 } else { at + 1 };
        let end = after_group(tokens, open);
        let words: Vec<&str> = tokens[open + 1..end].iter().map(|token| token.text.as_str()).collect();
        if !matches!(words.as_slice(), ["test", "]"] | ["cfg", "(", "test", ..] | ["cfg", "(", "all", "(", "test", ..])
        {
            kept.extend_from_slice(&tokens[at..end]);
            at = end;
            continue;
        }
        if is_inner {
            return (Vec::new(), modules);
        }
        at = end;
        while text(at) == "#" && text(at + 1) == "[" {
            at = after_group(tokens, at + 1);
        }
        let mut item = at;
        while matches!(text(item), "pub") {
            item = if text(item + 1) == "(" { after_group(tokens, item + 1) } else { item + 1 };
        }
        if text(item) == "mod" && text(item + 2) == ";" {
            modules.push(text(item + 1).to_owned());
        }
        at = after_item(tokens, at);
    }
    (kept, modules)
}

/// Returns the place after the bracket that closes the one at `open`.
fn after_group(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// Returns the place after the item, field or arm that begins at `at`.
///
/// An item ends with its braces or a semicolon; a field or an arm, which begins with no keyword, also
/// with a comma. A `use` goes on after its braces, up to the semicolon.
fn after_item(tokens: &[Token], mut at: usize) -> usize {
    const KEYWORDS: &[&str] = &[
        "pub",
        "mod",
        "use",
        "fn",
        "impl",
        "struct",
        "enum",
        "union",
        "trait",
        "type",
        "const",
        "static",
        "unsafe",
        "async",
        "extern",
        "let",
        "macro_rules",
    ];
    let is_item = tokens.get(at).is_some_and(|token| KEYWORDS.contains(&token.text.as_str()));
    let is_use = tokens.get(at).is_some_and(|token| token.text == "use");
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            ";" => return at + 1,
            "," if !is_item => return at + 1,
            "{" if !is_use => return after_group(tokens, at),
            "(" | "[" | "{" => at = after_group(tokens, at),
            ")" | "]" | "}" => return at,
            _ => at += 1,
        }
    }
    at
}

//! A line that is typed at a terminal: edited with the keys that every shell has, completed, and called back from the past.
//!
//! Promises: the line is shown on the terminal's last line, cut to its width around the cursor; every byte that a terminal would obey is
//! written out. The terminal is as it was between lines.

use crate::model::printable;
use crate::sys::terminal::RawInput;
use console::{Key, Term, measure_text_width};
use std::io;

/// What was typed.
pub(super) enum Typed {
    /// A line.
    Line(String),
    /// It was given up (Ctrl-C).
    GivenUp,
    /// The end (Ctrl-D).
    End,
}

/// Bytes of a line at most; what is pasted beyond is left out.
const BYTES_MAX: usize = 1 << 20;
const CTRL_D: char = '\x04';
const CTRL_K: char = '\x0b';
const CTRL_L: char = '\x0c';
const CTRL_U: char = '\x15';
const CTRL_W: char = '\x17';

struct Line {
    /// Before and after the cursor.
    left: String,
    right: String,
}

impl Line {
    fn set(&mut self, text: &str) {
        text.clone_into(&mut self.left);
        self.right.clear();
    }

    fn text(&self) -> String {
        [self.left.as_str(), &self.right].concat()
    }

    fn move_left(&mut self) {
        if let Some(c) = self.left.pop() {
            self.right.insert(0, c);
        }
    }

    fn move_right(&mut self) {
        if !self.right.is_empty() {
            let c = self.right.remove(0);
            self.left.push(c);
        }
    }

    /// Removes the word before the cursor.
    fn cut_word(&mut self) {
        let end = self.left.trim_end().rfind(char::is_whitespace).map_or(0, |at| at + 1);
        self.left.truncate(end);
    }
}

/// Reads a line; `past` is what Up calls back, and `complete` says how the word that ends the text before the cursor can go on.
pub(super) fn read(
    term: &Term,
    prompt: &str,
    past: &[String],
    complete: &dyn Fn(&str) -> Vec<String>,
) -> io::Result<Typed> {
    let _raw = RawInput::begin()?;
    let mut line = Line { left: String::new(), right: String::new() };
    // Where in the past it is, and what was typed before going there.
    let (mut place, mut typed) = (past.len(), String::new());
    loop {
        show(term, prompt, &line)?;
        match key(term)? {
            None => {
                end(term)?;
                return Ok(Typed::End);
            }
            Some(Key::CtrlC) => {
                end(term)?;
                return Ok(Typed::GivenUp);
            }
            Some(Key::Enter) => {
                line.set(&line.text());
                show(term, prompt, &line)?;
                end(term)?;
                return Ok(Typed::Line(line.left));
            }
            Some(Key::Char(CTRL_D)) if line.left.is_empty() && line.right.is_empty() => {
                end(term)?;
                return Ok(Typed::End);
            }
            Some(Key::Char(CTRL_D) | Key::Del) => {
                if !line.right.is_empty() {
                    line.right.remove(0);
                }
            }
            Some(Key::Backspace) => drop(line.left.pop()),
            Some(Key::ArrowLeft) => line.move_left(),
            Some(Key::ArrowRight) => line.move_right(),
            Some(Key::Home) => {
                line.right = line.text();
                line.left.clear();
            }
            Some(Key::End) => line.set(&line.text()),
            Some(Key::ArrowUp) if place > 0 => {
                if place == past.len() {
                    typed = line.text();
                }
                place -= 1;
                line.set(&past[place]);
            }
            Some(Key::ArrowDown) if place < past.len() => {
                place += 1;
                line.set(past.get(place).unwrap_or(&typed));
            }
            Some(Key::Tab) => go_on(term, &mut line, complete)?,
            Some(Key::Char(CTRL_K)) => line.right.clear(),
            Some(Key::Char(CTRL_U)) => line.left.clear(),
            Some(Key::Char(CTRL_W)) => line.cut_word(),
            Some(Key::Char(CTRL_L)) => term.clear_screen()?,
            Some(Key::Char(c)) if !c.is_control() && line.left.len() + line.right.len() < BYTES_MAX => {
                line.left.push(c)
            }
            Some(_) => {}
        }
    }
}

/// Returns the next key; none: the terminal is gone.
fn key(term: &Term) -> io::Result<Option<Key>> {
    match term.read_key_raw() {
        Ok(key) => Ok(Some(key)),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        // EIO: nobody is at the other end.
        Err(e) if e.raw_os_error() == Some(5) => Ok(None),
        Err(e) => Err(e),
    }
}

fn end(term: &Term) -> io::Result<()> {
    term.write_line("")
}

/// Completes the word before the cursor as far as all its completions agree; where that is no further, lists them.
fn go_on(term: &Term, line: &mut Line, complete: &dyn Fn(&str) -> Vec<String>) -> io::Result<()> {
    let word = word_of(&line.left).len();
    let found = complete(&line.left);
    let Some(first) = found.first() else { return Ok(()) };
    let common = found.iter().fold(first.len(), |length, other| {
        let same = first.bytes().zip(other.bytes()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
        length.min(same)
    });
    if common > word || found.len() == 1 {
        line.left.truncate(line.left.len() - word);
        line.left.push_str(&first[..common]);
        if found.len() == 1 {
            line.left.push(' ');
        }
    } else {
        end(term)?;
        let shown: Vec<_> = found.iter().map(|text| printable(text)).collect();
        term.write_line(&shown.join("  "))?;
    }
    Ok(())
}

/// Returns the word that ends a text: what a name of SQL can be.
pub(super) fn word_of(text: &str) -> &str {
    let begin = text
        .rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .map_or(0, |at| at + text[at..].chars().next().map_or(0, char::len_utf8));
    &text[begin..]
}

fn show(term: &Term, prompt: &str, line: &Line) -> io::Result<()> {
    let width = usize::from(term.size().1).max(prompt.len() + 8);
    let (left, right) = (printable(&line.left), printable(&line.right));
    let left = last_columns(&left, width - prompt.len() - 2);
    let right = first_columns(&right, width - prompt.len() - 1 - measure_text_width(left));
    let back = measure_text_width(right);
    let back = if back > 0 { format!("\x1b[{back}D") } else { String::new() };
    term.write_str(&format!("\r{prompt}{left}{right}\x1b[K{back}"))?;
    term.flush()
}

/// Returns the end of a text that takes so many columns at most.
fn last_columns(text: &str, columns: usize) -> &str {
    let (mut at, mut used) = (text.len(), 0);
    for (begin, c) in text.char_indices().rev() {
        used += measure_text_width(&text[begin..begin + c.len_utf8()]);
        if used > columns {
            break;
        }
        at = begin;
    }
    &text[at..]
}

/// Returns the beginning of a text that takes so many columns at most.
fn first_columns(text: &str, columns: usize) -> &str {
    let mut used = 0;
    for (begin, c) in text.char_indices() {
        used += measure_text_width(&text[begin..begin + c.len_utf8()]);
        if used > columns {
            return &text[..begin];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_to_its_columns_and_a_word_is_what_a_name_can_be() {
        assert_eq!((last_columns("abcdef", 3), first_columns("abcdef", 3)), ("def", "abc"));
        assert_eq!((last_columns("a中文", 3), first_columns("中文a", 3)), ("文", "中"));
        assert_eq!(last_columns("ab", 9), "ab");
        assert_eq!(
            [word_of("SELECT pa"), word_of("f.pa"), word_of("ü"), word_of("(ver_1"), word_of("a ")],
            ["pa", "pa", "", "ver_1", ""]
        );
    }
}

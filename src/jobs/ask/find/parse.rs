//! The words of find(1), read into an expression.
//!
//! Promises: the tests, operators and their precedence are find's; what is not known is refused by name, and nothing is guessed. What a
//! word means that names a user, a date or another entry is asked of [`World`].

use super::expression::{Amount, Expression, Is, ModeTest, Test};
use super::format::Format;
use super::glob::{Glob, Regex};
use crate::model::{Kind, Timestamp};

/// Words of an expression at most: each may be a level of its own, which is gone into.
const WORDS_MAX: usize = 2000;

/// What words refer to.
pub struct World<'w> {
    /// What ages are counted from.
    pub now: Timestamp,
    /// The number of a user.
    pub user: &'w dyn Fn(&str) -> Option<u32>,
    /// The number of a group.
    pub group: &'w dyn Fn(&str) -> Option<u32>,
    /// The instant that a date begins with.
    pub instant: &'w dyn Fn(&str) -> Result<Timestamp, String>,
    /// The mtime of another entry.
    pub mtime: &'w dyn Fn(&[u8]) -> Result<Timestamp, String>,
}

/// What words ask for.
#[derive(Debug)]
pub struct Asked {
    /// What has to hold.
    pub expression: Expression,
    /// Levels below the start that are looked at, at most.
    pub depth_max: usize,
    /// Levels below the start that are left out.
    pub depth_min: usize,
    /// How what is found is printed, if that is said.
    pub format: Option<Format>,
}

impl Asked {
    /// Returns what everything fulfils.
    pub fn everything() -> Self {
        Self { expression: Expression::True, depth_max: usize::MAX, depth_min: 0, format: None }
    }
}

/// Reads words.
///
/// # Errors
/// What is wrong with them.
pub fn parse(words: &[Vec<u8>], world: &World<'_>) -> Result<Asked, String> {
    if words.len() > WORDS_MAX {
        return Err(format!("an expression of {} words is too long: at most {WORDS_MAX} are read", words.len()));
    }
    let mut parser =
        Parser { words, at: 0, world, depth_max: usize::MAX, depth_min: 0, format: None, level: 0, ors: false };
    if words.is_empty() {
        return Ok(Asked::everything());
    }
    let expression = parser.any()?;
    if let Some(word) = parser.words.get(parser.at) {
        return Err(match word.as_slice() {
            b")" => "there is a ) without a (".to_owned(),
            word => format!("{} stands where nothing is expected any more", shown(word)),
        });
    }
    if parser.ors && parser.format.is_some() {
        return Err("with -o, write parentheses around what is searched for: \\( A -o B \\) -print0".to_owned());
    }
    Ok(Asked { expression, depth_max: parser.depth_max, depth_min: parser.depth_min, format: parser.format })
}

struct Parser<'w> {
    words: &'w [Vec<u8>],
    at: usize,
    world: &'w World<'w>,
    depth_max: usize,
    depth_min: usize,
    format: Option<Format>,
    /// In so many parentheses.
    level: usize,
    /// Whether there is an `or` outside of them.
    ors: bool,
}

fn shown(word: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(word))
}

impl Parser<'_> {
    fn peek(&self) -> Option<&[u8]> {
        self.words.get(self.at).map(Vec::as_slice)
    }

    fn any(&mut self) -> Result<Expression, String> {
        let mut whole = self.all()?;
        while matches!(self.peek(), Some(b"-o" | b"-or")) {
            self.at += 1;
            self.ors |= self.level == 0;
            whole = Expression::Or(Box::new(whole), Box::new(self.all()?));
        }
        Ok(whole)
    }

    fn all(&mut self) -> Result<Expression, String> {
        let mut whole = self.one()?;
        loop {
            match self.peek() {
                None | Some(b"-o" | b"-or" | b")") => return Ok(whole),
                Some(b"-a" | b"-and") => self.at += 1,
                Some(_) => {}
            }
            whole = Expression::And(Box::new(whole), Box::new(self.one()?));
        }
    }

    fn one(&mut self) -> Result<Expression, String> {
        let Some(word) = self.words.get(self.at) else {
            return Err("a test is missing at the end".to_owned());
        };
        self.at += 1;
        match word.as_slice() {
            b"!" | b"-not" => Ok(Expression::Not(Box::new(self.one()?))),
            b"(" => {
                self.level += 1;
                let inner = self.any()?;
                self.level -= 1;
                if self.peek() != Some(b")") {
                    return Err("a ( has no )".to_owned());
                }
                self.at += 1;
                Ok(inner)
            }
            b"-true" => Ok(Expression::True),
            b"-false" => Ok(Expression::Not(Box::new(Expression::True))),
            b"-maxdepth" => self.depth().map(|depth| self.depth_max = depth).map(|()| Expression::True),
            b"-mindepth" => self.depth().map(|depth| self.depth_min = depth).map(|()| Expression::True),
            b"-print" => self.action(Format::print()),
            b"-print0" => self.action(Format::print0()),
            b"-printf" => {
                let format = Format::parse(&self.value("-printf")?)?;
                self.action(format)
            }
            word => {
                let name = String::from_utf8_lossy(word).into_owned();
                self.test(&name).map(|is| Expression::Test(Test(is)))
            }
        }
    }

    fn action(&mut self, format: Format) -> Result<Expression, String> {
        if self.at < self.words.len() || self.format.is_some() {
            return Err("-print, -print0 or -printf stands once, at the end".to_owned());
        }
        self.format = Some(format);
        Ok(Expression::True)
    }

    fn value(&mut self, name: &str) -> Result<Vec<u8>, String> {
        let value = self.words.get(self.at).ok_or_else(|| format!("{name} needs a value"))?;
        self.at += 1;
        Ok(value.clone())
    }

    fn text(&mut self, name: &str) -> Result<String, String> {
        String::from_utf8(self.value(name)?).map_err(|_| format!("the value of {name} is not UTF-8"))
    }

    fn depth(&mut self) -> Result<usize, String> {
        let text = self.text("-maxdepth")?;
        text.parse().map_err(|_| format!("{text:?} is not a number of levels"))
    }

    fn test(&mut self, name: &str) -> Result<Is, String> {
        Ok(match name {
            "-name" => Is::Name(Glob::new(&self.value(name)?, false)),
            "-iname" => Is::Name(Glob::new(&self.value(name)?, true)),
            "-path" | "-wholename" => Is::Path(Glob::new(&self.value(name)?, false)),
            "-ipath" | "-iwholename" => Is::Path(Glob::new(&self.value(name)?, true)),
            "-regex" | "-iregex" => {
                let text = self.text(name)?;
                let regex = Regex::new(&text, name == "-iregex");
                Is::Matching(Box::new(regex.map_err(|e| format!("{text:?} is not a regular expression: {e}"))?))
            }
            "-size" => size(&self.text(name)?)?,
            "-mtime" => self.age(name, 86_400)?,
            "-mmin" => self.age(name, 60)?,
            "-newer" => Is::Newer((self.world.mtime)(&self.value(name)?)?),
            "-newermt" => Is::Newer((self.world.instant)(&self.text(name)?)?),
            "-user" => Is::User(self.who(name, self.world.user)?),
            "-uid" => Is::User(amount(&self.text(name)?)?),
            "-group" => Is::Group(self.who(name, self.world.group)?),
            "-gid" => Is::Group(amount(&self.text(name)?)?),
            "-links" => Is::Links(amount(&self.text(name)?)?),
            "-type" => Is::Types(kinds(&self.text(name)?)?),
            "-perm" => Is::Mode(mode(&self.text(name)?)?),
            "-empty" => Is::Empty,
            "-xattr" => Is::Xattr(self.value(name)?),
            "-acl" => Is::Acl,
            name => return Err(format!("{name:?} is not a test of asof find")),
        })
    }

    fn age(&mut self, name: &str, unit_s: i64) -> Result<Is, String> {
        Ok(Is::Age { amount: amount(&self.text(name)?)?, unit_s, now: self.world.now })
    }

    fn who(&mut self, name: &str, known: &dyn Fn(&str) -> Option<u32>) -> Result<Amount, String> {
        let text = self.text(name)?;
        match known(&text) {
            Some(number) => Ok(Amount::Exactly(i128::from(number))),
            None => amount(&text).map_err(|_| format!("{text:?} is neither known on this machine nor a number")),
        }
    }
}

/// Reads `n`, `+n` or `-n`.
fn amount(text: &str) -> Result<Amount, String> {
    let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse::<i128>().ok().filter(|n| *n <= i128::from(i64::MAX)),
        false => None,
    };
    let read = match text.as_bytes() {
        [b'+', ..] => number(&text[1..]).map(Amount::More),
        [b'-', ..] => number(&text[1..]).map(Amount::Less),
        _ => number(text).map(Amount::Exactly),
    };
    read.ok_or_else(|| format!("{text:?} is not a number: write n, +n or -n"))
}

fn size(text: &str) -> Result<Is, String> {
    let (number, unit) = match text.as_bytes().last() {
        Some(b'c') => (&text[..text.len() - 1], 1),
        Some(b'w') => (&text[..text.len() - 1], 2),
        Some(b'b') => (&text[..text.len() - 1], 512),
        Some(b'k') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M') => (&text[..text.len() - 1], 1 << 20),
        Some(b'G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 512),
    };
    match amount(number) {
        Ok(amount) => Ok(Is::Size { amount, unit }),
        Err(_) => Err(format!("{text:?} is not a size: write a number and c, w, b, k, M or G")),
    }
}

fn kinds(text: &str) -> Result<Vec<Kind>, String> {
    let kind = |letter: &str| match letter {
        "f" => Ok(Kind::File),
        "d" => Ok(Kind::Directory),
        "l" => Ok(Kind::Symlink),
        "p" => Ok(Kind::Fifo),
        "s" => Ok(Kind::Socket),
        "c" => Ok(Kind::CharDevice),
        "b" => Ok(Kind::BlockDevice),
        letter => Err(format!("{letter:?} is not a type: write f, d, l, p, s, c, b, with commas between several")),
    };
    text.split(',').map(kind).collect()
}

fn mode(text: &str) -> Result<ModeTest, String> {
    let bits = |text: &str| {
        let octal = u32::from_str_radix(text, 8).ok().filter(|bits| *bits <= 0o7777 && !text.starts_with('+'));
        octal.or_else(|| letters(text)).ok_or_else(|| {
            format!("{text:?} is not a mode: write octal digits, or letters as chmod has them (u+rw,o=r)")
        })
    };
    match text.as_bytes() {
        [b'-', ..] => bits(&text[1..]).map(ModeTest::All),
        [b'/', ..] => bits(&text[1..]).map(ModeTest::Any),
        _ => bits(text).map(ModeTest::Exactly),
    }
}

/// Reads a mode as chmod(1) does, beginning with no right; without an umask, as find(1).
fn letters(text: &str) -> Option<u32> {
    let mut mode = 0;
    for clause in text.split(',') {
        let who = clause.find(['+', '-', '=']).filter(|end| clause[..*end].chars().all(|c| "ugoa".contains(c)))?;
        let class = |letter: char, bits: u32| if clause[..who].contains(letter) { bits } else { 0 };
        let classes = match class('u', 0o4700) | class('g', 0o2070) | class('o', 0o1007) | class('a', 0o7777) {
            0 => 0o7777,
            some => some,
        };
        let mut rest = &clause[who..];
        while let Some(sign) = rest.chars().next() {
            let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |at| at + 1);
            let shift = |mode: u32, by: u32| (mode >> by & 7) * 0o111;
            let mut bits = 0;
            for letter in rest[1..end].chars() {
                bits |= match letter {
                    'r' => 0o444,
                    'w' => 0o222,
                    'x' => 0o111,
                    // Of a mode without rights, that of no directory.
                    'X' => {
                        if mode & 0o111 == 0 {
                            0
                        } else {
                            0o111
                        }
                    }
                    's' => 0o6000,
                    't' => 0o1000,
                    'u' => shift(mode, 6),
                    'g' => shift(mode, 3),
                    'o' => shift(mode, 0),
                    _ => return None,
                };
            }
            bits &= classes;
            mode = match sign {
                '+' => mode | bits,
                '-' => mode & !bits,
                _ => mode & !classes | bits,
            };
            rest = &rest[end..];
        }
    }
    Some(mode)
}

//! Dates that are events: `@before-delete:PATH` is the last generation that has PATH, before it was gone.
//!
//! Promises: in a name a slash is `%2f`, and `%` is `%25`; any byte may be written so. At the top a path begins with its source and a
//! colon. Who may not come to PATH in that generation is told what he is told of a path that never was; as a name has no directories that
//! a kernel could ask about, that is decided here, and who may be let in or not is not ([`Caller`]). Nothing is kept of what is not there.

use super::caller::Caller;
use super::snapshot::Snapshot;
use super::{Error, Looked, Tree, Ttl, Xattrs};
use crate::model::{RelPath, SourceId, Time};

/// What such a name begins with.
const BEFORE_DELETE: &[u8] = b"@before-delete:";

/// Tells whether a name is that of an event.
pub(super) fn is_event(name: &[u8]) -> bool {
    name.starts_with(BEFORE_DELETE)
}

impl Tree {
    /// Returns the view that an event in the history of `source`, or of the one that the name tells, means.
    pub(super) fn lookup_event(
        &self,
        snapshot: &Snapshot,
        source: Option<SourceId>,
        name: &[u8],
        caller: Caller,
    ) -> Result<Looked, Error> {
        match self.event_meant(snapshot, source, name, caller)? {
            Some(at) => self.show_instant(snapshot, source, name, at, Ttl::None),
            None => Ok(Looked::Missing(Ttl::Short)),
        }
    }

    fn event_meant(
        &self,
        snapshot: &Snapshot,
        source: Option<SourceId>,
        name: &[u8],
        caller: Caller,
    ) -> Result<Option<Time>, Error> {
        let asked = name.strip_prefix(BEFORE_DELETE).and_then(unescaped);
        let Some(asked) = asked else { return Ok(None) };
        let (found, path) = match source {
            Some(id) => (snapshot.source(id), asked.as_slice()),
            None => match asked.iter().position(|byte| *byte == b':') {
                Some(colon) => (snapshot.source_named(&asked[..colon]), &asked[colon + 1..]),
                None => return Ok(None),
            },
        };
        let (Some(found), Ok(path)) = (found, RelPath::parse(path)) else { return Ok(None) };
        if !caller.is_let_in(&found.visible_to) {
            return Ok(None);
        }
        let scope = self.scope(snapshot, found.id)?;
        let at = self.readers.with(|reader| reader.last_before_deletion(&scope, &path))?;
        match at {
            Some(at) if self.may_come_to(caller, (scope.source.root, &path), at)? => Ok(Some(at)),
            _ => Ok(None),
        }
    }

    /// Tells whether a caller may pass through all directories above a path.
    fn may_come_to(
        &self,
        caller: Caller,
        (root, path): (crate::model::NodeId, &RelPath),
        at: Time,
    ) -> Result<bool, Error> {
        if caller.uid == Caller::ROOT.uid {
            return Ok(true);
        }
        let above = self.readers.with(|reader| -> Result<_, Error> {
            let (mut here, mut above) = (root, Vec::new());
            for name in path.names() {
                above.push(reader.perm(reader.known_node(here, at)?.perm)?);
                match reader.lookup(here, name, at)? {
                    Some((next, _)) => here = next,
                    None => return Ok(None),
                }
            }
            Ok(Some(above))
        })?;
        for perm in above.iter().flatten() {
            if !caller.may_pass(perm, self.has_acl(Xattrs(perm.xattr))?) {
                return Ok(false);
            }
        }
        Ok(above.is_some())
    }
}

/// Returns the bytes that a part of a name stands for; none if a `%` is not followed by the two digits of one.
fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, others) = rest.split_at_checked(2)?;
        rest = others;
        let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|d| d.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_byte_can_be_written_in_a_name_and_what_is_cut_off_is_none() {
        assert_eq!(unescaped(b"alice%2fx%2Fy").unwrap(), b"alice/x/y");
        assert_eq!(unescaped(b"100%25%0a\xff").unwrap(), b"100%\n\xff");
        for cut in [&b"%"[..], b"a%2", b"%zz", b"%+1", b"%2\xc3\xa9"] {
            assert_eq!(unescaped(cut), None);
        }
    }
}

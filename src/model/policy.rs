//! What is wanted of a source and no kind of source reads: JSON, kept with the source.
//!
//! Promises: what is not known here stays as it is. Never checks whether a folder is there.

use serde_json::{Map, Value, json};
use std::fmt;
use std::path::PathBuf;

/// Who may go into a source in a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Whomever the modes and ACLs of the day let in.
    Modes,
    /// Root alone: its numbers of users and groups mean others than those of this machine.
    Root,
    /// Root and the members of a group; what is below is for the modes to say.
    Group {
        /// The group, by which it goes.
        gid: u32,
        /// What it was called when it was chosen.
        name: String,
    },
}

const MANIFESTS_APART: &str = "manifests_apart";
const VISIBLE_TO: &str = "visible_to";

impl Visibility {
    /// Returns who is let in by the policy `text` of a source. What is not understood lets in root alone.
    pub fn of_policy(text: &str) -> Self {
        let Ok(Value::Object(map)) = serde_json::from_str(text) else { return Self::Root };
        let Some(value) = map.get(VISIBLE_TO) else { return Self::Modes };
        let gid = value.get("gid").and_then(Value::as_u64).and_then(|gid| u32::try_from(gid).ok());
        match (gid, value.get("group").and_then(Value::as_str)) {
            (Some(gid), Some(name)) => Self::Group { gid, name: name.to_owned() },
            _ => Self::Root,
        }
    }
}

impl fmt::Display for Visibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Modes => f.write_str("modes"),
            Self::Root => f.write_str("root"),
            Self::Group { gid, name } if *name == gid.to_string() => write!(f, "group {gid}"),
            Self::Group { gid, name } => write!(f, "group {name} ({gid})"),
        }
    }
}

/// The wishes of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy(Map<String, Value>);

impl Policy {
    /// Returns the policy that `text` is; an empty one if it is none.
    pub fn parse(text: &str) -> Self {
        match serde_json::from_str(text) {
            Ok(Value::Object(map)) => Self(map),
            _ => Self::default(),
        }
    }

    /// Returns its text.
    pub fn to_json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    /// Returns the folder in which manifests of the source are kept a second time.
    pub fn manifests(&self) -> Option<PathBuf> {
        self.0.get("manifests")?.as_str().map(PathBuf::from)
    }

    /// Tells whether that folder was on another file system than the catalog when it was set.
    pub fn manifests_apart(&self) -> bool {
        self.0.get(MANIFESTS_APART).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Sets that folder, and whether it is on another file system than the catalog; none: there is none.
    pub fn set_manifests(&mut self, place: Option<(&str, bool)>) {
        self.0.remove(MANIFESTS_APART);
        match place {
            Some((folder, is_apart)) => {
                self.0.insert("manifests".to_owned(), Value::from(folder));
                if is_apart {
                    self.0.insert(MANIFESTS_APART.to_owned(), Value::from(true));
                }
            }
            None => drop(self.0.remove("manifests")),
        }
    }

    /// Sets who may go into the source in a mount.
    pub fn set_visible_to(&mut self, visible_to: &Visibility) {
        let value = match visible_to {
            Visibility::Modes => return drop(self.0.remove(VISIBLE_TO)),
            Visibility::Root => json!("root"),
            Visibility::Group { gid, name } => json!({ "gid": gid, "group": name }),
        };
        self.0.insert(VISIBLE_TO.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_stays() {
        let mut policy = Policy::parse(r#"{"keep":[7],"manifests":"/a"}"#);
        assert_eq!(policy.manifests(), Some(PathBuf::from("/a")));
        policy.set_manifests(Some(("/b", true)));
        assert_eq!(policy.to_json(), r#"{"keep":[7],"manifests":"/b","manifests_apart":true}"#);
        assert!(policy.manifests_apart());
        policy.set_manifests(Some(("/c", false)));
        assert_eq!(policy.to_json(), r#"{"keep":[7],"manifests":"/c"}"#);
        policy.set_manifests(None);
        assert_eq!(policy.to_json(), r#"{"keep":[7]}"#);
        assert_eq!(Policy::parse("[]").to_json(), "{}");
    }
    #[test]
    fn who_is_let_in_is_kept_and_what_is_not_understood_is_closed() {
        let staff = Visibility::Group { gid: 50, name: "staff".to_owned() };
        let mut policy = Policy::parse(r#"{"keep":[7]}"#);
        for (visible_to, text, words) in [
            (&staff, r#"{"keep":[7],"visible_to":{"gid":50,"group":"staff"}}"#, "group staff (50)"),
            (&Visibility::Root, r#"{"keep":[7],"visible_to":"root"}"#, "root"),
            (&Visibility::Modes, r#"{"keep":[7]}"#, "modes"),
        ] {
            policy.set_visible_to(visible_to);
            assert_eq!(policy.to_json(), text);
            assert_eq!(Visibility::of_policy(text), *visible_to);
            assert_eq!(visible_to.to_string(), words);
        }
        for damaged in
            ["", "[]", r#"{"visible_to":"all"}"#, r#"{"visible_to":{"gid":-1,"group":"x"}}"#, r#"{"visible_to":null}"#]
        {
            assert_eq!(Visibility::of_policy(damaged), Visibility::Root, "{damaged}");
        }
    }
}

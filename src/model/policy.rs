//! What is wanted of a source and no kind of source reads: JSON, kept with the source.
//!
//! Promises: what is not known here stays as it is. Never checks whether a folder is there.

use serde_json::{Map, Value};
use std::path::PathBuf;

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

    /// Sets that folder; none: there is none.
    pub fn set_manifests(&mut self, folder: Option<&str>) {
        match folder {
            Some(folder) => drop(self.0.insert("manifests".to_owned(), Value::from(folder))),
            None => drop(self.0.remove("manifests")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_stays() {
        let mut policy = Policy::parse(r#"{"keep":[7],"manifests":"/a"}"#);
        assert_eq!(policy.manifests(), Some(PathBuf::from("/a")));
        policy.set_manifests(Some("/b"));
        assert_eq!(policy.to_json(), r#"{"keep":[7],"manifests":"/b"}"#);
        policy.set_manifests(None);
        assert_eq!(policy.to_json(), r#"{"keep":[7]}"#);
        assert_eq!(Policy::parse("[]").to_json(), "{}");
    }
}

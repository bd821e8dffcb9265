//! The list of kinds: the only place but `model::SourceKind` that names all of them.
//! What differs between them is in their descriptions.

use super::{Description, Error, Source, block, gluster, nfs};
use crate::model::SourceKind;
use jiff::tz::TimeZone;
use std::path::PathBuf;

/// Returns the kind that `word` names, which the catalog keeps with the source of this name.
///
/// # Errors
/// [`Error::UnknownKind`].
pub fn kind_of(name: &str, word: &str) -> Result<SourceKind, Error> {
    SourceKind::from_word(word).ok_or_else(|| Error::UnknownKind { name: name.to_owned(), kind: word.to_owned() })
}

/// Returns what there is to know of a kind.
pub fn description(kind: SourceKind) -> &'static Description {
    match kind {
        SourceKind::Nfs => &nfs::DESCRIPTION,
        SourceKind::Gluster => &gluster::DESCRIPTION,
        SourceKind::Block => &block::DESCRIPTION,
    }
}

/// Returns the copies of a source of this kind with `settings` as the catalog keeps them (JSON); `zone` is the
/// machine's, for sources that name none.
///
/// Pure: no disk is touched before the first call.
///
/// # Errors
/// [`Error::Settings`], [`Error::Zone`] or [`Error::Pattern`] if the settings do not hold; [`Error::NoCopies`].
pub fn open(kind: SourceKind, settings: &str, zone: &TimeZone) -> Result<Box<dyn Source>, Error> {
    description(kind).open.ok_or(Error::NoCopies(kind))?(settings, zone)
}

/// Returns the folder that `asof take` writes copies of a source into, if it does; `settings` as the catalog keeps them.
///
/// # Errors
/// [`Error::Settings`].
pub fn own_folder(kind: SourceKind, settings: &str, name: &str) -> Result<Option<PathBuf>, Error> {
    (description(kind).own_folder)(settings, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_describes_itself_and_tells_its_folders() {
        let share = r#"{"copies":"/copies"}"#;
        let volume =
            gluster::Settings { volume: "gv0".into(), store: "/store".into(), ..gluster::Settings::of_lists() };
        let volume = gluster::Settings { lists_only: false, ..volume }.to_json().unwrap();
        let lists = gluster::Settings::of_lists().to_json().unwrap();
        let disk = r#"{"images":"/images"}"#;
        let path = |path: &str| Some(PathBuf::from(path));
        let cases = [
            (SourceKind::Nfs, share, None, path("/copies")),
            (SourceKind::Gluster, &volume, path("/store/it"), path("/store/it")),
            (SourceKind::Gluster, &lists, None, None),
            (SourceKind::Block, disk, path("/images"), None),
            (SourceKind::Block, r#"{"images":"/images","store":"/store"}"#, path("/store"), None),
        ];
        for (kind, settings, own, trees) in cases {
            let described = description(kind);
            assert_eq!(described.kind, kind);
            assert_eq!((described.own_folder)(settings, "it").unwrap(), own, "{kind}: {settings}");
            assert_eq!((described.trees)(settings, "it").unwrap(), trees, "{kind}: {settings}");
        }
        let unknown = kind_of("it", "tape").unwrap_err().to_string();
        assert_eq!(unknown, "source \"it\" is of kind \"tape\", which this asof does not know");
        let refused = open(SourceKind::Block, disk, &TimeZone::UTC).err().expect("a disk has images");
        assert_eq!(refused.to_string(), "a source of kind block has no copies that another tool made");
    }
}

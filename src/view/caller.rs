//! Who asks. The kernel decides on access by modes and ACLs (`default_permissions`), for all but names that have a path in them.
//!
//! Promises: of a caller his user and his main group are known, and no others of his groups: who may be in a group or not is let in where
//! both are. Root may all.

use crate::catalog::Perm;
use crate::model::Visibility;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user for whom the kernel decides.
    pub uid: u32,
    /// His main group.
    pub gid: u32,
}

impl Caller {
    /// Root.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };

    /// Tells whether he may surely pass through a directory with these rights; `has_acl`: more than its mode decides.
    pub(super) fn may_pass(self, perm: &Perm, has_acl: bool) -> bool {
        let is_set = |bit: u32| perm.mode & bit != 0;
        match (self.uid, self.gid) {
            (0, _) => true,
            // An ACL changes nothing for the owner (acl(5)).
            (uid, _) if uid == perm.uid => is_set(0o100),
            _ if has_acl => false,
            (_, gid) if gid == perm.gid => is_set(0o010),
            _ => is_set(0o010) && is_set(0o001),
        }
    }

    /// Tells whether a source is for him, whatever modes say.
    pub(super) fn is_let_in(self, visible_to: &Visibility) -> bool {
        match visible_to {
            _ if self.uid == 0 => true,
            Visibility::Modes => true,
            Visibility::Root => false,
            Visibility::Group { gid, .. } => self.gid == *gid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_be_in_a_group_passes_where_its_members_and_all_others_do() {
        let perm = |mode| Perm { mode, uid: 1, gid: 10, xattr: 0 };
        let owner = Caller { uid: 1, gid: 99 };
        let member = Caller { uid: 2, gid: 10 };
        let other = Caller { uid: 2, gid: 20 };
        let passes = |mode, has_acl| {
            [Caller::ROOT, owner, member, other].map(|caller| u8::from(caller.may_pass(&perm(mode), has_acl)))
        };
        assert_eq!(passes(0o755, false), [1, 1, 1, 1]);
        assert_eq!(passes(0o710, false), [1, 1, 1, 0]);
        assert_eq!(passes(0o701, false), [1, 1, 0, 0]);
        assert_eq!(passes(0o077, false), [1, 0, 1, 1]);
        assert_eq!(passes(0o777, true), [1, 1, 0, 0]);
        assert_eq!(passes(0o077, true), [1, 0, 0, 0]);
        let group = Visibility::Group { gid: 10, name: "staff".to_owned() };
        assert!(member.is_let_in(&group) && !other.is_let_in(&group) && !owner.is_let_in(&Visibility::Root));
    }
}

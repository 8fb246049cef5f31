//! POSIX access control lists.
//!
//! In an image, the value of `system.posix_acl_access` is what `setxattr` takes (the kernel reads it with
//! `posix_acl_from_xattr`): u32 version 2, then per entry u16 tag, u16 permissions, u32 id. A value the kernel refuses would
//! make every access to the file fail, so it is refused here. And setting a list changes the mode of a file; here, that is
//! done by hand (`posix_acl_valid`, `posix_acl_equiv_mode` and `posix_acl_chmod` in `fs/posix_acl.c`).

const VERSION: u32 = 2;
const HEADER: usize = 4;
const ENTRY: usize = 8;

const USER_OBJ: u16 = 1;
const USER: u16 = 2;
const GROUP_OBJ: u16 = 4;
const GROUP: u16 = 8;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// What setting a list does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The list says nothing and takes away what was there.
    Removed,
    /// It says no more than these permissions, and is not kept.
    Mode(u16),
    /// It is kept, and the permissions become these.
    Kept(u16),
}

/// What an access list does to a file; `None` for a value the kernel refuses.
pub(crate) fn effect(value: &[u8]) -> Option<Effect> {
    let entries = entries(value)?;
    if entries.len() == 0 {
        return Some(Effect::Removed);
    }
    // Order: the owner, users, the group, groups, the mask, others.
    let mut before = 0;
    let (mut mode, mut named) = (0, false);
    let mut mask = None;
    for (tag, permissions, id) in entries {
        if permissions > 7 {
            return None;
        }
        let follows = match tag {
            USER_OBJ => before == 0,
            USER => before == USER_OBJ || before == USER,
            GROUP_OBJ => before == USER_OBJ || before == USER,
            GROUP => before == GROUP_OBJ || before == GROUP,
            MASK | OTHER => before == GROUP_OBJ || before == GROUP || (tag == OTHER && before == MASK),
            _ => false,
        };
        if !follows {
            return None;
        }
        match tag {
            USER_OBJ => mode |= permissions << 6,
            GROUP_OBJ => mode |= permissions << 3,
            OTHER => mode |= permissions,
            MASK => mask = Some(permissions),
            _ if id == u32::MAX => return None,
            _ => named = true,
        }
        before = tag;
    }
    if before != OTHER || (named && mask.is_none()) {
        return None;
    }
    Some(match mask {
        None => Effect::Mode(mode),
        Some(mask) => Effect::Kept(mode & !0o070 | mask << 3),
    })
}

/// The list after a `chmod`.
pub(crate) fn with_mode(value: &[u8], mode: u16) -> Vec<u8> {
    let mut changed = value.to_vec();
    let Some(entries) = entries(value) else {
        return changed;
    };
    let masked = entries.clone().any(|(tag, ..)| tag == MASK);
    for (number, (tag, ..)) in entries.enumerate() {
        let permissions = match tag {
            USER_OBJ => mode >> 6,
            MASK => mode >> 3,
            GROUP_OBJ if !masked => mode >> 3,
            OTHER => mode,
            _ => continue,
        };
        changed[HEADER + number * ENTRY + 2..][..2].copy_from_slice(&(permissions & 7).to_le_bytes());
    }
    changed
}

/// Tag, permissions and id of each entry.
fn entries(value: &[u8]) -> Option<impl ExactSizeIterator<Item = (u16, u16, u32)> + Clone> {
    // No value at all is how a list is taken away.
    let body = if value.is_empty() {
        value
    } else {
        let (header, body) = value.split_at_checked(HEADER)?;
        if crate::format::u32_at(header, 0) != VERSION || body.len() % ENTRY != 0 {
            return None;
        }
        body
    };
    Some(body.chunks_exact(ENTRY).map(|entry| {
        (
            crate::format::u16_at(entry, 0),
            crate::format::u16_at(entry, 2),
            crate::format::u32_at(entry, 4),
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut value = VERSION.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            value.extend_from_slice(&tag.to_le_bytes());
            value.extend_from_slice(&permissions.to_le_bytes());
            value.extend_from_slice(&id.to_le_bytes());
        }
        value
    }

    const ANY: u32 = u32::MAX;

    #[test]
    fn effects() {
        let minimal = list(&[(USER_OBJ, 6, ANY), (GROUP_OBJ, 4, ANY), (OTHER, 0, ANY)]);
        assert_eq!(effect(&minimal), Some(Effect::Mode(0o640)));
        let full = list(&[
            (USER_OBJ, 7, ANY),
            (USER, 5, 1000),
            (USER, 4, 1001),
            (GROUP_OBJ, 7, ANY),
            (GROUP, 1, 50),
            (MASK, 5, ANY),
            (OTHER, 1, ANY),
        ]);
        assert_eq!(effect(&full), Some(Effect::Kept(0o751)));
        assert_eq!(effect(&list(&[])), Some(Effect::Removed));
        assert_eq!(effect(b""), Some(Effect::Removed));
    }

    #[test]
    fn refused_lists() {
        let good = [(USER_OBJ, 6, ANY), (GROUP_OBJ, 4, ANY), (OTHER, 0, ANY)];
        for (index, entry) in [
            (0, (OTHER, 6, ANY)),
            (1, (USER_OBJ, 6, ANY)),
            (2, (MASK, 6, ANY)),
            (1, (GROUP_OBJ, 8, ANY)),
            (2, (0x40, 0, ANY)),
        ] {
            let mut bad = good;
            bad[index] = entry;
            assert_eq!(effect(&list(&bad)), None, "{bad:?}");
        }
        let unmasked = [good[0], (USER, 4, 5), good[1], good[2]];
        assert_eq!(effect(&list(&unmasked)), None);
        let nobody = [good[0], (USER, 4, ANY), good[1], (MASK, 7, ANY), good[2]];
        assert_eq!(effect(&list(&nobody)), None);
        assert_eq!(effect(&[1, 0, 0, 0]), None);
        assert_eq!(effect(&[2, 0, 0]), None);
        assert_eq!(effect(&[2, 0, 0, 0, 1]), None);
    }

    #[test]
    fn a_chmod_changes_the_list() {
        let list_of = |user, group, mask, other| {
            list(&[
                (USER_OBJ, user, ANY),
                (USER, 7, 9),
                (GROUP_OBJ, group, ANY),
                (MASK, mask, ANY),
                (OTHER, other, ANY),
            ])
        };
        assert_eq!(with_mode(&list_of(7, 6, 5, 4), 0o4321), list_of(3, 6, 2, 1));
    }
}

//! Keys in the kernel's keyring (keyrings(7)): in the user's persistent one, which outlives a session, or else in the one all
//! processes of the user share.

use linux_keyutils::{KeyPermissionsBuilder, KeyRing, KeyRingIdentifier, Permission};

fn description(id: &str) -> String {
    format!("havre:credentials:{id}")
}

/// The keyrings there are, the longest-lived first. None in a container whose seccomp profile forbids it.
fn keyrings() -> impl Iterator<Item = KeyRing> {
    let persistent = KeyRing::get_persistent(KeyRingIdentifier::Process);
    let user = KeyRing::from_special_id(KeyRingIdentifier::User, false);
    [persistent, user].into_iter().flatten()
}

/// A key that was put there.
pub(super) fn get<const N: usize>(id: &str) -> Option<[u8; N]> {
    keyrings()
        .filter_map(|keyring| keyring.search(&description(id)).ok())
        .filter_map(|key| key.read_to_vec().ok())
        .find_map(|bytes| bytes.try_into().ok())
}

/// Puts a key where all processes of the user, and nobody else, can read it; whether that could be done.
pub(super) fn put(id: &str, key: &[u8]) -> bool {
    let permissions = KeyPermissionsBuilder::builder()
        .posessor(Permission::ALL)
        .user(Permission::ALL)
        .build();
    keyrings().any(|keyring| {
        let added = keyring.add_key(&description(id), key);
        added.and_then(|key| key.set_perms(permissions)).is_ok()
    })
}

/// Takes a key out again.
pub(super) fn forget(id: &str) {
    for keyring in keyrings() {
        if let Ok(key) = keyring.search(&description(id)) {
            let _ = key.invalidate();
        }
    }
}

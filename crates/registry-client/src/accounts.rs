//! Credentials of several registries, and of several accounts at one of them.

use std::collections::BTreeMap;

use havre_oci::Reference;

use crate::Credentials;

/// Credentials by registry (`ghcr.io`), by a part of its repositories (`ghcr.io/team`), or by repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts(BTreeMap<String, Credentials>);

impl Accounts {
    /// Those for an image: of the longest name that is its repository or stands above it.
    pub fn of(&self, reference: &Reference) -> Credentials {
        let repository = reference.repository();
        let mut name = repository.as_str();
        loop {
            if let Some(found) = self.0.get(name) {
                return found.clone();
            }
            match name.rsplit_once('/') {
                Some((above, _)) => name = above,
                None => return Credentials::None,
            }
        }
    }
}

impl FromIterator<(String, Credentials)> for Accounts {
    fn from_iter<I: IntoIterator<Item = (String, Credentials)>>(accounts: I) -> Self {
        Self(accounts.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_counts() {
        let account = |user: &str| Credentials::Basic {
            username: user.to_owned(),
            password: String::new(),
        };
        let accounts: Accounts = [
            ("ghcr.io".to_owned(), account("all")),
            ("ghcr.io/team".to_owned(), account("team")),
            ("ghcr.io/team/app".to_owned(), account("app")),
            ("docker.io/me".to_owned(), account("hub")),
        ]
        .into_iter()
        .collect();
        let of = |name: &str| accounts.of(&Reference::parse(name).unwrap());
        assert_eq!(of("ghcr.io/team/app:1"), account("app"));
        assert_eq!(of("ghcr.io/team/app2"), account("team"));
        assert_eq!(of("ghcr.io/team/deep/app"), account("team"));
        assert_eq!(of("ghcr.io/teams/app"), account("all"));
        assert_eq!(of("me/app"), account("hub"));
        assert_eq!(of("busybox"), Credentials::None);
        assert_eq!(of("ghcr.io.example/team/app"), Credentials::None);
    }
}

//! What an address leads to.
//!
//! ```text
//! /                                     explore and search
//! /storage                              what takes the space
//! /theme                                light or dark (a form)
//! /sign-in /sign-up /sign-out /account   people
//! /o/<organisation>                     its members and teams
//! /policies?scope=<repository, namespace/ or *>
//! /audit /admin
//! /assets/<digest>/<name>
//! /r/<repository>                       its tags
//! /r/<repository>/-/image/<tag or digest>
//! /r/<repository>/-/files/<tag or digest>/<path>   of the image, or with ?layer=<n> of a layer of it
//! /r/<repository>/-/raw/<tag or digest>/<path>     the contents of a file
//! /r/<repository>/-/compare             two of its images
//! /r/<repository>/-/delete              tags: what would go, and the form that does it
//! /r/<repository>/-/settings            what is said of it, and who may do what
//! /r/<repository>/-/star                a form
//! /r/<repository>/-/deleted             tags that may come back, and the form that does it
//! ```
//!
//! No part of a repository's name is `-`, so there is one way to read each.

use havre_hub::{AccountName, Action};
use havre_registry_store::{Identifier, RepositoryName};
use percent_encoding::percent_decode_str;

use crate::error::PageError;

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Explore,
    Storage,
    Theme,
    SignIn,
    SignUp,
    SignOut,
    Account,
    Organisation(AccountName),
    Policies,
    Audit,
    Admin,
    Asset,
    Repository(RepositoryName),
    Image(RepositoryName, Identifier),
    /// With a path of bytes without slashes at its ends.
    Files(RepositoryName, Identifier, Vec<u8>),
    Raw(RepositoryName, Identifier, Vec<u8>),
    Compare(RepositoryName),
    Delete(RepositoryName),
    Deleted(RepositoryName),
    Settings(RepositoryName),
    Star(RepositoryName),
}

impl Place {
    /// What it takes to be let in, where there are accounts: an action in a repository.
    pub(crate) fn needs(&self, sends: bool) -> Option<(&RepositoryName, Action)> {
        match self {
            Self::Repository(name)
            | Self::Image(name, _)
            | Self::Files(name, ..)
            | Self::Raw(name, ..)
            | Self::Compare(name)
            | Self::Star(name) => Some((name, Action::Pull)),
            Self::Deleted(name) if !sends => Some((name, Action::Pull)),
            Self::Delete(name) | Self::Deleted(name) => Some((name, Action::Delete)),
            Self::Settings(name) => Some((name, Action::Manage)),
            _ => None,
        }
    }

    /// Reads a path as it came.
    pub(crate) fn read(path: &str) -> Result<Self, PageError> {
        match path {
            "/" => return Ok(Self::Explore),
            "/storage" => return Ok(Self::Storage),
            "/theme" => return Ok(Self::Theme),
            "/sign-in" => return Ok(Self::SignIn),
            "/sign-up" => return Ok(Self::SignUp),
            "/sign-out" => return Ok(Self::SignOut),
            "/account" => return Ok(Self::Account),
            "/policies" => return Ok(Self::Policies),
            "/audit" => return Ok(Self::Audit),
            "/admin" => return Ok(Self::Admin),
            _ if path.starts_with("/assets/") => return Ok(Self::Asset),
            _ => {}
        }
        if let Some(name) = path.strip_prefix("/o/") {
            let name = decoded(name)?.parse().map_err(|_| PageError::NotFound)?;
            return Ok(Self::Organisation(name));
        }
        let rest = path.strip_prefix("/r/").ok_or(PageError::NotFound)?;
        let Some((name, what)) = rest.split_once("/-/") else {
            let name = rest.strip_suffix('/').unwrap_or(rest);
            return Ok(Self::Repository(decoded(name)?.parse()?));
        };
        let name = decoded(name)?.parse::<RepositoryName>()?;
        match what {
            "compare" => return Ok(Self::Compare(name)),
            "delete" => return Ok(Self::Delete(name)),
            "deleted" => return Ok(Self::Deleted(name)),
            "settings" => return Ok(Self::Settings(name)),
            "star" => return Ok(Self::Star(name)),
            _ => {}
        }
        let (kind, rest) = what.split_once('/').ok_or(PageError::NotFound)?;
        let (reference, inner) = rest.split_once('/').unwrap_or((rest, ""));
        let reference = decoded(reference)?.parse::<Identifier>()?;
        let inner = || {
            let bytes: Vec<u8> = percent_decode_str(inner).collect();
            let parts = bytes.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
            parts.collect::<Vec<_>>().join(&b'/')
        };
        match kind {
            "image" if !rest.contains('/') => Ok(Self::Image(name, reference)),
            "files" => Ok(Self::Files(name, reference, inner())),
            "raw" => Ok(Self::Raw(name, reference, inner())),
            _ => Err(PageError::NotFound),
        }
    }
}

fn decoded(text: &str) -> Result<String, PageError> {
    let decoded = percent_decode_str(text).decode_utf8();
    Ok(decoded.map_err(|_| PageError::NotFound)?.into_owned())
}

#[cfg(test)]
mod tests {
    use havre_oci::Digest;

    use super::*;

    #[test]
    fn addresses() {
        let name = |text: &str| text.parse::<RepositoryName>().expect("a name");
        let tag = |text: &str| text.parse::<Identifier>().expect("a reference");
        let digest = Digest::sha256_of(b"");
        for (path, place) in [
            ("/", Place::Explore),
            ("/storage", Place::Storage),
            ("/r/a", Place::Repository(name("a"))),
            ("/r/a/b/", Place::Repository(name("a/b"))),
            ("/r/a/b/-/image/1", Place::Image(name("a/b"), tag("1"))),
            (
                &format!("/r/a/-/image/{}", digest.as_str().replace(':', "%3A")),
                Place::Image(name("a"), Identifier::Digest(digest.clone())),
            ),
            ("/r/a/-/files/1", Place::Files(name("a"), tag("1"), Vec::new())),
            (
                "/r/a/-/files/1/etc//%ff%20/-/x/",
                Place::Files(name("a"), tag("1"), b"etc/\xff /-/x".to_vec()),
            ),
            (
                "/r/files/-/raw/files/files",
                Place::Raw(name("files"), tag("files"), b"files".to_vec()),
            ),
            ("/r/a/-/delete", Place::Delete(name("a"))),
        ] {
            assert_eq!(Place::read(path).ok(), Some(place), "{path}");
        }
        for path in [
            "/x",
            "/r/",
            "/r/A",
            "/r/a/../b",
            "/r/a/-/",
            "/r/a/-/image",
            "/r/a/-/image/1/2",
            "/r/a/-/image/.x",
            "/r/a/-/nothing/1",
            "/r/a%2F..%2Fb",
            "/r/%ff",
        ] {
            assert!(Place::read(path).is_err(), "{path}");
        }
    }
}

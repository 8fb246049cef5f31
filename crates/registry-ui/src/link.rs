//! Addresses of pages.

use havre_oci::Digest;
use havre_registry_store::{Identifier, RepositoryName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// What a component of a path may be written with as it is.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A text as a value of a query.
pub(crate) fn value(text: &str) -> String {
    percent_encode(text.as_bytes(), COMPONENT).to_string()
}

/// The page of a repository.
pub(crate) fn repository(name: &RepositoryName) -> String {
    format!("/r/{name}")
}

/// A page about a repository.
pub(crate) fn about(name: &RepositoryName, what: &str) -> String {
    format!("/r/{name}/-/{what}")
}

/// The page of an image: of an index, of one of its manifests.
pub(crate) fn image(name: &RepositoryName, reference: &Identifier, shown: Option<&Digest>) -> String {
    let mut link = about(name, &format!("image/{reference}"));
    add(&mut link, shown, None);
    link
}

/// What is at a path of an image, or of a layer of it (from 1).
pub(crate) fn files(
    name: &RepositoryName,
    reference: &Identifier,
    path: &[u8],
    shown: Option<&Digest>,
    layer: Option<usize>,
) -> String {
    inside(name, "files", reference, path, shown, layer)
}

/// The contents of a file of an image, to keep.
pub(crate) fn raw(
    name: &RepositoryName,
    reference: &Identifier,
    path: &[u8],
    shown: Option<&Digest>,
    layer: Option<usize>,
) -> String {
    inside(name, "raw", reference, path, shown, layer)
}

fn inside(
    name: &RepositoryName,
    what: &str,
    reference: &Identifier,
    path: &[u8],
    shown: Option<&Digest>,
    layer: Option<usize>,
) -> String {
    let mut link = about(name, &format!("{what}/{reference}/"));
    for (at, component) in path.split(|byte| *byte == b'/').enumerate() {
        if at > 0 {
            link.push('/');
        }
        link.extend(percent_encode(component, COMPONENT));
    }
    add(&mut link, shown, layer);
    link
}

fn add(link: &mut String, shown: Option<&Digest>, layer: Option<usize>) {
    let mut sign = '?';
    if let Some(shown) = shown {
        link.push_str(&format!("{sign}manifest={shown}"));
        sign = '&';
    }
    if let Some(layer) = layer {
        link.push_str(&format!("{sign}layer={layer}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_file_is_called() {
        let (name, tag) = (
            "a/b".parse().expect("a name"),
            "1.0".parse().expect("a reference"),
        );
        assert_eq!(
            files(&name, &tag, b"etc/x y/\xff?#%&<.txt", None, Some(2)),
            "/r/a/b/-/files/1.0/etc/x%20y/%FF%3F%23%25%26%3C.txt?layer=2"
        );
        let digest = Digest::sha256_of(b"");
        assert_eq!(
            image(&name, &tag, Some(&digest)),
            format!("/r/a/b/-/image/1.0?manifest={digest}")
        );
        assert_eq!(value("a b&c=d+"), "a%20b%26c%3Dd%2B");
    }
}

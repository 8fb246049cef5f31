//! `ADD url`.

use std::io::Write as _;
use std::sync::Arc;

use futures_util::StreamExt as _;
use havre_oci::{Algorithm, Digest, Digester};
use jiff::Timestamp;

use super::{StageRun, io};
use crate::copy::CopyError;
use crate::error::StepError;
use crate::event::{BuildEvent, Step};

/// A complete download.
pub(super) struct Downloaded {
    pub(super) file: tempfile::NamedTempFile,
    /// Name for a destination that is a directory.
    pub(super) name: Option<String>,
    pub(super) modified: Option<Timestamp>,
    pub(super) digest: Digest,
}

pub(super) fn is_url(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

pub(super) fn is_git(source: &str) -> bool {
    let path = source.split(['#', '?']).next().unwrap_or(source);
    source.starts_with("git@")
        || source.starts_with("git://")
        || source.starts_with("ssh://")
        || (is_url(source) && path.ends_with(".git"))
}

impl StageRun {
    pub(super) async fn download(
        &self,
        step: &Arc<Step>,
        url: &str,
        checksum: Option<&str>,
    ) -> Result<Downloaded, StepError> {
        let expected = checksum
            .map(|text| {
                text.parse::<Digest>()
                    .map_err(|_| CopyError::InvalidChecksum(text.to_owned()))
            })
            .transpose()?;
        let mut download = tokio::select! {
            download = self.shared.fetcher.fetch(url) => download.map_err(CopyError::from)?,
            () = self.shared.cancel.cancelled() => return Err(StepError::Cancelled),
        };
        let mut file =
            tempfile::NamedTempFile::new_in(&self.shared.scratch).map_err(io("create a download"))?;
        let mut sha256 = Digester::new(Algorithm::Sha256);
        let mut sha512 = expected
            .as_ref()
            .filter(|digest| digest.algorithm() == Algorithm::Sha512)
            .map(|_| Digester::new(Algorithm::Sha512));
        let (mut current, mut told) = (0_u64, 0_u64);
        loop {
            let chunk = tokio::select! {
                chunk = download.body.next() => chunk,
                () = self.shared.cancel.cancelled() => return Err(StepError::Cancelled),
            };
            let Some(chunk) = chunk else { break };
            let chunk = chunk.map_err(CopyError::from)?;
            sha256.update(&chunk);
            if let Some(digester) = &mut sha512 {
                digester.update(&chunk);
            }
            file.write_all(&chunk).map_err(io("write a download"))?;
            current += chunk.len() as u64;
            if current >= told + (1 << 20) {
                told = current;
                self.reporter.emit(BuildEvent::Download {
                    step: Arc::clone(step),
                    url: url.to_owned(),
                    current,
                    total: download.length,
                });
            }
        }
        let digest = sha256.finish();
        if let Some(expected) = expected {
            let actual = sha512.map_or_else(|| digest.clone(), Digester::finish);
            if actual != expected {
                return Err(CopyError::Checksum {
                    actual: actual.to_string(),
                    expected: expected.to_string(),
                }
                .into());
            }
        }
        let name = url_name(url).or(download.file_name);
        Ok(Downloaded {
            file,
            name,
            modified: download.modified,
            digest,
        })
    }
}

/// The last name of a URL's path.
fn url_name(url: &str) -> Option<String> {
    let rest = url.split_once("://")?.1;
    let path = rest.split(['?', '#']).next()?.split_once('/')?.1;
    let name = path.rsplit('/').next()?;
    let name = percent_encoding::percent_decode_str(name)
        .decode_utf8()
        .ok()?
        .into_owned();
    let plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
    plain.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_urls() {
        assert_eq!(
            url_name("http://h/a/b.tar.gz?x=/y#z").as_deref(),
            Some("b.tar.gz")
        );
        assert_eq!(url_name("https://h/a%20b").as_deref(), Some("a b"));
        for none in [
            "http://h",
            "http://h/",
            "http://h/a/",
            "http://h/..",
            "http://h/a%2Fb",
        ] {
            assert_eq!(url_name(none), None, "{none}");
        }
        assert!(is_git("https://h/x.git#main") && is_git("git@h:x") && !is_git("https://h/x.tar"));
    }
}

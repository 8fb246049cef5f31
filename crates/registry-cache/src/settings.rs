//! What an administrator says of a cache.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use havre_registry_store::RepositoryName;

/// Hosts that stand for Docker Hub, of which one serves images.
const HUB: [&str; 4] = ["docker.io", "index.docker.io", "hub.docker.com", HUB_REGISTRY];
const HUB_REGISTRY: &str = "registry-1.docker.io";
/// Docker Hub's token server.
const HUB_REALM: &str = "auth.docker.io";

/// The address of an upstream registry: `https://registry-1.docker.io`, `http://10.0.0.5:5000/mirror`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamUrl {
    secure: bool,
    /// `HOST` or `HOST:PORT`
    authority: String,
    /// Nothing, or `/PATH`.
    path: String,
}

/// Why a text is no address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use https://HOST, https://HOST:PORT or https://HOST/PATH")]
pub struct UrlError;

impl FromStr for UpstreamUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (secure, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(UrlError),
        };
        let rest = rest.trim_end_matches('/');
        let (authority, path) = rest
            .split_once('/')
            .map_or((rest, ""), |(host, path)| (host, path));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
        let segment = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~'))
        };
        if authority.is_empty()
            || !authority.chars().all(plain)
            || !(path.is_empty() || path.split('/').all(segment))
        {
            return Err(UrlError);
        }
        let authority = match HUB.contains(&authority) {
            true => HUB_REGISTRY,
            false => authority,
        };
        Ok(Self {
            secure,
            authority: authority.to_ascii_lowercase(),
            path: match path {
                "" => String::new(),
                path => format!("/{path}"),
            },
        })
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

impl UpstreamUrl {
    pub(crate) fn is_hub(&self) -> bool {
        self.authority == HUB_REGISTRY
    }

    /// The host as it stands in addresses, without its port.
    pub(crate) fn host(&self) -> &str {
        match self.authority.strip_prefix('[') {
            Some(rest) => {
                let end = rest.find(']').map_or(rest.len(), |end| end + 1);
                &self.authority[..=end]
            }
            None => self.authority.split(':').next().unwrap_or_default(),
        }
    }

    /// The token servers that are its own although they are elsewhere.
    pub(crate) fn realms(&self) -> Vec<String> {
        match self.is_hub() {
            true => vec![HUB_REALM.to_owned()],
            false => Vec::new(),
        }
    }
}

/// Who this registry is at the upstream.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// What an administrator says of a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The repositories beneath it are upstream's; [`None`]: all are.
    pub prefix: Option<RepositoryName>,
    pub upstream: UpstreamUrl,
    pub login: Option<Login>,
    /// Another host (`HOST` or `HOST:PORT`) whose token server may be given the password.
    pub realm: Option<String>,
    /// How long a tag stands for what it stood for before upstream is asked again.
    pub tag_age: Duration,
    /// What nobody pulled in so long goes; [`None`]: nothing does.
    pub keep: Option<Duration>,
    /// Whether upstream may lead into this network with what it says: to its token server, to where it keeps blobs.
    pub private: bool,
}

impl Settings {
    pub fn new(upstream: UpstreamUrl) -> Self {
        Self {
            prefix: None,
            upstream,
            login: None,
            realm: None,
            tag_age: Duration::from_secs(5 * 60),
            keep: Some(Duration::from_secs(7 * 24 * 3600)),
            private: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, shown, host) in [
            ("https://ghcr.io", "https://ghcr.io", "ghcr.io"),
            ("https://ghcr.io/", "https://ghcr.io", "ghcr.io"),
            ("http://10.0.0.5:5000/a/b", "http://10.0.0.5:5000/a/b", "10.0.0.5"),
            ("http://[::1]:5000", "http://[::1]:5000", "[::1]"),
            (
                "https://docker.io",
                "https://registry-1.docker.io",
                "registry-1.docker.io",
            ),
            (
                "https://hub.docker.com",
                "https://registry-1.docker.io",
                "registry-1.docker.io",
            ),
        ] {
            let url: UpstreamUrl = text.parse().expect(text);
            assert_eq!((url.to_string().as_str(), url.host()), (shown, host), "{text}");
        }
        for bad in [
            "ghcr.io",
            "ftp://x",
            "https://",
            "https://a@b",
            "https://a/../b",
            "https://a/b?c",
            "https:///a",
        ] {
            assert_eq!(bad.parse::<UpstreamUrl>(), Err(UrlError), "{bad}");
        }
        let hub: UpstreamUrl = "https://registry-1.docker.io".parse().expect("an address");
        assert!(hub.is_hub());
        assert_eq!(hub.realms(), ["auth.docker.io"]);
    }
}

//! Lists: tags, and repositories that match a term.

use reqwest::header::LINK;
use reqwest::{Method, StatusCode, Url};
use serde::{Deserialize, Serialize};

use crate::client::{Client, Repository};
use crate::endpoint::{Call, Endpoint, Reply, Target};
use crate::hosts::{Address, HUB, Scheme};
use crate::transport::same_origin;
use crate::{Credentials, RegistryError};

const MAX_PAGE: u64 = 16 << 20;
const MAX_PAGES: usize = 1000;
const MAX_NAMES: usize = 1_000_000;
/// Docker Hub serves searches elsewhere than images.
const HUB_SEARCH: &str = "index.docker.io";

/// One row of a search.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SearchResult {
    pub name: String,
    pub description: String,
    pub star_count: u64,
    pub is_official: bool,
    pub is_automated: bool,
}

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Catalog {
    #[serde(default)]
    repositories: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct HubSearch {
    #[serde(default)]
    results: Vec<SearchResult>,
}

/// The next page's address, on the same server.
pub(crate) fn next_page(reply: &Reply) -> Option<Url> {
    let link = reply.header(LINK)?;
    let entry = link
        .split(',')
        .find(|entry| entry.contains("rel=\"next\"") || entry.contains("rel=next"))?;
    let target = entry.split_once('<')?.1.split_once('>')?.0;
    let next = reply.url.join(target).ok()?;
    (same_origin(&next, &reply.url) && next != reply.url).then_some(next)
}

pub(crate) async fn tags(repository: &Repository) -> Result<Vec<String>, RegistryError> {
    let mut call = repository.call(Method::GET, "tags/list?n=1000");
    let mut tags = Vec::new();
    for _ in 0..MAX_PAGES {
        let (some, next) = page(repository, &call).await?;
        tags.extend(some);
        match next {
            Some(next) if tags.len() < MAX_NAMES => call.target = Target::Url(next),
            _ => break,
        }
    }
    Ok(tags)
}

/// A page of tags, and where the next one is.
async fn page(repository: &Repository, call: &Call<'_>) -> Result<(Vec<String>, Option<Url>), RegistryError> {
    let stall = repository.options().stall_timeout;
    let reply = repository
        .origin()
        .send(call, &repository.options().retry)
        .await?;
    if !reply.status().is_success() {
        let failure = reply.failure(stall).await;
        if failure.status == StatusCode::NOT_FOUND {
            let message = failure
                .message
                .unwrap_or_else(|| "repository name not known to registry".to_owned());
            return Err(RegistryError::NameUnknown {
                repository: repository.familiar_name().to_owned(),
                message,
            });
        }
        return Err(repository.pull_error(failure));
    }
    let next = next_page(&reply);
    let page: Tags = reply.json(MAX_PAGE, stall).await?;
    Ok((page.tags.unwrap_or_default(), next))
}

/// Some tags, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagPage {
    pub tags: Vec<String>,
    /// There are others behind them.
    pub more: bool,
}

impl Repository {
    /// At most so many tags behind `last`.
    pub async fn tag_page(&self, last: &str, limit: usize) -> Result<TagPage, RegistryError> {
        let last = percent_encoding::utf8_percent_encode(last, percent_encoding::NON_ALPHANUMERIC);
        let call = self.call(Method::GET, &format!("tags/list?n={limit}&last={last}"));
        let (tags, next) = page(self, &call).await?;
        Ok(TagPage {
            tags,
            more: next.is_some(),
        })
    }
}

impl Client {
    /// Searches repositories: `TERM` on Docker Hub, `HOST/TERM` on another registry. At most `limit` (1 to 100) rows.
    ///
    /// Docker's protocol (`/v1/search`) is asked first; a registry that doesn't know it is searched by the names of its
    /// repositories (`/v2/_catalog`).
    pub async fn search(
        &self,
        term: &str,
        limit: usize,
        credentials: &Credentials,
    ) -> Result<Vec<SearchResult>, RegistryError> {
        let limit = limit.clamp(1, 100);
        let (domain, words) = match term.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
            _ => (HUB, term),
        };
        let is_hub = domain == HUB && !self.hosts().is_redirected(HUB);
        let endpoint = if is_hub {
            let address = Address {
                scheme: Some(Scheme::Https),
                authority: HUB_SEARCH.to_owned(),
                prefix: String::new(),
            };
            self.endpoint(address, false, credentials)
        } else {
            self.origin(domain, credentials)
        };
        let query = percent_encoding::utf8_percent_encode(words, percent_encoding::NON_ALPHANUMERIC);
        let call = Call::new(Method::GET, format!("/v1/search?q={query}&n={limit}"), "");
        let reply = endpoint.send(&call, &self.transport().options.retry).await?;
        let stall = self.transport().options.stall_timeout;
        if reply.status().is_success() {
            let found: HubSearch = reply.json(MAX_PAGE, stall).await?;
            return Ok(found.results.into_iter().take(limit).collect());
        }
        if !is_hub
            && matches!(
                reply.status(),
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
            )
        {
            return self.search_catalog(&endpoint, words, limit).await;
        }
        Err(reply.failure(stall).await.into_error())
    }

    async fn search_catalog(
        &self,
        endpoint: &Endpoint,
        words: &str,
        limit: usize,
    ) -> Result<Vec<SearchResult>, RegistryError> {
        let options = &self.transport().options;
        let mut call = Call::new(Method::GET, "/v2/_catalog?n=1000", "registry:catalog:*");
        let (mut seen, mut found) = (0, Vec::new());
        for _ in 0..MAX_PAGES {
            let reply = endpoint.send(&call, &options.retry).await?;
            if !reply.status().is_success() {
                return Err(reply.failure(options.stall_timeout).await.into_error());
            }
            let next = next_page(&reply);
            let page: Catalog = reply.json(MAX_PAGE, options.stall_timeout).await?;
            let names = page.repositories.unwrap_or_default();
            seen += names.len();
            let matching = names.into_iter().filter(|name| name.contains(words));
            found.extend(matching.map(|name| SearchResult {
                name,
                ..SearchResult::default()
            }));
            match next {
                Some(next) if found.len() < limit && seen < MAX_NAMES => call.target = Target::Url(next),
                _ => break,
            }
        }
        found.truncate(limit);
        Ok(found)
    }
}

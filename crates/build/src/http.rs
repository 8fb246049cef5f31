//! The built-in fetcher.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};

use crate::fetch::{Download, FetchError, Fetcher};

/// Largest download, in bytes.
const LIMIT: u64 = 64 << 30;
const CONNECT: Duration = Duration::from_secs(30);
/// A server that sends nothing for so long is given up.
const STALL: Duration = Duration::from_secs(60);

/// Gets by HTTP, following up to ten redirections, with the proxies of the environment.
pub struct HttpFetcher {
    client: Result<reqwest::Client, String>,
}

impl Default for HttpFetcher {
    fn default() -> Self {
        // Several parts of a process may do this; the first wins and all mean the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("havre/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .read_timeout(STALL)
            .build()
            .map_err(|error| error.to_string());
        HttpFetcher { client }
    }
}

impl Fetcher for HttpFetcher {
    fn fetch<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Download, FetchError>> {
        Box::pin(async move {
            let transport = |reason: String| FetchError::Transport {
                url: url.to_owned(),
                reason,
            };
            let client = self.client.as_ref().map_err(|reason| transport(reason.clone()))?;
            let response = client
                .get(url)
                .send()
                .await
                .map_err(|error| transport(chain(&error)))?;
            let status = response.status();
            if !status.is_success() {
                return Err(FetchError::Status {
                    url: url.to_owned(),
                    status: status.as_u16(),
                });
            }
            let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            let modified = header("last-modified")
                .and_then(|text| jiff::fmt::rfc2822::parse(text).ok())
                .map(|zoned| zoned.timestamp());
            let file_name = header("content-disposition").and_then(disposition_name);
            let length = response.content_length();
            if length.is_some_and(|length| length > LIMIT) {
                return Err(FetchError::TooLarge {
                    url: url.to_owned(),
                    limit: LIMIT,
                });
            }
            let owned = url.to_owned();
            let body = response.bytes_stream();
            let bounded = stream::unfold((body, 0_u64, false), move |(mut body, seen, failed)| {
                let url = owned.clone();
                async move {
                    if failed {
                        return None;
                    }
                    let item: Result<Bytes, FetchError> = match body.next().await? {
                        Ok(bytes) if seen + bytes.len() as u64 > LIMIT => {
                            Err(FetchError::TooLarge { url, limit: LIMIT })
                        }
                        Ok(bytes) => Ok(bytes),
                        Err(error) => Err(FetchError::Transport {
                            url,
                            reason: chain(&error),
                        }),
                    };
                    let length = item.as_ref().map_or(0, |bytes| bytes.len() as u64);
                    let failed = item.is_err();
                    Some((item, (body, seen + length, failed)))
                }
            });
            Ok(Download {
                length,
                modified,
                file_name,
                body: bounded.boxed(),
            })
        })
    }
}

/// `attachment; filename="x.tar"` → `x.tar`.
fn disposition_name(text: &str) -> Option<String> {
    let value = text
        .split(';')
        .map(str::trim)
        .find_map(|part| part.strip_prefix("filename="))?;
    let name = value.trim_matches('"').rsplit('/').next().unwrap_or_default();
    (!name.is_empty() && name != "." && name != "..").then(|| name.to_owned())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

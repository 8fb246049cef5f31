//! Challenges (`WWW-Authenticate`), and the tokens they ask for (distribution specification: token authentication).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use crate::error::{Answer, read_limited};
use crate::failure::network;
use crate::transport::{Transport, authority_of, same_origin, shown, verb};
use crate::{Credentials, RegistryError};

/// Docker's, so that token servers with rules by client treat us alike.
const CLIENT_ID: &str = "docker";
/// Tokens without a life time live this long, and none shorter (token specification).
const MIN_LIFE: Duration = Duration::from_secs(60);
const MAX_TOKEN_ANSWER: u64 = 1 << 20;

/// What a registry wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: String,
        scope: String,
        error: String,
    },
}

/// The challenge to follow, bearer before basic.
pub(crate) fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let mut basic = None;
    for value in headers.get_all(WWW_AUTHENTICATE).iter().take(8) {
        let Ok(value) = value.to_str() else { continue };
        let (scheme, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            basic = Some(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer") {
            let mut parameters = parameters(rest);
            let mut take = |name: &str| parameters.remove(name).unwrap_or_default();
            let (realm, service, scope, error) =
                (take("realm"), take("service"), take("scope"), take("error"));
            return Some(Challenge::Bearer {
                realm,
                service,
                scope,
                error,
            });
        }
    }
    basic
}

/// `name="value", name=value`, with backslash escapes in quotes.
fn parameters(text: &str) -> HashMap<String, String> {
    let mut found = HashMap::new();
    let mut chars = text.chars().peekable();
    while chars.peek().is_some() {
        let name: String = std::iter::from_fn(|| chars.next_if(|c| *c != '='))
            .filter(|c| !matches!(c, ',' | ' ' | '\t'))
            .collect();
        chars.next();
        let mut value = String::new();
        if chars.next_if_eq(&'"').is_some() {
            while let Some(c) = chars.next() {
                match c {
                    '"' => break,
                    '\\' => value.extend(chars.next()),
                    c => value.push(c),
                }
            }
        } else {
            value.extend(std::iter::from_fn(|| chars.next_if(|c| *c != ',')));
        }
        if !name.is_empty() {
            found.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

/// What tokens are kept by.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct TokenKey {
    pub(crate) credentials: Credentials,
    pub(crate) scopes: Vec<String>,
}

/// A bearer token and its end.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) value: String,
    pub(crate) expires: Instant,
    /// Given for a password when asked for offline access.
    pub(crate) refresh: Option<String>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
    refresh_token: Option<String>,
}

/// What to ask the token server.
pub(crate) struct TokenRequest<'a> {
    /// The registry whose challenge it was.
    pub(crate) registry: &'a Url,
    pub(crate) insecure: bool,
    pub(crate) realm: &'a str,
    pub(crate) service: &'a str,
    pub(crate) scopes: &'a [String],
    pub(crate) credentials: &'a Credentials,
    /// Ask for a refresh token (login).
    pub(crate) offline: bool,
}

/// Gets a token.
pub(crate) async fn fetch_token(
    transport: &Transport,
    request: &TokenRequest<'_>,
) -> Result<Token, RegistryError> {
    let realm = request.realm;
    let invalid = |reason: &str| RegistryError::Protocol {
        url: shown(request.registry),
        reason: format!("invalid token server {realm:?}: {reason}"),
    };
    let mut url = Url::parse(realm).map_err(|error| invalid(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(invalid("expected an http or https address"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("it holds credentials"));
    }
    // Over plain HTTP credentials go back to where the registry itself is, and nowhere else.
    let secret = !matches!(request.credentials, Credentials::None);
    let at_home =
        url.host() == request.registry.host() && (request.registry.scheme() == "http" || request.insecure);
    if secret && url.scheme() == "http" && !at_home {
        return Err(RegistryError::UnsafeRealm {
            host: request.registry.host_str().unwrap_or_default().to_owned(),
            realm: shown(&url),
        });
    }
    if secret
        && let Some(realms) = &transport.options.realms
        && !same_origin(&url, request.registry)
        && !realms.contains(&authority_of(&url))
    {
        return Err(RegistryError::ForeignRealm {
            host: authority_of(request.registry),
            realm: shown(&url),
        });
    }
    let insecure = request.insecure && url.host() == request.registry.host();

    let method = if matches!(request.credentials, Credentials::IdentityToken(_)) {
        Method::POST
    } else {
        Method::GET
    };
    let pool = transport.pool(&url, insecure)?;
    let builder = match request.credentials {
        Credentials::IdentityToken(token) => {
            let scope = request.scopes.join(" ");
            pool.post(url.clone()).form(&[
                ("grant_type", "refresh_token"),
                ("refresh_token", token.as_str()),
                ("service", request.service),
                ("scope", scope.as_str()),
                ("client_id", CLIENT_ID),
            ])
        }
        credentials => {
            {
                let mut query = url.query_pairs_mut();
                if !request.service.is_empty() {
                    query.append_pair("service", request.service);
                }
                for scope in request.scopes {
                    query.append_pair("scope", scope);
                }
                if let Credentials::Basic { username, .. } = credentials {
                    query.append_pair("account", username);
                }
                if request.offline {
                    query
                        .append_pair("offline_token", "true")
                        .append_pair("client_id", CLIENT_ID);
                }
            }
            let builder = pool.get(url.clone());
            match credentials {
                Credentials::Basic { username, password } => builder.basic_auth(username, Some(password)),
                _ => builder,
            }
        }
    };
    let mut response = transport.send(&pool, builder, &method, &url).await?;
    if response.status().is_redirection() && method == Method::GET {
        response = follow_token_redirect(transport, request, &url, &response).await?;
    }
    let status = response.status();
    let body = read_limited(response, MAX_TOKEN_ANSWER, transport.options.stall_timeout)
        .await
        .map_err(|error| error.into_registry_error(&method, &url))?;
    if !status.is_success() {
        return Err(refused(status, &body, &method, &url));
    }
    let answer: TokenAnswer =
        serde_json::from_slice(&body).map_err(|_| invalid("the answer is not a token"))?;
    let value = answer
        .token
        .filter(|token| !token.is_empty())
        .or(answer.access_token)
        .unwrap_or_default();
    if value.is_empty() || value.chars().any(|c| !c.is_ascii_graphic()) {
        return Err(invalid("the answer holds no token"));
    }
    let life = Duration::from_secs(answer.expires_in.unwrap_or(0).min(24 * 3600)).max(MIN_LIFE);
    // A token that ends while its request is on the way is worth nothing.
    Ok(Token {
        value,
        expires: Instant::now() + life.mul_f64(0.9),
        refresh: answer.refresh_token,
    })
}

/// Follows one redirect; credentials stay with the first server.
async fn follow_token_redirect(
    transport: &Transport,
    request: &TokenRequest<'_>,
    from: &Url,
    response: &reqwest::Response,
) -> Result<reqwest::Response, RegistryError> {
    let location = response
        .headers()
        .get(reqwest::header::LOCATION)
        .and_then(|value| value.to_str().ok());
    let target = location.and_then(|location| from.join(location).ok());
    let Some(target) = target.filter(|target| matches!(target.scheme(), "http" | "https")) else {
        return Err(RegistryError::Protocol {
            url: shown(from),
            reason: "redirect without an address".to_owned(),
        });
    };
    let pool = transport.pool(
        &target,
        request.insecure && target.host() == request.registry.host(),
    )?;
    let mut builder = pool.get(target.clone());
    if let Credentials::Basic { username, password } = request.credentials
        && same_origin(from, &target)
    {
        builder = builder.basic_auth(username, Some(password));
    }
    transport.send(&pool, builder, &Method::GET, &target).await
}

fn refused(status: StatusCode, body: &[u8], method: &Method, url: &Url) -> RegistryError {
    let answer = Answer::parse(body);
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
            RegistryError::Unauthorized {
                message: answer
                    .message
                    .unwrap_or_else(|| "authentication required".to_owned()),
            }
        }
        StatusCode::TOO_MANY_REQUESTS => RegistryError::RateLimited {
            message: answer
                .message
                .unwrap_or_else(|| "too many requests to the token server".to_owned()),
            retry_after: None,
        },
        status => RegistryError::Status {
            status: status.to_string(),
            method: verb(method),
            url: shown(url),
        },
    }
}

/// A failure while a body was read.
pub(crate) enum BodyError {
    Transfer(reqwest::Error),
    Stalled(Duration),
    TooLarge,
}

impl BodyError {
    pub(crate) fn into_registry_error(self, method: &Method, url: &Url) -> RegistryError {
        match self {
            Self::Transfer(error) => network(method, url, &error, None),
            Self::Stalled(after) => crate::transport::stalled(method, url, after),
            Self::TooLarge => RegistryError::Protocol {
                url: shown(url),
                reason: "the answer is too large".to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        challenge(&headers)
    }

    #[test]
    fn challenges() {
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&["Basic realm=\"x\""]), Some(Challenge::Basic));
        assert_eq!(
            parse(&[
                "Basic realm=x",
                "Bearer realm=\"https://a/t\",service=\"s, \\\"q\\\"\", scope=\"repository:a:pull\",error=insufficient_scope"
            ]),
            Some(Challenge::Bearer {
                realm: "https://a/t".into(),
                service: "s, \"q\"".into(),
                scope: "repository:a:pull".into(),
                error: "insufficient_scope".into(),
            })
        );
        assert!(matches!(parse(&["Bearer"]), Some(Challenge::Bearer { realm, .. }) if realm.is_empty()));
        assert!(
            matches!(parse(&["Bearer realm=\"unclosed"]), Some(Challenge::Bearer { realm, .. }) if realm == "unclosed")
        );
    }
}

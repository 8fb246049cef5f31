//! One server and one user: finding the scheme, following challenges and redirects, repeating what failed for a moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode, Url};

use crate::auth::{Challenge, Token, TokenKey, TokenRequest, challenge, fetch_token};
use crate::error::{Answer, read_limited};
use crate::hosts::{Address, Hosts, Scheme};
use crate::retry::{is_transient, retry_after};
use crate::transport::{Transport, same_origin, shown, url, verb};
use crate::{Credentials, RegistryError, RetryPolicy};

const MAX_REDIRECTS: usize = 10;
const MAX_ERROR_BODY: u64 = 64 << 10;
/// Tokens kept per server; beyond it the oldest are forgotten.
const MAX_TOKENS: usize = 1000;

/// What is known of a server, shared by all its users.
pub(crate) struct EndpointState {
    address: Address,
    /// By the table of the registry it stands for.
    insecure: bool,
    resolved_insecure: tokio::sync::OnceCell<bool>,
    scheme: Mutex<Option<Scheme>>,
    challenge: Mutex<Option<Challenge>>,
    tokens: tokio::sync::Mutex<HashMap<TokenKey, Token>>,
}

impl EndpointState {
    pub(crate) fn new(address: Address, insecure: bool) -> Self {
        EndpointState {
            address,
            insecure,
            resolved_insecure: tokio::sync::OnceCell::new(),
            scheme: Mutex::default(),
            challenge: Mutex::default(),
            tokens: tokio::sync::Mutex::default(),
        }
    }
}

/// One server as seen by one user.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) transport: Arc<Transport>,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) state: Arc<EndpointState>,
    pub(crate) credentials: Credentials,
}

/// Makes a request body; called once per attempt.
pub(crate) type MakeBody<'a> = &'a (dyn Fn() -> Result<reqwest::Body, RegistryError> + Send + Sync);

/// A request, before it is known by which scheme and with which token it goes.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) body: Option<MakeBody<'a>>,
    pub(crate) scopes: Vec<String>,
}

#[derive(Clone)]
pub(crate) enum Target {
    /// Path and query behind the base address.
    Path(String),
    /// A whole address (an upload session's).
    Url(Url),
}

impl<'a> Call<'a> {
    pub(crate) fn new(method: Method, path: impl Into<String>, scope: impl Into<String>) -> Self {
        Call {
            method,
            target: Target::Path(path.into()),
            headers: Vec::new(),
            body: None,
            scopes: vec![scope.into()],
        }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn accept(self, types: &[&str]) -> Self {
        self.header(ACCEPT, types.join(", "))
    }

    pub(crate) fn body(mut self, make: MakeBody<'a>) -> Self {
        self.body = Some(make);
        self
    }
}

/// An answer, and where it came from in the end.
pub(crate) struct Reply {
    pub(crate) response: reqwest::Response,
    pub(crate) url: Url,
    pub(crate) method: Method,
}

impl Reply {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    pub(crate) fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// The body of a JSON answer.
    pub(crate) async fn json<T: serde::de::DeserializeOwned>(
        self,
        limit: u64,
        stall: Duration,
    ) -> Result<T, RegistryError> {
        let body = read_limited(self.response, limit, stall)
            .await
            .map_err(|error| error.into_registry_error(&self.method, &self.url))?;
        serde_json::from_slice(&body).map_err(|error| RegistryError::Protocol {
            url: shown(&self.url),
            reason: error.to_string(),
        })
    }

    /// Reads the registry's explanation and makes an error of it.
    pub(crate) async fn failure(self, stall: Duration) -> Failure {
        let status = self.status();
        let retry_after = retry_after(self.headers());
        let insufficient = matches!(
            challenge(self.headers()),
            Some(Challenge::Bearer { error, .. }) if error == "insufficient_scope"
        );
        let body = read_limited(self.response, MAX_ERROR_BODY, stall)
            .await
            .unwrap_or_default();
        let Answer { code, message } = Answer::parse(&body);
        Failure {
            status,
            code,
            message,
            insufficient,
            retry_after,
            method: self.method,
            url: self.url,
        }
    }
}

/// A refused request with the registry's explanation.
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) code: Option<String>,
    pub(crate) message: Option<String>,
    /// The token was understood but doesn't allow this.
    pub(crate) insufficient: bool,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) method: Method,
    pub(crate) url: Url,
}

impl Failure {
    /// Without knowing what was asked for.
    pub(crate) fn into_error(self) -> RegistryError {
        let text = |default: &str| self.message.clone().unwrap_or_else(|| default.to_owned());
        match (self.status, self.code.as_deref()) {
            (StatusCode::TOO_MANY_REQUESTS, _) | (_, Some("TOOMANYREQUESTS")) => RegistryError::RateLimited {
                message: text("too many requests"),
                retry_after: self.retry_after,
            },
            (StatusCode::UNAUTHORIZED, _) if self.insufficient => RegistryError::Denied {
                message: "requested access to the resource is denied".to_owned(),
            },
            (StatusCode::FORBIDDEN, _) | (_, Some("DENIED")) => RegistryError::Denied {
                message: text("requested access to the resource is denied"),
            },
            (StatusCode::UNAUTHORIZED, _) => RegistryError::Unauthorized {
                message: text("authentication required"),
            },
            (status, Some(code)) if status.is_client_error() => RegistryError::Rejected {
                code: code.to_ascii_lowercase().replace('_', " "),
                message: text("refused by the registry"),
            },
            (status, _) => RegistryError::Status {
                status: status.to_string(),
                method: verb(&self.method),
                url: shown(&self.url),
            },
        }
    }
}

impl Endpoint {
    /// Sends a request, again while failures are temporary and attempts are left.
    pub(crate) async fn send(&self, call: &Call<'_>, policy: &RetryPolicy) -> Result<Reply, RegistryError> {
        self.repeat(policy, || self.exchange(call)).await
    }

    async fn repeat<F: Future<Output = Result<Reply, RegistryError>>>(
        &self,
        policy: &RetryPolicy,
        attempt: impl Fn() -> F,
    ) -> Result<Reply, RegistryError> {
        let mut failed = 0;
        loop {
            let outcome = attempt().await;
            failed += 1;
            let pause = match &outcome {
                Ok(reply) if is_transient(reply.status()) => {
                    policy.pause(failed, retry_after(reply.headers()))
                }
                Ok(_) => None,
                // A server that isn't there is asked once more, not for half a minute.
                Err(error) if error.is_unreachable() => policy.at_most(2).pause(failed, None),
                Err(error) if error.is_transient() => policy.pause(failed, None),
                Err(_) => None,
            };
            let Some(pause) = pause else { return outcome };
            let why = match &outcome {
                Ok(reply) => reply.status().to_string(),
                Err(error) => error.to_string(),
            };
            tracing::debug!(
                host = self.state.address.authority,
                failed,
                ?pause,
                why,
                "registry request is repeated"
            );
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends without answering a challenge.
    pub(crate) async fn send_bare(
        &self,
        call: &Call<'_>,
        policy: &RetryPolicy,
    ) -> Result<Reply, RegistryError> {
        self.repeat(policy, || async { Ok(self.route(call, None).await?.0) })
            .await
    }

    /// Sends with a given authorization.
    pub(crate) async fn send_with(
        &self,
        call: &Call<'_>,
        authorization: &str,
        policy: &RetryPolicy,
    ) -> Result<Reply, RegistryError> {
        self.repeat(policy, || async {
            Ok(self.route(call, Some(authorization)).await?.0)
        })
        .await
    }

    /// One request with its challenge, if there is one.
    pub(crate) async fn exchange(&self, call: &Call<'_>) -> Result<Reply, RegistryError> {
        let known = self
            .state
            .challenge
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut authorization = match &known {
            // Without the address of the registry a token can't be asked for; the scheme is known once a challenge is.
            Some(challenge) => {
                self.authorization(challenge, &call.scopes, &self.home()?, None)
                    .await?
            }
            None => match &self.credentials {
                Credentials::RegistryToken(token) => Some(format!("Bearer {token}")),
                _ => None,
            },
        };
        for first in [true, false] {
            let (reply, at_home) = self.route(call, authorization.as_deref()).await?;
            if reply.status() != StatusCode::UNAUTHORIZED || !at_home || !first {
                return Ok(reply);
            }
            let Some(challenge) = challenge(reply.headers()) else {
                return Ok(reply);
            };
            if challenge == Challenge::Basic && matches!(self.credentials, Credentials::None) {
                return Err(RegistryError::NoBasicCredentials {
                    method: verb(&reply.method),
                    url: shown(&reply.url),
                });
            }
            *self
                .state
                .challenge
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(challenge.clone());
            let before = authorization.take();
            authorization = self
                .authorization(&challenge, &call.scopes, &reply.url, before.as_deref())
                .await?;
            if authorization.is_none() || (authorization == before && challenge == Challenge::Basic) {
                return Ok(reply);
            }
        }
        unreachable!("the second turn returns")
    }

    /// The header that answers a challenge. `stale`: the one that has just been refused.
    async fn authorization(
        &self,
        challenge: &Challenge,
        scopes: &[String],
        registry: &Url,
        stale: Option<&str>,
    ) -> Result<Option<String>, RegistryError> {
        if let Credentials::RegistryToken(token) = &self.credentials {
            return Ok(Some(format!("Bearer {token}")));
        }
        let Challenge::Bearer {
            realm,
            service,
            scope,
            ..
        } = challenge
        else {
            return Ok(match &self.credentials {
                Credentials::Basic { username, password } => Some(basic(username, password)),
                _ => None,
            });
        };
        let mut scopes: Vec<String> = scopes.iter().filter(|scope| !scope.is_empty()).cloned().collect();
        if scopes.is_empty() && !scope.is_empty() && stale.is_none() {
            // A call that names no scope (catalog, search) takes what the challenge asks for.
            scopes.extend(scope.split(' ').map(str::to_owned));
        }
        let key = TokenKey {
            credentials: self.credentials.clone(),
            scopes,
        };
        // Held while asking, so that concurrent requests ask once.
        let mut tokens = self.state.tokens.lock().await;
        if let Some(token) = tokens.get(&key)
            && token.expires > Instant::now()
        {
            let header = format!("Bearer {}", token.value);
            if stale != Some(&header) {
                return Ok(Some(header));
            }
        }
        let request = TokenRequest {
            registry,
            insecure: self.insecure().await,
            realm,
            service,
            scopes: &key.scopes,
            credentials: &self.credentials,
            offline: false,
        };
        let token = fetch_token(&self.transport, &request).await?;
        let header = format!("Bearer {}", token.value);
        let now = Instant::now();
        tokens.retain(|_, token| token.expires > now);
        if tokens.len() >= MAX_TOKENS {
            tokens.clear();
        }
        tokens.insert(key, token);
        Ok(Some(header))
    }

    /// Whether the server need not prove who it is.
    pub(crate) async fn insecure(&self) -> bool {
        let lookup = || async {
            let authority = &self.state.address.authority;
            if self.state.insecure || self.hosts.is_insecure(authority) {
                return true;
            }
            if !self.hosts.has_networks() {
                return false;
            }
            match tokio::net::lookup_host((self.state.address.host(), 443)).await {
                Ok(mut found) => found.any(|address| self.hosts.is_insecure_address(address.ip())),
                Err(_) => false,
            }
        };
        *self.state.resolved_insecure.get_or_init(lookup).await
    }

    /// The server's base address by the scheme found so far.
    fn home(&self) -> Result<Url, RegistryError> {
        let found = *self.state.scheme.lock().unwrap_or_else(PoisonError::into_inner);
        let scheme = self.state.address.scheme.or(found).unwrap_or(Scheme::Https);
        url(scheme, &self.state.address.authority, &self.state.address.prefix)
    }

    pub(crate) fn url(&self, scheme: Scheme, path: &str) -> Result<Url, RegistryError> {
        let address = &self.state.address;
        url(scheme, &address.authority, &format!("{}{path}", address.prefix))
    }

    /// Sends by the scheme the server speaks; whether the answer is the server's own (and not one it redirected to).
    async fn route(
        &self,
        call: &Call<'_>,
        authorization: Option<&str>,
    ) -> Result<(Reply, bool), RegistryError> {
        let path = match &call.target {
            Target::Url(url) => return self.follow(call, url.clone(), authorization).await,
            Target::Path(path) => path,
        };
        let found = *self.state.scheme.lock().unwrap_or_else(PoisonError::into_inner);
        let insecure = self.insecure().await;
        let (first, second) = match self.state.address.scheme.or(found) {
            Some(scheme) => (scheme, None),
            None => (Scheme::Https, insecure.then_some(Scheme::Http)),
        };
        let outcome = self.follow(call, self.url(first, path)?, authorization).await;
        let remember = |scheme| *self.state.scheme.lock().unwrap_or_else(PoisonError::into_inner) = scheme;
        match (outcome, second) {
            (Ok(reply), _) => {
                remember(Some(first));
                Ok(reply)
            }
            (Err(error), Some(second)) if error.may_be_plain() => {
                let reply = self.follow(call, self.url(second, path)?, authorization).await?;
                remember(Some(second));
                Ok(reply)
            }
            (Err(error), _) => {
                // What answered there may have changed.
                remember(None);
                Err(error)
            }
        }
    }

    /// Sends, and follows redirects of reading requests. Authorization never leaves the server it is for.
    async fn follow(
        &self,
        call: &Call<'_>,
        start: Url,
        authorization: Option<&str>,
    ) -> Result<(Reply, bool), RegistryError> {
        let insecure = self.insecure().await;
        let home = self.home_of(&start)?;
        let mut at = start;
        for _ in 0..=MAX_REDIRECTS {
            let at_home = same_origin(&at, &home);
            let pool = self.transport.pool(&at, insecure)?;
            let mut request = pool.request(call.method.clone(), at.clone());
            for (name, value) in &call.headers {
                request = request.header(name, value);
            }
            if let Some(authorization) = authorization.filter(|_| at_home) {
                let mut value =
                    HeaderValue::try_from(authorization).map_err(|_| RegistryError::Unauthorized {
                        message: "the token holds characters that cannot be sent".to_owned(),
                    })?;
                value.set_sensitive(true);
                request = request.header(AUTHORIZATION, value);
            }
            if let Some(make) = call.body {
                request = request.body(make()?);
            }
            let response = self.transport.send(&pool, request, &call.method, &at).await?;
            let reading = matches!(call.method, Method::GET | Method::HEAD);
            let redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            if !redirect || !reading {
                return Ok((
                    Reply {
                        response,
                        url: at,
                        method: call.method.clone(),
                    },
                    at_home,
                ));
            }
            let location = response
                .headers()
                .get(LOCATION)
                .and_then(|value| value.to_str().ok());
            let next = location.and_then(|location| at.join(location).ok());
            at = match next {
                Some(next) if matches!(next.scheme(), "http" | "https") && next.has_host() => next,
                _ => {
                    return Err(RegistryError::Protocol {
                        url: shown(&at),
                        reason: "redirect without a usable address".to_owned(),
                    });
                }
            };
        }
        Err(RegistryError::Protocol {
            url: shown(&at),
            reason: format!("more than {MAX_REDIRECTS} redirects"),
        })
    }

    /// The origin credentials belong to: the server's own, by the scheme of the request when that is still being found.
    fn home_of(&self, start: &Url) -> Result<Url, RegistryError> {
        let scheme = match start.scheme() {
            "http" if self.state.address.scheme != Some(Scheme::Https) => {
                let found = *self.state.scheme.lock().unwrap_or_else(PoisonError::into_inner);
                // A plain address given by a server that speaks HTTPS is not home.
                if found == Some(Scheme::Https) {
                    Scheme::Https
                } else {
                    Scheme::Http
                }
            }
            _ => self.state.address.scheme.unwrap_or(Scheme::Https),
        };
        self.url(scheme, "/")
    }

    /// Resolves the `Location` of an upload against the request that got it.
    pub(crate) fn location(&self, reply: &Reply) -> Result<Url, RegistryError> {
        let invalid = |reason: &str| RegistryError::Protocol {
            url: shown(&reply.url),
            reason: reason.to_owned(),
        };
        let text = reply
            .header(LOCATION)
            .ok_or_else(|| invalid("an upload without a location"))?;
        let mut url = reply
            .url
            .join(text)
            .map_err(|_| invalid("the location of the upload is not an address"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(invalid("the location of the upload is not an http address"));
        }
        // Registries behind a proxy that ends TLS do not know how they are reached.
        if url.scheme() == "http" && reply.url.scheme() == "https" && url.host() == reply.url.host() {
            let _ = url.set_scheme("https");
            if url.port() == Some(80) || url.port().is_none() {
                let _ = url.set_port(reply.url.port());
            }
        }
        Ok(url)
    }
}

pub(crate) fn basic(username: &str, password: &str) -> String {
    use base64::Engine as _;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}"));
    format!("Basic {pair}")
}

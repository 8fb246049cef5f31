//! Checking a user name and a password.

use reqwest::{Method, StatusCode};

use crate::auth::{Challenge, TokenRequest, challenge, fetch_token};
use crate::client::Client;
use crate::endpoint::{Call, basic};
use crate::transport::shown;
use crate::{Credentials, RegistryError};

/// Outcome of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginResult {
    /// "Login Succeeded".
    pub status: String,
    /// To be stored instead of the password, when the registry gives one.
    pub identity_token: Option<String>,
}

impl LoginResult {
    fn succeeded(identity_token: Option<String>) -> Self {
        LoginResult {
            status: "Login Succeeded".to_owned(),
            identity_token,
        }
    }
}

/// The registry's name in what people and clients write: `https://index.docker.io/v1/`, nothing, `http://host:5000/`.
fn domain_of(server: &str) -> &str {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

impl Client {
    /// Checks user name and password against a registry. `server` is a domain ("docker.io", "localhost:5000") or one of
    /// Docker's names of Docker Hub (`https://index.docker.io/v1/`, "").
    pub async fn login(
        &self,
        server: &str,
        username: &str,
        password: &str,
    ) -> Result<LoginResult, RegistryError> {
        let credentials = Credentials::Basic {
            username: username.to_owned(),
            password: password.to_owned(),
        };
        // Without credentials first: what the registry wants decides where they go.
        let anonymous = self.origin(domain_of(server), &Credentials::None);
        let options = &self.transport().options;
        let call = Call::new(Method::GET, "/v2/", "");
        let reply = anonymous.send_bare(&call, &options.retry).await?;
        let status = reply.status();
        if status.is_success() {
            return Ok(LoginResult::succeeded(None));
        }
        let url = reply.url.clone();
        let refused = |message: String| RegistryError::LoginRefused {
            url: shown(&url),
            message,
        };
        let Some(challenge) = (status == StatusCode::UNAUTHORIZED)
            .then(|| challenge(reply.headers()))
            .flatten()
        else {
            return Err(reply.failure(options.stall_timeout).await.into_error());
        };
        match challenge {
            Challenge::Basic => {
                let header = basic(username, password);
                let reply = anonymous.send_with(&call, &header, &options.retry).await?;
                match reply.status() {
                    status if status.is_success() => Ok(LoginResult::succeeded(None)),
                    status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                        Err(RegistryError::LoginStatus {
                            url: shown(&url),
                            status: status.to_string(),
                        })
                    }
                    _ => Err(reply.failure(options.stall_timeout).await.into_error()),
                }
            }
            Challenge::Bearer { realm, service, .. } => {
                let request = TokenRequest {
                    registry: &url,
                    insecure: anonymous.insecure().await,
                    realm: &realm,
                    service: &service,
                    scopes: &[],
                    credentials: &credentials,
                    offline: true,
                };
                let token = fetch_token(self.transport(), &request)
                    .await
                    .map_err(|error| match error {
                        RegistryError::Unauthorized { message } => refused(message),
                        other => other,
                    })?;
                let reply = anonymous
                    .send_with(&call, &format!("Bearer {}", token.value), &options.retry)
                    .await?;
                if reply.status().is_success() {
                    return Ok(LoginResult::succeeded(
                        token.refresh.filter(|token| !token.is_empty()),
                    ));
                }
                let failure = reply.failure(options.stall_timeout).await;
                Err(refused(
                    failure
                        .message
                        .unwrap_or_else(|| "authentication required".to_owned()),
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        assert_eq!(domain_of("https://index.docker.io/v1/"), "index.docker.io");
        assert_eq!(domain_of("localhost:5000"), "localhost:5000");
        assert_eq!(domain_of("http://reg.lan:5000/v2/"), "reg.lan:5000");
        assert_eq!(domain_of(""), "");
    }
}

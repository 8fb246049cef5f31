//! `/token`: who they are for what they may do (Docker's "Token Authentication Specification" and its OAuth 2 form).

use std::net::IpAddr;

use axum::Json;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use havre_hub::{Actor, Scope};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use serde_json::json;

use super::Accounts;
use super::basic::basic;
use crate::error::ApiError;
use crate::query::Query;

/// The largest form in bytes.
const MAX_FORM: usize = 64 << 10;

/// What was asked for.
struct Wanted {
    actor: Actor,
    scopes: Vec<Scope>,
    /// Whether a refresh token is wanted, too.
    offline: bool,
    /// The refresh token they came with.
    refreshed: Option<String>,
    /// What the client calls itself.
    client: String,
}

fn invalid(message: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "UNSUPPORTED", message)
}

fn scopes(query: &Query) -> Result<Vec<Scope>, ApiError> {
    let texts = query.all("scope").flat_map(str::split_whitespace);
    let scopes = texts.map(|text| text.parse::<Scope>());
    scopes.collect::<Result<_, _>>().map_err(ApiError::from)
}

impl Accounts {
    /// Answers a request for a token.
    pub(crate) async fn token(&self, request: Request<Body>, address: IpAddr) -> Result<Response, ApiError> {
        let (head, body) = request.into_parts();
        let wanted = match head.method {
            Method::GET => {
                let query = Query::read(head.uri.query());
                self.by_query(&head.headers, &query, address).await?
            }
            Method::POST => {
                let form = Limited::new(body, MAX_FORM).collect().await;
                let form = form.map_err(|_| invalid("the form is too large or did not come to its end"))?;
                let text = String::from_utf8(form.to_bytes().to_vec());
                let text = text.map_err(|_| invalid("the form is not UTF-8"))?;
                self.by_form(&Query::read(Some(&text)), address).await?
            }
            _ => return Err(ApiError::method("GET, POST")),
        };
        let answer = self.blocking(move |hub| {
            let issued = hub.issue(&wanted.actor, &wanted.scopes)?;
            // A login asks for nothing else; who pulls and pushes asks all the time.
            if wanted.scopes.is_empty() && wanted.refreshed.is_none() {
                hub.signed_in(&wanted.actor, &wanted.client)?;
            }
            let refresh = match (wanted.refreshed, wanted.offline) {
                (Some(refreshed), _) => Some(refreshed),
                (None, true) => hub.refresh_token(&wanted.actor, &wanted.client)?,
                (None, false) => None,
            };
            let issued_at = rfc3339(issued.issued_at);
            let mut answer = json!({
                "token": issued.token,
                "access_token": issued.token,
                "expires_in": issued.expires_in,
                "issued_at": issued_at,
            });
            if let Some(refresh) = refresh {
                answer["refresh_token"] = refresh.into();
            }
            Ok(answer)
        });
        let mut response = Json(answer.await?).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    async fn by_query(
        &self,
        headers: &HeaderMap,
        query: &Query,
        address: IpAddr,
    ) -> Result<Wanted, ApiError> {
        self.check_service(query)?;
        let scopes = scopes(query)?;
        let actor = match headers.contains_key(header::AUTHORIZATION) {
            false => Actor::anonymous(Some(address)),
            true => {
                let (name, secret) =
                    basic(headers).ok_or_else(|| invalid("only Basic is understood here"))?;
                self.authenticate(name, secret, address).await?
            }
        };
        Ok(Wanted {
            actor,
            scopes,
            offline: query.get("offline_token") == Some("true"),
            refreshed: None,
            client: query.get("client_id").unwrap_or_default().to_owned(),
        })
    }

    async fn by_form(&self, form: &Query, address: IpAddr) -> Result<Wanted, ApiError> {
        self.check_service(form)?;
        let scopes = scopes(form)?;
        let field = |name| form.get(name).unwrap_or_default().to_owned();
        let (actor, refreshed) = match form.get("grant_type") {
            Some("password") => {
                let actor = self
                    .authenticate(field("username"), field("password"), address)
                    .await?;
                (actor, None)
            }
            Some("refresh_token") => {
                let secret = field("refresh_token");
                let kept = secret.clone();
                let actor = self
                    .blocking(move |hub| hub.refresh(&secret, Some(address)))
                    .await?;
                (actor, Some(kept))
            }
            _ => return Err(invalid("grant_type must be password or refresh_token")),
        };
        Ok(Wanted {
            actor,
            scopes,
            offline: form.get("access_type") == Some("offline"),
            refreshed,
            client: field("client_id"),
        })
    }

    /// Tokens are issued for this registry only, whatever is asked for.
    fn check_service(&self, query: &Query) -> Result<(), ApiError> {
        match query.get("service") {
            Some(service) if !service.is_empty() && service != self.hub.settings().service => {
                Err(invalid("the service is not this registry"))
            }
            _ => Ok(()),
        }
    }
}

/// Seconds since 1970 as RFC 3339 has them.
fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| String::new(), |time| time.to_string())
}

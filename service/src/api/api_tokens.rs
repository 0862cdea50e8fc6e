//! Tokens for programs.

use std::time::Duration;

use poem::Result;
use poem::http::StatusCode;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use serde::Serialize;
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

use super::auth::DoneResponse;
use super::authorize::{Authorized, SignedIn};
use super::payload::JsonBytes;
use super::problem::Failure;
use super::problem_json::ProblemJson;
use super::tags::Tag;
use crate::actions::{Actions, Origin, api_tokens};
use crate::domain::access::{Scope, Scopes};
use crate::domain::api_tokens::{ApiToken, Expiry, NewApiToken};

/// The words for scopes, once for each of them.
macro_rules! scope_names {
    ($($Name:ident = $word:literal),* $(,)?) => {
        /// What a token may do.
        #[derive(Clone, Copy, Debug, Enum, PartialEq, Eq, Serialize)]
        #[oai(rename = "Scope")]
        #[expect(missing_docs, reason = "the words say it, and `Scope` has them")]
        pub enum ScopeName { $(
            #[oai(rename = $word)]
            #[serde(rename = $word)]
            $Name,
        )* }

        impl From<Scope> for ScopeName {
            fn from(scope: Scope) -> Self {
                match scope { $( Scope::$Name => Self::$Name, )* }
            }
        }

        impl From<ScopeName> for Scope {
            fn from(name: ScopeName) -> Self {
                match name { $( ScopeName::$Name => Self::$Name, )* }
            }
        }
    };
}

scope_names! {
    UsersRead = "users:read",
    UsersWrite = "users:write",
    MetricsRead = "metrics:read",
    MetricsWrite = "metrics:write",
    ConfigRead = "config:read",
    ConfigWrite = "config:write",
    ArchiveWrite = "archive:write",
    AuditRead = "audit:read",
}

/// A token that is asked for.
#[derive(Object)]
#[oai(example, deny_unknown_fields)]
pub struct TokenRequest {
    /// What it is called, unique among one's own: 1 to 100 characters.
    pub name: String,
    /// What it may do, as far as its owner may: one scope at least.
    #[oai(validator(max_items = 100))]
    pub scopes: Vec<ScopeName>,
    /// When it ends. Either this or `lifetime_seconds`.
    pub expires_at: Option<OffsetDateTime>,
    /// How long it lasts. Either this or `expires_at`.
    #[oai(validator(minimum(value = "1")))]
    pub lifetime_seconds: Option<u32>,
}

/// A token for programs.
#[derive(Object, Serialize)]
#[oai(rename = "ApiToken")]
pub struct TokenBody {
    /// Its id.
    pub id: Uuid,
    /// What it is called.
    pub name: String,
    /// What it may do, as far as its owner may.
    pub scopes: Vec<ScopeName>,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it ends.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// When it was used last, to the minute.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_used_at: Option<OffsetDateTime>,
}

/// A token that was made.
#[derive(Object, Serialize)]
#[oai(example)]
pub struct CreatedTokenBody {
    /// The token itself, for `Authorization: Bearer`. It is told this once.
    pub token: String,
    /// What is kept of it.
    #[oai(flatten)]
    #[serde(flatten)]
    pub row: TokenBody,
}

/// Tokens, newest first. All there are, of which there are never many.
#[derive(Object, Serialize)]
#[oai(example)]
pub struct Tokens {
    /// The tokens.
    pub items: Vec<TokenBody>,
    /// Always null.
    pub next_cursor: Option<String>,
}

/// Answers of making a token.
#[derive(ApiResponse)]
pub enum CreateTokenResponse {
    /// The token was made.
    #[oai(status = 201)]
    Created(JsonBytes<CreatedTokenBody>),
    /// The request cannot be served.
    Problem(StatusCode, ProblemJson),
}

/// Answers of listing tokens.
#[derive(ApiResponse)]
pub enum TokensResponse {
    /// The tokens.
    #[oai(status = 200)]
    Tokens(JsonBytes<Tokens>),
    /// The request cannot be served.
    Problem(StatusCode, ProblemJson),
}

/// The routes of tokens.
pub struct ApiTokensApi {
    /// What is done.
    pub actions: Actions,
}

#[OpenApi(prefix_path = "/api/v1/auth", tag = "Tag::Auth")]
impl ApiTokensApi {
    /// Make a token for a program
    ///
    /// What it may do is its scopes and what its owner may do at that moment, whichever is less. It makes no
    /// tokens itself and changes no password.
    #[oai(path = "/tokens", method = "post", operation_id = "create_token")]
    async fn create_token(
        &self,
        caller: Authorized<SignedIn>,
        body: Json<TokenRequest>,
        origin: Origin,
    ) -> Result<CreateTokenResponse> {
        let wanted = NewApiToken::from(body.0);
        let made =
            api_tokens::create(&self.actions, &caller, wanted, &origin).await.map_err(Failure::from)?;
        let body = CreatedTokenBody { token: made.token.expose().to_owned(), row: made.row.into() };
        Ok(CreateTokenResponse::Created(JsonBytes::of(&body)?))
    }

    /// Which tokens do I have?
    #[oai(path = "/tokens", method = "get", operation_id = "list_tokens")]
    async fn list_tokens(&self, caller: Authorized<SignedIn>) -> Result<TokensResponse> {
        let found = api_tokens::list(&self.actions, &caller).await.map_err(Failure::from)?;
        let items = found.into_iter().map(TokenBody::from).collect();
        Ok(TokensResponse::Tokens(JsonBytes::of(&Tokens { items, next_cursor: None })?))
    }

    /// Revoke a token
    ///
    /// One of one's own.
    #[oai(path = "/tokens/:id", method = "delete", operation_id = "revoke_token")]
    async fn revoke_token(
        &self,
        caller: Authorized<SignedIn>,
        id: Path<Uuid>,
        origin: Origin,
    ) -> Result<DoneResponse> {
        api_tokens::revoke(&self.actions, &caller, id.0, &origin).await.map_err(Failure::from)?;
        Ok(DoneResponse::Done)
    }
}

impl From<TokenRequest> for NewApiToken {
    fn from(request: TokenRequest) -> Self {
        let expiry = match (request.expires_at, request.lifetime_seconds) {
            (Some(end), None) => Some(Expiry::At(end)),
            (None, Some(seconds)) => Some(Expiry::After(Duration::from_secs(seconds.into()))),
            _ => None,
        };
        let scopes = Scopes(request.scopes.into_iter().map(Scope::from).collect());
        Self { name: request.name, scopes, expiry }
    }
}

impl From<ApiToken> for TokenBody {
    fn from(token: ApiToken) -> Self {
        Self {
            id: token.id,
            name: token.name,
            scopes: token.scopes.0.into_iter().map(ScopeName::from).collect(),
            created_at: token.created_at,
            expires_at: token.expires_at,
            last_used_at: token.last_used_at,
        }
    }
}

const EXAMPLE_TIME: OffsetDateTime = datetime!(2026-01-31 12:00:00 UTC);

fn example_token() -> TokenBody {
    TokenBody {
        id: Uuid::from_u128(0x019c_139d_5400_7000_8000_0000_0000_0002),
        name: "nightly report".to_owned(),
        scopes: vec![ScopeName::UsersRead],
        created_at: EXAMPLE_TIME,
        expires_at: EXAMPLE_TIME + time::Duration::days(90),
        last_used_at: None,
    }
}

impl Example for TokenRequest {
    fn example() -> Self {
        let (name, scopes) = ("nightly report".to_owned(), vec![ScopeName::UsersRead]);
        Self { name, scopes, expires_at: None, lifetime_seconds: Some(7_776_000) }
    }
}

impl Example for CreatedTokenBody {
    fn example() -> Self {
        Self { token: "Zm9ydHktdGhyZWUgY2hhcmFjdGVycyBvZiBiYXNlNjQ".to_owned(), row: example_token() }
    }
}

impl Example for Tokens {
    fn example() -> Self {
        Self { items: vec![example_token()], next_cursor: None }
    }
}

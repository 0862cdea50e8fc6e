//! Tokens for programs.

use std::time::Duration;

use poem::Request;
use poem_openapi::param::Path;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

use super::auth::{DoneResponse, OfEnd, OfOwn};
use super::authorize::{Authorized, Known, SignedIn};
use super::conventions::bodies::given;
use super::conventions::times::{given_time, rfc3339_or_null};
use super::conventions::{IdempotencyKey, JsonBody, Nullable, Refused, Statuses, idempotency, statuses};
use super::payload::JsonBytes;
use super::tags::Tag;
use crate::actions::api_tokens::{self, CreatedToken, Creation};
use crate::actions::{Actions, Origin};
use crate::domain::access::{Scope, Scopes};
use crate::domain::api_tokens::{ApiToken, Expiry, NewApiToken};
use crate::domain::idempotency::{Answer, AnswerHeaders};
use crate::store;

/// The words for scopes, once for each of them.
macro_rules! scope_names {
    ($($Name:ident = $word:literal),* $(,)?) => {
        /// What a token may do.
        #[derive(Clone, Copy, Debug, Enum, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(example, deny_unknown_fields, skip_serializing_if_is_none)]
pub struct TokenRequest {
    /// What it is called, unique among one's own, without control characters.
    #[oai(validator(min_length = 1, max_length = 100))]
    pub name: String,
    /// What it may do, as far as its owner may: one scope at least.
    #[oai(validator(min_items = 1))]
    pub scopes: Vec<ScopeName>,
    /// When it ends. Either this or `lifetime_seconds`.
    #[serde(default, deserialize_with = "given_time")]
    pub expires_at: Option<OffsetDateTime>,
    /// How long it lasts. Either this or `expires_at`.
    #[serde(default, deserialize_with = "given")]
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
    #[serde(serialize_with = "rfc3339_or_null")]
    pub last_used_at: Nullable<OffsetDateTime>,
}

/// A token that was made.
#[derive(Object, Serialize)]
#[oai(example)]
pub struct CreatedTokenBody {
    /// The token itself, for `Authorization: Bearer`. It is told this once: it is missing where the answer
    /// is that of an earlier request with the same `Idempotency-Key`.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
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
    pub next_cursor: Nullable<String>,
}

/// Answers of making a token.
#[derive(ApiResponse)]
pub enum CreateTokenResponse {
    /// The token was made, now or when the same request was sent before.
    #[oai(status = 201)]
    Created(
        JsonBytes<CreatedTokenBody>,
        /// `true`: it was made before, and this is the answer of that time without the token itself.
        #[oai(header = "Idempotent-Replayed")]
        Option<bool>,
    ),
}

/// Answers of listing tokens.
#[derive(ApiResponse)]
pub enum TokensResponse {
    /// The tokens.
    #[oai(status = 200)]
    Tokens(JsonBytes<Tokens>),
}

statuses! {
    /// Of making a token.
    OfCreate = 400, 401, 403, 408, 409, 413, 415, 422, 500, 503;
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
        origin: Origin,
        request: &Request,
        /// Chosen by the client for this request: 1 to 255 visible characters.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: IdempotencyKey,
        body: JsonBody<TokenRequest>,
    ) -> Result<CreateTokenResponse, Refused<OfCreate>> {
        let keyed = idempotency::keyed(request, &caller, idempotency_key, body.bytes);
        let wanted = NewApiToken::from(body.value);
        let made = api_tokens::create(&self.actions, &caller, wanted, keyed.as_ref(), kept, &origin).await?;
        Ok(match made {
            Creation::Made(made) => {
                let CreatedToken { row, token } = *made;
                let body = CreatedTokenBody { token: Some(token.expose().to_owned()), row: row.into() };
                CreateTokenResponse::Created(JsonBytes::of(&body)?, None)
            }
            Creation::Replayed(answer) => CreateTokenResponse::Created(answer.body.into(), Some(true)),
        })
    }

    /// Which tokens do I have?
    #[oai(path = "/tokens", method = "get", operation_id = "list_tokens")]
    async fn list_tokens(&self, caller: Authorized<SignedIn>) -> Result<TokensResponse, Refused<OfOwn>> {
        let found = store::api_tokens::list(&self.actions.database, caller.user.id).await?;
        let items = found.into_iter().map(TokenBody::from).collect();
        Ok(TokensResponse::Tokens(JsonBytes::of(&Tokens { items, next_cursor: Nullable(None) })?))
    }

    /// Revoke a token
    ///
    /// One of one's own. A token may revoke itself and no other, so that whoever finds one that leaked can end it.
    #[oai(path = "/tokens/:id", method = "delete", operation_id = "revoke_token")]
    async fn revoke_token(
        &self,
        caller: Authorized<Known>,
        /// The token's id.
        id: Path<Uuid>,
        origin: Origin,
    ) -> Result<DoneResponse, Refused<OfEnd>> {
        api_tokens::revoke(&self.actions, &caller, id.0, &origin).await?;
        Ok(DoneResponse::Done)
    }
}

/// The answer as it is kept: without the token itself.
fn kept(token: &ApiToken) -> serde_json::Result<Answer> {
    let body = CreatedTokenBody { token: None, row: token.clone().into() };
    Ok(Answer { status: 201, headers: AnswerHeaders::default(), body: serde_json::to_string(&body)? })
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
            last_used_at: Nullable(token.last_used_at),
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
        last_used_at: Nullable(None),
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
        let token = "Zm9ydHktdGhyZWUgY2hhcmFjdGVycyBvZiBiYXNlNjQ".to_owned();
        Self { token: Some(token), row: example_token() }
    }
}

impl Example for Tokens {
    fn example() -> Self {
        Self { items: vec![example_token()], next_cursor: Nullable(None) }
    }
}

//! Signing in and out, and what belongs to it.

mod bodies;

use foundation::settings::Secret;
use poem_openapi::param::Path;
use poem_openapi::{ApiResponse, OpenApi};
use uuid::Uuid;

pub use self::bodies::{LoginAnswer, LoginRequest, PasswordRequest, SessionBody, Sessions, Whoami};
use super::authorize::{Authorized, Known, SignedIn};
use super::conventions::{JsonBody, Nullable, Refused, Statuses, statuses};
use super::payload::JsonBytes;
use super::tags::Tag;
use super::users::UserBody;
use crate::actions::logins::{self, Credentials};
use crate::actions::passwords::{self, PasswordChange};
use crate::actions::{Actions, Origin, sessions};

/// Answers of `login`.
#[derive(ApiResponse)]
pub enum LoginResponse {
    /// A session has begun.
    #[oai(status = 200)]
    SignedIn(JsonBytes<LoginAnswer>),
}

/// Answers of what has nothing to tell.
#[derive(ApiResponse)]
pub enum DoneResponse {
    /// It is done.
    #[oai(status = 204)]
    Done,
}

/// Answers of `whoami`.
#[derive(ApiResponse)]
pub enum WhoamiResponse {
    /// Who asks.
    #[oai(status = 200)]
    Known(JsonBytes<Whoami>),
}

/// Answers of `sessions`.
#[derive(ApiResponse)]
pub enum SessionsResponse {
    /// The sessions.
    #[oai(status = 200)]
    Sessions(JsonBytes<Sessions>),
}

statuses! {
    /// Of signing in.
    OfLogin = 400, 401, 403, 408, 413, 415, 429, 500, 503;
    /// Of asking who one is.
    OfWhoami = 400, 401, 500, 503;
    /// Of what is one's own and needs no more words.
    OfOwn = 400, 401, 403, 500, 503;
    /// Of ending a session, and of revoking a token.
    OfEnd = 400, 401, 403, 404, 500, 503;
    /// Of changing a password.
    OfPassword = 400, 401, 403, 408, 413, 415, 422, 429, 500, 503;
}

/// The routes of signing in.
pub struct AuthApi {
    /// What is done.
    pub actions: Actions,
}

#[OpenApi(prefix_path = "/api/v1/auth", tag = "Tag::Auth")]
impl AuthApi {
    /// Sign in
    ///
    /// With a name and a password. Unknown names, wrong passwords and accounts that are not in use get the
    /// same answer after the same time. EVE Online users sign in nowhere until single sign-on exists.
    ///
    /// Failures are counted by account and by address. After a few, each further one costs a delay that
    /// doubles up to a longest one; until it is over the answer is 429. Failures of others elsewhere do not
    /// delay whoever comes from an address where the account is signed in, and where nobody failed lately
    /// one attempt is let through anyway.
    #[oai(path = "/login", method = "post", operation_id = "login")]
    async fn login(
        &self,
        body: JsonBody<LoginRequest>,
        origin: Origin,
    ) -> Result<LoginResponse, Refused<OfLogin>> {
        let LoginRequest { username, password } = body.value;
        let credentials = Credentials { username, password: Secret::from(password) };
        let login = logins::login(&self.actions, credentials, &origin).await?;
        let answer = LoginAnswer {
            token: login.token.expose().to_owned(),
            expires_at: login.session.expires_at,
            user: UserBody::from(login.user),
        };
        Ok(LoginResponse::SignedIn(JsonBytes::of(&answer)?))
    }

    /// Sign out
    ///
    /// Ends the session that the request comes in.
    #[oai(path = "/logout", method = "post", operation_id = "logout")]
    async fn logout(
        &self,
        caller: Authorized<SignedIn>,
        origin: Origin,
    ) -> Result<DoneResponse, Refused<OfOwn>> {
        sessions::logout(&self.actions, &caller, &origin).await?;
        Ok(DoneResponse::Done)
    }

    /// Who am I?
    #[oai(path = "/whoami", method = "get", operation_id = "whoami")]
    async fn whoami(&self, caller: Authorized<Known>) -> Result<WhoamiResponse, Refused<OfWhoami>> {
        Ok(WhoamiResponse::Known(JsonBytes::of(&Whoami::from(&*caller))?))
    }

    /// Where am I signed in?
    #[oai(path = "/sessions", method = "get", operation_id = "list_sessions")]
    async fn list_sessions(&self, caller: Authorized<SignedIn>) -> Result<SessionsResponse, Refused<OfOwn>> {
        let current = sessions::current(&caller)?;
        let found = sessions::list(&self.actions, &caller).await?;
        let items = found.into_iter().map(|it| SessionBody::new(it, current)).collect();
        Ok(SessionsResponse::Sessions(JsonBytes::of(&Sessions { items, next_cursor: Nullable(None) })?))
    }

    /// End a session
    ///
    /// One of one's own.
    #[oai(path = "/sessions/:id", method = "delete", operation_id = "end_session")]
    async fn end_session(
        &self,
        caller: Authorized<SignedIn>,
        /// The session's id.
        id: Path<Uuid>,
        origin: Origin,
    ) -> Result<DoneResponse, Refused<OfEnd>> {
        sessions::end(&self.actions, &caller, id.0, &origin).await?;
        Ok(DoneResponse::Done)
    }

    /// Change one's password
    ///
    /// Ends all other sessions. Tokens for programs stay.
    #[oai(path = "/password", method = "post", operation_id = "change_password")]
    async fn change_password(
        &self,
        caller: Authorized<SignedIn>,
        body: JsonBody<PasswordRequest>,
        origin: Origin,
    ) -> Result<DoneResponse, Refused<OfPassword>> {
        let PasswordRequest { current_password, new_password } = body.value;
        let wanted = PasswordChange { current: current_password.into(), new: new_password.into() };
        passwords::change(&self.actions, &caller, wanted, &origin).await?;
        Ok(DoneResponse::Done)
    }
}

//! The account that a path names, asked for before it is known who asks: its look-up and that of the caller's
//! token are under way at the same time. What comes of it is shown to nobody before the caller may see it.

use foundation::database::DatabaseError;
use poem::http::header::AUTHORIZATION;
use poem::{FromRequest, Request, RequestBody, Result};
use uuid::Uuid;

use crate::access::Gate;
use crate::api::problem::Failure;
use crate::domain::users::User;
use crate::store::together::{Pending, Together};
use crate::store::users::ById;

/// An account that may be under way already.
pub(super) struct Sought {
    users: Together<ById>,
    asked: Option<(Uuid, Pending<ById>)>,
}

impl Sought {
    /// The account with this id.
    ///
    /// # Errors
    /// What the database says.
    pub(super) async fn find(self, id: Uuid) -> Result<Option<User>, DatabaseError> {
        match self.asked {
            Some((asked_for, asked)) if asked_for == id => asked.answer().await,
            _ => self.users.find(id).await,
        }
    }
}

impl<'a> FromRequest<'a> for Sought {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        let users = request.data::<Gate>().ok_or(Failure::NoGate)?.users().clone();
        // Nothing is asked for somebody who is turned away without a question, or of a path that names nobody.
        let id = request.uri().path().rsplit('/').next().and_then(|it| Uuid::parse_str(it).ok());
        let id = id.filter(|_| request.headers().contains_key(AUTHORIZATION));
        let asked = id.map(|id| (id, users.ask(id)));
        Ok(Self { users, asked })
    }
}

//! Accounts.

mod answers;
mod bodies;
mod sought;

use poem::Request;
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use uuid::Uuid;

use self::answers::{OfBlock, OfCreate, OfDelete, OfGet, OfList, OfPatch};
pub use self::answers::{OneUser, UserCreated, UserDeleted, UserList};
pub use self::bodies::{NewUserBody, UserBody, UserPageBody, UserPatchBody, UserTypeName};
use self::sought::Sought;
use super::authorize::{Authorized, ListUsers, ManageUsers, ReadUsers, WriteUsers};
use super::conventions::{
    IdempotencyKey, IfMatch, JsonBody, MergePatch, Nullable, Refused, cursors, idempotency,
};
use super::payload::JsonBytes;
use super::problem::Failure;
use super::tags::Tag;
use crate::actions::{Actions, Asker, Origin, users};
use crate::domain::users_list::{Position, UserFilter, fold};
use crate::store::users_list;

/// The users' routes.
pub struct UsersApi {
    /// What they call.
    pub actions: Actions,
}

#[OpenApi(tag = "Tag::Users")]
impl UsersApi {
    /// Makes an account
    ///
    /// A `local` account signs in with its name and a password. A `domain` account does too; its name has the
    /// form `\domain\name`. An `eve_sso` account has an EVE Online character and no password: it can be kept
    /// here, but signs in nowhere until there is single sign-on. With an `Idempotency-Key`, the same request
    /// sent again makes no second account and is answered as the first time. An administrator is made by
    /// one who signed in with a password, not by an API token.
    #[oai(path = "/api/v1/users", method = "post", operation_id = "create_user")]
    async fn create(
        &self,
        caller: Authorized<ManageUsers>,
        origin: Origin,
        request: &Request,
        /// Chosen by the client for this request: 1 to 255 visible characters.
        #[oai(name = "Idempotency-Key")]
        idempotency_key: IdempotencyKey,
        body: JsonBody<NewUserBody>,
    ) -> Result<UserCreated, Refused<OfCreate>> {
        let keyed = idempotency::keyed(request, &caller, idempotency_key, body.bytes);
        let asker = Asker { caller: &caller, origin: &origin };
        let new = body.value.into();
        let outcome = users::create(&self.actions, asker, new, keyed.as_ref(), answers::created).await?;
        Ok(outcome.into())
    }

    /// Lists accounts
    ///
    /// In the order of their making; a search in the order of what was found, and the blocked ones in that of
    /// their names. A page of a search may have fewer accounts than asked for although another page follows.
    #[oai(path = "/api/v1/users", method = "get", operation_id = "list_users")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the query")]
    async fn list(
        &self,
        _caller: Authorized<ListUsers>,
        /// How many accounts a page has.
        #[oai(default = "cursors::default_limit", validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<u16>,
        /// The `next_cursor` of the page before, which had the same filters.
        cursor: Query<Option<String>>,
        /// Only those of this type.
        user_type: Query<Option<UserTypeName>>,
        /// Only those that are active, or are not.
        is_active: Query<Option<bool>>,
        /// Only those that are blocked, or are not.
        is_blocked: Query<Option<bool>>,
        /// Only administrators, or only others.
        is_admin: Query<Option<bool>>,
        /// Only those whose name or mail address begins with this; case does not count.
        #[oai(validator(min_length = 1, max_length = 255))]
        search: Query<Option<String>>,
    ) -> Result<UserList, Refused<OfList>> {
        let filter = UserFilter {
            user_type: user_type.0.map(Into::into),
            is_active: is_active.0,
            is_blocked: is_blocked.0,
            is_admin: is_admin.0,
            prefix: search.0.map(|it| prefix(&it)).transpose()?,
        };
        let list = format!("users {filter:?}");
        let keys = &self.actions.keys;
        let after: Option<Position> = cursors::open(keys, &list, cursor.0.as_deref())?;
        let page = users_list::page(&self.actions.database, &filter, after.as_ref(), limit.0.into()).await?;
        let next_cursor = page.next.map(|it| cursors::seal(keys, &list, &it)).transpose()?;
        let items: Vec<_> = page.users.into_iter().map(UserBody::from).collect();
        let bytes = 128 + items.len() * USER_BYTES;
        let body = UserPageBody { items, next_cursor: Nullable(next_cursor) };
        Ok(UserList::Page(JsonBytes::with_capacity(&body, bytes)?))
    }

    /// Shows an account
    ///
    /// Others than administrators see their own alone: of any other they are told that there is none.
    #[oai(path = "/api/v1/users/:id", method = "get", operation_id = "get_user")]
    async fn get(
        &self,
        sought: Sought,
        caller: Authorized<ReadUsers>,
        /// The account.
        id: Path<Uuid>,
    ) -> Result<OneUser, Refused<OfGet>> {
        Ok(OneUser::of(users::get(&caller, id.0, sought.find(id.0)).await?)?)
    }

    /// Changes an account
    ///
    /// A JSON merge patch (RFC 7396), meant for the version in `If-Match`. Others than administrators change
    /// their own account alone, and of it the name (but for its domain), the mail address and whether it is
    /// active. The last active administrator has to stay one. An account that is blocked, is not active
    /// any more or becomes `eve_sso` loses its sessions, the last its password too; API tokens stay until they are
    /// revoked. A password is changed by
    /// `POST /api/v1/auth/password`, or by an operator with `service admin reset-password`. No API token makes
    /// anybody an administrator, or lets an administrator in again who is blocked or not active.
    #[oai(path = "/api/v1/users/:id", method = "patch", operation_id = "patch_user")]
    async fn patch(
        &self,
        caller: Authorized<WriteUsers>,
        origin: Origin,
        /// The account.
        id: Path<Uuid>,
        /// The `ETag` of the version that the change is meant for; without it the answer is 428.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
        body: MergePatch<UserPatchBody>,
    ) -> Result<OneUser, Refused<OfPatch>> {
        let expected = if_match.required()?;
        let asker = Asker { caller: &caller, origin: &origin };
        let user = users::patch(&self.actions, asker, id.0, &expected, &body.0.into()).await?;
        Ok(OneUser::of(user)?)
    }

    /// Deletes an account
    ///
    /// With its sessions and tokens. The last active administrator cannot be deleted.
    #[oai(path = "/api/v1/users/:id", method = "delete", operation_id = "delete_user")]
    async fn delete(
        &self,
        caller: Authorized<ManageUsers>,
        origin: Origin,
        /// The account.
        id: Path<Uuid>,
        /// The `ETag` of the version that is to be deleted; without it, whichever there is.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
    ) -> Result<UserDeleted, Refused<OfDelete>> {
        let expected = if_match.or_any();
        let asker = Asker { caller: &caller, origin: &origin };
        users::delete(&self.actions, asker, id.0, &expected).await?;
        Ok(UserDeleted::Deleted)
    }

    /// Blocks an account
    ///
    /// Its sessions end, and its API tokens are refused until it is let in again. The last active administrator
    /// cannot be blocked.
    #[oai(path = "/api/v1/users/:id/block", method = "post", operation_id = "block_user")]
    async fn block(
        &self,
        caller: Authorized<ManageUsers>,
        origin: Origin,
        /// The account.
        id: Path<Uuid>,
        /// The `ETag` of the version that is meant; without it, whichever there is.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
    ) -> Result<OneUser, Refused<OfBlock>> {
        let expected = if_match.or_any();
        let asker = Asker { caller: &caller, origin: &origin };
        Ok(OneUser::of(users::set_blocked(&self.actions, asker, id.0, &expected, true).await?)?)
    }

    /// Lets a blocked account in again
    ///
    /// It signs in again. Its API tokens that are not over are good again: those that were stolen its owner
    /// revokes, or before that an operator with `service admin revoke-tokens`. No API token lets an administrator in again.
    #[oai(path = "/api/v1/users/:id/unblock", method = "post", operation_id = "unblock_user")]
    async fn unblock(
        &self,
        caller: Authorized<ManageUsers>,
        origin: Origin,
        /// The account.
        id: Path<Uuid>,
        /// The `ETag` of the version that is meant; without it, whichever there is.
        #[oai(name = "If-Match")]
        if_match: IfMatch,
    ) -> Result<OneUser, Refused<OfBlock>> {
        let expected = if_match.or_any();
        let asker = Asker { caller: &caller, origin: &origin };
        Ok(OneUser::of(users::set_blocked(&self.actions, asker, id.0, &expected, false).await?)?)
    }
}

/// How long the JSON of most accounts is at most, in bytes.
const USER_BYTES: usize = 400;

/// The beginning that is searched for. PostgreSQL takes no NUL, and no name or mail address has any other
/// control character either.
fn prefix(search: &str) -> Result<String, Failure> {
    if search.chars().any(char::is_control) {
        return Err(Failure::Unreadable("/query/search", "it has a control character".to_owned()));
    }
    Ok(fold(search))
}

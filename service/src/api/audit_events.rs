//! Who did what, when and from where, for administrators.

use poem_openapi::param::Query;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::authorize::{Authorized, ReadAudit};
use super::conventions::{Nullable, Refused, Statuses, check_range, cursors, statuses};
use super::payload::JsonBytes;
use super::problem::Failure;
use super::tags::Tag;
use crate::actions::Actions;
use crate::domain::audit::{ACTIONS, AuditEvent, AuditFilter};
use crate::store::audit_events;

/// How many events a page has when nobody says.
const DEFAULT_LIMIT: u32 = 50;

/// Something that was done.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "AuditEvent", example)]
pub struct AuditEventBody {
    /// Version 7: the order of ids is the order of events.
    pub id: Uuid,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub occurred_at: OffsetDateTime,
    /// What, for example `user.updated` or `login.failed`.
    pub action: String,
    /// The user who did it; null for nobody who is known, or for an operator on the command line.
    pub actor_id: Nullable<Uuid>,
    /// How they were known: `session`, `api_token`, `command_line` or `anonymous`.
    pub actor_kind: String,
    /// The session or the API token that they were known by, as `GET /auth/sessions` and `GET /auth/tokens` name
    /// it; null where it was neither. It signs in nowhere.
    pub credential_id: Nullable<Uuid>,
    /// What it was done to, for example `user`.
    pub target_type: String,
    /// Its id.
    pub target_id: Nullable<String>,
    /// From which address.
    pub address: Nullable<String>,
    /// What the service's log has the request under.
    pub request_id: Nullable<String>,
    /// The fields that were changed, before, without secrets.
    pub before: Nullable<Value>,
    /// The fields that were changed, after, without secrets.
    pub after: Nullable<Value>,
}

/// A page of events.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "AuditEventPage", example)]
pub struct AuditEventPage {
    /// The events, newest first.
    pub items: Vec<AuditEventBody>,
    /// What asks for the next page, sent as `cursor` with the same filters; null on the last one.
    pub next_cursor: Nullable<String>,
}

/// Answers of `GET /audit-events`.
#[derive(ApiResponse)]
pub enum ListResponse {
    /// The events.
    #[oai(status = 200)]
    Page(JsonBytes<AuditEventPage>),
}

statuses! {
    /// The errors of `GET /audit-events`.
    OfList = 400, 401, 403, 422, 500, 503;
}

/// The routes of audit events.
pub struct AuditEventsApi {
    /// What they call.
    pub actions: Actions,
}

#[OpenApi(prefix_path = "/api/v1", tag = "Tag::Audit")]
impl AuditEventsApi {
    /// Who did what?
    ///
    /// Newest first. Events are kept for `AUTH_AUDIT_RETENTION`.
    #[oai(path = "/audit-events", method = "get", operation_id = "list_audit_events")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the query")]
    async fn list(
        &self,
        _caller: Authorized<ReadAudit>,
        /// Only what this user did.
        actor_id: Query<Option<Uuid>>,
        /// Only what was done with the session or the API token with this id.
        credential_id: Query<Option<Uuid>>,
        /// Only what was done to this type of thing, for example `user`.
        #[oai(validator(pattern = "^[a-z_]{1,50}$"))]
        target_type: Query<Option<String>>,
        /// Only what was done to the thing with this id.
        #[oai(validator(pattern = "^[!-~]{1,255}$"))]
        target_id: Query<Option<String>>,
        /// Only what is of this kind, for example `login.failed`.
        #[oai(validator(pattern = "^[a-z_.]{1,50}$"))]
        action: Query<Option<String>>,
        /// Only what happened at this time or later.
        from: Query<Option<OffsetDateTime>>,
        /// Only what happened before this time.
        to: Query<Option<OffsetDateTime>>,
        /// How many events a page has at most; 50 when it is not given.
        #[oai(validator(minimum(value = "1"), maximum(value = "200")))]
        limit: Query<Option<u32>>,
        /// The `next_cursor` of the page before.
        cursor: Query<Option<String>>,
    ) -> Result<ListResponse, Refused<OfList>> {
        check_range(from.0, to.0)?;
        check_action(action.0.as_deref())?;
        let filter = AuditFilter {
            actor_id: actor_id.0,
            credential_id: credential_id.0,
            target_type: target_type.0,
            target_id: target_id.0,
            action: action.0,
            from: from.0,
            to: to.0,
        };
        let keys = &self.actions.keys;
        let list = format!("audit-events {filter:?}");
        let before = cursors::open(keys, &list, cursor.0.as_deref())?;
        let limit = limit.0.unwrap_or(DEFAULT_LIMIT);
        let found = audit_events::page(&self.actions.database, &filter, before, limit + 1).await;
        let mut events = found.map_err(Failure::Database)?;
        let next_cursor = cursors::cut(keys, &list, &mut events, limit, |it| it.id)?;
        let page =
            AuditEventPage { items: events.into_iter().map(AuditEventBody::from).collect(), next_cursor };
        Ok(ListResponse::Page(JsonBytes::of(&page)?))
    }
}

/// An action that nothing is written down under is a slip of the pen rather than a search.
fn check_action(action: Option<&str>) -> Result<(), Failure> {
    match action.filter(|it| !ACTIONS.contains(it)) {
        None => Ok(()),
        Some(_) => {
            let detail = format!("there is no such action; there are {}", ACTIONS.join(", "));
            Err(Failure::Unreadable("/query/action", detail))
        }
    }
}

impl From<AuditEvent> for AuditEventBody {
    fn from(event: AuditEvent) -> Self {
        Self {
            id: event.id,
            occurred_at: event.occurred_at,
            action: event.action,
            actor_id: Nullable(event.actor.id),
            actor_kind: event.actor.kind.name().to_owned(),
            credential_id: Nullable(event.actor.credential),
            target_type: event.target.kind,
            target_id: Nullable(event.target.id),
            address: Nullable(event.address),
            request_id: Nullable(event.request_id),
            before: Nullable(event.change.before),
            after: Nullable(event.change.after),
        }
    }
}

impl Example for AuditEventBody {
    fn example() -> Self {
        let id = |number: u128| Uuid::from_u128(0x019c_1436_f200_7000_8000_0000_0000_0000 + number);
        Self {
            id: id(3),
            occurred_at: time::macros::datetime!(2026-01-31 12:00:00 UTC),
            action: "user.updated".to_owned(),
            actor_id: Nullable(Some(id(1))),
            actor_kind: "session".to_owned(),
            credential_id: Nullable(Some(id(5))),
            target_type: "user".to_owned(),
            target_id: Nullable(Some(id(2).to_string())),
            address: Nullable(Some("192.0.2.7".to_owned())),
            request_id: Nullable(Some(id(4).to_string())),
            before: Nullable(Some(serde_json::json!({ "is_blocked": false }))),
            after: Nullable(Some(serde_json::json!({ "is_blocked": true }))),
        }
    }
}

impl Example for AuditEventPage {
    fn example() -> Self {
        Self { items: vec![AuditEventBody::example()], next_cursor: Nullable(None) }
    }
}

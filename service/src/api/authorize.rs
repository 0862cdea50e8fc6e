//! Who may do what, declared on each operation by the type of one of its parameters.
//!
//! `Authorized<ReadUsers>` is a security scheme of the documentation and the check at the door: an
//! operation without one is open, and a test knows the few that are meant to be.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use poem::http::header::AUTHORIZATION;
use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaSecurityScheme, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::parameters::WrongQuery;
use super::problem::Failure;
use crate::access::Gate;
use crate::domain::access::{Caller, Requirement, Scope, TokenRule};
use crate::middleware::UnreadablePosition;
use crate::store::credentials::Found;

/// What an operation asks of its caller.
pub trait Permission: Send + Sync + 'static {
    /// What is asked.
    const REQUIREMENT: Requirement;
    /// Its name, which is that of the security scheme in the documentation before it is made ready.
    const NAME: &'static str;
}

/// The table of permissions.
macro_rules! permissions {
    ($( $(#[doc = $doc:literal])* $Name:ident = $token:expr, admin: $admin:literal; )*) => {
        /// What each of them asks, by its name.
        pub(super) const REQUIREMENTS: &[(&str, Requirement)] =
            &[$( ($Name::NAME, $Name::REQUIREMENT) ),*];
    $(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $Name {}

        impl Permission for $Name {
            const REQUIREMENT: Requirement = Requirement { token: $token, admin: $admin };
            const NAME: &'static str = stringify!($Name);
        }
    )* };
}

permissions! {
    /// Everybody who is known, by a session or by any token.
    Known = TokenRule::Any, admin: false;
    /// Who signed in with a password.
    SignedIn = TokenRule::Never, admin: false;
    /// Reads accounts: an administrator all of them, others their own.
    ReadUsers = TokenRule::Scope(Scope::UsersRead), admin: false;
    /// Reads all accounts.
    ListUsers = TokenRule::Scope(Scope::UsersRead), admin: true;
    /// Changes accounts: an administrator all of them, others their own.
    WriteUsers = TokenRule::Scope(Scope::UsersWrite), admin: false;
    /// Changes accounts as only an administrator may.
    ManageUsers = TokenRule::Scope(Scope::UsersWrite), admin: true;
    /// Reads the settings that are changed while the service runs.
    ReadConfig = TokenRule::Scope(Scope::ConfigRead), admin: true;
    /// Changes them.
    WriteConfig = TokenRule::Scope(Scope::ConfigWrite), admin: true;
    /// Reads who did what.
    ReadAudit = TokenRule::Scope(Scope::AuditRead), admin: true;
    /// Reads metric snapshots.
    ReadMetrics = TokenRule::Scope(Scope::MetricsRead), admin: false;
    /// Writes metric snapshots.
    WriteMetrics = TokenRule::Scope(Scope::MetricsWrite), admin: false;
    /// Reads archive policies and what was done about them.
    ReadArchive = TokenRule::Scope(Scope::ArchiveWrite), admin: true;
    /// Changes and runs archive policies.
    WriteArchive = TokenRule::Scope(Scope::ArchiveWrite), admin: true;
}

/// The caller, allowed to do what `P` stands for.
pub struct Authorized<P> {
    found: Arc<Found>,
    permission: PhantomData<P>,
}

impl<P> Deref for Authorized<P> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.found.caller
    }
}

/// The token of an `Authorization: Bearer` header, in whatever form it is. None where there are several of them, of
/// which something in front may have looked at another one.
fn bearer(request: &Request) -> Option<&str> {
    let mut headers = request.headers().get_all(AUTHORIZATION).iter();
    let (Some(header), None) = (headers.next(), headers.next()) else { return None };
    let header = header.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

impl<'a, P: Permission> ApiExtractor<'a> for Authorized<P> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        registry.create_security_scheme(
            P::NAME,
            MetaSecurityScheme {
                ty: "http",
                description: Some("The token of a session (from `POST /api/v1/auth/login`) or an API token."),
                name: None,
                key_in: None,
                scheme: Some("bearer"),
                bearer_format: None,
                flows: None,
                openid_connect_url: None,
            },
        );
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![P::NAME]
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let gate = request.data::<Gate>().ok_or(Failure::NoGate)?;
        let token = bearer(request).ok_or(Failure::Unauthenticated)?;
        let found = gate.admit(token).await.map_err(Failure::Database)?.ok_or(Failure::Unauthenticated)?;
        found.caller.check(P::REQUIREMENT).map_err(Failure::Forbidden)?;
        if let Some(unreadable) = request.data::<UnreadablePosition>() {
            return Err(Failure::from(*unreadable).into());
        }
        if let Some(WrongQuery(wrong)) = request.data() {
            return Err(Failure::Parameters(wrong.clone()).into());
        }
        Ok(Self { found, permission: PhantomData })
    }
}

//! Where a request came from, as the events of what it does say it.

use poem::http::header::USER_AGENT;
use poem::{FromRequest, Request, RequestBody, Result};

use crate::actions::Origin;
use crate::middleware::RequestContext;

/// How much of what a client calls itself is kept, in characters.
const MAX_USER_AGENT: usize = 255;

impl<'a> FromRequest<'a> for Origin {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> Result<Self> {
        let context = request.data::<RequestContext>();
        let user_agent = request.headers().get(USER_AGENT).and_then(|it| it.to_str().ok());
        Ok(Self {
            address: context.and_then(RequestContext::client_address),
            request_id: context.map(|it| it.request_id().to_owned()),
            user_agent: user_agent.map(|it| it.chars().take(MAX_USER_AGENT).collect()),
        })
    }
}

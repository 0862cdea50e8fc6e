//! What a product that is built on this one is called, and whose it is: what the pages and the API's document
//! show. The build script reads this file too.

/// Its name.
pub const TITLE: &str = "Bedplate";

/// Whom to turn to.
pub const CONTACT_NAME: &str = "Bedplate";

/// Where to find them.
pub const CONTACT_URL: &str = "https://github.com/bedplate/bedplate";

/// Under which terms the API is offered, in words or as an SPDX expression.
pub const LICENSE: &str = "MIT OR Apache-2.0";

/// What is to be known before the first request, in Markdown. The errors, times and ids are as this says, whatever
/// the product is.
pub const DESCRIPTION: &str = "Errors are `application/problem+json` (RFC 9457). Times are RFC 3339 in UTC. Every answer \
     names its request in `X-Request-Id`, and so does the log.";

//! Snapshots as they come: a body of JSON, or a stream of lines.

use bytes::Bytes;
use poem::http::header::CONTENT_ENCODING;
use poem::{Body, FromRequest, Request, RequestBody, Result};
use poem_openapi::error::ContentTypeError;
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
use poem_openapi::types::Type as _;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::bodies::{NewSnapshotBody, NewSnapshotsBody};
use crate::api::streams::{NDJSON, is_of_type};
use crate::domain::metrics_snapshots::streams::Encoding;

const JSON: &str = "application/json";

/// Snapshots as they come.
pub enum SnapshotsInput {
    /// `application/json`.
    Json(Bytes),
    /// `application/x-ndjson`.
    Lines(Body, Encoding),
}

impl<'a> ApiExtractor<'a> for SnapshotsInput {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        NewSnapshotsBody::register(registry);
        NewSnapshotBody::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = vec![
            MetaMediaType { content_type: JSON, schema: NewSnapshotsBody::schema_ref() },
            MetaMediaType { content_type: NDJSON, schema: NewSnapshotBody::schema_ref() },
        ];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let content_type = request.content_type().ok_or(ContentTypeError::ExpectContentType)?;
        let unsupported = || ContentTypeError::NotSupported { content_type: content_type.to_owned() };
        let encoding = encoding(request).ok_or_else(unsupported)?;
        if is_of_type(content_type, NDJSON) {
            return Ok(Self::Lines(body.take()?, encoding));
        }
        if !is_of_type(content_type, JSON) || encoding != Encoding::Identity {
            return Err(unsupported().into());
        }
        Ok(Self::Json(<Bytes as FromRequest>::from_request(request, body).await?))
    }
}

/// What `Content-Encoding` says; nothing when it says what is not understood.
fn encoding(request: &Request) -> Option<Encoding> {
    let Some(header) = request.headers().get(CONTENT_ENCODING) else { return Some(Encoding::Identity) };
    match header.to_str().ok()?.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Some(Encoding::Identity),
        "gzip" | "x-gzip" => Some(Encoding::Gzip),
        "zstd" => Some(Encoding::Zstd),
        _ => None,
    }
}

//! JSON that goes straight through serde: poem-openapi's own `Json` builds a tree of values first.

use std::marker::PhantomData;

use bytes::Bytes;
use poem::http::StatusCode;
use poem::http::header::{CONTENT_TYPE, HeaderValue};
use poem::{Body, IntoResponse, Response};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use serde::Serialize;

/// How long most answers are at most, in bytes.
const CAPACITY: usize = 512;

/// The bytes of a `T` in JSON.
#[derive(Debug)]
pub struct JsonBytes<T> {
    bytes: Bytes,
    of: PhantomData<fn() -> T>,
}

impl<T> JsonBytes<T> {
    /// Text that is known to be the JSON of a `T`.
    #[must_use]
    pub const fn from_static(json: &'static str) -> Self {
        Self { bytes: Bytes::from_static(json.as_bytes()), of: PhantomData }
    }
}

impl<T> From<String> for JsonBytes<T> {
    /// Text that is known to be the JSON of a `T`.
    fn from(json: String) -> Self {
        Self { bytes: json.into(), of: PhantomData }
    }
}

impl<T> From<Vec<u8>> for JsonBytes<T> {
    /// Text that is known to be the JSON of a `T`.
    fn from(json: Vec<u8>) -> Self {
        Self { bytes: json.into(), of: PhantomData }
    }
}

impl<T: Serialize> JsonBytes<T> {
    /// The JSON of `value`.
    ///
    /// # Errors
    /// The type has no form in JSON: a defect, answered as an internal error.
    pub fn of(value: &T) -> poem::Result<Self> {
        Self::with_capacity(value, CAPACITY)
    }

    /// The JSON of `value`, which is about so many bytes long: a large text is not moved while it grows.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn with_capacity(value: &T, bytes: usize) -> poem::Result<Self> {
        let mut json = Vec::with_capacity(bytes);
        serde_json::to_writer(&mut json, value).map_err(poem::error::InternalServerError)?;
        Ok(Self { bytes: json.into(), of: PhantomData })
    }
}

impl<T: Type> Payload for JsonBytes<T> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Send> IntoResponse for JsonBytes<T> {
    fn into_response(self) -> Response {
        let mut response = Response::from(Body::from(self.bytes));
        response.set_status(StatusCode::OK);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

//! Bodies in JSON that go straight through serde, and are kept as they came for who has to know them again.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use poem::{FromRequest, Request, RequestBody, Result};
use poem_openapi::error::ContentTypeError;
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};

use crate::api::problem::Failure;

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// The most that is repeated of what was sent, in characters.
const MOST_FOUND: usize = 200;

/// The most that is said of what was expected, in characters: the names of a type's fields.
const MOST_EXPECTED: usize = 800;

/// A body of `application/json`. One that is documented as an object is read from an object alone; any other type
/// that has a name in the documentation is taken for one, so a list or a text is a type without a name.
pub struct JsonBody<T> {
    /// What it says.
    pub value: T,
    /// The body as it came.
    pub bytes: Bytes,
}

/// A body of `application/merge-patch+json` (RFC 7396) or `application/json`, read as that of [`JsonBody`] is.
pub struct MergePatch<T>(pub T);

impl<'a, T: Type + DeserializeOwned> ApiExtractor<'a> for JsonBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(meta::<T>(&[JSON]))
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        let (value, bytes) = read(request, body, &[JSON]).await?;
        Ok(Self { value, bytes })
    }
}

impl<'a, T: Type + DeserializeOwned> ApiExtractor<'a> for MergePatch<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(meta::<T>(&[MERGE_PATCH, JSON]))
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        Ok(Self(read(request, body, &[MERGE_PATCH, JSON]).await?.0))
    }
}

fn meta<T: Type>(content_types: &[&'static str]) -> MetaRequest {
    let content = |it: &&'static str| MetaMediaType { content_type: it, schema: T::schema_ref() };
    MetaRequest { description: None, content: content_types.iter().map(content).collect(), required: true }
}

async fn read<T: Type + DeserializeOwned>(
    request: &Request,
    body: &mut RequestBody,
    content_types: &[&str],
) -> Result<(T, Bytes)> {
    let content_type = request.content_type().ok_or(ContentTypeError::ExpectContentType)?;
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !content_types.iter().any(|it| it.eq_ignore_ascii_case(essence)) {
        let content_type = content_type.to_owned();
        return Err(ContentTypeError::NotSupported { content_type }.into());
    }
    let bytes = <Bytes as FromRequest>::from_request(request, body).await?;
    let value = parse(&bytes).map_err(|error| Failure::Unreadable("/body", explain(&error)))?;
    Ok((value, bytes))
}

fn parse<T: Type + DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    match T::schema_ref() {
        MetaSchemaRef::Inline(schema) if schema.ty != "object" => serde_json::from_slice(json),
        _ => serde_json::from_slice(json).map(|AsObject(value)| value),
    }
}

/// What is written as an object. serde takes an array for a struct too.
pub(crate) struct AsObject<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for AsObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfObject<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OfObject<T> {
            type Value = T;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(OfObject(PhantomData)).map(Self)
    }
}

/// What is wrong with a body, without what was sent: it may be a password in the wrong place.
pub(crate) fn explain(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    if !error.is_data() {
        return format!("it is not JSON at line {line}, column {column}");
    }
    let said = error.to_string();
    match said.rsplit_once(", expected ") {
        Some((found, expected)) if found.starts_with("invalid ") => {
            format!("expected {}", cut(expected, MOST_EXPECTED))
        }
        _ => bounded(&said),
    }
}

/// What a reader says of a body: it repeats keys and texts of it, however long they are.
pub(crate) fn bounded(said: &str) -> String {
    match said.rsplit_once(", expected ") {
        Some((found, expected)) => {
            format!("{}, expected {}", cut(found, MOST_FOUND), cut(expected, MOST_EXPECTED))
        }
        None => cut(said, MOST_FOUND).into_owned(),
    }
}

/// The text, or so many characters of it and an ellipsis.
fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// For a field that may be missing and may not be null: what is given is there.
///
/// # Errors
/// It is not a `T`.
pub fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A password, of which no error repeats anything.
///
/// # Errors
/// It is no text.
pub fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map_err(|_| D::Error::custom("the password is no text"))
}

/// The same for a field that may be missing and may not be null.
///
/// # Errors
/// It is no text.
pub fn given_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    secret(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_sent_is_told() {
        for body in [r#""hunter2 hunter2""#, r#"{"a":"hunter2"}"#, r#"{"a":7,"hunter2""#] {
            let error = serde_json::from_str::<std::collections::BTreeMap<String, u8>>(body).unwrap_err();
            assert!(!explain(&error).contains("hunter2"), "{}", explain(&error));
        }
    }

    #[test]
    fn what_is_no_object_is_read_as_what_it_is() {
        #[derive(Debug, PartialEq, Deserialize, poem_openapi::Object)]
        struct Named {
            name: String,
        }
        let named = || Named { name: "a".to_owned() };
        assert_eq!(parse::<Named>(br#"{"name":"a"}"#).unwrap(), named());
        assert!(parse::<Named>(br#"["a"]"#).is_err());
        assert_eq!(parse::<Vec<Named>>(br#"[{"name":"a"}]"#).unwrap(), [named()]);
        assert_eq!(parse::<String>(br#""a""#).unwrap(), "a");
        let map = parse::<std::collections::BTreeMap<String, u8>>(br#"{"a":1}"#).unwrap();
        assert_eq!(map["a"], 1);
    }

    #[test]
    fn a_long_key_is_not_repeated_whole() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Known {
            #[serde(rename = "known")]
            _known: Option<u8>,
        }
        let told = |key: &str| {
            let body = format!("{{\"{key}\": 1}}");
            explain(&serde_json::from_str::<Known>(&body).unwrap_err())
        };
        assert!(told("short").starts_with("unknown field `short`, expected `known`"), "{}", told("short"));
        for key in ["x".repeat(70_000), "ä".repeat(70_000), ", expected ".repeat(7000)] {
            let told = told(&key);
            assert!(told.chars().count() < 300, "{told}");
            assert!(told.contains("…, expected `known`"), "{told}");
        }
    }
}

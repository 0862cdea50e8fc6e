//! The bodies of the settings' routes.

use std::borrow::Cow;

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{Example, ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::datetime;

use crate::api::conventions::nullable::Nullable;
use crate::api::conventions::times::rfc3339_or_null;
use crate::domain::config::{Key, Kind, Setting};

/// What form the value of a setting has.
#[derive(Clone, Copy, Debug, Enum, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case")]
pub enum SettingKind {
    /// A whole number.
    Integer,
    /// A text such as `250ms`, `5s` or `2m`.
    Duration,
    /// A text.
    Text,
}

impl From<Kind> for SettingKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Integer => Self::Integer,
            Kind::Duration => Self::Duration,
            Kind::Text => Self::Text,
        }
    }
}

/// A whole number or a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value")]
pub struct SettingValue(pub Value);

impl TryFrom<Value> for SettingValue {
    type Error = &'static str;

    /// The value itself is not in the error: it may be a secret.
    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let is_whole = value.as_f64().is_some_and(|it| it.fract() == 0.0);
        if is_whole || value.is_string() { Ok(Self(value)) } else { Err("expected a whole number or a text") }
    }
}

impl Type for SettingValue {
    const IS_REQUIRED: bool = true;

    type RawValueType = Self;

    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "integer_or_string".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        let one_of = vec![i64::schema_ref(), String::schema_ref()];
        MetaSchemaRef::Inline(Box::new(MetaSchema { one_of, ..MetaSchema::ANY }))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromJSON for SettingValue {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let value = value.ok_or_else(ParseError::expected_input)?;
        Self::try_from(value).map_err(ParseError::custom)
    }
}

impl ToJSON for SettingValue {
    fn to_json(&self) -> Option<Value> {
        Some(self.0.clone())
    }
}

/// A setting that is changed while the service runs.
#[derive(Debug, Object, Serialize)]
#[oai(example, rename = "Setting")]
pub struct SettingBody {
    /// Its name.
    pub key: String,
    /// What holds: what was put there, or the default. Null for a secret, and where there is a problem.
    pub value: Nullable<SettingValue>,
    /// Whether something was put there. Otherwise the default holds.
    pub is_set: bool,
    /// What holds where nothing was put; null for a secret.
    pub default: Nullable<SettingValue>,
    /// What it is for.
    pub description: String,
    /// The form of its value.
    #[serde(rename = "type")]
    #[oai(rename = "type")]
    pub kind: SettingKind,
    /// What it may hold.
    pub rule: String,
    /// Whether its value is told to nobody.
    pub is_secret: bool,
    /// Why what was written into the database by hand is not obeyed; what held before it still holds.
    pub problem: Nullable<String>,
    /// Raised by each change: what the `ETag` says.
    pub version: i64,
    /// When it was changed last.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub updated_at: Nullable<OffsetDateTime>,
}

impl From<&Setting> for SettingBody {
    fn from(setting: &Setting) -> Self {
        let key = setting.key;
        Self {
            key: key.name().to_owned(),
            value: Nullable(setting.value.clone().map(SettingValue)),
            is_set: setting.is_set,
            default: Nullable(setting.default.clone().map(SettingValue)),
            description: key.description().to_owned(),
            kind: key.kind().into(),
            rule: key.rule().to_owned(),
            is_secret: key.is_secret(),
            problem: Nullable(setting.problem.clone()),
            version: setting.version,
            updated_at: Nullable(setting.updated_at),
        }
    }
}

/// All settings.
#[derive(Debug, Object, Serialize)]
#[oai(example, rename = "SettingList")]
pub struct SettingListBody {
    /// All settings, ordered by key.
    pub items: Vec<SettingBody>,
}

/// A value for a setting.
#[derive(Object, Deserialize)]
#[serde(deny_unknown_fields)]
#[oai(example, rename = "NewSettingValue", deny_unknown_fields)]
pub struct NewSettingValueBody {
    /// The value, of which nothing is ever told where the setting is a secret.
    pub value: SettingValue,
}

impl Example for SettingBody {
    fn example() -> Self {
        Self::from(&Setting {
            key: Key::LoginDelay,
            value: Some(json!("2s")),
            is_set: true,
            default: Some(json!("1s")),
            problem: None,
            version: 2,
            updated_at: Some(datetime!(2026-01-31 12:00:00 UTC)),
        })
    }
}

impl Example for SettingListBody {
    fn example() -> Self {
        Self { items: vec![SettingBody::example()] }
    }
}

impl Example for NewSettingValueBody {
    fn example() -> Self {
        Self { value: SettingValue(json!("2s")) }
    }
}

//! A dialect as its name. The type itself is compiled into the build script too, which knows no serde.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

use crate::source::Dialect;

pub(super) fn serialize<S: Serializer>(dialect: &Dialect, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(dialect.folder())
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Dialect, D::Error> {
    let name = String::deserialize(deserializer)?;
    let dialect = Dialect::ALL.into_iter().find(|it| it.folder() == name);
    dialect.ok_or_else(|| Error::custom(format!("{name:?} is no database that is known here")))
}

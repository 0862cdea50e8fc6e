//! The OpenAPI document, with what poem-openapi leaves out of it.

mod positions;
mod security;

use std::collections::BTreeSet;
use std::io;

use serde_json::{Value, json};

use crate::domain::audit::ACTIONS;

/// The document in its two forms.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) json: String,
    pub(super) yaml: String,
}

/// Makes the document that poem-openapi writes ready to be served.
///
/// # Errors
/// It is no JSON, or has no form in YAML: neither can be.
pub(super) fn finish(spec: &str) -> io::Result<Document> {
    let mut document: Value = serde_json::from_str(spec)?;
    security::declare(&mut document);
    positions::declare(&mut document);
    as_parameters_are_read(&mut document);
    say_bounds(&mut document);
    let requested = requested(&document);
    let schemas = document["components"]["schemas"].as_object_mut();
    for (name, schema) in schemas.into_iter().flatten() {
        if requested.contains(name) {
            as_requests_are_read(schema);
        }
    }
    let json = serde_json::to_string_pretty(&document)?;
    let yaml = serde_yaml::to_string(&document).map_err(io::Error::other)?;
    Ok(Document { json, yaml })
}

/// A parameter that is read by rules of its own, wherever it occurs.
struct Parameter {
    place: &'static str,
    name: &'static str,
    pattern: &'static str,
    /// Swagger UI fills it in where something is tried, so that there is none for what is better left out.
    example: Option<&'static str>,
}

/// The actions that audit events are searched by, which are more words than a handler's list of parameters has
/// room for.
fn as_actions_are_known(parameter: &mut Value) {
    if parameter["in"] == "query" && parameter["name"] == "action" {
        parameter["schema"]["enum"] = json!(ACTIONS);
    }
}

const PARAMETERS: &[Parameter] = &[
    Parameter {
        place: "header",
        name: "Idempotency-Key",
        // A header's blanks around it are not part of it.
        pattern: "^[!-~]([ -~]{0,253}[!-~])?$",
        example: None,
    },
    Parameter {
        place: "header",
        name: "If-Match",
        pattern: r#"^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$"#,
        example: Some("\"3\""),
    },
    Parameter { place: "query", name: "search", pattern: r"^[^\u0000-\u001F\u007F-\u009F]*$", example: None },
];

/// Adds their patterns. As poem-openapi's validators they would be checked too, and its errors say less.
fn as_parameters_are_read(document: &mut Value) {
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|it| it.values_mut());
    let operations = paths.filter_map(Value::as_object_mut).flat_map(|it| it.values_mut());
    let parameters = operations.filter_map(|it| it.get_mut("parameters")?.as_array_mut()).flatten();
    for parameter in parameters {
        as_actions_are_known(parameter);
        let is_it = |it: &&Parameter| parameter["in"] == it.place && parameter["name"] == it.name;
        if let Some(known) = PARAMETERS.iter().find(is_it) {
            parameter["schema"]["pattern"] = known.pattern.into();
            if let Some(example) = known.example {
                parameter["example"] = example.into();
            }
        }
    }
}

/// Says the bounds of the integers, which poem-openapi leaves to the name of their format.
fn say_bounds(value: &mut Value) {
    if let Value::Array(values) = value {
        values.iter_mut().for_each(say_bounds);
        return;
    }
    let Value::Object(fields) = value else { return };
    if fields.get("type").is_some_and(|it| it == "integer") {
        let (least, most): (Value, Value) = match fields.get("format").and_then(Value::as_str) {
            Some("int32") => (i32::MIN.into(), i32::MAX.into()),
            Some("int64") => (i64::MIN.into(), i64::MAX.into()),
            Some("uint16") => (u16::MIN.into(), u16::MAX.into()),
            Some("uint32") => (u32::MIN.into(), u32::MAX.into()),
            Some("uint64") => (u64::MIN.into(), u64::MAX.into()),
            _ => return,
        };
        fields.entry("minimum").or_insert(least);
        fields.entry("maximum").or_insert(most);
        return;
    }
    fields.values_mut().for_each(say_bounds);
}

/// The names of the schemas that bodies of requests consist of.
fn requested(document: &Value) -> BTreeSet<String> {
    let operations = document["paths"].as_object().into_iter().flatten();
    let operations = operations.flat_map(|(_, it)| it.as_object().into_iter().flatten());
    let mut left: Vec<&Value> = operations.map(|(_, it)| &it["requestBody"]).collect();
    let mut names = BTreeSet::new();
    while let Some(value) = left.pop() {
        match value {
            Value::Array(values) => left.extend(values),
            Value::Object(fields) => {
                let reference = fields.get("$ref").and_then(Value::as_str);
                let name = reference.and_then(|it| it.strip_prefix("#/components/schemas/"));
                if let Some(name) = name.filter(|it| names.insert((*it).to_owned())) {
                    left.push(&document["components"]["schemas"][name]);
                }
                left.extend(fields.values());
            }
            _ => {}
        }
    }
    names
}

/// Bodies of requests are read strictly: no field that is not known, and null only for what is declared
/// `Nullable`. poem-openapi does not say the first, and its examples have null for what is not given.
fn as_requests_are_read(schema: &mut Value) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let may_be_null = |it: &Value| it["nullable"] == true;
    let nullable: BTreeSet<String> =
        properties.iter().filter(|(_, it)| may_be_null(it)).map(|(name, _)| name.clone()).collect();
    if let Some(example) = schema.get_mut("example").and_then(Value::as_object_mut) {
        example.retain(|name, value| !value.is_null() || nullable.contains(name));
    }
    schema["additionalProperties"] = false.into();
}

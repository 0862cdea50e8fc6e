//! The OpenAPI document, with what poem-openapi leaves out of it.

use std::io;

use serde_json::{Value, json};

use super::security_document;

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
    security_document::declare(&mut document);
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        schemas.values_mut().for_each(allow_null);
    }
    let json = serde_json::to_string_pretty(&document)?;
    let yaml = serde_yaml::to_string(&document).map_err(io::Error::other)?;
    Ok(Document { json, yaml })
}

/// Whatever may be left out of an object may be null: poem-openapi reads and writes it so, and says so
/// nowhere. What has a default is never null.
fn allow_null(schema: &mut Value) {
    let required = schema.get("required").cloned().unwrap_or_default();
    let required: Vec<&str> = required.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (name, property) in properties {
        if required.contains(&name.as_str()) || property.get("default").is_some() {
            continue;
        }
        if property.get("$ref").is_some() {
            // Nothing may stand beside a reference.
            *property = json!({ "allOf": [property.take()] });
        }
        if let Some(property) = property.as_object_mut() {
            property.insert("nullable".to_owned(), true.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_left_out_may_be_null() {
        let mut schema = json!({
            "required": ["id"],
            "properties": {
                "id": { "type": "string" },
                "email": { "type": "string" },
                "errors": { "type": "array", "default": [] },
                "owner": { "$ref": "#/components/schemas/User" },
            },
        });
        allow_null(&mut schema);
        let owner = json!({ "allOf": [{ "$ref": "#/components/schemas/User" }], "nullable": true });
        assert_eq!(schema["properties"]["owner"], owner);
        assert_eq!(schema["properties"]["email"]["nullable"], true);
        for property in ["id", "errors"] {
            assert!(schema["properties"][property].get("nullable").is_none(), "{property}");
        }
    }
}

//! What the documentation says of who may do what.
//!
//! The table of permissions gives each a security scheme of its own name. In OpenAPI that is one scheme, `bearer`,
//! which Swagger UI's Authorize button asks one token for; what the permission asks becomes words for people
//! and `x-required-scope` for programs.

use serde_json::{Map, Value, json};

use crate::api::authorize::REQUIREMENTS;
use crate::domain::access::{Requirement, TokenRule};

/// The name of the one scheme.
const BEARER: &str = "bearer";

/// What is asked of the caller, in words.
fn sentence(needs: Requirement) -> String {
    let who = match needs.token {
        TokenRule::Scope(scope) => format!("a session, or an API token with the scope `{}`", scope.name()),
        TokenRule::Never => "a session; no API token may do this".to_owned(),
        TokenRule::Any => "a session or any API token".to_owned(),
    };
    let admin = if needs.admin { "; administrators only" } else { "" };
    format!("Needs {who}{admin}.")
}

/// Turns the schemes of the table of permissions into the one that there is.
pub(super) fn declare(document: &mut Value) {
    let operations = document["paths"].as_object_mut().into_iter().flat_map(|it| it.values_mut());
    for operation in operations.filter_map(Value::as_object_mut).flat_map(|it| it.values_mut()) {
        if let Some(operation) = operation.as_object_mut() {
            describe(operation);
        }
    }
    let schemes = document.get_mut("components").and_then(|it| it.get_mut("securitySchemes"));
    if let Some(schemes) = schemes.and_then(Value::as_object_mut) {
        let scheme = schemes.values().next().cloned();
        schemes.clear();
        schemes.extend(scheme.map(|scheme| (BEARER.to_owned(), scheme)));
    }
}

fn describe(operation: &mut Map<String, Value>) {
    let schemes = operation.get("security").and_then(Value::as_array).into_iter().flatten();
    let mut names = schemes.filter_map(Value::as_object).flat_map(Map::keys);
    let permission = names.next().and_then(|name| REQUIREMENTS.iter().find(|(known, _)| known == name));
    let Some((_, needs)) = permission.copied() else { return };
    operation.insert("security".to_owned(), json!([{ BEARER: [] }]));
    if let TokenRule::Scope(scope) = needs.token {
        operation.insert("x-required-scope".to_owned(), scope.name().into());
    }
    let told = operation
        .get("description")
        .and_then(Value::as_str)
        .map_or_else(String::new, |it| format!("{it}\n\n"));
    operation.insert("description".to_owned(), format!("{told}{}", sentence(needs)).into());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(scheme: &str) -> Value {
        let mut document = json!({
            "paths": { "/x": { "get": {
                "description": "Reads it.",
                "security": [{ scheme: [] }],
            } } },
            "components": { "securitySchemes": { scheme: { "type": "http" }, "Known": { "type": "http" } } },
        });
        declare(&mut document);
        assert_eq!(document["components"]["securitySchemes"], json!({ "bearer": { "type": "http" } }));
        document["paths"]["/x"]["get"].take()
    }

    #[test]
    fn what_a_permission_asks_becomes_words() {
        for (scheme, scope, sentence) in [
            ("ReadUsers", "users:read", "with the scope `users:read`."),
            ("ReadAudit", "audit:read", "with the scope `audit:read`; administrators only."),
            ("SignedIn", "", "Needs a session; no API token may do this."),
            ("Known", "", "Needs a session or any API token."),
        ] {
            let operation = operation(scheme);
            assert_eq!(operation["security"], json!([{ "bearer": [] }]));
            assert_eq!(operation["x-required-scope"].as_str().unwrap_or_default(), scope);
            let description = operation["description"].as_str().unwrap();
            assert!(description.starts_with("Reads it.\n\nNeeds ") && description.ends_with(sentence));
        }
    }
}

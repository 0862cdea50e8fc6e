//! What the documentation says of who may do what.
//!
//! The table of permissions gives each a security scheme with a name such as `bearer users:read admin`. In
//! OpenAPI that is one scheme, `bearer`, which Swagger UI's Authorize button asks one token for; the rest
//! becomes words for people and `x-required-scope` for programs.

use serde_json::{Map, Value, json};

/// The name of the one scheme.
const BEARER: &str = "bearer";

/// What an operation asks of its caller, as the name of its scheme says it.
struct Needs<'a> {
    /// A scope, `any` or `session`.
    token: &'a str,
    /// Whether only an administrator may.
    admin: bool,
}

impl<'a> Needs<'a> {
    fn of(scheme: &'a str) -> Option<Self> {
        let (token, user) = scheme.strip_prefix("bearer ")?.split_once(' ')?;
        Some(Self { token, admin: user == "admin" })
    }

    fn scope(&self) -> Option<&'a str> {
        self.token.contains(':').then_some(self.token)
    }

    fn sentence(&self) -> String {
        let who = match (self.scope(), self.token) {
            (Some(scope), _) => format!("a session, or an API token with the scope `{scope}`"),
            (None, "session") => "a session; no API token may do this".to_owned(),
            (None, _) => "a session or any API token".to_owned(),
        };
        let admin = if self.admin { "; administrators only" } else { "" };
        format!("Needs {who}{admin}.")
    }

    /// Whether some who are known may not.
    fn refuses(&self) -> bool {
        self.admin || self.token != "any"
    }
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
    let scheme = schemes.filter_map(Value::as_object).flat_map(Map::keys).next().cloned();
    let Some(needs) = scheme.as_deref().and_then(Needs::of) else { return };
    operation.insert("security".to_owned(), json!([{ BEARER: [] }]));
    if let Some(scope) = needs.scope() {
        operation.insert("x-required-scope".to_owned(), scope.into());
    }
    let told = operation
        .get("description")
        .and_then(Value::as_str)
        .map_or_else(String::new, |it| format!("{it}\n\n"));
    operation.insert("description".to_owned(), format!("{told}{}", needs.sentence()).into());
    if let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) {
        add_refusals(responses, &needs);
    }
}

/// Adds 401 and 403, unless the operation tells of its own, and brings the statuses in order.
fn add_refusals(responses: &mut Map<String, Value>, needs: &Needs<'_>) {
    // Every operation answers problems under `default`: these are such.
    let Some(problem) = responses.get("default").cloned() else { return };
    let refused = needs.refuses().then_some(("403", "The caller may not do this."));
    let statuses = [("401", "There is no token, or one that stands for nobody.")].into_iter().chain(refused);
    for (status, description) in statuses {
        if !responses.contains_key(status) {
            let mut response = problem.clone();
            response["description"] = description.into();
            responses.insert(status.to_owned(), response);
        }
    }
    responses.sort_keys();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(scheme: &str) -> Value {
        let mut document = json!({
            "paths": { "/x": { "get": {
                "description": "Reads it.",
                "security": [{ scheme: [] }],
                "responses": { "200": {}, "default": { "description": "A problem.", "content": {} } },
            } } },
            "components": { "securitySchemes": { scheme: { "type": "http" }, "bearer any user": { "type": "http" } } },
        });
        declare(&mut document);
        assert_eq!(document["components"]["securitySchemes"], json!({ "bearer": { "type": "http" } }));
        document["paths"]["/x"]["get"].take()
    }

    #[test]
    fn the_name_of_the_scheme_becomes_words() {
        for (scheme, scope, sentence) in [
            ("bearer users:read user", "users:read", "with the scope `users:read`."),
            ("bearer audit:read admin", "audit:read", "with the scope `audit:read`; administrators only."),
            ("bearer session user", "", "Needs a session; no API token may do this."),
            ("bearer any user", "", "Needs a session or any API token."),
        ] {
            let operation = operation(scheme);
            assert_eq!(operation["security"], json!([{ "bearer": [] }]));
            assert_eq!(operation["x-required-scope"].as_str().unwrap_or_default(), scope);
            let description = operation["description"].as_str().unwrap();
            assert!(description.starts_with("Reads it.\n\nNeeds ") && description.ends_with(sentence));
            let statuses: Vec<&String> = operation["responses"].as_object().unwrap().keys().collect();
            let expected = if scheme == "bearer any user" {
                vec!["200", "401", "default"]
            } else {
                vec!["200", "401", "403", "default"]
            };
            assert_eq!(statuses, expected);
        }
    }
}

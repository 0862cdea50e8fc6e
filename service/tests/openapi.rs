//! The OpenAPI document says who may do what, and shows an example of everything.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::TestService;

const ADMIN_PASSWORD: &str = "the first admin's";

/// The operations under `/api/v1` that ask for no token.
const OPEN: &[(&str, &str)] = &[("post", "/api/v1/auth/login")];

async fn document() -> Value {
    TestService::start().await.get("/openapi.json").await.json().await.unwrap()
}

/// Every operation: its method, its path, itself.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(|(method, operation)| (method.clone(), path.clone(), operation.clone()))
    });
    all.collect()
}

/// Whether a body shows an example, in its schema or beside it.
fn has_example(document: &Value, media: &Value) -> bool {
    let schema = &media["schema"];
    let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
    let named = reference.and_then(|it| it.strip_prefix("#/components/schemas/"));
    let named = named.map_or(&Value::Null, |it| &document["components"]["schemas"][it]);
    [media, schema, named].iter().any(|it| it.get("example").is_some() || it.get("examples").is_some())
}

/// OpenAPI 3.0 allows these fields and no others; `summary` came with 3.1.
#[tokio::test]
async fn the_head_is_of_its_version() {
    let document = document().await;
    assert_eq!(document["openapi"], "3.0.0");
    let known = ["title", "description", "termsOfService", "contact", "license", "version"];
    let info = document["info"].as_object().unwrap();
    assert!(info.keys().all(|it| known.contains(&it.as_str())), "{info:?}");
}

/// Reads that a standby may answer take the position that a write answered.
#[tokio::test]
async fn positions_are_documented() {
    let document = document().await;
    let (mut sent, mut answered) = (BTreeSet::new(), BTreeSet::new());
    for (method, path, operation) in operations(&document) {
        let has = |place: &str, name: &str| {
            let mut parameters = operation["parameters"].as_array().into_iter().flatten();
            parameters.any(|it| it["in"] == place && it["name"] == name)
        };
        // Whatever has pages, and the figures over buckets of time.
        let is_read = has("query", "cursor") || path == "/api/v1/metrics/aggregate";
        assert_eq!(has("header", "Bedplate-Position"), method == "get" && is_read, "{method} {path}");
        if has("header", "Bedplate-Position") {
            assert_eq!(method, "get", "{path}");
            let refused = |status| operation["responses"][status].is_object();
            assert!(refused("400") || refused("default"), "{path}");
            sent.insert(path.clone());
        }
        let responses = operation["responses"].as_object().unwrap();
        if responses.values().any(|it| it["headers"]["Bedplate-Position"].is_object()) {
            answered.insert(format!("{method} {path}"));
        }
    }
    for path in ["/users", "/audit-events", "/metrics/snapshots", "/metrics/latest", "/metrics/aggregate"] {
        assert!(sent.contains(&format!("/api/v1{path}")), "{path} of {sent:?}");
    }
    for operation in ["post /api/v1/metrics/snapshots", "post /api/v1/users", "patch /api/v1/users/{id}"] {
        assert!(answered.contains(operation), "{operation} of {answered:?}");
    }
    assert!(!sent.iter().any(|it| it.contains("sessions") || it.contains("tokens")), "{sent:?}");
}

#[tokio::test]
async fn every_operation_under_api_says_who_may() {
    let document = document().await;
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!(schemes.as_object().unwrap().keys().collect::<Vec<_>>(), ["bearer"], "{schemes}");
    assert_eq!(
        (&schemes["bearer"]["type"], &schemes["bearer"]["scheme"]),
        (&json!("http"), &json!("bearer"))
    );
    for (method, path, operation) in operations(&document) {
        let is_open = !path.starts_with("/api/v1/") || OPEN.contains(&(method.as_str(), path.as_str()));
        if is_open {
            assert!(operation.get("security").is_none(), "{method} {path}");
            continue;
        }
        assert_eq!(operation["security"], json!([{ "bearer": [] }]), "{method} {path}");
        let description = operation["description"].as_str().unwrap();
        assert!(description.contains("Needs a session"), "{method} {path}: {description}");
        assert!(operation["responses"]["401"].is_object(), "{method} {path}");
        if let Some(scope) = operation["x-required-scope"].as_str() {
            assert!(description.contains(&format!("`{scope}`")), "{method} {path}: {description}");
            assert!(operation["responses"]["403"].is_object(), "{method} {path}");
        }
    }
    assert_eq!(document["paths"]["/api/v1/audit-events"]["get"]["x-required-scope"], "audit:read");
}

#[tokio::test]
async fn every_operation_is_told_and_shown() {
    let document = document().await;
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        for part in ["summary", "description", "operationId"] {
            let text = operation[part].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{method} {path} has no {part}");
        }
        assert!(
            ids.insert(operation["operationId"].to_string()),
            "{method} {path} has another's operation id"
        );
        assert!(
            operation["tags"].as_array().is_some_and(|tags| !tags.is_empty()),
            "{method} {path} has no tag"
        );
        let responses = operation["responses"].as_object().unwrap();
        let good = responses.iter().filter(|(status, _)| status.starts_with('2'));
        let bodies = good.map(|(_, it)| &it["content"]).chain([&operation["requestBody"]["content"]]);
        for (kind, media) in bodies.filter_map(Value::as_object).flatten() {
            assert!(has_example(&document, media), "{method} {path} shows no example of its {kind}");
        }
        for (status, response) in responses {
            assert!(
                response["description"].as_str().is_some_and(|it| !it.is_empty()),
                "{method} {path} {status}"
            );
            if status.starts_with('4') {
                let content = &response["content"]["application/problem+json"];
                assert!(content.is_object(), "{method} {path} {status} is no problem");
            }
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].is_string(), "{method} {path}: {parameter}");
        }
    }
}

/// Who is told to come again is told when, and the document says so.
#[tokio::test]
async fn answers_that_ask_for_patience_say_when_to_come_again() {
    let document = document().await;
    let mut seen = BTreeMap::new();
    for (method, path, operation) in operations(&document) {
        // The state that a probe tells of is nothing to come again for; whoever probes does anyway.
        if !path.starts_with("/api/v1/") {
            continue;
        }
        for status in ["429", "503"] {
            let response = &operation["responses"][status];
            if response.is_object() {
                let header = &response["headers"]["Retry-After"];
                assert_eq!(header["required"], true, "{method} {path} {status}: {response}");
                assert_eq!(header["schema"]["type"], "integer", "{method} {path} {status}: {response}");
                *seen.entry(status).or_insert(0) += 1;
            }
        }
        // Whatever reads or writes may find the database away, or busy.
        assert!(operation["responses"]["503"].is_object(), "{method} {path}");
    }
    assert!(seen["429"] >= 2 && seen["503"] > 20, "{seen:?}");
}

/// The example of a body, in its schema.
fn example<'a>(document: &'a Value, media: &Value) -> &'a Value {
    let reference = media["schema"]["$ref"].as_str().unwrap();
    &document["components"]["schemas"][reference.rsplit('/').next().unwrap()]["example"]
}

/// People press "Try it out" and then "Execute": what is shown as a request has to be one.
#[tokio::test]
async fn every_example_of_a_request_is_understood() {
    let service = TestService::with(&[("ADMIN_PASSWORD", ADMIN_PASSWORD)], |it| it).await;
    let document: Value = service.get("/openapi.json").await.json().await.unwrap();
    let credentials = json!({ "username": "admin", "password": ADMIN_PASSWORD });
    let login = service.client.post(service.url("/api/v1/auth/login")).json(&credentials).send().await;
    let login: Value = login.unwrap().json().await.unwrap();
    let (token, admin) = (login["token"].as_str().unwrap(), login["user"]["id"].as_str().unwrap());
    let mut answers = BTreeMap::new();
    let mut operations = operations(&document);
    operations.sort_by_key(|(_, _, operation)| operation["operationId"] != "create_user");
    for (method, path, operation) in operations {
        for (kind, media) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
            let url = service.url(&path.replace("{id}", admin));
            let request = service.client.request(method.to_uppercase().parse().unwrap(), url);
            let request = request.bearer_auth(token).header("if-match", "*").header("content-type", kind);
            let answer = request.body(example(&document, media).to_string()).send().await.unwrap();
            let status = answer.status().as_u16();
            let told = answer.text().await.unwrap();
            assert!(![400, 415, 428].contains(&status) && status < 500, "{method} {path} {kind}: {told}");
            answers.insert(operation["operationId"].as_str().unwrap().to_owned(), status);
        }
    }
    // Who signs in is whom the example of making an account has made, and the password to be changed is not
    // that of the administrator, who asks.
    for (operation, status) in [
        ("create_user", 201),
        ("create_token", 201),
        ("patch_user", 200),
        ("login", 200),
        ("change_password", 422),
    ] {
        assert_eq!(answers.get(operation), Some(&status), "{operation}");
    }
}

#[tokio::test]
async fn both_forms_are_the_same_document() {
    let service = TestService::start().await;
    let json: Value = service.get("/openapi.json").await.json().await.unwrap();
    let yaml = service.get("/openapi.yaml").await.text().await.unwrap();
    assert_eq!(serde_yaml::from_str::<Value>(&yaml).unwrap(), json);
    // The order is that of a document for people: what it is comes first.
    assert!(yaml.starts_with("openapi: "), "{}", &yaml[..100]);
}

/// The parts that a body of a request is made of, by their names.
fn requested(document: &Value) -> Vec<(String, Value)> {
    let operations = operations(document);
    let media = operations.iter().flat_map(|(_, _, it)| it["requestBody"]["content"].as_object()).flatten();
    let names = media.filter_map(|(_, it)| it["schema"]["$ref"].as_str()?.rsplit('/').next());
    let names: BTreeSet<&str> = names.collect();
    assert!(!names.is_empty());
    let schema = |name: &str| document["components"]["schemas"][name].clone();
    names.into_iter().map(|name| (name.to_owned(), schema(name))).collect()
}

/// What a request may leave out may not be null, and there is nothing that is not known: the document says
/// both, and shows no example that the service refuses.
#[tokio::test]
async fn requests_are_as_strict_as_they_are_read() {
    let document = document().await;
    for (name, schema) in requested(&document) {
        assert_eq!(schema["additionalProperties"], false, "{name}");
        let example = schema["example"].as_object().unwrap();
        for (field, value) in example {
            let property = &schema["properties"][field];
            assert!(property.is_object(), "{name} has no {field}");
            assert!(!value.is_null() || property["nullable"] == true, "{name} shows null for {field}");
        }
    }
    let schemas = &document["components"]["schemas"];
    let (new, patch) = (&schemas["NewUser"]["properties"], &schemas["UserPatch"]["properties"]);
    assert!(new["is_active"].get("nullable").is_none() && patch["username"].get("nullable").is_none());
    assert_eq!((&new["email"]["nullable"], &patch["email"]["nullable"]), (&json!(true), &json!(true)));
}

/// What is always there and may be null, what may be missing and is never null, and what may be either.
#[tokio::test]
async fn answers_say_what_may_be_missing_and_what_may_be_null() {
    let document = document().await;
    let schemas = &document["components"]["schemas"];
    for (name, field, is_there, may_be_null) in [
        ("AuditEvent", "actor_id", true, true),
        ("AuditEventPage", "next_cursor", true, true),
        ("DatabaseReport", "latency_ms", true, true),
        ("DatabaseReport", "error", false, false),
        ("Health", "error", false, false),
        ("CreatedTokenBody", "token", false, false),
        ("AggregateBucket", "avg", false, true),
        ("AggregateBucket", "paths", false, false),
    ] {
        let required = schemas[name]["required"].as_array().unwrap().contains(&field.into());
        let nullable = schemas[name]["properties"][field]["nullable"] == true;
        assert_eq!((required, nullable), (is_there, may_be_null), "{name}.{field}");
    }
}

/// The schemas that answers are made of: what they name, and what that names.
fn answered(document: &Value) -> BTreeSet<String> {
    fn collect(document: &Value, value: &Value, names: &mut BTreeSet<String>) {
        match value {
            Value::Array(all) => all.iter().for_each(|it| collect(document, it, names)),
            Value::Object(all) => {
                let name = value["$ref"].as_str().and_then(|it| it.strip_prefix("#/components/schemas/"));
                if let Some(name) = name.filter(|it| names.insert((*it).to_owned())) {
                    collect(document, &document["components"]["schemas"][name], names);
                }
                all.values().for_each(|it| collect(document, it, names));
            }
            _ => {}
        }
    }
    let mut names = BTreeSet::new();
    operations(document).iter().for_each(|(_, _, it)| collect(document, &it["responses"], &mut names));
    names
}

/// A field of an answer that is an `Option` is written as null and said to be missing: it is to be `Nullable`, or
/// skipped by serde and named here.
#[tokio::test]
async fn nothing_else_is_missing_in_an_answer() {
    let document = document().await;
    let mut missing = Vec::new();
    for name in answered(&document) {
        let schema = &document["components"]["schemas"][&name];
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let all = schema["properties"].as_object().into_iter().flatten();
        let left_out = all.filter(|(field, it)| !required.contains(&json!(field)) && it["nullable"] != true);
        missing.extend(left_out.map(|(field, _)| format!("{name}.{field}")));
    }
    assert_eq!(
        missing,
        [
            "AggregateBucket.paths",
            "CreatedTokenBody.token",
            "DatabaseReport.error",
            "Health.error",
            "Problem.errors",
        ]
    );
}

/// What is read by rules of its own says so, and integers say between which bounds they are read.
#[tokio::test]
async fn parameters_and_numbers_say_what_is_read() {
    let document = document().await;
    let mut seen = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            if ["If-Match", "Idempotency-Key", "search"].contains(&name) {
                seen.insert(name.to_owned());
                assert!(parameter["schema"]["pattern"].is_string(), "{method} {path}: {parameter}");
                // Swagger UI would send it: a filter nobody asked for, one key for different requests.
                assert_eq!(
                    parameter["example"].is_string(),
                    name == "If-Match",
                    "{method} {path}: {parameter}"
                );
            }
        }
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
    let lifetime = &document["components"]["schemas"]["TokenRequest"]["properties"]["lifetime_seconds"];
    assert_eq!((&lifetime["minimum"], &lifetime["maximum"]), (&json!(1.0), &json!(u32::MAX)));
    let character = &document["components"]["schemas"]["NewUser"]["properties"]["eve_character_id"];
    assert_eq!(character["maximum"], json!(i64::MAX));
}

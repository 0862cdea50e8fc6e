//! What the documentation says of `Bedplate-Position`, which a middleware reads and writes for all routes.

use serde_json::{Map, Value, json};

use crate::middleware::BEDPLATE_POSITION;

/// The spelling of a position.
const PATTERN: &str = "^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$";

/// The header's name as it is written in documentation.
const NAME: &str = "Bedplate-Position";

const SENT: &str = "The `Bedplate-Position` that a write answered: the answer then has everything that was written \
     up to it. Without it the answer may be as old as `DATABASE_READ_MAX_LAG` where the service reads from a standby.";

const ANSWERED: &str = "Where the database was after this write, if the service reads from a standby: sent with a \
     read, it finds what was written.";

/// What may be answered by a standby and has no pages.
const WITHOUT_PAGES: &[&str] = &["/api/v1/metrics/aggregate"];

/// Whether a standby may answer it: what has pages, and these few.
fn is_read(method: &str, path: &str, operation: &Map<String, Value>) -> bool {
    let parameters = operation.get("parameters").and_then(Value::as_array).into_iter().flatten();
    let has_pages = parameters.into_iter().any(|it| it["in"] == "query" && it["name"] == "cursor");
    method == "get" && (has_pages || WITHOUT_PAGES.contains(&path))
}

/// Adds the header to the operations that read with it, and to the answers of those that write.
pub(super) fn declare(document: &mut Value) {
    debug_assert!(NAME.eq_ignore_ascii_case(BEDPLATE_POSITION.as_str()));
    let schema = json!({ "type": "string", "pattern": PATTERN });
    for (path, methods) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in methods.as_object_mut().into_iter().flatten() {
            let Some(operation) = operation.as_object_mut() else { continue };
            if is_read(method, path, operation) {
                let parameter = json!({
                    "name": NAME, "in": "header", "required": false, "deprecated": false,
                    "description": SENT, "schema": schema,
                });
                let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
                parameters.as_array_mut().into_iter().for_each(|it| it.push(parameter.clone()));
            }
            if method != "get" && path.starts_with("/api/v1/") {
                let header = json!({ "description": ANSWERED, "required": false, "schema": schema });
                succeeded(operation).for_each(|response| response["headers"][NAME] = header.clone());
            }
        }
    }
}

/// The answers of what was done.
fn succeeded(operation: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    let responses = responses.into_iter().flat_map(|it| it.iter_mut());
    responses.filter(|(status, _)| status.starts_with('2')).map(|(_, response)| response)
}

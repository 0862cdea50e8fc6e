//! The API's documentation: Swagger UI at `/docs` and the OpenAPI documents it shows.

use super::assets::{Asset, Document, Files};

include!(concat!(env!("OUT_DIR"), "/docs.rs"));

/// What the page may do: its own files, its own service, and the small pictures in its style sheet. Swagger
/// UI sets styles on elements through the DOM, which needs no permission.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `/docs` with everything under it, and the OpenAPI documents in their two forms.
///
/// # Errors
/// They cannot be compressed; memory cannot fail that way.
pub(super) fn docs(json: &str, yaml: &str) -> std::io::Result<Files> {
    let documents = [
        ("/openapi.json", Document::compress(json, "application/json")?),
        ("/openapi.yaml", Document::compress(yaml, "application/yaml")?),
    ];
    Ok(Files::new(PAGE_POLICY, FILES, (&["/docs", "/docs/"], &PAGE), documents))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_embedded_whole() {
        super::super::assets::assert_whole(FILES.iter().chain([&PAGE]));
    }
}

//! The API's documentation: Swagger UI at `/docs` and the OpenAPI documents it shows.

use poem::{Endpoint, Request, Response, Result};

use super::assets::{Asset, Document, Files};

include!(concat!(env!("OUT_DIR"), "/docs.rs"));

/// What the page may do: its own files, its own service, and the small pictures in its style sheet. Swagger
/// UI sets styles on elements through the DOM, which needs no permission.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The endpoint of `/docs` and everything under it, and of the OpenAPI documents.
#[derive(Clone, Debug)]
pub struct Docs(Files);

impl Docs {
    /// The documentation that these OpenAPI documents are.
    ///
    /// # Errors
    /// They cannot be compressed; memory cannot fail that way.
    pub fn new(json: &str, yaml: &str) -> std::io::Result<Self> {
        let documents = [
            ("/openapi.json", Document::compress(json, "application/json")?),
            ("/openapi.yaml", Document::compress(yaml, "application/yaml")?),
        ];
        Ok(Self(Files::new(PAGE_POLICY, FILES, (&["/docs", "/docs/"], &PAGE), documents)))
    }
}

impl Endpoint for Docs {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        self.0.call(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_embedded_whole() {
        super::super::assets::assert_whole(FILES.iter().chain([&PAGE]));
    }
}

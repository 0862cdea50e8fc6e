//! The documentation: its page, its files, its documents.

use std::io::Read as _;

use reqwest::StatusCode;
use serde_json::Value;
use service::product;

use crate::support::{TestService, header};

/// The addresses of scripts, styles and pictures that the page names.
fn files(page: &str) -> Vec<String> {
    let addresses = page.split('"').filter(|it| it.starts_with("/docs/"));
    addresses.map(str::to_owned).collect()
}

fn unpacked(gzip: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    flate2::read::GzDecoder::new(gzip).read_to_end(&mut content).expect("gzip");
    content
}

#[tokio::test]
async fn the_page_stands_at_both_addresses() {
    let service = TestService::start().await;
    let mut pages = Vec::new();
    for path in ["/docs", "/docs/"] {
        let page = service.get(path).await;
        assert_eq!(page.status(), StatusCode::OK);
        assert_eq!(header(&page, "content-type"), "text/html; charset=utf-8");
        assert_eq!(header(&page, "cache-control"), "no-cache");
        pages.push(page.text().await.expect("text"));
    }
    assert_eq!(pages[0], pages[1]);
    assert!(!pages[0].contains("//"), "nothing is loaded from elsewhere: {}", pages[0]);
}

#[tokio::test]
async fn the_page_may_load_its_own_files_and_nothing_else() {
    let service = TestService::start().await;
    let page = service.get("/docs").await;
    let policy = header(&page, "content-security-policy").to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let page = page.text().await.expect("text");
    assert!(!page.contains("<script>") && !page.contains("<style") && !page.contains(" style="), "{page}");
    assert_eq!(files(&page).len(), 5);
}

#[tokio::test]
async fn every_file_comes_compressed_or_plain_and_is_kept_for_good() {
    let service = TestService::start().await;
    let page = service.get("/docs").await.text().await.expect("text");
    for path in files(&page) {
        let ask =
            |encoding| service.client.get(service.url(&path)).header("accept-encoding", encoding).send();
        let packed = ask("gzip, br").await.expect("an answer");
        assert_eq!(packed.status(), StatusCode::OK, "{path}");
        assert_eq!(header(&packed, "content-encoding"), "gzip");
        assert_eq!(header(&packed, "cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(header(&packed, "vary"), "accept-encoding");
        let etag = header(&packed, "etag").to_owned();
        assert!(etag.starts_with("W/\""), "it is one of two forms");
        let packed = packed.bytes().await.expect("a body");
        let plain = ask("identity").await.expect("an answer");
        assert!(plain.headers().get("content-encoding").is_none());
        assert_eq!(header(&plain, "etag"), etag);
        let plain = plain.bytes().await.expect("a body");
        assert!(unpacked(&packed) == plain, "{path}");

        let again = service.client.get(service.url(&path)).header("if-none-match", &etag);
        let again = again.send().await.expect("an answer");
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(header(&again, "etag"), etag);
        assert!(again.bytes().await.expect("no body").is_empty());
    }
}

/// What a product is called stands in one file.
#[tokio::test]
async fn the_pages_and_the_document_have_the_name_of_the_product() {
    let service = TestService::start().await;
    let document: Value = service.get("/openapi.json").await.json().await.expect("JSON");
    let info = &document["info"];
    assert_eq!(info["title"], product::TITLE);
    assert_eq!(info["license"]["name"], product::LICENSE);
    assert_eq!(info["contact"]["url"], product::CONTACT_URL);
    for (path, title) in [("/", product::TITLE.to_owned()), ("/docs", format!("{} API", product::TITLE))] {
        let page = service.get(path).await.text().await.expect("a page");
        assert!(page.contains(&format!("<title>{title}</title>")), "{page}");
    }
}

#[tokio::test]
async fn the_documents_describe_every_route_and_status() {
    let service = TestService::start().await;
    let document: Value = service.get("/openapi.json").await.json().await.expect("JSON");
    assert!(document["openapi"].as_str().is_some_and(|it| it.starts_with("3.")));
    let paths = document["paths"].as_object().expect("paths");
    let expected: [(&str, &[&str]); 5] = [
        ("/health", &["200", "503", "default"]),
        ("/health/db", &["200", "503", "default"]),
        ("/livez", &["200", "default"]),
        ("/readyz", &["200", "503", "default"]),
        ("/startupz", &["200", "default"]),
    ];
    let mut of_health: Vec<&String> = paths.keys().filter(|path| !path.starts_with("/api/v1/")).collect();
    of_health.sort();
    assert_eq!(of_health, expected.map(|(path, _)| path));
    for (path, statuses) in expected {
        let operation = &paths[path]["get"];
        for part in ["summary", "description", "operationId"] {
            assert!(operation[part].as_str().is_some_and(|it| !it.is_empty()), "{path} has no {part}");
        }
        let responses = operation["responses"].as_object().expect("responses");
        assert_eq!(responses.keys().collect::<Vec<_>>(), statuses, "{path}");
        assert!(responses["default"]["content"]["application/problem+json"].is_object());
        for response in responses.values() {
            assert!(response["description"].as_str().is_some_and(|it| !it.is_empty()), "{path}");
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        // A schema that lists words has no properties.
        for (property, about) in schema["properties"].as_object().into_iter().flatten() {
            let reference = about["$ref"].is_string() || about["allOf"].is_array();
            assert!(reference || about["description"].is_string(), "{name}.{property} is not described");
        }
    }
}

#[tokio::test]
async fn the_documents_are_asked_for_again_and_mostly_unchanged() {
    let service = TestService::start().await;
    for (path, content_type) in [("/openapi.json", "application/json"), ("/openapi.yaml", "application/yaml")]
    {
        let document = service.get(path).await;
        assert_eq!(header(&document, "content-type"), content_type);
        assert_eq!(header(&document, "cache-control"), "no-cache");
        let etag = header(&document, "etag").to_owned();
        assert!(document.text().await.expect("text").contains("/health/db"));
        let strong = etag.strip_prefix("W/").expect("it is one of two forms");
        for known in [format!("{etag}, \"other\""), strong.to_owned()] {
            let again = service.client.get(service.url(path)).header("if-none-match", known);
            assert_eq!(again.send().await.expect("an answer").status(), StatusCode::NOT_MODIFIED);
        }
        let packed = service.client.get(service.url(path)).header("accept-encoding", "gzip");
        let packed = packed.send().await.expect("an answer").bytes().await.expect("a body");
        assert!(String::from_utf8(unpacked(&packed)).expect("text").contains("/health/db"));
    }
}

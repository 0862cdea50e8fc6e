//! Embeds the pages, compressed: that at the root, and Swagger UI with the page around it, each file at an
//! address with its checksum in it. The release of Swagger UI comes from a crate that carries its archive, so
//! that building needs no network beyond the registry, and showing the page needs none at all.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a build script stops the build by panicking"
)]

use std::fmt::Write as _;
use std::io::{Cursor, Read as _, Write as _};
use std::path::{Path, PathBuf};

use flate2::{Compression, Crc};
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

#[path = "src/product.rs"]
#[allow(dead_code, unreachable_pub, reason = "the pages show a part of what the service has")]
mod product;

/// What is taken out of the archive's `dist` folder, with its content type.
const VENDORED: &[(&str, &str)] = &[
    ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    ("swagger-ui.css", "text/css; charset=utf-8"),
    ("favicon-32x32.png", "image/png"),
];

/// What stands in the folder `assets`. The page comes last, because it names the others.
const DOCS: &[(&str, &str)] = &[
    ("docs.js", "text/javascript; charset=utf-8"),
    ("docs.css", "text/css; charset=utf-8"),
    ("docs.html", "text/html; charset=utf-8"),
];

/// What stands in the folder `assets/page`, each after those that it names.
const PAGE: &[(&str, &str)] = &[
    ("icon.svg", "image/svg+xml"),
    ("app.css", "text/css; charset=utf-8"),
    ("api.js", "text/javascript; charset=utf-8"),
    ("dom.js", "text/javascript; charset=utf-8"),
    ("format.js", "text/javascript; charset=utf-8"),
    ("chart.js", "text/javascript; charset=utf-8"),
    ("health.js", "text/javascript; charset=utf-8"),
    ("view.js", "text/javascript; charset=utf-8"),
    ("metrics.js", "text/javascript; charset=utf-8"),
    ("app.js", "text/javascript; charset=utf-8"),
    ("index.html", "text/html; charset=utf-8"),
];

struct Asset {
    name: &'static str,
    content_type: &'static str,
    content: Vec<u8>,
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=assets");
    println!("cargo::rerun-if-changed=src/product.rs");
    let mut swagger_ui = SwaggerUi::new(SWAGGER_UI_VENDORED);
    let vendored = VENDORED.iter().map(|&(name, content_type)| {
        let content = swagger_ui.read(&format!("dist/{name}"));
        Asset { name, content_type, content }
    });
    let vendored = vendored.collect();
    let title = ("title", escaped(product::TITLE));
    let mut docs = Site::new("docs", "/docs", vec![title.clone()]);
    writeln!(
        docs.code,
        "/// The release of Swagger UI that is embedded.\npub const SWAGGER_UI_VERSION: &str = {:?};\n",
        swagger_ui.version
    )
    .unwrap();
    docs.write(vendored, own("assets", DOCS));
    let version = ("version", variable("CARGO_PKG_VERSION"));
    Site::new("page", "/assets", vec![version, title]).write(Vec::new(), own("assets/page", PAGE));
}

/// A text as it stands in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn own(folder: &str, files: &[(&'static str, &'static str)]) -> Vec<Asset> {
    let read = |&(name, content_type): &(&'static str, &'static str)| {
        let content = std::fs::read(Path::new(folder).join(name)).unwrap();
        Asset { name, content_type, content }
    };
    files.iter().map(read).collect()
}

/// A page and what belongs to it.
struct Site {
    name: &'static str,
    prefix: &'static str,
    /// What stands for `{{name}}`: what the pages are told, and the addresses of the files that are embedded already.
    words: Vec<(&'static str, String)>,
    used: Vec<&'static str>,
    code: String,
}

impl Site {
    fn new(name: &'static str, prefix: &'static str, words: Vec<(&'static str, String)>) -> Self {
        Self { name, prefix, words, used: Vec::new(), code: String::new() }
    }

    /// Embeds files, those of others as they are, and writes the code that has them. The last is the page.
    fn write(mut self, vendored: Vec<Asset>, own: Vec<Asset>) {
        let last = own.len() - 1;
        let out = PathBuf::from(variable("OUT_DIR"));
        self.code.push_str("static FILES: &[Asset] = &[\n");
        for asset in vendored {
            self.embed(&asset, &out);
        }
        for (index, mut asset) in own.into_iter().enumerate() {
            if index == last {
                self.code.push_str("];\n\nstatic PAGE: Asset = ");
            }
            self.fill(&mut asset);
            self.embed(&asset, &out);
        }
        // Everything but the page itself is used by something.
        self.words.pop();
        for (word, _) in &self.words {
            assert!(self.used.contains(word), "nothing in {} uses {word}", self.name);
        }
        self.code.truncate(self.code.trim_end_matches([',', '\n']).len());
        self.code.push_str(";\n");
        std::fs::write(out.join(format!("{}.rs", self.name)), &self.code).unwrap();
    }

    /// Writes the compressed file and the line of code that embeds it.
    fn embed(&mut self, asset: &Asset, out: &Path) {
        let packed = format!("{}-{}.gz", self.name, asset.name);
        std::fs::write(out.join(&packed), gzip(&asset.content)).unwrap();
        let tag = format!("{:08x}{:x}", checksum(&asset.content), asset.content.len());
        let (stem, extension) = asset.name.rsplit_once('.').unwrap();
        let path = format!("{}/{stem}.{tag}.{extension}", self.prefix);
        writeln!(
            self.code,
            "    Asset {{ path: {path:?}, content_type: {:?}, etag: \"W/\\\"{tag}\\\"\", length: {}, gzip: include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{packed}\")) }},",
            asset.content_type,
            asset.content.len(),
        )
        .unwrap();
        self.words.push((asset.name, path));
    }

    /// Files name each other as `{{name}}`.
    fn fill(&mut self, asset: &mut Asset) {
        let mut text = String::from_utf8(std::mem::take(&mut asset.content)).unwrap();
        for (name, word) in &self.words {
            let placeholder = format!("{{{{{name}}}}}");
            if text.contains(&placeholder) {
                text = text.replace(&placeholder, word);
                self.used.push(name);
            }
        }
        assert!(!text.contains("{{"), "{} names a file that is not embedded before it", asset.name);
        asset.content = text.into_bytes();
    }
}

#[allow(clippy::disallowed_methods, reason = "this is how Cargo talks to a build script")]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("Cargo sets {name}"))
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn checksum(content: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(content);
    crc.sum()
}

/// The archive of a release of Swagger UI. Everything is in a folder named after it: `swagger-ui-5.32.6/`.
struct SwaggerUi {
    archive: ZipArchive<Cursor<&'static [u8]>>,
    version: String,
}

impl SwaggerUi {
    fn new(bytes: &'static [u8]) -> Self {
        let archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
        let first = archive.name_for_index(0).expect("the archive is not empty").unwrap();
        let folder = first.split('/').next().and_then(|it| it.strip_prefix("swagger-ui-"));
        let version = folder.expect("a release in its name").to_owned();
        Self { archive, version }
    }

    fn read(&mut self, path: &str) -> Vec<u8> {
        let path = format!("swagger-ui-{}/{path}", self.version);
        let mut file = self.archive.by_name(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        content
    }
}

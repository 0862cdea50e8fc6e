//! Embeds Swagger UI and the page around it, compressed, each file at an address with its checksum in
//! it. The release of Swagger UI comes from a crate that carries its archive, so that building needs no
//! network beyond the registry, and showing the page needs none at all.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a build script stops the build by panicking"
)]

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use flate2::{Compression, Crc};
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;

/// What is taken out of the archive's `dist` folder, with its content type.
const VENDORED: [(&str, &str); 3] = [
    ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    ("swagger-ui.css", "text/css; charset=utf-8"),
    ("favicon-32x32.png", "image/png"),
];

/// What stands in the folder `assets`. The page comes last, because it names the others.
const OWN: [(&str, &str); 3] = [
    ("docs.js", "text/javascript; charset=utf-8"),
    ("docs.css", "text/css; charset=utf-8"),
    ("docs.html", "text/html; charset=utf-8"),
];

struct Asset {
    name: &'static str,
    content_type: &'static str,
    content: Vec<u8>,
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=assets");
    let out = PathBuf::from(variable("OUT_DIR"));
    let archive = Archive::new(SWAGGER_UI_VENDORED);
    let mut code = format!(
        "/// The release of Swagger UI that is embedded.\npub const SWAGGER_UI_VERSION: &str = {:?};\n\n",
        archive.version()
    );
    code.push_str("static FILES: &[Asset] = &[\n");
    let mut addresses = Vec::new();
    for (name, content_type) in VENDORED {
        let content = archive.read(&format!("dist/{name}"));
        embed(&Asset { name, content_type, content }, &out, &mut addresses, &mut code);
    }
    for (name, content_type) in OWN {
        let mut content = std::fs::read(Path::new("assets").join(name)).unwrap();
        if name == "docs.html" {
            code.push_str("];\n\nstatic PAGE: Asset = ");
            content = with_addresses(content, &addresses);
        }
        embed(&Asset { name, content_type, content }, &out, &mut addresses, &mut code);
    }
    code.truncate(code.trim_end_matches([',', '\n']).len());
    code.push_str(";\n");
    std::fs::write(out.join("docs.rs"), code).unwrap();
}

#[allow(clippy::disallowed_methods, reason = "this is how Cargo talks to a build script")]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("Cargo sets {name}"))
}

/// Writes the compressed file and the line of code that embeds it.
fn embed(asset: &Asset, out: &Path, addresses: &mut Vec<(&'static str, String)>, code: &mut String) {
    let compressed = gzip(&asset.content);
    std::fs::write(out.join(format!("{}.gz", asset.name)), &compressed).unwrap();
    let tag = format!("{:08x}{:x}", checksum(&asset.content), asset.content.len());
    let (stem, extension) = asset.name.rsplit_once('.').unwrap();
    let file = format!("{stem}.{tag}.{extension}");
    writeln!(
        code,
        "    Asset {{ file: {file:?}, content_type: {:?}, etag: \"\\\"{tag}\\\"\", length: {}, gzip: include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{}.gz\")) }},",
        asset.content_type,
        asset.content.len(),
        asset.name
    )
    .unwrap();
    addresses.push((asset.name, format!("/docs/{file}")));
}

/// The page names its files as `{{name}}`.
fn with_addresses(page: Vec<u8>, addresses: &[(&'static str, String)]) -> Vec<u8> {
    let page = addresses.iter().fold(String::from_utf8(page).unwrap(), |page, (name, address)| {
        let placeholder = format!("{{{{{name}}}}}");
        assert!(page.contains(&placeholder), "docs.html does not use {name}");
        page.replace(&placeholder, address)
    });
    assert!(!page.contains("{{"), "docs.html names a file that is not embedded");
    page.into_bytes()
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

/// As much of a zip archive as is needed to read one: the list at its end, and deflate.
struct Archive<'a> {
    bytes: &'a [u8],
    directory: usize,
    entries: u16,
}

impl<'a> Archive<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let end =
            bytes.windows(4).rposition(|it| it == b"PK\x05\x06").expect("the archive has an end record");
        let mut archive = Self { bytes, directory: 0, entries: 0 };
        archive.entries = archive.u16_at(end + 10);
        archive.directory = archive.u32_at(end + 16);
        archive
    }

    fn u16_at(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes[at..at + 2].try_into().unwrap())
    }

    fn u32_at(&self, at: usize) -> usize {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap()) as usize
    }

    /// Each entry of the list: where it is, and the name of the file.
    fn entries(&self) -> impl Iterator<Item = (usize, &'a str)> {
        let mut at = self.directory;
        (0..self.entries).map(move |_| {
            assert_eq!(&self.bytes[at..at + 4], b"PK\x01\x02", "an entry of the archive's list");
            let [name, extra, comment] = [28, 30, 32].map(|offset| usize::from(self.u16_at(at + offset)));
            let entry = (at, str::from_utf8(&self.bytes[at + 46..at + 46 + name]).unwrap());
            at += 46 + name + extra + comment;
            entry
        })
    }

    /// The folder that everything is in is named after the release: `swagger-ui-5.32.6/`.
    fn version(&self) -> &'a str {
        let (_, first) = self.entries().next().expect("the archive is not empty");
        first
            .split('/')
            .next()
            .and_then(|folder| folder.strip_prefix("swagger-ui-"))
            .expect("a release in its name")
    }

    fn read(&self, path: &str) -> Vec<u8> {
        let is_it = |name: &str| name.split_once('/').is_some_and(|(_, inner)| inner == path);
        let (entry, _) = self
            .entries()
            .find(|(_, name)| is_it(name))
            .unwrap_or_else(|| panic!("Swagger UI's archive has no file {path}"));
        let (method, sum) = (self.u16_at(entry + 10), self.u32_at(entry + 16));
        let (size, local) = (self.u32_at(entry + 20), self.u32_at(entry + 42));
        let start = local + 30 + usize::from(self.u16_at(local + 26)) + usize::from(self.u16_at(local + 28));
        let data = &self.bytes[start..start + size];
        let content = match method {
            0 => data.to_vec(),
            8 => {
                let mut content = Vec::new();
                flate2::read::DeflateDecoder::new(data).read_to_end(&mut content).unwrap();
                content
            }
            other => panic!("{path} is compressed by method {other}, which this script does not know"),
        };
        assert_eq!(checksum(&content) as usize, sum, "the checksum of {path}");
        content
    }
}

//! Files that are served as they are: pages, what belongs to them, and documents.
//!
//! Every file is embedded compressed. That of an asset is served from an address with its checksum in it, so
//! that browsers keep it for good; pages and documents are asked for again each time, and are mostly "not
//! modified".

use std::io::{Read as _, Write as _};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use flate2::{Compression, Crc};
use poem::error::NotFoundError;
use poem::http::StatusCode;
use poem::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderValue, IF_NONE_MATCH, VARY,
};
use poem::{Body, Endpoint, Request, Response, Result};

use super::conventions::accepting::weight;

const FOREVER: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";

/// A file as the build script embeds it.
pub(super) struct Asset {
    /// Its own address, with the checksum in it.
    pub(super) path: &'static str,
    pub(super) content_type: &'static str,
    pub(super) etag: &'static str,
    /// How long it is before compression.
    pub(super) length: usize,
    pub(super) gzip: &'static [u8],
}

impl Asset {
    fn document(&self, cache_control: &'static str) -> Document {
        Document {
            content_type: self.content_type,
            cache_control,
            etag: HeaderValue::from_static(self.etag),
            length: self.length,
            gzip: Bytes::from_static(self.gzip),
            plain: Arc::default(),
        }
    }
}

/// Something to be served as it is, with a name for its version: a weak one, because it goes by whether it is
/// compressed or not.
#[derive(Clone, Debug)]
pub(super) struct Document {
    content_type: &'static str,
    cache_control: &'static str,
    etag: HeaderValue,
    length: usize,
    gzip: Bytes,
    /// Decompressed, once it was asked for so: all who ask share it, however slowly they take it.
    plain: Arc<OnceLock<Bytes>>,
}

impl Document {
    /// A text that is made when the service starts.
    pub(super) fn compress(text: &str, content_type: &'static str) -> std::io::Result<Self> {
        let mut checksum = Crc::new();
        checksum.update(text.as_bytes());
        let etag = format!("W/\"{:08x}{:x}\"", checksum.sum(), text.len());
        let etag = HeaderValue::try_from(etag).map_err(std::io::Error::other)?;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes())?;
        let gzip = encoder.finish()?.into();
        let (length, plain) = (text.len(), Arc::default());
        Ok(Self { content_type, cache_control: ASK_AGAIN, etag, length, gzip, plain })
    }

    fn answer(&self, request: &HeaderMap) -> Result<Response> {
        let mut response = Response::default();
        let headers = response.headers_mut();
        headers.insert(ETAG, self.etag.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(self.cache_control));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if matches(request, &self.etag) {
            response.set_status(StatusCode::NOT_MODIFIED);
            return Ok(response);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if accepts_gzip(request) {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response.set_body(Body::from(self.gzip.clone()));
        } else {
            response.set_body(self.plain().map_err(poem::error::InternalServerError)?);
        }
        Ok(response)
    }

    fn plain(&self) -> std::io::Result<Bytes> {
        if let Some(plain) = self.plain.get() {
            return Ok(plain.clone());
        }
        let mut content = Vec::with_capacity(self.length);
        flate2::read::GzDecoder::new(&self.gzip[..]).read_to_end(&mut content)?;
        Ok(self.plain.get_or_init(|| content.into()).clone())
    }
}

/// Whether the client has this version already, in whichever form: compared as weak tags are.
fn matches(request: &HeaderMap, etag: &HeaderValue) -> bool {
    let etag = etag.as_bytes().strip_prefix(b"W/").unwrap_or(etag.as_bytes());
    let known = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim())
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag)
}

/// Whether the client takes gzip: it names it, or everything, and not with a weight of nothing.
fn accepts_gzip(request: &HeaderMap) -> bool {
    weight(request, &ACCEPT_ENCODING, &["gzip", "x-gzip", "*"]).is_some_and(|it| it > 0.0)
}

/// The endpoint of files, each at its address.
#[derive(Clone, Debug)]
pub(super) struct Files {
    files: Arc<[(&'static str, Document)]>,
    policy: HeaderValue,
}

impl Files {
    /// These assets, a page at each of its addresses, and these documents. The policy says what the page may
    /// do.
    pub(super) fn new(
        policy: &'static str,
        assets: &'static [Asset],
        page: (&[&'static str], &Asset),
        documents: impl IntoIterator<Item = (&'static str, Document)>,
    ) -> Self {
        let (addresses, page) = page;
        let assets = assets.iter().map(|asset| (asset.path, asset.document(FOREVER)));
        let pages = addresses.iter().map(|address| (*address, page.document(ASK_AGAIN)));
        let files = assets.chain(pages).chain(documents);
        Self { files: files.collect(), policy: HeaderValue::from_static(policy) }
    }
}

impl Endpoint for Files {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let path = request.uri().path();
        let (_, document) = self.files.iter().find(|(known, _)| *known == path).ok_or(NotFoundError)?;
        let mut response = document.answer(request.headers())?;
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        Ok(response)
    }
}

/// That what the build script embedded is whole.
#[cfg(test)]
pub(super) fn assert_whole<'a>(assets: impl IntoIterator<Item = &'a Asset>) {
    for asset in assets {
        let mut content = Vec::new();
        flate2::read::GzDecoder::new(asset.gzip).read_to_end(&mut content).expect("it was compressed");
        assert_eq!(content.len(), asset.length, "{}", asset.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many ask for it without compression, it is there once.
    #[test]
    fn what_is_not_compressed_is_shared() {
        let text = "a text that is long enough to be shared".repeat(100);
        let document = Document::compress(&text, "text/plain").unwrap();
        let [one, other] = [document.clone(), document].map(|it| it.plain().unwrap());
        assert_eq!((&*one, one.as_ptr()), (text.as_bytes(), other.as_ptr()));
    }

    fn accepting(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))])
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for value in ["gzip", "br, gzip;q=0.5", "GZIP", "*", "deflate,*;q=0.1"] {
            assert!(accepts_gzip(&accepting(value)), "{value}");
        }
        for value in ["identity", "br", "gzip;q=0", "gzip;q=0, *", "*;q=0", ""] {
            assert!(!accepts_gzip(&accepting(value)), "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}

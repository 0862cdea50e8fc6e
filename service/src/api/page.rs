//! The page at `/`: health for everybody; charts of the snapshots and the history of the schema for those who
//! sign in. It is a client of the API like any other.

use poem::{Endpoint, Request, Response, Result};

use super::assets::{Asset, Files};

include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// What the page may do: its own files, and its own service.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The endpoint of `/` and of everything under `/assets`.
#[derive(Clone, Debug)]
pub struct Page(Files);

impl Page {
    /// The page as it is embedded.
    #[must_use]
    pub fn new() -> Self {
        Self(Files::new(PAGE_POLICY, FILES, (&["/"], &PAGE), []))
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::new()
    }
}

impl Endpoint for Page {
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

    /// It is to be there at once, also on a slow line.
    #[test]
    fn all_of_it_is_small() {
        let length: usize = FILES.iter().chain([&PAGE]).map(|asset| asset.length).sum();
        assert!(length < 60 * 1024, "{length}");
    }
}

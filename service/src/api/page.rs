//! The page at `/`: health for everybody; charts of the snapshots and the history of the schema for those who
//! sign in. It is a client of the API like any other.

use super::assets::{Asset, Files};

include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// What the page may do: its own files, and its own service.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `/` and everything under `/assets`, as it is embedded.
pub(super) fn page() -> Files {
    Files::new(PAGE_POLICY, FILES, (&["/"], &PAGE), [])
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

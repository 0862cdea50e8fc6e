//! Which endpoint a path belongs to, and what is known of each route beside it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use poem::endpoint::BoxEndpoint;
use poem::http::{HeaderValue, Method};
use poem::{
    Endpoint, EndpointExt as _, IntoEndpoint as _, PathPattern, Request, Response, Result, Route, RouteMethod,
};
use poem_openapi::registry::MetaApi;
use poem_openapi::{OpenApi, OpenApiService};

/// What is known of a route.
#[derive(Clone, Debug)]
pub struct RouteFacts {
    /// How it is written in the documentation: `/users/{id}`.
    pub name: Arc<str>,
    /// What `Allow` says for it.
    pub allow: HeaderValue,
}

/// What is known of all routes, by the pattern that the framework has for each.
#[derive(Clone, Debug, Default)]
pub struct RouteTable(Arc<HashMap<String, RouteFacts>>);

impl RouteTable {
    /// The route that a request was found to belong to.
    #[must_use]
    pub fn find(&self, pattern: Option<&PathPattern>) -> Option<&RouteFacts> {
        self.0.get(&*pattern?.0)
    }

    /// The route that a path belongs to, looked for by hand: of a request that was given up nobody tells what it was
    /// found to be.
    #[must_use]
    pub fn of_path(&self, path: &str) -> Option<&RouteFacts> {
        let parameters = |pattern: &str| pattern.matches("/:").count();
        let found = self.0.iter().filter(|(pattern, _)| belongs(path, pattern));
        // `/runs` is not one of `/:param0`.
        found.min_by_key(|(pattern, _)| parameters(pattern)).map(|(_, facts)| facts)
    }
}

/// Whether a path is one of a pattern.
fn belongs(path: &str, pattern: &str) -> bool {
    let (mut parts, mut patterns) = (path.split('/'), pattern.split('/'));
    loop {
        match (parts.next(), patterns.next()) {
            (None, None) => return true,
            (Some(part), Some(pattern))
                if part == pattern || (pattern.starts_with(':') && !part.is_empty()) => {}
            _ => return false,
        }
    }
}

/// Collects the routes that the API's documentation does not name.
#[derive(Default)]
pub(super) struct Pages {
    methods: BTreeMap<String, BTreeSet<String>>,
    pages: BTreeMap<String, RouteMethod>,
}

impl Pages {
    pub(super) fn add<E>(&mut self, path: &str, method: Method, endpoint: E)
    where
        E: Endpoint<Output = Response> + 'static,
    {
        self.allow(path, &method);
        let methods = self.pages.remove(path).unwrap_or_default();
        self.pages.insert(path.to_owned(), methods.method(method, endpoint));
    }

    fn note(&mut self, apis: &[MetaApi]) {
        for path in apis.iter().flat_map(|api| &api.paths) {
            for operation in &path.operations {
                self.allow(&path.path, &operation.method);
            }
        }
    }

    fn allow(&mut self, path: &str, method: &Method) {
        let known = self.methods.entry(path.to_owned()).or_default();
        known.insert(method.to_string());
        if *method == Method::GET {
            known.insert(Method::HEAD.to_string());
        }
    }

    /// All routes: these, and the API, which answers whatever none of these does.
    pub(super) fn beside<T: OpenApi + 'static>(
        mut self,
        service: OpenApiService<T, ()>,
    ) -> (Routes, RouteTable) {
        self.note(&T::meta());
        let facts = self.methods.into_iter().filter_map(|(path, methods)| {
            let allow = methods.into_iter().collect::<Vec<_>>().join(", ");
            let facts = RouteFacts { name: path.as_str().into(), allow: HeaderValue::try_from(allow).ok()? };
            Some((pattern_of(&path), facts))
        });
        let table = RouteTable(Arc::new(facts.collect()));
        let of_pages = self.pages.keys().map(|path| first_segment(path).to_owned()).collect();
        let pages =
            self.pages.into_iter().fold(Route::new(), |route, (path, methods)| route.at(path, methods));
        (Routes { api: service.into_endpoint(), pages: pages.boxed(), of_pages }, table)
    }
}

/// Pages and the API, told apart by the first segment of the path. They stand side by side, because nesting one
/// in the other would rewrite the address of each request.
pub(super) struct Routes {
    api: BoxEndpoint<'static>,
    pages: BoxEndpoint<'static>,
    of_pages: BTreeSet<String>,
}

impl Endpoint for Routes {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let is_page = self.of_pages.contains(first_segment(request.uri().path()));
        if is_page { self.pages.call(request).await } else { self.api.call(request).await }
    }
}

fn first_segment(path: &str) -> &str {
    path.trim_start_matches('/').split('/').next().unwrap_or_default()
}

/// The pattern that poem-openapi gives the router for a documented path: its parameters are counted.
pub(super) fn pattern_of(path: &str) -> String {
    let mut counted = 0;
    let parts = path.split('/').map(|part| {
        if part.starts_with('{') {
            counted += 1;
            format!(":param{}", counted - 1)
        } else {
            part.to_owned()
        }
    });
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_counted() {
        assert_eq!(pattern_of("/users/{id}/tokens/{token_id}"), "/users/:param0/tokens/:param1");
        assert_eq!(pattern_of("/docs/:file"), "/docs/:file");
    }

    #[test]
    fn a_path_is_of_the_route_that_names_it_best() {
        let facts =
            |pattern: &str| RouteFacts { name: pattern.into(), allow: HeaderValue::from_static("GET") };
        let patterns = ["/runs", "/:param0", "/:param0/block", "/docs/:file", "/"];
        let table = RouteTable(Arc::new(patterns.into_iter().map(|it| (it.to_owned(), facts(it))).collect()));
        for (path, found) in [
            ("/runs", Some("/runs")),
            ("/7", Some("/:param0")),
            ("/7/block", Some("/:param0/block")),
            ("/docs/x.js", Some("/docs/:file")),
            ("/", Some("/")),
            ("/7/", None),
            ("//block", None),
            ("/7/8/9", None),
        ] {
            assert_eq!(table.of_path(path).map(|it| &*it.name), found, "{path}");
        }
    }

    #[test]
    fn the_first_segment_is_that_of_a_path() {
        for (path, segment) in
            [("/", ""), ("/docs", "docs"), ("/docs/", "docs"), ("/docs/x", "docs"), ("", "")]
        {
            assert_eq!(first_segment(path), segment);
        }
    }
}

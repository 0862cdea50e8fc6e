//! Parameters of the query, held against what the documentation says of them: one that an operation does not
//! have is refused rather than passed over, and one that cannot be read, of the path too, is told what it should
//! have been. Where an operation asks who its caller is, that comes first: nobody hears of what they may not ask for.

use std::collections::HashMap;
use std::sync::Arc;

use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem::{Endpoint, EndpointExt as _, Request, Response, Result};
use poem_openapi::OpenApi;
use poem_openapi::error::{ParseParamError, ParsePathError};
use poem_openapi::registry::{
    MetaApi, MetaOperation, MetaOperationParam, MetaParamIn, MetaSchema, MetaSchemaRef, Registry,
};

use super::conventions::times::A_TIME;
use super::problem::{Failure, FieldError};
use super::routes::pattern_of;

/// As much of what is wrong with a query as is told at once.
const MOST_TOLD: usize = 5;

/// An API that takes the parameters that it documents, and no others.
pub(super) struct Documented<T>(pub(super) T);

impl<T: OpenApi> OpenApi for Documented<T> {
    fn meta() -> Vec<MetaApi> {
        T::meta()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn add_routes(self, routes: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {
        let mut inner = HashMap::new();
        self.0.add_routes(&mut inner);
        let mut known = known_queries::<T>();
        for (pattern, methods) in inner {
            let of_path = routes.entry(pattern.clone()).or_default();
            for (method, endpoint) in methods {
                let query = known.remove(&(pattern.clone(), method.clone())).unwrap_or_default();
                of_path.insert(method, Checked { endpoint, query: Arc::new(query) }.boxed());
            }
        }
    }
}

/// A parameter of the query, or of the path.
struct Parameter {
    name: String,
    is_repeatable: bool,
    expected: String,
}

/// The query of an operation, and its path.
#[derive(Default)]
struct Query {
    parameters: Vec<Parameter>,
    of_path: Vec<Parameter>,
    /// Whether the operation looks at who asks, and then at [`WrongQuery`].
    is_guarded: bool,
}

/// What is wrong with the query of a request, for whoever may send it: [`super::authorize`] tells it when it is
/// known that they may.
#[derive(Clone, Debug)]
pub(super) struct WrongQuery(pub(super) Vec<FieldError>);

/// The query of each operation, by the pattern of its path and its method.
fn known_queries<T: OpenApi>() -> HashMap<(String, Method), Query> {
    let mut registry = Registry::new();
    T::register(&mut registry);
    let parameter = |it: &MetaOperationParam| Parameter {
        is_repeatable: it.explode && schema_of(&registry, &it.schema).is_some_and(|it| it.ty == "array"),
        expected: expected(&registry, &it.schema),
        name: it.name.clone(),
    };
    let paths = T::meta().into_iter().flat_map(|api| api.paths);
    let operations = paths.flat_map(|path| {
        let pattern = pattern_of(&path.path);
        path.operations.into_iter().map(move |operation| (pattern.clone(), operation))
    });
    let query = |it: MetaOperation| {
        let of = |place: MetaParamIn| {
            it.params.iter().filter(move |it| it.in_type == place).map(parameter).collect()
        };
        Query {
            is_guarded: !it.security.is_empty(),
            parameters: of(MetaParamIn::Query),
            of_path: of(MetaParamIn::Path),
        }
    };
    operations.map(|(pattern, it)| ((pattern, it.method.clone()), query(it))).collect()
}

/// An operation whose query is looked at.
struct Checked<E> {
    endpoint: E,
    query: Arc<Query>,
}

impl<E: Endpoint<Output = Response>> Endpoint for Checked<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let given = match request.uri().query() {
            Some(query) if !query.is_empty() => request.params::<Vec<(String, String)>>()?,
            _ => Vec::new(),
        };
        let wrong = self.wrong(&given);
        if !wrong.is_empty() {
            if !self.query.is_guarded {
                return Err(Failure::Parameters(wrong).into());
            }
            request.set_data(WrongQuery(wrong));
        }
        self.endpoint.call(request).await.map_err(|error| self.explain(error, &given))
    }
}

impl<E> Checked<E> {
    fn find(&self, name: &str) -> Option<&Parameter> {
        self.query.parameters.iter().find(|it| it.name == name)
    }

    /// What of the query is not known, or given more often than it can be: the first of it, because the query
    /// is whoever's, and may have thousands.
    fn wrong(&self, given: &[(String, String)]) -> Vec<FieldError> {
        let (mut wrong, mut seen, mut has_told) = (Vec::new(), Vec::new(), false);
        for (name, _) in given {
            let detail = match self.find(name) {
                None if has_told => "there is no such parameter".to_owned(),
                None => {
                    has_told = true;
                    self.unknown()
                }
                Some(known) if !known.is_repeatable && seen.contains(&name) => "it is given twice".to_owned(),
                Some(_) => {
                    // At most as many as there are, unless one may be repeated.
                    if !seen.contains(&name) {
                        seen.push(name);
                    }
                    continue;
                }
            };
            let pointer = format!("/query/{}", name.chars().take(64).collect::<String>());
            wrong.push(FieldError { pointer, detail });
            if wrong.len() == MOST_TOLD {
                break;
            }
        }
        wrong
    }

    fn unknown(&self) -> String {
        let names: Vec<_> = self.query.parameters.iter().map(|it| it.name.as_str()).collect();
        match names.as_slice() {
            [] => "there is no such parameter; this operation has none".to_owned(),
            names => format!("there is no such parameter; this operation has {}", names.join(", ")),
        }
    }

    /// Puts the words of the documentation in the place of those of the framework.
    fn explain(&self, error: poem::Error, given: &[(String, String)]) -> poem::Error {
        let Some(wrong) = self.of_query(&error, given).or_else(|| self.of_path(&error)) else { return error };
        let mut explained: poem::Error = Failure::Parameters(vec![wrong]).into();
        if let Some(pattern) = error.data::<poem::PathPattern>() {
            explained.set_data(pattern.clone());
        }
        explained
    }

    fn of_query(&self, error: &poem::Error, given: &[(String, String)]) -> Option<FieldError> {
        let Parameter { name, expected, .. } = self.find(error.downcast_ref::<ParseParamError>()?.name)?;
        let detail = if given.iter().any(|it| it.0 == *name) {
            format!("it is not {expected}")
        } else {
            format!("it is missing; send {expected}")
        };
        Some(FieldError { pointer: format!("/query/{name}"), detail })
    }

    /// poem-openapi counts the parameters of a path: `param0`.
    fn of_path(&self, error: &poem::Error) -> Option<FieldError> {
        let counted = error.downcast_ref::<ParsePathError>()?.name;
        let Parameter { name, expected, .. } =
            self.query.of_path.get(counted.strip_prefix("param")?.parse::<usize>().ok()?)?;
        Some(FieldError { pointer: format!("/path/{name}"), detail: format!("it is not {expected}") })
    }
}

fn schema_of<'a>(registry: &'a Registry, schema: &'a MetaSchemaRef) -> Option<&'a MetaSchema> {
    match schema {
        MetaSchemaRef::Inline(schema) => Some(schema),
        MetaSchemaRef::Reference(name) => registry.schemas.get(name),
    }
}

/// What a parameter should be, to follow "it is not".
fn expected(registry: &Registry, schema: &MetaSchemaRef) -> String {
    let Some(schema) = schema_of(registry, schema) else { return "what is documented".to_owned() };
    if let Some(items) = &schema.items {
        return format!("a list, with commas, each of it {}", expected(registry, items));
    }
    if let Some(first) = schema.all_of.first() {
        return expected(registry, first);
    }
    if !schema.enum_items.is_empty() {
        let words =
            schema.enum_items.iter().map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned));
        return format!("one of {}", words.collect::<Vec<_>>().join(", "));
    }
    let range = |least: String, most: String| match (least.as_str(), most.as_str()) {
        ("", "") => String::new(),
        (least, "") => format!(" of {least} at least"),
        ("", most) => format!(" of {most} at most"),
        (least, most) => format!(" from {least} to {most}"),
    };
    let shown = |bound: Option<f64>| bound.map(|it| it.to_string()).unwrap_or_default();
    match (schema.ty, schema.format) {
        ("integer", _) => format!("a whole number{}", range(shown(schema.minimum), shown(schema.maximum))),
        ("number", _) => format!("a number{}", range(shown(schema.minimum), shown(schema.maximum))),
        ("boolean", _) => "true or false".to_owned(),
        (_, Some("date-time")) => {
            format!("{A_TIME} (a + is written %2B)")
        }
        (_, Some("uuid")) => "a UUID".to_owned(),
        _ => match (&schema.pattern, schema.min_length, schema.max_length) {
            (Some(pattern), ..) => format!("a text of the pattern {pattern}"),
            (None, None, None) => "a text".to_owned(),
            (None, least, most) => format!(
                "a text whose number of characters is{}",
                range(shown_length(least), shown_length(most))
            ),
        },
    }
}

fn shown_length(bound: Option<usize>) -> String {
    bound.map(|it| it.to_string()).unwrap_or_default()
}

//! What a client takes, by the weights of `Accept` and of headers like it (RFC 9110, 12.4.2).

use poem::http::header::{HeaderMap, HeaderName};

/// The weight that a header gives to the first of these names that it has: of one thing the names are listed from
/// the most to the least specific, such as `application/json`, `application/*`, `*/*`. Nothing where it has none of
/// them; zero where the client does not take it, or the weight is none.
pub fn weight(headers: &HeaderMap, header: &HeaderName, names: &[&str]) -> Option<f32> {
    let weight_of = |wanted: &str| {
        let values = headers.get_all(header).iter().filter_map(|it| it.to_str().ok());
        values.flat_map(|it| it.split(',')).find_map(|element| {
            let mut parts = element.split(';').map(str::trim);
            let is_wanted = parts.next().is_some_and(|it| it.eq_ignore_ascii_case(wanted));
            is_wanted.then(|| parts.find_map(given_weight).unwrap_or(1.0))
        })
    };
    names.iter().find_map(|name| weight_of(name))
}

/// The weight in a parameter, if it is one.
fn given_weight(parameter: &str) -> Option<f32> {
    let (name, value) = parameter.split_once('=')?;
    let weight = || value.trim().parse().ok().filter(|it| (0.0..=1.0).contains(it)).unwrap_or(0.0);
    name.trim().eq_ignore_ascii_case("q").then(weight)
}

#[cfg(test)]
mod tests {
    use poem::http::header::{ACCEPT, HeaderValue};

    use super::*;

    #[test]
    fn a_weight_is_that_of_the_most_specific_name() {
        const NAMES: [&str; 3] = ["a/b", "a/*", "*/*"];
        for (given, expected) in [
            ("a/b", Some(1.0)),
            ("A/B;Q=0.5", Some(0.5)),
            ("a/b;q=0, */*", Some(0.0)),
            ("*/*;q=0.1, a/*; q = 0.2", Some(0.2)),
            ("x/y, */*;q=0.3", Some(0.3)),
            ("a/b; charset=utf-8; q=0.4", Some(0.4)),
            ("a/b;charset=utf-8", Some(1.0)),
            ("a/b;q=2", Some(0.0)),
            ("a/b;q=nan", Some(0.0)),
            ("a/b;q=", Some(0.0)),
            ("a/bc", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(given))]);
            assert_eq!(weight(&headers, &ACCEPT, &NAMES), expected, "{given}");
        }
        let several = ["x/y", "a/*;q=0.5"].map(|it| (ACCEPT, HeaderValue::from_static(it)));
        let mut headers = HeaderMap::new();
        for (name, value) in several {
            headers.append(name, value);
        }
        assert_eq!(weight(&headers, &ACCEPT, &NAMES), Some(0.5));
        assert_eq!(weight(&HeaderMap::new(), &ACCEPT, &NAMES), None);
    }
}

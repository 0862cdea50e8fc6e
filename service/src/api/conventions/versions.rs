//! `ETag` and `If-Match`.

use poem::http::HeaderMap;
use poem::http::header::IF_MATCH;
use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaParamIn, MetaSchemaRef};
use poem_openapi::types::Type as _;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use crate::api::problem::Failure;
use crate::domain::versions::Expected;

/// The `ETag` of a version.
#[must_use]
pub fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// The versions that a change is meant for, where it says so. poem-openapi's `Header` takes what is not ASCII for
/// nothing, and of several lines the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfMatch(Option<Expected>);

impl IfMatch {
    /// For a change that has to say which version it is meant for.
    ///
    /// # Errors
    /// It does not.
    pub fn required(self) -> Result<Expected, Failure> {
        self.0.ok_or(Failure::NoPrecondition)
    }

    /// For a change that may be meant for whichever version there is.
    #[must_use]
    pub fn or_any(self) -> Expected {
        self.0.unwrap_or(Expected::Any)
    }
}

impl<'a> ApiExtractor<'a> for IfMatch {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];

    type ParamType = ();
    type ParamRawType = ();

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Header)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(String::schema_ref())
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> Result<Self> {
        Ok(Self(sent(request.headers())?))
    }
}

fn unreadable() -> Failure {
    let detail = "send the ETag as it was answered, in its quotes, such as \"3\"";
    Failure::Unreadable("/header/if-match", detail.to_owned())
}

/// What was sent: several lines are one list (RFC 9110, section 5.3).
fn sent(headers: &HeaderMap) -> Result<Option<Expected>, Failure> {
    let lines = headers.get_all(IF_MATCH).iter().map(|it| it.to_str().map_err(|_| unreadable()));
    let lists = lines.map(|it| parse(it?)).collect::<Result<Vec<_>, _>>()?;
    lists.into_iter().try_fold(None, |before, list| match (before, list) {
        (None, list) => Ok(Some(list)),
        (Some(Expected::Versions(mut all)), Expected::Versions(more)) => {
            all.extend(more);
            Ok(Some(Expected::Versions(all)))
        }
        // What is meant for any version is not also meant for one.
        _ => Err(unreadable()),
    })
}

/// The versions that a line of `If-Match` names.
fn parse(header: &str) -> Result<Expected, Failure> {
    if header.trim() == "*" {
        return Ok(Expected::Any);
    }
    let (mut versions, mut rest) = (Vec::new(), header.trim());
    loop {
        // A weak tag is none of ours, and matches nothing.
        let (strong, quoted) = rest.strip_prefix("W/").map_or((true, rest), |rest| (false, rest));
        let (tag, behind) =
            quoted.strip_prefix('"').and_then(|it| it.split_once('"')).ok_or_else(unreadable)?;
        versions.extend(tag.parse().ok().filter(|version| strong && etag(*version).trim_matches('"') == tag));
        match behind.trim_start() {
            "" => return Ok(Expected::Versions(versions)),
            more => rest = more.strip_prefix(',').ok_or_else(unreadable)?.trim_start(),
        }
    }
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    #[test]
    fn tags_are_read() {
        for (header, expected) in [
            ("*", Some(Expected::Any)),
            (r#""3""#, Some(Expected::Versions(vec![3]))),
            (r#""3", "4" ,"x,y""#, Some(Expected::Versions(vec![3, 4]))),
            (r#"W/"3""#, Some(Expected::Versions(vec![]))),
            (r#""03", "+3""#, Some(Expected::Versions(vec![]))),
            ("3", None),
            (r#""3"#, None),
            (r#""3" "4""#, None),
            ("", None),
        ] {
            assert_eq!(parse(header).ok(), expected, "{header}");
        }
        assert!(matches!(IfMatch(None).required(), Err(Failure::NoPrecondition)));
        assert_eq!(IfMatch(None).or_any(), Expected::Any);
    }

    #[test]
    fn every_line_counts() {
        let sent = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(IF_MATCH, HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            sent(&headers).map_err(drop)
        };
        assert_eq!(sent(&[]), Ok(None));
        assert_eq!(sent(&[r#""3""#, r#""4", "5""#]), Ok(Some(Expected::Versions(vec![3, 4, 5]))));
        for wrong in [&["\"é\""][..], &[r#""3""#, "\"é\""], &["*", r#""3""#], &[r#""3"#, r#"4""#]] {
            assert_eq!(sent(wrong), Err(()), "{wrong:?}");
        }
    }
}

//! `ETag` and `If-Match`.

use crate::api::problem::Failure;
use crate::domain::versions::Expected;

/// The `ETag` of a version.
#[must_use]
pub fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// The versions that `If-Match` names.
///
/// # Errors
/// It is no list of entity tags.
pub fn if_match(header: Option<&str>) -> Result<Option<Expected>, Failure> {
    let Some(header) = header else { return Ok(None) };
    if header.trim() == "*" {
        return Ok(Some(Expected::Any));
    }
    let unreadable = || {
        let detail = "send the ETag as it was answered, in its quotes, such as \"3\"";
        Failure::Unreadable("/header/if-match", detail.to_owned())
    };
    let (mut versions, mut rest) = (Vec::new(), header.trim());
    loop {
        // A weak tag is none of ours, and matches nothing.
        let (strong, quoted) = rest.strip_prefix("W/").map_or((true, rest), |rest| (false, rest));
        let (tag, behind) =
            quoted.strip_prefix('"').and_then(|it| it.split_once('"')).ok_or_else(unreadable)?;
        versions.extend(tag.parse().ok().filter(|version| strong && etag(*version).trim_matches('"') == tag));
        match behind.trim_start() {
            "" => return Ok(Some(Expected::Versions(versions))),
            more => rest = more.strip_prefix(',').ok_or_else(unreadable)?.trim_start(),
        }
    }
}

/// The versions that a change is meant for, which it has to say.
///
/// # Errors
/// It does not, or not readably.
pub fn required(header: Option<&str>) -> Result<Expected, Failure> {
    if_match(header)?.ok_or(Failure::NoPrecondition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read() {
        let versions = |header| if_match(Some(header)).ok().flatten();
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
            assert_eq!(versions(header), expected, "{header}");
        }
        assert!(matches!(required(None), Err(Failure::NoPrecondition)));
    }
}

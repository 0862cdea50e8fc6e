//! The text of a file: encoding, line ends, and whether there is any SQL in it.

use super::Problem;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// The text of a file, or why it is none.
pub(crate) fn decode(bytes: Vec<u8>) -> Result<String, String> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let position = error.utf8_error().valid_up_to();
        format!("is not UTF-8: byte {} is part of no character", position + 1)
    })?;
    // SQLite takes it for the end of the file, and what follows would be recorded as applied without being run.
    match text.find('\0') {
        Some(position) => Err(format!(
            "has a NUL in it, byte {}, and SQL ends there: take it out, or save the file as UTF-8 if it is UTF-16",
            position + 1
        )),
        None => Ok(text),
    }
}

/// The text of `file`, with what is wrong with it added to `problems`. `None` when it is no text at all.
pub(super) fn read(file: &str, bytes: Vec<u8>, problems: &mut Vec<Problem>) -> Option<String> {
    let text = decode(bytes).map_err(|reason| problems.push(Problem::new(file, reason))).ok()?;
    if text.starts_with(BYTE_ORDER_MARK) {
        problems.push(Problem::new(file, "begins with a byte order mark: save it as UTF-8 without one"));
    }
    if let Some(position) = text.find('\r') {
        let line = text[..position].matches('\n').count() + 1;
        let reason = "has CRLF line ends, which change the checksum: save it with LF line ends";
        problems.push(Problem::at(file, line, reason));
    }
    if !has_statement(text.trim_start_matches(BYTE_ORDER_MARK)) {
        problems.push(Problem::new(file, "contains no SQL: write at least one statement"));
    }
    Some(text)
}

/// Whether anything but blanks, semicolons and comments stands in `sql`.
pub(crate) fn has_statement(sql: &str) -> bool {
    let mut rest = sql;
    loop {
        rest = rest.trim_start_matches(|character: char| character.is_whitespace() || character == ';');
        if rest.starts_with("--") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if rest.starts_with("/*") {
            rest = after_block_comment(rest);
        } else {
            return !rest.is_empty();
        }
    }
}

/// What follows the block comment with which `sql` begins. Comments nest, as PostgreSQL's do.
fn after_block_comment(sql: &str) -> &str {
    let mut depth = 0_usize;
    let mut rest = sql;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("/*") {
            depth += 1;
            rest = after;
        } else if let Some(after) = rest.strip_prefix("*/") {
            depth -= 1;
            rest = after;
        } else {
            let mut characters = rest.chars();
            characters.next();
            rest = characters.as_str();
        }
        if depth == 0 {
            break;
        }
    }
    rest
}

//! The last words of a container, where Kubernetes shows them: `kubectl describe pod` has them beside the exit
//! code, and they are there when the log is not.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use foundation::exit::Exit;
use serde_json::json;

/// As much as Kubernetes reads, in bytes.
const LONGEST: usize = 4096;

/// Writes how a command ended into the file, as one line of JSON. A file that is not there is not made: this
/// is no container then.
pub(super) fn leave(path: &Path, command: &str, exit: Exit, message: &str) {
    let line = last_words(command, exit, message);
    let written = OpenOptions::new().write(true).truncate(true).open(path);
    match written.and_then(|mut file| file.write_all(line.as_bytes())) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // The log has the same words, and the exit code is what counts.
        Err(error) => tracing::debug!(error = %error, "the termination message could not be written"),
    }
}

fn last_words(command: &str, exit: Exit, message: &str) -> String {
    let mut message = message;
    loop {
        let line = json!({ "command": command, "exit_code": exit.code(), "message": message }).to_string();
        let Some(excess) = line.len().checked_sub(LONGEST).filter(|it| *it > 0) else { return line };
        // What is escaped takes more than it is long, so that this may be a few times too little.
        let mut end = message.len().saturating_sub(excess.div_ceil(6));
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message = &message[..end];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_one_line_that_kubernetes_reads_whole() {
        for message in ["done", &"ü\n\u{1}".repeat(5000)] {
            let line = last_words("up", Exit::Migration, message);
            assert!(line.len() <= LONGEST && !line.contains('\n'), "{}", line.len());
            let read: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert!(message.starts_with(read["message"].as_str().unwrap()));
            assert_eq!((&read["command"], &read["exit_code"]), (&json!("up"), &json!(70)));
            assert!(message.len() < 100 || line.len() > LONGEST - 100, "{}", line.len());
        }
    }
}

//! `service check-config`.

use std::io::{self, Write as _};

use foundation::exit::Exit;
use foundation::settings::{Environment, document, format_effective};

use super::{Format, refuse, tell};
use crate::settings::ServiceSettings;

pub(super) fn run(mut environment: Environment, format: Format) -> Exit {
    ServiceSettings::read(&mut environment);
    let (effective, warnings) = match environment.finish() {
        Ok(read) => read,
        Err(error) => return refuse(&error),
    };
    let text = match format {
        Format::Text => {
            for warning in &warnings {
                tell(format_args!("{}: {}", warning.name, warning.detail));
            }
            format_effective(&effective)
        }
        Format::Json => format!("{:#}\n", document(&effective, &warnings)),
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever reads, `head` for example, may stop when it has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            tell(format_args!("cannot write the settings: {error}"));
            Exit::Unavailable
        }
        _ => Exit::Success,
    }
}

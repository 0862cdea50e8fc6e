//! `service check-config`.

use foundation::exit::Exit;
use foundation::settings::{Environment, document, format_effective};

use super::{Format, print, refuse, tell};
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
    print(Ok(text))
}

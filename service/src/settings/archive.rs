//! The settings of archives.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use foundation::database::DatabaseUrl;
use foundation::settings::{
    ApplicationSettings, Environment, FoundationSettings, Mode, Secret, Section as _, Setting,
};
use url::Url;

/// The folder that is archived to in development where nothing else is said.
const DEFAULT_FOLDER: &str = "archive";

/// Where archives lie: `file:///path`, `s3://bucket/prefix`, `gs://bucket/prefix` or
/// `az://container/prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveUrl(pub Url);

impl ArchiveUrl {
    /// The folder, where it is one of this machine.
    #[must_use]
    pub fn folder(&self) -> Option<PathBuf> {
        self.0.to_file_path().ok().filter(|_| self.0.scheme() == "file")
    }
}

impl Setting for ArchiveUrl {
    const EXPECTED: &'static str = "an address such as file:///srv/archive, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix";
    // A secret that somebody put into the address must not come back in the error about it.
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|_| "this is not an address".to_owned())?;
        let options = url.query().or(url.fragment());
        if !url.username().is_empty() || url.password().is_some() || options.is_some() {
            return Err("credentials and options stand in variables of their own".to_owned());
        }
        match url.scheme() {
            "file" if url.to_file_path().is_ok_and(|it| it.is_absolute()) => Ok(Self(url)),
            "file" => Err("the folder's path is not absolute: file: is followed by three slashes".to_owned()),
            "s3" | "gs" | "az" if url.host_str().is_none() => Err("it names no bucket".to_owned()),
            "s3" | "gs" | "az" => Ok(Self(url)),
            _ => Err("nothing can be archived to addresses of this kind".to_owned()),
        }
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

foundation::settings! {
    /// Where snapshots are archived, and how runs of the archive policies behave.
    pub struct ArchiveSettings("ARCHIVE_") {
        /// Where archives lie. Credentials of clouds come from their own variables (`AWS_*`, `GOOGLE_*`,
        /// `AZURE_*`), each secret of them also as `NAME_FILE`. Left empty it is in development the folder
        /// `archive` beside the SQLite file, or in the working folder with PostgreSQL; in production nothing
        /// can be archived then.
        url: Option<ArchiveUrl> = "",
        /// The longest that a run waits for a lock on the snapshots, and has others wait behind it.
        lock_timeout: Duration = "200ms",
        /// How long the runs are remembered.
        run_retention: Duration = "365d",
    }
}

/// The prefixes of the variables that have credentials of clouds, and those under them that are secrets.
const CREDENTIALS: [(&str, &[&str]); 3] = [
    ("AWS_", &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]),
    ("GOOGLE_", &["GOOGLE_SERVICE_ACCOUNT_KEY"]),
    (
        "AZURE_",
        &[
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_CLIENT_SECRET",
            "AZURE_STORAGE_SAS_KEY",
            "AZURE_STORAGE_TOKEN",
            "AZURE_CLIENT_SECRET",
        ],
    ),
];

/// A place to archive to, and what opens it.
#[derive(Clone)]
pub struct ArchivePlace {
    /// Where.
    pub url: ArchiveUrl,
    /// The options of the cloud's client by their names, in lower case: `aws_region`.
    pub options: Vec<(String, Secret)>,
}

impl fmt::Debug for ArchivePlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.options.iter().map(|(name, _)| name).collect::<Vec<_>>();
        formatter.debug_struct("ArchivePlace").field("url", &self.url).field("options", &names).finish()
    }
}

impl ArchiveSettings {
    /// Reads them, and says where to archive to.
    pub fn read_with_place(
        environment: &mut Environment,
        foundation: &FoundationSettings,
    ) -> (Self, Option<ArchivePlace>) {
        let settings = Self::read(environment);
        settings.check_bounds(environment);
        let place = settings.place(environment, &foundation.application, &foundation.database_url);
        (settings, place)
    }

    /// Adds a problem for each value that cannot work.
    fn check_bounds(&self, environment: &mut Environment) {
        let name = "ARCHIVE_LOCK_TIMEOUT";
        let bounds = Duration::from_millis(1)..=Duration::from_mins(1);
        if !bounds.contains(&self.lock_timeout) {
            environment.problem(name, "expected a duration from 1ms to 1m");
        }
        if self.run_retention < Duration::from_hours(24) {
            environment.problem("ARCHIVE_RUN_RETENTION", "expected a duration of 1d or more");
        }
    }

    /// Where to archive to, as the settings say it or as it is in development.
    fn place(
        &self,
        environment: &mut Environment,
        application: &ApplicationSettings,
        database: &DatabaseUrl,
    ) -> Option<ArchivePlace> {
        if let Some(url) = self.url.clone() {
            let options = if url.folder().is_some() { Vec::new() } else { credentials(environment) };
            return Some(ArchivePlace { url, options });
        }
        if application.env == Mode::Production {
            return None;
        }
        let beside = match database {
            DatabaseUrl::Sqlite(file) => file.parent().map(Path::to_owned).unwrap_or_default(),
            DatabaseUrl::Postgres(_) => PathBuf::new(),
        };
        let folder = std::path::absolute(beside.join(DEFAULT_FOLDER)).ok()?;
        let url = ArchiveUrl(Url::from_directory_path(folder).ok()?);
        Some(ArchivePlace { url, options: Vec::new() })
    }
}

fn credentials(environment: &mut Environment) -> Vec<(String, Secret)> {
    let mut options = Vec::new();
    for (prefix, secrets) in CREDENTIALS {
        let found = environment.foreign(prefix, secrets);
        options.extend(found.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)));
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_folders_and_clouds() {
        let folder = ArchiveUrl::parse("file:///srv/my%20archive").unwrap().folder();
        assert_eq!(folder.as_deref(), Some(Path::new("/srv/my archive")));
        for wrong in [
            "/srv/archive",
            "file://host/x",
            "http://example.org/",
            "s3://",
            "s3://key:pass@bucket/",
            "az://container/?sig=x",
            "az://container/#sig=x",
        ] {
            assert!(ArchiveUrl::parse(wrong).is_err(), "{wrong}");
        }
        for cloud in ["s3://bucket/prefix", "gs://bucket", "az://container/a/b"] {
            assert_eq!(ArchiveUrl::parse(cloud).unwrap().folder(), None, "{cloud}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = Secret::from("hunter2".to_owned());
        let url = ArchiveUrl::parse("file:///srv").unwrap();
        let place = ArchivePlace { url, options: vec![("aws_secret_access_key".to_owned(), secret)] };
        let shown = format!("{place:?}");
        assert!(shown.contains("aws_secret_access_key") && !shown.contains("hunter2"), "{shown}");
    }
}

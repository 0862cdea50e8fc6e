//! The place that archives lie at.

use std::path::PathBuf;
use std::sync::Arc;

use foundation::settings::Secret;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt as _, PutPayload};

use super::ArchiveError;
use crate::domain::archive_files::manifest_location;
use crate::settings::ArchivePlace;

/// What is written and removed again to find out whether the place can be written.
const PROBE: &str = "bedplate-probe";

/// The place that archives lie at, open. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    pub(super) store: Arc<dyn ObjectStore>,
    /// The folder, where it is one of this machine.
    folder: Option<PathBuf>,
}

impl Objects {
    /// Opens the place. A folder is made where it is missing, and what is written there is on the disk before
    /// it counts. `secret_access_key` goes before that of the environment.
    ///
    /// # Errors
    /// The folder cannot be made, or an option of the cloud's client is wrong.
    pub async fn open(
        place: &ArchivePlace,
        secret_access_key: Option<&Secret>,
    ) -> Result<Self, ArchiveError> {
        let Some(folder) = place.url.folder() else {
            return Ok(Self { store: cloud(place, secret_access_key)?, folder: None });
        };
        tokio::fs::create_dir_all(&folder).await?;
        let store = LocalFileSystem::new_with_prefix(&folder)?.with_fsync(true);
        Ok(Self { store: Arc::new(store), folder: Some(folder) })
    }

    /// Writes something small and removes it again.
    ///
    /// # Errors
    /// The place cannot be written.
    pub async fn probe(&self) -> Result<(), ArchiveError> {
        let path = Path::from(PROBE);
        self.store.put(&path, PutPayload::from_static(b"writable?\n")).await?;
        Ok(self.store.delete(&path).await?)
    }

    /// Writes something small whole.
    ///
    /// # Errors
    /// The place cannot be written.
    pub async fn put(&self, location: &str, bytes: Vec<u8>) -> Result<(), ArchiveError> {
        self.store.put(&Path::parse(location).map_err(StoreError::from)?, bytes.into()).await?;
        Ok(())
    }

    /// Removes a file and its manifest, as far as they are there, whole or in part.
    ///
    /// # Errors
    /// The place cannot be written.
    pub async fn remove(&self, location: &str) -> Result<(), ArchiveError> {
        for location in [location.to_owned(), manifest_location(location)] {
            match self.store.delete(&Path::parse(&location).map_err(StoreError::from)?).await {
                Ok(()) | Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            // What was being written when its process was killed.
            if let Some(folder) = &self.folder {
                match tokio::fs::remove_file(folder.join(format!("{location}#1"))).await {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn cloud(place: &ArchivePlace, secret: Option<&Secret>) -> Result<Arc<dyn ObjectStore>, ArchiveError> {
    const SECRET: &str = "aws_secret_access_key";
    let given = place.options.iter().filter(|(name, _)| secret.is_none() || name != SECRET);
    let given = given.map(|(name, value)| (name.as_str(), value.expose()));
    let options = given.chain(secret.map(|it| (SECRET, it.expose())));
    let (store, prefix) = object_store::parse_url_opts(&place.url.0, options)?;
    Ok(Arc::new(object_store::prefix::PrefixStore::new(store, prefix)))
}

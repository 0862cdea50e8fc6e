//! The place that archives lie at.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use foundation::settings::Secret;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt as _, PutPayload};
use tokio_util::task::TaskTracker;

use super::ArchiveError;
use crate::domain::archive_files::manifest_location;
use crate::settings::ArchivePlace;

/// How long the end of a run waits until what was sent of an unfinished file is taken back.
const SETTLED_WITHIN: Duration = Duration::from_secs(5);

/// The place that archives lie at, open. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    pub(super) store: Arc<dyn ObjectStore>,
    /// The folder, where it is one of this machine.
    folder: Option<PathBuf>,
    /// What was sent of files that were not finished, on its way back.
    pub(super) taken_back: TaskTracker,
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
            let store = cloud(place, secret_access_key)?;
            return Ok(Self { store, folder: None, taken_back: TaskTracker::new() });
        };
        tokio::fs::create_dir_all(&folder).await?;
        let store = LocalFileSystem::new_with_prefix(&folder)?.with_fsync(true);
        Ok(Self { store: Arc::new(store), folder: Some(folder), taken_back: TaskTracker::new() })
    }

    /// Writes something small and removes it again. Another one's probe at this `location` does no harm.
    ///
    /// # Errors
    /// The place cannot be written.
    pub async fn probe(&self, location: &str) -> Result<(), ArchiveError> {
        let path = Path::parse(location).map_err(StoreError::from)?;
        self.store.put(&path, PutPayload::from_static(b"writable?\n")).await?;
        self.remove_one(location).await
    }

    /// Waits a moment until what was sent of files that were not finished is taken back.
    pub async fn settle(&self) {
        self.taken_back.close();
        if tokio::time::timeout(SETTLED_WITHIN, self.taken_back.wait()).await.is_err() {
            tracing::warn!("what was sent of an unfinished file is still in the archive");
        }
    }

    /// Writes something small whole.
    ///
    /// # Errors
    /// The place cannot be written.
    pub async fn put(&self, location: &str, bytes: Vec<u8>) -> Result<(), ArchiveError> {
        self.store.put(&Path::parse(location).map_err(StoreError::from)?, bytes.into()).await?;
        Ok(())
    }

    /// Reads something small; nothing when it is not there.
    ///
    /// # Errors
    /// The place cannot be read.
    pub async fn get(&self, location: &str) -> Result<Option<Bytes>, ArchiveError> {
        match self.store.get(&Path::parse(location).map_err(StoreError::from)?).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a file is there.
    ///
    /// # Errors
    /// The place cannot be read.
    pub async fn has(&self, location: &str) -> Result<bool, ArchiveError> {
        match self.store.head(&Path::parse(location).map_err(StoreError::from)?).await {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a file and its manifest, as far as they are there, whole or in part.
    ///
    /// # Errors
    /// The place cannot be written.
    pub async fn remove(&self, location: &str) -> Result<(), ArchiveError> {
        self.remove_one(location).await?;
        self.remove_one(&manifest_location(location)).await
    }

    async fn remove_one(&self, location: &str) -> Result<(), ArchiveError> {
        match self.store.delete(&Path::parse(location).map_err(StoreError::from)?).await {
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

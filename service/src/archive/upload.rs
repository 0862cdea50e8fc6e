//! What is written to the archive a part at a time, and taken back where it is not finished.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{Error as StoreError, MultipartUpload, ObjectStore, ObjectStoreExt as _};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use super::objects::Objects;

/// How much is sent at a time, in bytes, and how many such parts are on their way at once. S3 takes no part
/// smaller than 5 MiB but the last.
const PART: usize = 8 * 1024 * 1024;
const PARTS_AT_ONCE: usize = 2;

/// How long it is tried to take back what was sent of a file that is not finished.
const TAKEN_BACK_WITHIN: Duration = Duration::from_secs(30);

/// A file on its way. One of less than a part is sent whole; what was sent of a larger one is taken back when
/// this is dropped unfinished: S3 keeps it, and has it paid for, until it is told.
pub(super) struct Upload {
    store: Arc<dyn ObjectStore>,
    path: Path,
    buffer: Vec<u8>,
    parts: Option<Box<dyn MultipartUpload>>,
    under_way: JoinSet<Result<(), StoreError>>,
    taken_back: TaskTracker,
}

impl Upload {
    /// Begins a file; nothing is sent yet.
    pub(super) fn begin(objects: &Objects, path: Path) -> Self {
        Self {
            store: objects.store.clone(),
            path,
            buffer: Vec::new(),
            parts: None,
            under_way: JoinSet::new(),
            taken_back: objects.taken_back.clone(),
        }
    }

    /// Adds to the file.
    pub(super) async fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        self.buffer.extend_from_slice(piece);
        while self.buffer.len() >= PART {
            let rest = self.buffer.split_off(PART);
            let part = std::mem::replace(&mut self.buffer, rest);
            self.send(part).await?;
        }
        Ok(())
    }

    async fn send(&mut self, part: Vec<u8>) -> Result<(), StoreError> {
        while self.under_way.len() >= PARTS_AT_ONCE {
            self.one_arrives().await?;
        }
        if self.parts.is_none() {
            self.parts = Some(self.store.put_multipart(&self.path).await?);
        }
        if let Some(parts) = &mut self.parts {
            self.under_way.spawn(parts.put_part(part.into()));
        }
        Ok(())
    }

    async fn one_arrives(&mut self) -> Result<(), StoreError> {
        match self.under_way.join_next().await {
            Some(Ok(arrived)) => arrived,
            Some(Err(source)) => Err(StoreError::JoinError { source }),
            None => Ok(()),
        }
    }

    /// Ends the file: it is there whole then.
    pub(super) async fn finish(mut self) -> Result<(), StoreError> {
        let last = std::mem::take(&mut self.buffer);
        if self.parts.is_none() {
            self.store.put(&self.path, last.into()).await?;
            return Ok(());
        }
        if !last.is_empty() {
            self.send(last).await?;
        }
        while !self.under_way.is_empty() {
            self.one_arrives().await?;
        }
        if let Some(parts) = &mut self.parts {
            parts.complete().await?;
        }
        self.parts = None;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut parts) = self.parts.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut under_way = std::mem::take(&mut self.under_way);
        let path = self.path.clone();
        let taking_back = async move {
            under_way.shutdown().await;
            match tokio::time::timeout(TAKEN_BACK_WITHIN, parts.abort()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, %path, "what was sent of a file was not taken back"),
                Err(_) => tracing::warn!(%path, "what was sent of a file was not taken back in time"),
            }
        };
        self.taken_back.spawn_on(taking_back, &runtime);
    }
}

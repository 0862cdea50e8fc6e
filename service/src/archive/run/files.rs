//! A file's way: written down, written, read back, and only then its rows are deleted.

use foundation::database::Transaction;
use futures_util::StreamExt as _;
use futures_util::future::join_all;

use super::LEASE;
use super::patience::Patience;
use super::work::{BATCH, Work};
use crate::archive::ArchiveError;
use crate::archive::files::{FileWriter, read_manifest, write_manifest};
use crate::archive::objects::Objects;
use crate::archive::reader::{FileReader, Verified, verify};
use crate::domain::archive_files::{ArchiveFile, Contents, FileState, location};
use crate::domain::archive_policies::ArchiveAction;
use crate::domain::archive_rows::ArchivedRow;
use crate::domain::partitions::Range;
use crate::leases::LeaseError;
use crate::store::{archive_files, archive_rows, detached_rows};

/// How many of the newest files, and of the oldest, are asked of the place, and how many at the same time, until one
/// shows that it is the right one.
const ASKED: u32 = 1_000;
const AT_ONCE: usize = 8;

/// What became of rows that were to be archived.
pub(super) enum Archived {
    /// A file has them, and it was verified: they are to be deleted.
    File(Box<(ArchiveFile, Verified)>),
    /// There are none.
    Nothing,
    /// They stay where they are: their policy is another one now.
    PolicyChanged,
}

impl Work<'_> {
    /// Writes the rows of a type to a file and reads it back.
    pub(super) async fn archive(
        &mut self,
        metric_type: &str,
        range: Range,
        detached: Option<&str>,
    ) -> Result<Archived, ArchiveError> {
        let objects = self.objects().await?;
        let deployment = self.deployment().await?;
        let now = self.archiving.clock.now();
        let id = self.archiving.entropy.uuid_v7(now);
        let mut file = ArchiveFile {
            id,
            run_id: self.run_id,
            metric_type: metric_type.to_owned(),
            range,
            detached: detached.map(str::to_owned),
            location: location(&deployment, metric_type, range, id),
            state: FileState::Writing,
            contents: None,
        };
        let mut transaction = self.begin_record().await?;
        archive_files::insert(&mut transaction, &file, now).await?;
        self.commit(transaction).await?;
        let contents = Box::pin(self.write(&objects, &file)).await?;
        if contents.rows == 0 {
            self.forget(&objects, &file).await?;
            return Ok(Archived::Nothing);
        }
        let verified = Box::pin(verify(&objects, &file.location, &contents)).await?;
        write_manifest(&objects, &file, &contents).await?;
        // Writing takes its time: somebody may have disabled the policy meanwhile.
        let transaction = self.begin_if_archived(&file).await?;
        let Some(transaction) = transaction else {
            self.forget(&objects, &file).await?;
            return Ok(Archived::PolicyChanged);
        };
        self.is_verified(transaction, &mut file, contents).await?;
        Ok(Archived::File(Box::new((file, verified))))
    }

    async fn write(&self, objects: &Objects, file: &ArchiveFile) -> Result<Contents, ArchiveError> {
        let metric_type = &file.metric_type;
        let mut rows = match &file.detached {
            Some(name) => detached_rows::stream(self.database(), name, metric_type).await?,
            None => archive_rows::stream(self.database(), metric_type, file.range).await?,
        };
        let mut writer = FileWriter::begin(objects, &file.location)?;
        while let Some(row) = rows.next().await {
            writer.write(&archive_rows::from_row(&row?)?).await?;
        }
        writer.finish().await
    }

    /// A transaction in which the rows of the file are still to be archived; nothing when they are not.
    async fn begin_if_archived(&mut self, file: &ArchiveFile) -> Result<Option<Transaction>, ArchiveError> {
        let types = [file.metric_type.clone()];
        let mut patience = Patience::default();
        loop {
            let mut transaction = self.begin().await?;
            let action = ArchiveAction::Archive;
            match self.is_still_so(&mut transaction, action, &types, file.range.upper).await {
                Ok(is_so) => return Ok(is_so.then_some(transaction)),
                Err(error) => {
                    drop(transaction);
                    patience.bear(error).await?;
                }
            }
        }
    }

    /// Writes down that a file was read back whole.
    async fn is_verified(
        &self,
        mut transaction: Transaction,
        file: &mut ArchiveFile,
        contents: Contents,
    ) -> Result<(), ArchiveError> {
        let now = self.archiving.clock.now();
        if !archive_files::verified(&mut transaction, file.id, &contents, now).await? {
            return Err(LeaseError::Lost(LEASE).into());
        }
        self.commit(transaction).await?;
        (file.state, file.contents) = (FileState::Verified, Some(contents));
        Ok(())
    }

    /// What a run left in the middle that was killed while it wrote a file. One with its manifest was read back
    /// whole before, and is kept; any other is removed and forgotten. Says whether it was kept.
    pub(super) async fn keep_or_forget(&mut self, file: &mut ArchiveFile) -> Result<bool, ArchiveError> {
        let objects = self.objects().await?;
        if let Some(contents) = read_manifest(&objects, file).await? {
            match Box::pin(verify(&objects, &file.location, &contents)).await {
                Ok(_) => {
                    // Somebody may have disabled the policy since. Its rows are where they were then, too.
                    if let Some(transaction) = self.begin_if_archived(file).await? {
                        self.is_verified(transaction, file, contents).await?;
                        return Ok(true);
                    }
                }
                // Its rows are where they were.
                Err(ArchiveError::Damaged { .. } | ArchiveError::Missing(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.forget(&objects, file).await?;
        Ok(false)
    }

    /// Removes a file that was never verified, and forgets it. That it is none that was, and that this process
    /// has the duty, is made sure of before: a file may be all there is of its rows.
    async fn forget(&self, objects: &Objects, file: &ArchiveFile) -> Result<(), ArchiveError> {
        let mut transaction = self.begin_record().await?;
        let now = self.archiving.clock.now();
        if !archive_files::is_being_written(&mut transaction, file.id, now).await? {
            return Err(LeaseError::Lost(LEASE).into());
        }
        self.commit(transaction).await?;
        objects.remove(&file.location).await?;
        let mut transaction = self.begin_record().await?;
        archive_files::forget(&mut transaction, file.id).await?;
        self.commit(transaction).await
    }

    /// Forgets a file that is lost or damaged while its rows still lie in their partition. What there is of it
    /// stays: whoever looks for why may need it.
    pub(super) async fn discard(&self, file: &ArchiveFile) -> Result<(), ArchiveError> {
        let mut transaction = self.begin_record().await?;
        archive_files::discard(&mut transaction, file.id).await?;
        self.commit(transaction).await
    }

    /// Lets go of the rows of a file that is lost or damaged, as far as they are in the table: which those are
    /// nobody knows any more, so they go by the policies as any others do. What the file had stays written down.
    pub(super) async fn let_go(&self, file: &ArchiveFile) -> Result<(), ArchiveError> {
        let mut transaction = self.begin_record().await?;
        archive_files::archived(&mut transaction, file.id, self.archiving.clock.now()).await?;
        self.commit(transaction).await
    }

    /// Sees to it that a file of another run is still what it was. One that is not there is
    /// [`ArchiveError::Damaged`], lost for good, only where the place is the one that it was written to.
    pub(super) async fn verify_again(&mut self, file: &ArchiveFile) -> Result<Verified, ArchiveError> {
        let objects = self.objects().await?;
        let contents = file.contents.as_ref().ok_or_else(|| ArchiveError::Damaged {
            location: file.location.clone(),
            detail: "it is not known what it holds".to_owned(),
        })?;
        match Box::pin(verify(&objects, &file.location, contents)).await {
            Ok(verified) => {
                self.seen = Some(self.seen.map_or(file.id, |it| it.min(file.id)));
                Ok(verified)
            }
            Err(ArchiveError::Missing(location)) if self.is_place_of(&objects, file).await? => {
                Err(ArchiveError::Damaged { location, detail: "it is not there".to_owned() })
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the place has a file that was written before this one. Those that were written after it say
    /// nothing: they may lie where a wrong ARCHIVE_URL leads, or in a folder whose volume is not mounted. Such a
    /// place has none of them, so no more than the newest and the oldest are looked for: the newest may be lost with
    /// this one, and the oldest be deleted for their age, but hardly both.
    async fn is_place_of(&mut self, objects: &Objects, file: &ArchiveFile) -> Result<bool, ArchiveError> {
        if self.seen.is_some_and(|it| it < file.id) {
            return Ok(true);
        }
        let files = archive_files::before(self.database(), file.id, ASKED).await?;
        for files in files.chunks(AT_ONCE) {
            let asked = join_all(files.iter().map(|(_, location)| objects.has(location))).await;
            for ((id, _), is_there) in files.iter().zip(asked) {
                if is_there? {
                    self.seen = Some(*id);
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Deletes exactly the rows that are in the file from the table, and says how many were there. The file is
    /// archived then.
    pub(super) async fn delete_rows_of(
        &mut self,
        file: &ArchiveFile,
        verified: &Verified,
        counts: bool,
    ) -> Result<u64, ArchiveError> {
        let objects = self.objects().await?;
        let mut reader = FileReader::open(&objects, verified)?;
        let (mut read, mut deleted) = (0, 0);
        loop {
            let rows = reader.next_rows(BATCH as usize).await?;
            if rows.is_empty() {
                break;
            }
            read += rows.len() as u64;
            let mut patience = Patience::default();
            let gone = loop {
                match self.delete_batch_of(file, &rows, counts).await {
                    Ok(gone) => break gone,
                    Err(error) => patience.bear(error).await?,
                }
            };
            deleted += gone;
        }
        if file.contents.as_ref().is_none_or(|it| it.rows != read) {
            let detail = format!("it holds {read} rows, not as many as were written");
            return Err(ArchiveError::Damaged { location: file.location.clone(), detail });
        }
        let mut transaction = self.begin_record().await?;
        archive_files::archived(&mut transaction, file.id, self.archiving.clock.now()).await?;
        self.commit(transaction).await?;
        Ok(deleted)
    }

    async fn delete_batch_of(
        &mut self,
        file: &ArchiveFile,
        rows: &[ArchivedRow],
        counts: bool,
    ) -> Result<u64, ArchiveError> {
        let mut transaction: Transaction = self.begin().await?;
        let (backend, metric_type, range) = (self.backend(), file.metric_type.as_str(), file.range);
        let gone = archive_rows::delete_keys(&mut transaction, backend, metric_type, range, rows).await?;
        let mut figures = self.figures;
        figures.rows_archived += if counts { gone } else { 0 };
        self.commit_with(transaction, figures).await?;
        Ok(gone)
    }
}

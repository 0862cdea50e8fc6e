//! Which errors a run waits out, and which keep it from one piece alone.

use std::time::Duration;

use foundation::database::DatabaseErrorKind;

use crate::archive::ArchiveError;
use crate::leases::LeaseError;

/// How often something is tried that others are in the way of, and the first pause, doubled each time.
const ATTEMPTS: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// How long a run goes on trying while others are in its way.
#[derive(Default)]
pub(super) struct Patience(u32);

impl Patience {
    /// Waits, each time longer, when the error says that others are in the way.
    ///
    /// # Errors
    /// [`ArchiveError::InUse`] when they stayed there, else the error itself.
    pub(super) async fn bear(&mut self, error: ArchiveError) -> Result<(), ArchiveError> {
        match error {
            ArchiveError::Database(error) | ArchiveError::Lease(LeaseError::Database(error))
                if is_in_use(error.kind()) =>
            {
                self.0 += 1;
                if self.0 >= ATTEMPTS {
                    return Err(ArchiveError::InUse(error));
                }
                tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(self.0 - 1)).await;
                Ok(())
            }
            other => Err(other),
        }
    }
}

const fn is_in_use(kind: DatabaseErrorKind) -> bool {
    use DatabaseErrorKind as Kind;
    matches!(kind, Kind::LockNotAvailable | Kind::QueryCanceled | Kind::Timeout | Kind::SerializationFailure)
}

/// Whether the error is one of a single partition, file or row, and not of the database as a whole.
pub(super) fn is_of_one_piece(error: &ArchiveError) -> bool {
    use DatabaseErrorKind as Kind;
    match error {
        ArchiveError::Storage(_)
        | ArchiveError::Io(_)
        | ArchiveError::Damaged { .. }
        | ArchiveError::Missing(_)
        | ArchiveError::NoPlace
        | ArchiveError::Away
        | ArchiveError::InUse(_) => true,
        ArchiveError::Database(error) => matches!(
            error.kind(),
            Kind::QueryCanceled
                | Kind::Timeout
                | Kind::Conversion
                | Kind::UndefinedTable
                | Kind::InsufficientPrivilege
        ),
        _ => false,
    }
}

//! What the table `users` accepts and refuses, the same on both databases.

use foundation::on_both_databases;

use crate::support::users_rules::{CASES, STANDING_ROWS, TRUTHS, Verdict};
use crate::support::{migrator, number};

on_both_databases! {
    /// Every rule, by the name of its constraint where it has one.
    async fn every_case(database: TestDatabase) {
        migrator(&database, &["up"]).await.ends(0);
        let mut connection = database.connect().await;
        connection.batch(STANDING_ROWS).await.unwrap();
        for case in CASES {
            connection.begin().await.unwrap();
            let result = connection.batch(&case.insert()).await;
            connection.rollback().await.unwrap();
            let right = match (case.verdict, &result) {
                (Verdict::Accepted, result) => result.is_ok(),
                (Verdict::Refused, result) => result.is_err(),
                (Verdict::RefusedBy(constraint), Err(error)) => error.constraint() == Some(constraint),
                (Verdict::RefusedBy(_), Ok(())) => false,
            };
            assert!(right, "{}: {:?} expected, got {result:?}", case.name, case.verdict);
        }
        for truth in TRUTHS {
            assert_eq!(
                number(
                    &mut connection,
                    &format!("SELECT CAST(count(*) AS BIGINT) AS it FROM ({truth}) AS truth")
                )
                .await,
                1,
                "{truth}"
            );
        }
    }
}

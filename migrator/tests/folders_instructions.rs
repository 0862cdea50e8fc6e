//! `--migrations`: what a file with two sections says above them counts as much as what stands in one.

use foundation::on_both_databases;

use crate::support::folders::{ONE, TWO, folder, with};
use crate::support::{has_table, number, texts, versions};

on_both_databases! {
    async fn instructions_stand_above_the_sections_too(database: TestDatabase) {
        let mut connection = database.connect().await;
        for (name, up, down) in
            [("dbmate", "-- migrate:up", "-- migrate:down"), ("goose", "-- +goose Up", "-- +goose Down")]
        {
            let rename = "ALTER TABLE two RENAME COLUMN name TO label;";
            let renamed_back = "ALTER TABLE two RENAME COLUMN label TO name;";
            let texts_of: Vec<String> = [
                ("", ONE, "DROP TABLE one;"),
                ("-- migrator: irreversible the rows are gone\n-- migrator: compatible-from 1\n", TWO, "DROP TABLE two;"),
                ("-- migrator: lint-allow compatible-from nobody reads it\n", rename, renamed_back),
                (
                    "-- what it is for\n\n-- migrator: no-transaction\n",
                    "INSERT INTO one VALUES (1);\nINSERT INTO one VALUES (2);",
                    "DELETE FROM one;",
                ),
            ]
            .iter()
            .map(|(head, run, undo)| format!("{head}{up}\n{run}\n{down}\n{undo}\n"))
            .collect();
            let files = ["1_one.sql", "2_two.sql", "3_label.sql", "4_rows.sql"];
            let contents: Vec<(&str, &str)> = files.iter().zip(&texts_of).map(|(file, text)| (*file, text.as_str())).collect();
            let files = folder(&database, name, &contents);

            let lint = with(&database, &files, &["lint", "--format", "json"]).await.json();
            let plan = with(&database, &files, &["plan", "--format", "json"]).await.ends(0).json();
            let of_plan = plan["migrations"].as_array().unwrap().iter().flat_map(|it| it["findings"].as_array().unwrap());
            for finding in lint["findings"].as_array().unwrap().iter().chain(of_plan) {
                assert!(!["compatible-from", "instruction", "unused-allow"].contains(&finding["rule"].as_str().unwrap()), "{name} {finding}");
            }
            let in_transaction: Vec<bool> = plan["migrations"].as_array().unwrap().iter().map(|it| it["in_transaction"].as_bool().unwrap()).collect();
            assert_eq!(in_transaction, [true, true, true, false], "{name}");

            with(&database, &files, &["up"]).await.ends(0);
            let from = "SELECT compatible_from AS it FROM migrator_journal WHERE version = 2 AND outcome = 'applied'";
            assert_eq!(number(&mut connection, from).await, 1, "{name}");
            let kept = "SELECT CAST(version AS text) AS it FROM migrator_journal WHERE undo_sql IS NOT NULL ORDER BY id";
            assert_eq!(texts(&mut connection, kept).await.unwrap(), ["1", "3", "4"], "{name}: an older release does not run it either");
            let parts = "SELECT CAST(count(*) AS BIGINT) AS it FROM migrator_journal WHERE version = 4 AND statement IS NOT NULL";
            assert_eq!(number(&mut connection, parts).await, 2, "{name}");

            with(&database, &files, &["rehearse"]).await.ends(0);
            with(&database, &files, &["down", "--steps", "2"]).await.ends(0);
            with(&database, &files, &["down"]).await.ends(65).says(&["V2__two cannot be taken back: the rows are gone"]);
            assert_eq!(versions(&mut connection).await, ["1", "2"], "{name}");
            assert!(has_table(&mut connection, "two").await, "{name}");
            connection.batch("DROP TABLE two; DROP TABLE one; DROP TABLE refinery_schema_history; DROP TABLE migrator_journal; DROP TABLE migrator_structure").await.unwrap();
        }
    }
}

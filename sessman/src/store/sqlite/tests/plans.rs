//! How SQLite finds what a query asks for.

use super::*;
use crate::store::sqlite::{claims, counting, listing, reader};

#[tokio::test]
async fn every_query_is_led_by_an_index() {
    let folder = TempDir::new().unwrap();
    open_in(&folder).close().await;
    let connection = Connection::open(path_in(&folder)).unwrap();
    let plans = [
        (reader::LOAD, "sessions_handle (handle=?)"),
        (reader::DUE, "sessions_expiry_bucket ("),
        (listing::SUMMARIES, "sessions_handle (handle>?)"),
        (listing::SUMMARIES_OF_USER, "sessions_user (user_id=? AND handle>?)"),
        (listing::SUMMARIES_OF_LABEL, "labels USING PRIMARY KEY (name=? AND value=? AND handle>?)"),
        (listing::SUMMARIES_OF_LABEL, "sessions_handle (handle=?)"),
        (listing::RECORDS, "sessions_handle (handle>?)"),
        (listing::OUTLINES, "sessions_handle (handle=?)"),
        (claims::PLACES, "claims_user (user_id=?)"),
        (claims::ALL_PLACES, "claims_user (user_id>?)"),
        (claims::RELEASE, "claims_user (user_id=?)"),
        (claims::MOVE_LAST, "claims_user (user_id=?)"),
    ];
    for (query, index) in plans {
        let plan = plan(&connection, query);
        assert!(
            plan.contains(index) && !reads_all_of_a_table(&plan) && !plan.contains("B-TREE"),
            "{query}: {plan}"
        );
    }
    // To count all, an index is read, which has no data in it.
    let plan = plan(&connection, counting::COUNT);
    assert!(plan.contains("SCAN sessions USING COVERING INDEX"), "{plan}");
    assert!(plan.contains("sessions_expiry_bucket (expiry_bucket<?)"), "{plan}");
}

/// Handles that a caller names are a table to SQLite, too.
fn reads_all_of_a_table(plan: &str) -> bool {
    plan.lines().any(|line| line.contains("SCAN") && !line.contains("json_each"))
}

fn plan(connection: &Connection, query: &str) -> String {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
    let (mut rows, mut plan) = (statement.raw_query(), String::new());
    while let Some(row) = rows.next().unwrap() {
        plan += &(row.get::<_, String>(3).unwrap() + "\n");
    }
    plan
}

/// The end of a long row is in pages of its own, which nobody has to read who shows no data.
#[tokio::test]
async fn no_list_reads_data() {
    for query in [listing::SUMMARIES, listing::SUMMARIES_OF_USER, listing::OUTLINES, reader::DUE] {
        assert!(!query.contains("data") || !query.replace("metadata", "").contains("data"), "{query}");
    }
    let folder = TempDir::new().unwrap();
    open_in(&folder).close().await;
    let connection = Connection::open(path_in(&folder)).unwrap();
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info('sessions')").unwrap();
    let columns: Vec<String> =
        statement.query_map([], |row| row.get(0)).unwrap().map(|name| name.unwrap()).collect();
    assert_eq!(columns[columns.len() - 3..], ["tail", "metadata", "data"], "what is long comes last");
}

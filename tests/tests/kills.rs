//! Operations that are cut off or killed between their writes. `cargo xtask soak kills` interrupts all of them, on every
//! store.

use e2e::kills::{Interruption, Operation, Server, run};
use e2e::store::Store;

fn is_right(test: &str, store: Store, interruption: Interruption, operations: &[Operation]) {
    let Some(server) = Server::start(test, store) else { return };
    for operation in operations {
        let Some(found) = run(test, &server, *operation, interruption) else { return };
        assert!(
            found.is_good(),
            "{operation:?}: interrupted | answered | refused | what failed: {found}\n{:#?}",
            found.examples
        );
    }
}

#[test]
fn a_login_by_rotate_that_is_cut_off_from_redis_locks_nobody_out_and_ends_nobodys_session() {
    let test = "a_login_by_rotate_that_is_cut_off_from_redis_locks_nobody_out_and_ends_nobodys_session";
    let operations = [Operation::RotateEvicts, Operation::RotateRejects, Operation::MoveEvicts];
    is_right(test, Store::Redis, Interruption::Cut, &operations);
}

#[test]
fn a_login_that_is_killed_amid_its_writes_to_mongodb_keeps_nobody_out_and_evicts_nobody_for_nothing() {
    let test =
        "a_login_that_is_killed_amid_its_writes_to_mongodb_keeps_nobody_out_and_evicts_nobody_for_nothing";
    is_right(test, Store::MongoDb, Interruption::Kill, &[Operation::NewEvicts, Operation::NewRejects]);
}

#[test]
fn nobody_is_evicted_for_a_login_that_is_taken_back_as_it_was_cut_off_from_mongodb() {
    let test = "nobody_is_evicted_for_a_login_that_is_taken_back_as_it_was_cut_off_from_mongodb";
    is_right(test, Store::MongoDb, Interruption::Cut, &[Operation::NewEvicts]);
}

#[test]
fn an_external_id_whose_use_was_cut_off_from_mongodb_is_free_for_another() {
    let test = "an_external_id_whose_use_was_cut_off_from_mongodb_is_free_for_another";
    let operations =
        [Operation::AgainRejects, Operation::EndEvicts, Operation::EndUserRejects, Operation::MoveRejects];
    is_right(test, Store::MongoDb, Interruption::Cut, &operations);
}

#[test]
fn an_operation_killed_at_a_sync_of_sqlite_is_done_or_not() {
    let test = "an_operation_killed_at_a_sync_of_sqlite_is_done_or_not";
    let operations = [Operation::RotateRejects, Operation::EndRejects, Operation::MoveEvicts];
    is_right(test, Store::Sqlite, Interruption::KillAtRandom, &operations);
}

//! What every store must do, case by case. A store's tests say `conformance_tests!(open)`, and each case becomes a
//! test of its own there, with a fresh, empty store.
//!
//! Every moment is in the year 2100: a server that expires records by its own clock then leaves them alone, so that
//! the cases see what the store's answers depend on, which is the `now` they pass. No case waits for time to pass.

pub(crate) mod away;
pub(crate) mod certificates;
pub(crate) mod change;
pub(crate) mod claims;
pub(crate) mod cleanup;
pub(crate) mod creation;
pub(crate) mod deletion;
pub(crate) mod expiry;
pub(crate) mod fields;
pub(crate) mod listing;
pub(crate) mod races;

use std::any::Any;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::{
    Claim, Claimed, Counts, Created, Listing, Loaded, Outlined, PAGE_BYTES, PlacesPage, Store, Target,
    Unless, Updated,
};
use crate::data::Data;
use crate::id::{Handle, SecretHash};
use crate::labels::{Label, Labels};
use crate::mark::Mark;
use crate::record::{Change, Mac, Record, Summary, Terms, Times, TtlSource};
use crate::time::Timestamp;

/// A fresh, empty store, and what has to live as long as it does (a temporary folder, a server).
pub(crate) struct Fixture {
    /// The store.
    pub(crate) store: Arc<dyn Store>,
    /// Dropped after the store.
    #[allow(dead_code, reason = "held for its Drop alone")]
    pub(crate) keep: Box<dyn Any + Send>,
}

impl Fixture {
    /// A store that needs nothing else.
    pub(crate) fn new(store: impl Store + 'static) -> Self {
        Self::with(store, ())
    }

    /// A store, and what has to outlive it.
    pub(crate) fn with(store: impl Store + 'static, keep: impl Any + Send) -> Self {
        Self { store: Arc::new(store), keep: Box::new(keep) }
    }
}

/// Says that the test of this thread cannot check what it is for. Each test says so once, and returns.
pub(crate) fn skip(reason: &str) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    match std::env::var_os("E2E_SKIPS") {
        Some(path) => {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            writeln!(file.unwrap(), "{name}: {reason}").unwrap();
        }
        None => eprintln!("SKIPPED: {name}: {reason}"),
    }
}

/// Makes a test of each case. `open` is an `async fn() -> Option<Fixture>` in the same module; it is called once a
/// case, any number of times at once, and each time gives a store that shares nothing with the others. `None` skips
/// the case: there is no server to test with, and `open` has said so.
macro_rules! conformance_tests {
    ($open:ident) => {
        $crate::store::conformance::conformance_tests! { $open =>
            creation {
                a_record_is_found_under_its_handle_alone,
                a_live_record_is_never_replaced,
                an_expired_record_is_replaced,
                a_deleted_record_makes_room,
            }
            expiry {
                load_stops_at_the_exact_millisecond,
                an_expired_record_is_told_from_none,
                update_stops_at_the_exact_millisecond,
                list_stops_at_the_exact_millisecond,
                counts_turn_at_the_exact_millisecond,
                purge_begins_at_the_exact_millisecond,
                an_update_moves_expiry_either_way,
            }
            fields {
                every_field_comes_back,
                every_kind_of_data_comes_back,
                generated_data_comes_back,
                numbers_keep_their_kind,
                members_keep_their_order,
                keys_of_every_kind_come_back,
                user_ids_of_every_kind_come_back,
                the_largest_document_comes_back,
                the_deepest_document_comes_back,
                an_update_brings_every_field_back,
            }
            change {
                a_touch_moves_the_times_alone,
                each_kind_of_change_counts_once,
                what_is_not_named_stays,
                a_wrong_secret_finds_nothing,
                a_wrong_version_is_a_conflict,
                an_update_creates_nothing,
                an_update_after_delete_resurrects_nothing,
                rotation_kills_the_old_secret,
                other_handles_stay_untouched,
                another_incarnation_is_not_changed,
                an_update_says_how_long_it_would_have_lived,
                a_login_sets_its_time,
                what_was_written_to_meanwhile_is_a_conflict,
                terms_change_and_count_not,
                labels_change_and_count,
                terms_that_changed_meanwhile_are_a_conflict,
                any_write_of_the_same_moment_is_a_conflict,
            }
            claims {
                a_user_is_unknown_until_told,
                places_are_in_the_order_of_arrival,
                a_second_claim_keeps_its_place,
                a_claim_that_moves_last_is_the_last,
                a_claim_that_does_not_fit_moves_nothing,
                there_is_no_place_beyond_the_room,
                a_released_place_is_free,
                what_is_known_already_stays,
                the_places_of_a_user_are_read,
                the_places_of_all_users_come_page_by_page,
                forgetting_and_clearing_forget_everybody,
                one_claim_gets_the_last_place,
                no_claim_is_lost,
                whoever_has_room_is_never_refused,
                one_beginning_of_an_entry_counts,
            }
            races {
                no_blind_update_is_lost,
                one_compare_and_set_wins,
                compare_and_set_with_retries_loses_nothing,
                one_rotation_wins,
                one_creation_wins,
                one_creation_over_an_expired_record_wins,
                one_deletion_counts,
                nothing_survives_a_deletion,
            }
            deletion {
                a_wrong_secret_deletes_nothing,
                the_right_secret_deletes_once,
                no_secret_deletes_whatever_it_is,
                an_expired_record_can_be_deleted,
                another_incarnation_is_not_deleted,
                what_was_written_to_is_not_deleted,
                many_are_deleted_at_once,
                clear_deletes_everything,
            }
            listing {
                pages_are_in_the_order_of_handles,
                a_page_of_every_size_leads_to_the_end,
                only_live_records_are_listed,
                a_user_has_their_own_list,
                a_record_follows_its_new_user,
                a_label_has_its_own_list,
                a_record_follows_its_new_labels,
                labels_that_look_alike_have_lists_of_their_own,
                an_empty_store_has_one_empty_page,
                paging_while_writing_gives_each_record_once,
                pages_end_early_where_sessions_are_large,
                records_come_whole_page_by_page,
                outlines_are_of_what_is_stored,
            }
            cleanup {
                counts_follow_what_is_stored,
                live_records_are_counted_by_their_age,
                purge_deletes_expired_records_alone,
                purge_goes_in_slices,
                purge_finds_what_was_extended_and_expired_later,
                purge_finds_what_was_cut_short,
                ping_answers,
            }
        }
    };
    ($open:ident => $($group:ident { $($case:ident),* $(,)? })*) => {
        $(mod $group {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $case() {
                let Some(fixture) = super::$open().await else { return };
                $crate::store::conformance::$group::$case(fixture.store.clone()).await;
                fixture.store.close().await;
            })*
        })*
    };
}
pub(crate) use conformance_tests;

/// How long a record made by [`record`] lives, in milliseconds.
const TTL: i64 = 3_600_000;

/// The moment `millis` after the one at which [`record`] creates.
fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(4_102_444_800_000 + millis)
}

/// The handle of record `n`; the numbers' order says nothing about the handles', which spread over all values.
fn handle(n: u32) -> Handle {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&n.wrapping_mul(0x9E37_79B1).to_be_bytes());
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    Handle::from(bytes)
}

/// The hash of secret `n`.
fn secret(n: u32) -> SecretHash {
    let mut bytes = [0xA5; 32];
    bytes[28..].copy_from_slice(&n.to_be_bytes());
    SecretHash::from(bytes)
}

/// The mark of record `n`.
fn mark(n: u32) -> Mark {
    let mut bytes = [0x70; Mark::BYTES];
    bytes[4..].copy_from_slice(&n.to_be_bytes());
    Mark::from(bytes)
}

fn data(text: &str) -> Data {
    Data::parse(text).unwrap()
}

/// Labels of these names, all of one value.
fn labels(names: &[&str], value: &str) -> Labels {
    Labels::from_list(names.iter().map(|name| Label::new(name, value).unwrap()).collect()).unwrap()
}

/// Record `n`, created at `at(0)`, which opens with secret `n` and lives until `at(TTL)`.
pub(crate) fn record(n: u32) -> Record {
    Record {
        handle: handle(n),
        mark: mark(n),
        secret_hash: secret(n),
        user_id: None,
        auth_time: None,
        data: data(&format!(r#"{{"n":{n}}}"#)),
        metadata: Data::empty(),
        created_at: at(0),
        updated_at: at(0),
        reset_at: at(0),
        last_activity: at(0),
        ttl: Duration::from_millis(TTL as u64),
        ttl_source: TtlSource::Configured,
        idle: None,
        persistent: false,
        labels: Labels::none(),
        expires_at: at(TTL),
        version: 1,
        mac: None,
    }
}

/// Record `n`, which lives until `at(millis)`.
fn expiring(n: u32, millis: i64) -> Record {
    Record { expires_at: at(millis), ..record(n) }
}

/// A record as somebody read it, and what must not have happened to it since.
type Read = (Record, Unless);

/// What the holder of secret `n` read who does not care about the version.
fn holder(n: u32) -> Read {
    (record(n), Unless::Gone)
}

/// What the holder of secret `n` read when it was at that version.
fn at_version(n: u32, version: u64) -> Read {
    (Record { version, ..record(n) }, Unless::Changed)
}

/// The times that a write at `at(millis)` sets.
fn times(millis: i64) -> Times {
    Times { reset_at: at(millis), last_activity: at(millis), expires_at: at(millis + TTL) }
}

/// A change of nothing but the times, at `at(millis)`.
fn touch(millis: i64) -> Change {
    Change::touch(at(millis), times(millis))
}

/// A change of the data, at `at(millis)`.
fn write(millis: i64, text: &str) -> Change {
    Change { data: Some(data(text)), ..touch(millis) }
}

/// Stores `record`, which must not be there yet, at the moment it begins.
async fn create(store: &dyn Store, record: &Record) {
    let created = store.create(Arc::new(record.clone()), record.created_at).await.unwrap();
    assert_eq!(created, Created::Yes, "{}", record.handle);
}

/// The live record with handle `n` at `at(millis)`.
async fn load(store: &dyn Store, n: u32, millis: i64) -> Option<Record> {
    store.load(handle(n), at(millis)).await.unwrap().live().map(|record| (*record).clone())
}

/// What [`Store::load`] finds, and [`Store::load_now`] too where it has it at hand. Nobody else writes meanwhile.
async fn load_both_ways(store: &dyn Store, handle: Handle, now: Timestamp) -> Loaded {
    let loaded = store.load(handle, now).await.unwrap();
    if let Some(at_hand) = store.load_now(handle, now) {
        assert_eq!(at_hand.unwrap(), loaded, "{handle}");
    }
    loaded
}

/// What becomes of a change of record `n`, whose handle and mark it has, by somebody who `read` it so.
async fn attempt(store: &dyn Store, n: u32, read: Read, change: &Change) -> Updated {
    let (read, unless) = read;
    store.update(&Record { handle: handle(n), mark: mark(n), ..read }, unless, change).await.unwrap()
}

/// The record as it is after an update that must be made.
async fn update(store: &dyn Store, n: u32, read: Read, change: &Change) -> Record {
    match attempt(store, n, read, change).await {
        Updated::Done { record, .. } => (*record).clone(),
        other => panic!("the update was not made: {other:?}"),
    }
}

/// Whether record `n` was deleted, if this secret opens it.
async fn delete(store: &dyn Store, n: u32, secret_hash: Option<SecretHash>) -> bool {
    let target = Target { secret_hash, ..Target::whatever(handle(n)) };
    let deleted = store.delete(&[target]).await.unwrap();
    assert!(deleted.iter().all(|deleted| *deleted == target.handle) && deleted.len() <= 1);
    !deleted.is_empty()
}

/// How many records are live, and how many are expired and still stored.
async fn counted(store: &dyn Store, millis: i64) -> (u64, u64) {
    let Counts { active, expired, since } = store.counts(at(millis), &[]).await.unwrap();
    assert!(since.is_empty());
    (active, expired)
}

/// Every live session at `at(millis)`, by pages of `limit`.
async fn list_all(store: &dyn Store, user_id: Option<&str>, limit: usize, millis: i64) -> Vec<Summary> {
    let (mut summaries, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(Listing { user_id, after, limit, label: None }, at(millis)).await.unwrap();
        assert!(page.items.len() <= limit, "{} sessions on a page of {limit}", page.items.len());
        assert!(page.next.is_none() || page.items.len() == limit, "a page with a next one is full");
        assert_eq!(page.unread, []);
        summaries.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return summaries,
        }
    }
}

/// Every live record at `at(millis)`, by pages of `limit`.
async fn records(store: &dyn Store, limit: usize, millis: i64) -> Vec<Record> {
    let (mut records, mut after) = (Vec::new(), None);
    loop {
        let page = store.records(after, limit, at(millis)).await.unwrap();
        assert!(page.items.len() <= limit, "{} records on a page of {limit}", page.items.len());
        assert_eq!(page.unread, []);
        records.extend(page.items.iter().map(|record| (**record).clone()));
        match page.next {
            Some(next) => after = Some(next),
            None => return records,
        }
    }
}

//! The log beside the file.

use super::super::checkpoint::Checkpoints;
use super::super::checkpoint::{self, Care};
use super::super::file::OwnedFile;
use super::super::health::Health;
use super::super::log::Log;
use super::super::room::Room;
use super::*;

/// A file with a session in it and a log that is to be copied, and the connections that see to it.
struct Copied {
    file: Arc<OwnedFile>,
    health: Arc<Health>,
    checkpoints: Checkpoints,
    writer: Connection,
    log: Connection,
    look: Connection,
    room: Room,
}

impl Copied {
    async fn with(folder: &TempDir, file: impl FnOnce(&Path) -> OwnedFile) -> Self {
        let store = open_in(folder);
        create(&store, 1).await;
        store.close().await;
        let path = path_in(folder);
        let (file, health) = (Arc::new(file(&path)), Arc::new(Health::default()));
        let writer = connection::to_write(&path, "FULL").unwrap();
        connection::keep_log(&writer, true).unwrap();
        let (log, look) = checkpoint::connect(&path, "FULL").unwrap();
        writer.execute_batch("CREATE TABLE filler (data BLOB)").unwrap();
        let checkpoints = Checkpoints::new(file.clone(), health.clone());
        let room = Room::new(file.clone(), health.clone()).unwrap();
        Self { file, health, checkpoints, writer, log, look, room }
    }

    /// So many pages, each in a transaction of its own.
    fn write(&self, pages: u32) {
        for _ in 0..pages {
            self.writer.execute("INSERT INTO filler VALUES (zeroblob(5000))", []).unwrap();
        }
    }

    /// Copies once, as the thread does.
    fn copy(&self) {
        self.checkpoints.begin();
        self.checkpoints.close();
        self.checkpoints.run(&self.log);
        assert!(!self.checkpoints.is_copying());
    }

    fn log(&self) -> Log {
        Log::look(&self.look).unwrap()
    }
}

#[tokio::test]
async fn a_log_whose_copy_was_not_synced_is_kept_for_the_next_start() {
    let folder = TempDir::new().unwrap();
    let copied = Copied::with(&folder, OwnedFile::that_cannot_be_synced).await;
    copied.writer.execute("UPDATE sessions SET user_id = 'bob'", []).unwrap();
    copied.write(2_000);
    assert_eq!(copied.checkpoints.tend(&copied.writer, &copied.look, &copied.room).unwrap(), Care::Beside);
    copied.health.check().unwrap();
    let kept = fs::read(path_in(&folder)).unwrap();
    copied.copy();
    assert!(copied.log().copied > 0, "SQLite takes it for copied");
    assert!(copied.health.check().is_err() && !copied.health.is_settled());

    // The disk is well again, and nothing is done all the same that would start the log anew.
    let before = copied.log();
    assert_eq!(copied.checkpoints.tend(&copied.writer, &copied.look, &copied.room).unwrap(), Care::None);
    copied.checkpoints.end(&copied.writer);
    assert_eq!(copied.log(), before);
    let Copied { writer, log, look, file, checkpoints, room, .. } = copied;
    drop((log, look, room));
    writer.close().unwrap();
    drop((file, checkpoints));
    let bytes = fs::metadata(folder.path().join("sessions.db-wal")).unwrap().len();
    assert!(bytes > u64::from(before.pages) * 4_096, "{bytes}");
    // What the disk lost: whatever was copied.
    fs::write(path_in(&folder), kept).unwrap();
    let store = open_in(&folder);
    let found = store.load(record(1, 0).handle, at(0)).await.unwrap().live().unwrap();
    assert_eq!(found.user_id.as_deref(), Some("bob"));
    assert!(store.checkup().await.unwrap().problems.is_empty());
    store.close().await;
}

#[tokio::test]
async fn a_reader_that_remembers_a_copy_that_was_lost_is_named_at_the_next_start() {
    let folder = TempDir::new().unwrap();
    let copied = Copied::with(&folder, OwnedFile::that_cannot_be_synced).await;
    copied.write(2_000);
    let reader = Connection::open(path_in(&folder)).unwrap();
    connection::keep_log(&reader, true).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM filler").unwrap();
    copied.copy();
    drop(copied);
    let Err(StoreError::InUse(text)) = open(config(path_in(&folder))) else { panic!("it opened") };
    assert!(text.contains("another process"), "{text}");
    drop(reader);
    open_in(&folder).close().await;
    let note = fs::read_to_string(folder.path().join("sessions.db.lock")).unwrap();
    assert_eq!(note, std::process::id().to_string());
}

#[tokio::test]
async fn while_a_copy_is_made_the_writer_reads_as_if_it_were_not_there_and_the_log_does_not_start_anew() {
    let folder = TempDir::new().unwrap();
    let copied = Copied::with(&folder, |path| OwnedFile::acquire(path).unwrap()).await;
    copied.write(2_000);
    let mut read = copied.writer.prepare("SELECT name FROM sqlite_schema").unwrap();
    let mut rows = read.query([]).unwrap();
    rows.next().unwrap();
    copied.copy();
    let before = copied.log();
    assert_eq!(before.copied, before.pages);
    // Everything is in the file; the next write would be the first of a new log.
    copied.write(1);
    assert!(copied.log().pages > before.pages);
    drop(rows);
    drop(read);
    copied.log.execute_batch("PRAGMA wal_checkpoint(PASSIVE)").unwrap();
    copied.write(1);
    assert!(copied.log().pages < 10);
}

#[tokio::test]
async fn nothing_is_written_and_only_memory_is_read_once_the_disk_has_failed() {
    let folder = TempDir::new().unwrap();
    let store = open_in(&folder);
    create(&store, 1).await;
    store.close().await;
    let store = open_in(&folder);
    create(&store, 2).await;
    store.health.distrust(&OwnedFile::that_cannot_be_synced(&folder.path().join("other.db")), &"EIO");
    let refused = |error: StoreError| {
        assert!(matches!(error, StoreError::Unavailable(_)));
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("restart pserve"));
    };
    refused(store.create(record(3, 1), at(0)).await.unwrap_err());
    refused(store.delete(&[Target::whatever(record(2, 0).handle)]).await.unwrap_err());
    refused(store.ping().await.unwrap_err());
    refused(store.load(record(1, 0).handle, at(0)).await.unwrap_err());
    assert!(is_stored(&store, 2).await);
    store.close().await;
    assert!(fs::exists(folder.path().join("sessions.db-wal")).unwrap());
    let store = open_in(&folder);
    assert!(is_stored(&store, 2).await && !is_stored(&store, 3).await);
    store.close().await;
}

#[tokio::test]
async fn a_log_does_not_grow_while_writes_go_on() {
    let folder = TempDir::new().unwrap();
    let store = open(SqliteConfig { durability: Durability::Normal, ..config(path_in(&folder)) }).unwrap();
    create(&store, 1).await;
    let mut greatest = 0;
    for n in 0..600 {
        // Some 50 pages each.
        let times = Times { reset_at: at(1), last_activity: at(1), expires_at: at(2_000_000) };
        let change = Change { data: Some(text(200_000 + n)), ..Change::touch(at(1), times) };
        let updated = store.update(&record(1, 0), Unless::Gone, &change).await.unwrap();
        assert!(matches!(updated, Updated::Done { .. }));
        greatest = greatest.max(fs::metadata(folder.path().join("sessions.db-wal")).unwrap().len());
    }
    // At 16,000 pages the writer itself would see to it.
    assert!(greatest < 15_000 * 4_120, "{greatest} bytes");
    store.close().await;
    let store = open_in(&folder);
    let found = store.load(record(1, 0).handle, at(1)).await.unwrap().live().unwrap();
    assert_eq!((found.version, &found.data), (601, &text(200_599)));
    store.close().await;
}

#[tokio::test]
async fn a_closed_store_keeps_everything_for_the_next() {
    let folder = TempDir::new().unwrap();
    let store = open_in(&folder);
    for n in 0..50 {
        create(&store, n).await;
    }
    assert!(delete(&store, 3).await);
    store.close().await;
    assert!(matches!(store.create(record(99, 1), at(0)).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.load(record(1, 1).handle, at(0)).await, Err(StoreError::Unavailable(_))));
    store.close().await;
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files.len(), 2, "the file and its lock, and no log: {files:?}");

    let store = open_in(&folder);
    assert_eq!(store.counts(at(0), &[]).await.unwrap().active, 49);
    assert_eq!(*store.load(record(7, 0).handle, at(0)).await.unwrap().live().unwrap(), *record(7, 200));
    assert!(!is_stored(&store, 3).await);
    store.close().await;
}

//! Who may open a file, and what is one.

use super::*;

#[tokio::test]
async fn a_file_has_one_owner_and_is_private() {
    let folder = TempDir::new().unwrap();
    let store = open_in(&folder);
    create(&store, 1).await;
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(path_in(&folder), &link).unwrap();
    for path in [path_in(&folder), link] {
        let Err(StoreError::InUse(text)) = open(config(path)) else { panic!("it was opened") };
        assert!(text.contains(&format!("in use by process {}", std::process::id())), "{text}");
    }
    for file in ["sessions.db", "sessions.db-wal", "sessions.db-shm", "sessions.db.lock"] {
        let mode = fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    store.close().await;
    open_in(&folder).close().await;
}

#[tokio::test]
async fn a_file_whose_lock_file_was_deleted_still_has_one_owner() {
    let folder = TempDir::new().unwrap();
    let store = open_in(&folder);
    create(&store, 1).await;
    fs::remove_file(folder.path().join("sessions.db.lock")).unwrap();
    let Err(StoreError::InUse(text)) = open(config(path_in(&folder))) else { panic!("it was opened") };
    assert!(text.contains("in use by this process"), "{text}");
    // The locks that SQLite has on it are still there: another program does not take it for its own, and the log away.
    Connection::open(path_in(&folder)).unwrap().query_row("SELECT 1 FROM sessions", [], |_| Ok(())).unwrap();
    let sqlite3 = std::process::Command::new("sqlite3")
        .arg(path_in(&folder))
        .arg("SELECT count(*) FROM sessions; PRAGMA wal_checkpoint")
        .status();
    assert!(sqlite3.is_err() || fs::exists(folder.path().join("sessions.db-wal")).unwrap());
    create(&store, 2).await;
    store.close().await;
    let store = open_in(&folder);
    assert!(is_stored(&store, 1).await && is_stored(&store, 2).await);
    store.close().await;
}

#[tokio::test]
async fn what_root_makes_in_the_folder_of_another_user_is_that_users() {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let folder = TempDir::new().unwrap();
    // Who is not root makes files of their own, which is right.
    if chown(folder.path(), Some(4_711), Some(4_712)).is_err() {
        return;
    }
    let store = open_in(&folder);
    create(&store, 1).await;
    for file in ["sessions.db", "sessions.db-wal", "sessions.db-shm", "sessions.db.lock"] {
        let found = fs::metadata(folder.path().join(file)).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (4_711, 4_712, 0o600), "{file}");
    }
    store.close().await;
}

#[tokio::test]
async fn a_file_of_another_kind_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = path_in(&folder);
    for content in ["some notes\n".repeat(100), "x".into(), "SQLite format 2\0".into()] {
        fs::write(&path, &content).unwrap();
        assert!(refusal(&path).contains("is not a SQLite file"));
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
    fs::remove_file(&path).unwrap();
    sql(&path, "CREATE TABLE orders (id INTEGER)");
    let before = fs::read(&path).unwrap();
    assert!(refusal(&path).contains("of another application"));
    assert_eq!(fs::read(&path).unwrap(), before);
    sql(&path, "PRAGMA application_id = 42; DROP TABLE orders");
    assert!(refusal(&path).contains("of another application"));
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = path_in(&folder);
    let store = open_in(&folder);
    for n in 0..200 {
        create(&store, n).await;
    }
    store.close().await;
    let good = fs::read(&path).unwrap();

    for length in [50, 100, 4_096, good.len() / 2, good.len() - 4_096] {
        fs::write(&path, &good[..length]).unwrap();
        assert!(refusal(&path).contains("damaged"), "cut to {length}");
    }
    for page in 1..good.len() / 4_096 {
        let mut broken = good.clone();
        broken[page * 4_096..][..4_096].fill(0xC3);
        fs::write(&path, &broken).unwrap();
        assert!(refusal(&path).contains("damaged"), "page {page} overwritten");
    }
    fs::write(&path, &good).unwrap();
    open_in(&folder).close().await;

    sql(&path, "DROP TABLE sessions");
    let text = refusal(&path);
    assert!(text.contains("damaged (no such table: sessions"), "{text}");
}

#[tokio::test]
async fn a_place_where_no_file_can_be_is_refused() {
    let folder = TempDir::new().unwrap();
    let Err(StoreError::Unusable(text)) = open(config(folder.path().join("none/x.db"))) else {
        panic!("it was opened")
    };
    assert!(text.contains("there is no folder") && text.contains("none"), "{text}");
    let inside = folder.path().join("sub");
    fs::create_dir(&inside).unwrap();
    assert!(refusal(&inside).contains("cannot be opened"));
}

#[tokio::test]
async fn ping_notices_that_the_file_is_gone() {
    let folder = TempDir::new().unwrap();
    let store = open_in(&folder);
    let (path, away) = (path_in(&folder), folder.path().join("away"));
    fs::rename(&path, &away).unwrap();
    assert!(matches!(store.ping().await, Err(StoreError::Unusable(text)) if text.contains("was removed")));
    fs::write(&path, "").unwrap();
    assert!(matches!(store.ping().await, Err(StoreError::Unusable(text)) if text.contains("another file")));
    fs::rename(&away, &path).unwrap();
    store.ping().await.unwrap();
    store.close().await;
}

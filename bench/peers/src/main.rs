//! axum with tower-sessions, as its documentation puts them together: `peers memory`, `peers redis PORT`,
//! `peers sqlite FILE`. It prints the address that it listens on.

use std::error::Error;
use std::path::Path;

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tower_sessions::cookie::time::Duration;
use tower_sessions::{Expiry, MemoryStore, Session, SessionManagerLayer, SessionStore};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{ClientLike as _, Config, Pool};
use tower_sessions_sqlx_store::SqliteStore;
use tower_sessions_sqlx_store::sqlx::SqlitePool;
use tower_sessions_sqlx_store::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

type Answer = Result<Json<Value>, StatusCode>;

fn failed(_: impl Error) -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}

async fn write(session: Session, Json(data): Json<Value>) -> Answer {
    session.insert("data", &data).await.map_err(failed)?;
    Ok(Json(json!({ "data": data })))
}

async fn read(session: Session) -> Answer {
    let data: Option<Value> = session.get("data").await.map_err(failed)?;
    let data = data.ok_or(StatusCode::NOT_FOUND)?;
    Ok(Json(json!({ "data": data })))
}

async fn serve(store: impl SessionStore + Clone) -> Result<(), Box<dyn Error>> {
    let sessions = SessionManagerLayer::new(store)
        .with_secure(false)
        .with_expiry(Expiry::OnInactivity(Duration::days(1)));
    let routes = Router::new()
        .route("/new", post(write))
        .route("/update", post(write))
        .route("/get", get(read))
        .layer(sessions);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    Ok(axum::serve(listener, routes).await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["memory"] => serve(MemoryStore::default()).await,
        ["redis", port] => {
            let config = Config::from_url(&format!("redis://127.0.0.1:{port}"))?;
            let pool = Pool::new(config, None, None, None, 4)?;
            pool.init().await?;
            serve(RedisStore::new(pool)).await
        }
        ["sqlite", file] => {
            // As durable as what it is measured against.
            let options = SqliteConnectOptions::new()
                .filename(Path::new(file))
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full);
            let store = SqliteStore::new(SqlitePool::connect_with(options).await?);
            store.migrate().await?;
            serve(store).await
        }
        _ => Err("expected `memory`, `redis PORT` or `sqlite FILE`".into()),
    }
}

//! Diagnosis of the server and the collection for an administrator.

use std::sync::Arc;

use mongodb::bson::{Document, doc};

use super::connection::Connection;
use super::failure::store_error;
use super::indexes;
use crate::store::{Checkup, Result};
use crate::time::Timestamp;

/// See [`Store::checkup`](crate::store::Store::checkup).
pub(super) async fn of(connection: &Arc<Connection>) -> Result<Checkup> {
    let asked = connection.call(|documents| async move {
        let admin = documents.client().database("admin");
        let version = admin.run_command(doc! { "buildInfo": 1 }).await.map_err(store_error)?;
        // The old name of `hello`, which servers of every version know.
        let hello = admin.run_command(doc! { "isMaster": 1 }).await.map_err(store_error)?;
        Ok((version, hello))
    });
    let (version, hello) = asked.await?;
    let problems = indexes::problems(connection).await?;
    let mut hints = Vec::new();
    if is_alone(&hello) {
        hints.push(
            "the server is no member of a replica set, so that a write which breaks off is not repeated and nothing \
             takes over when it ends; for production start it with --replSet"
                .into(),
        );
    }
    Ok(Checkup {
        server: format!("MongoDB {}", version.get_str("version").unwrap_or("of an unknown version")),
        clock: hello
            .get_datetime("localTime")
            .ok()
            .map(|date| Timestamp::from_millis(date.timestamp_millis())),
        problems,
        hints,
    })
}

/// Neither a member of a replica set nor a mongos.
fn is_alone(hello: &Document) -> bool {
    hello.get_str("setName").is_err() && !hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_routers_are_not_alone() {
        assert!(is_alone(&doc! { "isWritablePrimary": true }));
        assert!(!is_alone(&doc! { "setName": "rs0" }));
        assert!(!is_alone(&doc! { "msg": "isdbgrid" }));
    }
}

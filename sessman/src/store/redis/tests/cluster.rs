//! The conformance suite on a cluster.

use super::fixture;
use crate::store::conformance::{Fixture, conformance_tests};

async fn open() -> Option<Fixture> {
    fixture("E2E_REDIS_CLUSTER")
}

conformance_tests!(open);

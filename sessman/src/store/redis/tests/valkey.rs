//! The conformance suite on Valkey.

use super::fixture;
use crate::store::conformance::{Fixture, conformance_tests};

async fn open() -> Option<Fixture> {
    fixture("E2E_VALKEY_URL")
}

conformance_tests!(open);

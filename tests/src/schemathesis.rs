//! Schemathesis, which makes up requests from the OpenAPI description and checks every answer against it.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::artifacts;
use crate::pserve::Site;

const KEY: &str = "the-key";
const ADMIN_KEY: &str = "the-admin-key";

/// Whether `cargo xtask` has installed it.
pub fn is_installed() -> bool {
    folder().join("bin/st").exists()
}

fn folder() -> std::path::PathBuf {
    artifacts().join("../tools/schemathesis")
}

/// Sends up to `cases` requests a route and kind of test, on a store with this configuration.
///
/// # Errors
/// What it says if an answer is not as described, or if the service panicked.
///
/// # Panics
/// When it cannot be started.
pub fn run(config: &Value, cases: u32) -> Result<String, String> {
    let site = Site::new();
    let mut config = config.clone();
    config["admin_key"] = json!(ADMIN_KEY);
    site.write("sessman.json", config.to_string());
    site.ini(&format!("[auth]\napikey={KEY}\n[plugin_parms]\nsessman=json=sessman.json"));
    let pserve = site.start();
    let described = format!("http://{}/sessman/openapi.json", pserve.address());
    let mut st = Command::new("python3");
    st.arg(folder().join("bin/st")).env("PYTHONPATH", folder()).current_dir(site.path(""));
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    st.arg("--config-file").arg(tests.join("schemathesis.toml"));
    st.env("SCHEMATHESIS_HOOKS", tests.join("schemathesis_hooks.py"));
    st.args(["run", &described, "--no-color", "--seed", "1", "--max-examples", &cases.to_string()]);
    st.args(["-H", &format!("X-Custom-Auth: {KEY}"), "-H", &format!("X-Admin-Key: {ADMIN_KEY}")]);
    let output = st.output().expect("python3 starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let panicked = pserve.log().contains("panicked");
    if output.status.success() && !panicked {
        Ok(said)
    } else {
        Err(format!("{said}\n{}\npanicked: {panicked}", String::from_utf8_lossy(&output.stderr)))
    }
}

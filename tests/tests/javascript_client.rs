//! The npm package: its own tests against a real service, what is in it, and what a browser makes of it.

use e2e::browser::{Browser, Page};
use e2e::javascript::{Project, Sources};
use e2e::on_every_store;
use e2e::ports;
use e2e::pserve::Site;
use e2e::store::Store;
use serde_json::{Value, json};

const KEY: &str = "the-key";
const ADMIN_KEY: &str = "the-admin-key";

on_every_store!(sessions_and_the_express_session_store_work);

fn sessions_and_the_express_session_store_work(store: Store, config: Value) {
    let test = format!("sessions_and_the_express_session_store_work::{store:?}");
    let Some(project) = Project::new(&test) else { return };
    run_tests(&project, &config, &["session", "middleware"]);
}

#[test]
fn errors_types_readme_and_the_published_tests_of_other_stores_pass() {
    let test = "errors_types_readme_and_the_published_tests_of_other_stores_pass";
    let Some(project) = Project::new(test) else { return };
    let files = ["errors", "merge", "published", "readme", "store", "types"];
    run_tests(&project, &json!({ "backend": "memory" }), &files);
}

/// Runs files of the package's tests with the instances that they ask for.
fn run_tests(project: &Project, config: &Value, files: &[&str]) {
    let site = Site::new();
    site.write("sessman.json", config.to_string());
    let store = format!("plugin=sessman&backend=memory&admin_key={ADMIN_KEY}");
    site.ini(&format!(
        "[auth]\napikey={KEY}\n[plugin_parms]\nsessman=json=sessman.json\nstore={store}\npublished={store}\n\
         limited=plugin=sessman&backend=memory&new_rate=1\n\
         bound=plugin=sessman&backend=memory&bind_ip=true\n\
         single=plugin=sessman&backend=memory&max_sessions_per_user=1&on_limit=reject\n\
         away=plugin=sessman&backend=redis&server_url=redis%3A%2F%2F127.0.0.1%3A1"
    ));
    let pserve = site.start();
    let mut node = project.node(&format!("http://{}/sessman", pserve.address()), KEY);
    node.env("SESSMAN_ADMIN_KEY", ADMIN_KEY).args(["--test", "--test-reporter=spec"]);
    let output = node.args(files.iter().map(|file| format!("test/{file}.test.js"))).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!told.contains("# pass 0"), "{told}");
}

#[test]
fn the_package_is_packed_and_installed_as_its_readme_says() {
    let Some(sources) = Sources::copy("the_package_is_packed_and_installed_as_its_readme_says") else {
        return;
    };
    let readme = sources.run("cat clients/javascript/README.md");
    let block = readme.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(block.lines().count(), 2);
    sources.run(block);
    let mut files: Vec<String> =
        sources.run("tar tzf sessman-0.1.0.tgz").lines().map(str::to_owned).collect();
    files.sort_unstable();
    let expected = [
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "package.json",
        "src/client.js",
        "src/errors.js",
        "src/express-session.js",
        "src/index.js",
        "src/merge.js",
        "src/retry.js",
        "src/session.js",
        "src/user.js",
        "types/express-session.d.ts",
        "types/index.d.ts",
    ];
    assert_eq!(files, expected.map(|file| format!("package/{file}")));
    let script = "import { Session } from 'sessman'; console.log(new Session('ada').base_url);
        await import('sessman/express-session').catch((error) => console.log(error.code, error.message));";
    let told = sources.run(&format!("node --input-type=module -e \"{script}\""));
    let (first, second) = told.split_once('\n').unwrap();
    assert_eq!(first, "http://localhost:6123/sessman");
    assert!(second.contains("ERR_MODULE_NOT_FOUND") && second.contains("'express-session'"), "{second}");
    let package: Value = serde_json::from_str(&sources.run("cat node_modules/sessman/package.json")).unwrap();
    assert!(package.get("dependencies").is_none());
    let version = concat!("\"", env!("CARGO_PKG_VERSION"), "\"");
    assert_eq!(package["version"].to_string(), version, "the package has the version of the service");
}

/// `README` is the code for pages in the package's README, without its first line, which imports `Session`.
const SCRIPT: &str = r#"
import { NotFoundError } from "/sessman/src/index.js";
const report = {};
try {
    const options = { base_url: "API/sessman", credentials: "include" };
    const session = await Session.create("ann", { ...options, data: { seen: 1 } });
    report.created = session.session_id.length;
    session.data.seen = 2;
    await session.updateSession();
    const by_id = await Session.load(session.session_id, options);
    report.by_id = by_id.data;
    await by_id.patch({ late: true });
    report.conflict = await session.updateSession().catch((error) => error.name);
    const by_cookie = await Session.load(null, options);
    report.by_cookie = [by_cookie.user, by_cookie.data, by_cookie.session_id === undefined];
    {
        README
        report.as_in_readme = session.handle === by_cookie.handle;
    }
    await by_cookie.rotate();
    report.old = await session.load().catch((error) => error instanceof NotFoundError);
    report.touched = (await by_cookie.touch()).version;
    await by_cookie.end();
    report.ended = await Session.load(null, options).catch((error) => [error.name, error.status]);
    report.path = await Session.create("ann", { base_url: "/nowhere" }).catch((error) => error.name);
    report.foreign = await Session.create("ann", { base_url: "OTHER/sessman" }).catch((error) => error.name);
} catch (error) {
    report.failed = `${error.name}: ${error.message}`;
}
await fetch("/report", { method: "POST", body: JSON.stringify(report) });
"#;

#[test]
fn a_page_imports_the_package_and_uses_a_session_in_chromium() {
    let Some(project) = Project::new("a_page_imports_the_package_and_uses_a_session_in_chromium") else {
        return;
    };
    // The page's address must be in the configuration, and the script must know the host's: a port is chosen first.
    let port = ports::free();
    let other = Site::new();
    let other_pserve = other.start();
    let readme = std::fs::read_to_string(project.path("README.md")).unwrap();
    let block = readme.split("<script type=\"module\">").nth(1).unwrap().split("</script>").next().unwrap();
    let (import, rest) = block.split_once("\n\n").unwrap();
    let script = format!("{import}\n{SCRIPT}").replace("README", rest);
    let script = script.replace("https://api.example.org", "API");
    let script = script.replace("API", &format!("http://127.0.0.1:{port}"));
    let script = script.replace("OTHER", &format!("http://{}", other_pserve.address()));
    let page = Page::serve_module(&script, &project.path("node_modules"));
    let site = Site::new();
    site.ini(&format!(
        "[network]\nport={port}\n[cors]\nenabled=true\norigin_url=http://{}\n\
         [plugin_parms]\nsessman=backend=memory\n",
        page.address
    ));
    let _pserve = site.start();
    let _browser = Browser::open(&site, &page.url("127.0.0.1"));
    let report = page.report();
    let expected = json!({
        "created": 48,
        "by_id": { "seen": 2 },
        "conflict": "ConflictError",
        "by_cookie": ["ann", { "seen": 2, "late": true }, true],
        "as_in_readme": true,
        "old": true,
        "touched": 3,
        // Its id was in the cookie, which is cleared.
        "ended": ["UnauthorizedError", 401],
        // The page's own server, which answers with no session.
        "path": "SessmanError",
        "foreign": "UnavailableError",
    });
    assert_eq!(report, expected, "{report:#}");
}

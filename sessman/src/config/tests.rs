use std::path::PathBuf;

use serde_json::json;

use super::*;
use crate::rules::{OnLimit, Sliding, UpdateMode};
use crate::store::memory::MemoryConfig;
use crate::store::mongodb::MongoConfig;
use crate::store::redis::RedisConfig;
use crate::store::sqlite::SqliteConfig;

fn read(members: Value) -> Result<Config, Vec<String>> {
    read_with(members, |_| None)
}

fn read_with(members: Value, environment: impl Fn(&str) -> Option<String>) -> Result<Config, Vec<String>> {
    let surroundings = Surroundings {
        instance: "sessman",
        state_folder: &PathBuf::from("/var/lib/pserve"),
        environment: &environment,
    };
    Config::read(members.as_object().unwrap(), &surroundings)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

/// The store, which is to be of that kind.
fn store<T: Backend>(config: &Config) -> &T {
    config.store.downcast_ref().unwrap_or_else(|| panic!("{config:?}"))
}

fn is<T: Backend>(config: &Config) -> bool {
    config.store.downcast_ref::<T>().is_some()
}

#[test]
fn an_empty_object_means_sqlite_beside_the_state_for_a_day() {
    let config = read(json!({})).unwrap();
    assert_eq!(store::<SqliteConfig>(&config).path, PathBuf::from("/var/lib/pserve/sessman.db"));
    assert_eq!(config.rules.session_ttl, Duration::from_secs(86_400));
    assert_eq!(config.cookie.unwrap().name, "PS_SESSID");
}

#[test]
fn a_server_url_alone_means_mongodb() {
    let config = read(json!({
        "username": "ps_sessman",
        "password": "a:b/c@d%{}'\"",
        "server_url": "mongo.domain.tld:27017",
        "database": "sessman",
        "session_ttl": 86400,
    }))
    .unwrap();
    let mongodb: &MongoConfig = store(&config);
    assert_eq!(mongodb.username.as_deref(), Some("ps_sessman"));
    assert!(!format!("{config:?}").contains("a:b/c"));
}

#[test]
fn the_database_of_sqlite_is_its_path_and_its_vacuum_interval_that_of_the_clean_up() {
    let members = json!({ "backend": "sqlite", "database": "sessions.db", "session_ttl": 86400, "vacuum_interval": 60 });
    let config = read(members).unwrap();
    assert_eq!(store::<SqliteConfig>(&config).path, PathBuf::from("/var/lib/pserve/sessions.db"));
    assert_eq!(config.cleanup_interval, Duration::from_secs(60));
    let both = json!({ "backend": "sqlite", "database": "a", "path": "b", "vacuum_interval": 1, "cleanup_interval": 2 });
    assert_eq!(
        read(both).unwrap_err(),
        [
            "database: means the same as `path` for SQLite; write one of them",
            "vacuum_interval: means the same as `cleanup_interval`; write one of them",
        ]
    );
    assert_eq!(read(json!({ "vacuum_interval": 0 })).unwrap_err().len(), 1);
    // A name of a database alone would be a file, where MongoDB may be meant.
    let alone = read(json!({ "database": "sessman" })).unwrap_err();
    assert_eq!(alone, ["database: say which store it is of: write `backend`, or `server_url`"]);
}

#[test]
fn files_for_tls_to_mongodb_begin_in_the_state_folder() {
    let members =
        json!({ "server_url": "h", "tls_ca_file": "ca.pem", "tls_certificate_key_file": "/etc/own.pem" });
    let config = read(members).unwrap();
    let mongodb: &MongoConfig = store(&config);
    assert_eq!(mongodb.tls_ca_file, Some(PathBuf::from("/var/lib/pserve/ca.pem")));
    assert_eq!(mongodb.tls_certificate_key_file, Some(PathBuf::from("/etc/own.pem")));
    let problems = read(json!({ "wait_replicas": 1 })).unwrap_err();
    assert_eq!(problems, ["wait_replicas: belongs to the backend redis, but the backend is sqlite"]);
    let problems = read(json!({ "server_url": "h", "tls_key_file": "k" })).unwrap_err();
    assert_eq!(problems, ["tls_key_file: belongs to the backend redis, but the backend is mongodb"]);
}

#[test]
fn mongodb_by_name_takes_its_server_from_the_environment() {
    let environment = |name: &str| (name == "MONGODB_URI").then(|| "mongodb://db.example:27018".to_owned());
    let config = read_with(json!({ "backend": "mongodb" }), environment).unwrap();
    let mongodb: &MongoConfig = store(&config);
    assert_eq!(mongodb.server_url.expose(), "mongodb://db.example:27018");
    // A server in the environment does not change the backend by itself.
    assert!(is::<SqliteConfig>(&read_with(json!({}), environment).unwrap()));
}

#[test]
fn the_scheme_of_a_server_url_or_the_backend_means_redis() {
    let redis = |members: Value| {
        let environment = |name: &str| (name == "REDIS_URL").then(|| "rediss://cache:1".into());
        store::<RedisConfig>(&read_with(members, environment).unwrap()).clone()
    };
    let url = redis(json!({ "server_url": "redis://cache.example:6380", "collection": "carts" }));
    assert_eq!((url.server_url.expose(), url.prefix.as_str()), ("redis://cache.example:6380", "carts"));
    let named =
        redis(json!({ "backend": "redis", "server_url": "a,b", "password": "", "tls_ca_file": null }));
    assert_eq!((named.server_url.expose(), named.prefix.as_str()), ("a,b", "sessman"));
    assert_eq!(redis(json!({ "backend": "redis", "database": 3 })).server_url.expose(), "rediss://cache:1");
    for database in [json!(3), json!("3")] {
        let numbered = redis(json!({ "server_url": "redis://h", "database": database }));
        assert_eq!(numbered.database.as_deref(), Some("3"));
    }
    let files = redis(json!({ "server_url": "rediss://h", "tls_ca_file": "ca.pem" }));
    assert_eq!(files.tls_ca_file, Some(PathBuf::from("/var/lib/pserve/ca.pem")));
    // A server in the environment does not change the backend by itself.
    assert!(is::<SqliteConfig>(&read_with(json!({}), |_| Some("x".into())).unwrap()));
    let problems =
        read(json!({ "server_url": "redis://u:hidden@h:port", "auth_source": "admin" })).unwrap_err();
    assert_eq!(
        problems,
        [
            "auth_source: belongs to the backend mongodb, but the backend is redis",
            "server_url: has a host or port that is not one; expected host:port[,host:port]",
        ]
    );
    let wrong_type = read(json!({ "server_url": "redis://h", "database": true })).unwrap_err();
    assert_eq!(wrong_type, ["database: expected text, or a whole number"]);
}

#[test]
fn every_problem_is_told_at_once_and_none_tells_a_secret() {
    let problems = read(json!({
        "backend": "sqlite",
        "sesion_ttl": 5,
        "session_ttl": 0,
        "durability": "none",
        "cookie": { "same_site": "maybe", "nam": "x" },
    }))
    .unwrap_err();
    // What is misspelt comes first, as the rest cannot be judged without it.
    assert_eq!(problems, ["sesion_ttl: unknown key; did you mean `session_ttl`?"]);
    let problems = read(json!({
        "backend": "sqlite",
        "password": "hunter2",
        "session_ttl": "0",
        "durability": "none",
        "cookie": { "same_site": "maybe", "name": "a b" },
    }))
    .unwrap_err();
    assert_eq!(
        problems,
        [
            "password: belongs to the backend mongodb or redis, but the backend is sqlite",
            "durability: expected full or normal",
            "session_ttl: expected 1 to 3153600000 seconds",
            "cookie.name: expected letters, digits and !#$%&'*+-.^_`|~",
            "cookie.same_site: expected Strict, Lax or None",
        ]
    );
    let choices = read(json!({ "client_access": "all", "allow_open_login": "maybe" })).unwrap_err();
    assert_eq!(
        choices,
        [
            "allow_open_login: expected true or false (also on/off, 1/0, enable/disable, enabled/disabled, yes/no)"
        ]
    );
    let choices = read(json!({ "client_access": "all" })).unwrap_err();
    assert_eq!(choices, ["client_access: expected none, read or write"]);
    let wrong_type = read(json!({ "password": 12345, "server_url": "h" })).unwrap_err();
    assert_eq!(wrong_type, ["password: expected text"]);
}

#[test]
fn parameters_of_an_ini_line_are_all_text() {
    let config = read(json!({
        "backend": "memory",
        "session_ttl": "604800",
        "update_mode": "merge",
        "max_memory_bytes": "1000000",
        "cookie": "false",
    }))
    .unwrap();
    assert_eq!(store::<MemoryConfig>(&config).max_bytes, 1_000_000);
    let cached = |members| store::<SqliteConfig>(&read(members).unwrap()).cache_bytes;
    assert_eq!((cached(json!({ "cache_bytes": "0" })), cached(json!({}))), (0, 64 << 20));
    assert_eq!(config.rules.update_mode, UpdateMode::Merge);
    assert_eq!(config.cookie, None);
}

#[test]
fn rules_are_read_and_reading_is_activity_once_there_is_an_idle_timeout() {
    let rules = |members: Value| read(members).map(|config| config.rules);
    let plain = rules(json!({})).unwrap();
    assert_eq!((plain.sliding, plain.idle_timeout, plain.max_sessions_per_user), (None, None, None));
    let idle = rules(json!({ "idle_timeout": "3600", "touch_interval": 0 })).unwrap();
    assert_eq!((idle.sliding, idle.idle_timeout), (None, Some(Duration::from_secs(3_600))));
    assert_eq!(idle.touch_interval, Some(Duration::ZERO));
    let said = rules(json!({ "idle_timeout": 60, "sliding": "update" })).unwrap();
    assert_eq!(said.sliding, Some(Sliding::Update));
    let limited = rules(json!({ "max_sessions_per_user": 1, "on_limit": "reject", "new_rate": 5 })).unwrap();
    assert_eq!((limited.max_sessions_per_user, limited.on_limit), (Some(1), OnLimit::Reject));
    assert_eq!(limited.new_rate, Some(5));
    assert_eq!(rules(json!({ "max_sessions_per_user": 0, "new_rate": 0 })).unwrap(), plain);
    assert_eq!(
        rules(json!({
            "idle_timeout": 0, "sliding": "always", "max_sessions_per_user": 1_001, "max_data_bytes": 1,
            "new_rate": 60_001, "absolute_ttl": 0, "on_limit": "drop",
        }))
        .unwrap_err(),
        [
            "idle_timeout: expected 1 to 3153600000 seconds",
            "max_sessions_per_user: expected 0 to 1000 sessions",
            "max_data_bytes: expected 2 to 1048576 bytes",
            "new_rate: expected 0 to 60000 sessions a minute",
            "sliding: expected update or access",
            "absolute_ttl: expected 1 to 3153600000 seconds",
            "on_limit: expected evict_oldest or reject",
        ]
    );
}

#[test]
fn an_admin_key_is_a_text_or_a_list_and_never_shown() {
    assert!(read(json!({})).unwrap().access.admin_keys.is_none());
    assert!(read(json!({ "admin_key": "" })).unwrap().access.admin_keys.is_none());
    for value in [json!("first long key"), json!(["another long key", "first long key"])] {
        let config = read(json!({ "admin_key": value })).unwrap();
        assert!(!format!("{config:?}").contains("first"));
        let keys = config.access.admin_keys.unwrap();
        assert!(keys.accept(b"first long key"));
        for no in ["", "first", "first long key ", "First long key"] {
            assert!(!keys.accept(no.as_bytes()), "{no:?}");
        }
    }
    for value in [
        json!([]),
        json!([""]),
        json!(["a good long key", ""]),
        json!(5),
        json!(["\u{fc}twelve-letters"]),
        json!("11-letters."),
        json!({}),
    ] {
        let problems = read(json!({ "admin_key": value })).unwrap_err();
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert!(
            problem.starts_with("admin_key: expected a text of at least 12 visible ASCII characters"),
            "{problem}"
        );
    }
}

#[test]
fn a_verify_key_is_long_never_shown_and_signs_as_others_do() {
    assert!(read(json!({})).unwrap().access.verify_key.is_none());
    let config = read(json!({ "verify_key": "0123456789abcdef0123456789abcdef" })).unwrap();
    assert!(!format!("{config:?}").contains("0123"));
    // As Python's hmac has it.
    let signature = config.access.verify_key.unwrap().sign("1790000000:ada:AAAAAAAAAAAAAAAA");
    assert_eq!(signature[..4], [0x74, 0x85, 0x16, 0x52]);
    for value in ["", "too short by one character.....", "0123456789abcdef0123456789abcd\u{fc}"] {
        let problems = read(json!({ "verify_key": value })).unwrap_err();
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert!(problem.starts_with("verify_key: expected a text of at least 32 visible ASCII"), "{problem}");
    }
}

#[test]
fn encryption_keys_are_32_bytes_in_any_usual_spelling() {
    let base64 = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let url_safe = "__________________________________________8";
    for keys in [json!(base64), json!(base64.trim_end_matches('=')), json!(["0a".repeat(32), url_safe])] {
        assert!(read(json!({ "encryption_keys": keys })).unwrap().encryption.is_some(), "{keys}");
    }
    assert!(read(json!({})).unwrap().encryption.is_none());
    for keys in
        [json!(""), json!([]), json!("hidden"), json!(5), json!([base64, "0a"]), json!("0x".repeat(32))]
    {
        let problems = read(json!({ "encryption_keys": keys })).unwrap_err();
        assert!(problems.len() == 1 && problems[0].contains("openssl rand"), "{problems:?}");
        assert!(!problems[0].contains("hidden"));
    }
    assert!(read(json!({ "accept_unencrypted": true })).is_err());
    assert!(read(json!({ "record_macs": "required" })).is_err());
    for (word, is_good) in [("required", true), ("optional", true), ("off", true), ("none", false)] {
        let read = read(json!({ "encryption_keys": base64, "record_macs": word }));
        assert_eq!(read.is_ok(), is_good, "{word}");
    }
}

#[test]
fn the_documented_defaults_are_those_that_count() {
    let schema = include_str!("../../../docs/schema/sessman.schema.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    let mut defaults = 0;
    for key in &settings::all_keys(&parts()) {
        let documented = schema["properties"].get(key).unwrap_or_else(|| panic!("{key} is not documented"));
        let Some(default) = documented.get("default") else { continue };
        let mut members = json!({});
        match *key {
            "max_memory_bytes" => members["backend"] = json!("memory"),
            "wait_replicas" => members["backend"] = json!("redis"),
            _ => {}
        }
        let without = format!("{:?}", read(members.clone()).unwrap());
        // Without keys it is refused, whatever it says.
        if !["accept_unencrypted", "record_macs"].contains(key) {
            members[key] = default.clone();
        }
        assert_eq!(format!("{:?}", read(members).unwrap()), without, "{key}");
        defaults += 1;
    }
    assert!(defaults > 15, "{defaults}");
}

#[test]
fn a_cookie_that_browsers_would_drop_is_refused() {
    let cookie = |cookie: Value| read(json!({ "cookie": cookie }));
    for (wrong, said) in [
        (json!({ "name": "n".repeat(4_049) }), "cookie.name: expected at most 4048 characters"),
        (
            json!({ "path": format!("/{}", "p".repeat(1_024)) }),
            "cookie.path: expected at most 1024 characters",
        ),
        (json!({ "domain": "d".repeat(1_025) }), "cookie.domain: expected at most 1024 characters"),
        (
            json!({ "name": "__host-sid", "path": "/app" }),
            "cookie.name: with __Host- browsers take no domain and no path but /",
        ),
    ] {
        assert_eq!(cookie(wrong).unwrap_err(), [said]);
    }
    for (good, secure) in [
        (json!({ "name": "n".repeat(4_048) }), false),
        (json!({ "name": "__Host-sid" }), true),
        (json!({ "name": "__secure-sid", "path": "/app" }), true),
        (json!({ "same_site": "None" }), true),
        (json!({ "same_site": "Strict" }), false),
    ] {
        assert_eq!(cookie(good).unwrap().cookie.unwrap().wants_secure(), secure);
    }
}

#[test]
fn what_cannot_be_seen_is_in_no_text_of_any_key() {
    let keys = settings::all_keys(&parts());
    let members = ["cookie.name", "cookie.path", "cookie.domain", "cookie.same_site"];
    for key in keys.iter().chain(&members) {
        let written = |value: Value| match key.split_once('.') {
            Some((outer, inner)) => json!({ outer: { inner: value } }),
            None => json!({ *key: value }),
        };
        for value in ["hidden\n", "hid\r\nden", "hidden\t", "\u{feff}hidden", "hid\u{2028}den", "hidden\0"] {
            let found = read(written(json!(value))).unwrap_err();
            assert!(found[0].starts_with(&format!("{key}: ")) && found[0].contains("write it"), "{found:?}");
            assert!(found.iter().all(|problem| !problem.contains("hid")), "{found:?}");
            if ["admin_key", "encryption_keys"].contains(key) {
                let in_list = read(written(json!(["x", value]))).unwrap_err();
                assert!(in_list[0].contains("write it"), "{in_list:?}");
            }
        }
        for blank in [" x", "x ", "x\u{a0}"] {
            let found = read(written(json!(blank)));
            match *key {
                // It is the user's own affair.
                "password" => {
                    let login = json!({ "server_url": "h", "username": "u", "password": blank });
                    assert!(read(login).is_ok());
                }
                _ => assert!(found.unwrap_err()[0].contains("white space"), "{key}"),
            }
        }
    }
    for (name, backend) in [("MONGODB_URI", "mongodb"), ("REDIS_URL", "redis")] {
        let environment = |asked: &str| (asked == name).then(|| "hidden:1\n".to_owned());
        let found = read_with(json!({ "backend": backend }), environment).unwrap_err();
        assert_eq!(found, [format!("{name}: a line break in it; write it on one line")]);
        // It does not count.
        assert!(read_with(json!({ "backend": backend, "server_url": "h" }), environment).is_ok());
    }
}

#[test]
fn options_that_a_store_does_not_have_are_refused_with_what_to_write() {
    for (url, said) in [
        ("mongodb://h/?socketTimeoutMS=1000", "socketTimeoutMS, which there is not here: leave it out"),
        ("mongodb://h/?tls=true&tlsAllowInvalidHostnames=true", "name the server as its certificate does"),
        ("mongodb://h/?TLSALLOWINVALIDHOSTNAMES=false", "name the server as its certificate does"),
        ("mongodb://h/?tls=true&tlsCertificateKeyFilePassword=hidden", "without a password"),
        ("rediss://h/?ssl_cert_reqs=none", "tls_ca_file"),
        ("valkeys://h/?ssl_cert_reqs=none", "tls_ca_file"),
        ("http://h", "mongodb://"),
        ("http://h", "redis://"),
    ] {
        let found = read(json!({ "server_url": url })).unwrap_err();
        assert!(
            found.len() == 1 && found[0].starts_with("server_url: ") && found[0].contains(said),
            "{url}: {found:?}"
        );
    }
    for url in ["valkey://h", "Valkeys://h:1/2", "REDIS://h"] {
        assert!(is::<RedisConfig>(&read(json!({ "server_url": url })).unwrap()), "{url}");
    }
}

#[test]
fn the_domain_of_a_cookie_is_a_name_and_nothing_else() {
    let domain = |domain: &str| read(json!({ "cookie": { "domain": domain } }));
    for fine in ["example.org", ".example.org", "localhost", "a-b.xn--bcher-kva.example", "127.0.0.1"] {
        assert_eq!(domain(fine).unwrap().cookie.unwrap().domain.as_deref(), Some(fine));
    }
    for wrong in [
        "",
        ".",
        "..a",
        "a..b",
        "example.org.",
        "example.org:8080",
        "https://example.org",
        "example.org/",
        "*.example.org",
        "example.org,b",
        "[::1]",
        "b\u{fc}cher.example",
        "a b",
        "a;Path=/",
    ] {
        let found = domain(wrong).unwrap_err();
        assert!(found[0].starts_with("cookie.domain: expected a domain name"), "{wrong}: {found:?}");
    }
}

#[test]
fn two_configurations_may_name_one_place() {
    let place = |members: Value| read(members).unwrap().store;
    let same = |one: Value, other: Value| place(one).is_same_place(&*place(other));
    let server = || json!({ "server_url": "redis://h/1" });
    assert!(same(server(), server()) && same(json!({}), json!({ "backend": "sqlite" })));
    assert!(!same(server(), json!({ "server_url": "redis://h/1", "collection": "carts" })));
    assert!(!same(json!({ "server_url": "h" }), server()));
    assert!(!same(json!({ "backend": "memory" }), json!({ "backend": "memory" })));
}

use mongodb::options::ReadConcern;

use super::*;

fn config(server_url: &str) -> MongoConfig {
    MongoConfig {
        server_url: Secret::new(server_url),
        username: None,
        password: None,
        database: "sessman".into(),
        collection: "sessions".into(),
        auth_source: None,
        tls_ca_file: None,
        tls_certificate_key_file: None,
    }
}

fn with_login(server_url: &str, username: &str, password: &str) -> MongoConfig {
    MongoConfig {
        username: Some(username.into()),
        password: Some(Secret::new(password)),
        ..config(server_url)
    }
}

fn options(config: MongoConfig) -> ClientOptions {
    let config = config.check().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(config.client_options()).unwrap()
}

fn credential(config: MongoConfig) -> (String, Option<String>, Option<String>) {
    let credential = options(config).credential.unwrap();
    (credential.username.unwrap_or_default(), credential.password, credential.source)
}

#[test]
fn hosts_come_with_or_without_a_url() {
    let hosts =
        |text: &str| -> Vec<String> { options(config(text)).hosts.iter().map(ToString::to_string).collect() };
    assert_eq!(hosts("mongo.domain.tld:27018"), ["mongo.domain.tld:27018"]);
    assert_eq!(hosts("mongo.domain.tld"), ["mongo.domain.tld:27017"]);
    assert_eq!(hosts("a:1,b:2"), ["a:1", "b:2"]);
    assert_eq!(hosts("mongodb://a:1,b:2/?replicaSet=rs0"), ["a:1", "b:2"]);
    assert_eq!(hosts("[::1]:27018"), ["::1:27018"]);
    assert_eq!(options(config("mongodb://a/?replicaSet=rs0")).repl_set_name.as_deref(), Some("rs0"));
    config("mongodb+srv://cluster0.example.net/?appName=x").check().unwrap();
}

#[test]
fn user_and_password_may_have_any_characters() {
    for password in ["p@ss:w/rd?#[]%", "%40", "ü 😀", "&=,+;", "mongodb://x@y/"] {
        for url in ["h:1", "mongodb://h:1", "mongodb://h:1/?tls=false"] {
            let found = credential(with_login(url, "ps@sess:man/%", password));
            assert_eq!(found, ("ps@sess:man/%".into(), Some(password.into()), Some("sessman".into())));
        }
    }
}

#[test]
fn the_database_that_knows_the_user_is_found() {
    let source = |url: &str, auth_source: Option<&str>| {
        let config = MongoConfig { auth_source: auth_source.map(Into::into), ..with_login(url, "u", "p") };
        credential(config).2.unwrap()
    };
    assert_eq!(source("h", None), "sessman");
    assert_eq!(source("mongodb://h/users", None), "users");
    assert_eq!(source("mongodb://h/users?authSource=admin", None), "admin");
    assert_eq!(source("mongodb://h/?authMechanism=SCRAM-SHA-256", None), "sessman");
    assert_eq!(source("mongodb://h/users?authSource=admin", Some("other")), "other");

    let in_url = |url: &str| credential(config(url));
    assert_eq!(in_url("mongodb://u:p%40@h"), ("u".into(), Some("p@".into()), Some("admin".into())));
    assert_eq!(in_url("mongodb://u:p@h/users").2.as_deref(), Some("users"));
}

#[test]
fn a_certificate_needs_no_password() {
    let url = "mongodb://h/?authMechanism=MONGODB-X509&tls=true";
    let certificate = MongoConfig { password: None, ..with_login(url, "CN=sessman", "") };
    assert_eq!(credential(certificate).2.as_deref(), Some("$external"));
    let none = MongoConfig { password: None, ..with_login("h", "u", "") };
    assert_eq!(none.check().unwrap_err().key, "server_url");
}

#[test]
fn majority_primary_and_time_limits_hold_whatever_the_url_says() {
    let url =
        "mongodb://h/?w=1&readPreference=secondary&serverSelectionTimeoutMS=30000&journal=true&maxPoolSize=7";
    let options = options(config(url));
    let write_concern = options.write_concern.unwrap();
    assert_eq!(write_concern.w, Some(Acknowledgment::Majority));
    assert_eq!((write_concern.journal, write_concern.w_timeout), (Some(true), Some(SERVER_LIMIT)));
    assert_eq!(options.selection_criteria, Some(ReadPreference::Primary.into()));
    assert_eq!(options.server_selection_timeout, Some(SERVER_LIMIT));
    assert_eq!(options.max_pool_size, Some(7));
    assert_eq!((options.retry_writes, options.retry_reads), (None, None));
    for (url, expected) in [("wTimeoutMS=0", 1_500), ("wTimeoutMS=60000", 1_500), ("wTimeoutMS=200", 200)] {
        let limit = self::options(config(&format!("mongodb://h/?{url}"))).write_concern.unwrap().w_timeout;
        assert_eq!(limit, Some(Duration::from_millis(expected)), "{url}");
    }
}

#[test]
fn options_of_the_url_reach_the_driver() {
    let url = "mongodb://h/?minPoolSize=3&maxIdleTimeMS=9000&compressors=zstd,zlib,snappy&appName=shop\
               &readConcernLevel=linearizable&retryWrites=false&directConnection=true";
    let options = options(config(url));
    assert_eq!((options.min_pool_size, options.max_pool_size), (Some(3), Some(POOL_SIZE)));
    assert_eq!(options.max_idle_time, Some(Duration::from_secs(9)));
    let compressors = format!("{:?}", options.compressors.unwrap()).to_lowercase();
    assert!(["zstd", "zlib", "snappy"].iter().all(|name| compressors.contains(name)), "{compressors}");
    assert_eq!(options.app_name.as_deref(), Some("shop"));
    assert_eq!(options.read_concern, Some(ReadConcern::linearizable()));
    assert_eq!((options.retry_writes, options.direct_connection), (Some(false), Some(true)));
    assert_eq!(self::options(config("h")).app_name.as_deref(), Some("sessman"));
    assert_eq!(config("mongodb://h/?compressors=lz4").check().unwrap_err().key, "server_url");
}

#[test]
fn files_for_tls_come_from_keys_or_from_the_url() {
    let folder = tempfile::tempdir().unwrap();
    let [ca, own] = ["ca.pem", "own.pem"].map(|name| folder.path().join(name));
    for file in [&ca, &own] {
        std::fs::write(file, "").unwrap();
    }
    let keys = MongoConfig {
        tls_ca_file: Some(ca.clone()),
        tls_certificate_key_file: Some(own.clone()),
        ..config("h")
    };
    let in_url =
        format!("mongodb://h/?tls=true&tlsCAFile={}&tlsCertificateKeyFile={}", ca.display(), own.display());
    for config in [keys.clone(), config(&in_url)] {
        let Some(Tls::Enabled(tls)) = options(config).tls else { panic!("no TLS") };
        assert_eq!((tls.ca_file_path, tls.cert_key_file_path), (Some(ca.clone()), Some(own.clone())));
    }
    for url in [in_url.as_str(), "mongodb://h/?tls=false", "mongodb://h/?ssl=false"] {
        let both = MongoConfig { server_url: Secret::new(url), ..keys.clone() };
        assert_eq!(both.check().unwrap_err().key, "server_url", "{url}");
    }
    std::fs::remove_file(&own).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = runtime.block_on(keys.client_options()).unwrap_err();
    assert!(matches!(&error, StoreError::Unusable(text) if text.contains("own.pem")), "{error:?}");
}

#[test]
fn what_cannot_be_is_refused_at_its_key() {
    let wrong = |change: fn(&mut MongoConfig)| {
        let mut config = config("h:1");
        change(&mut config);
        config.check().unwrap_err().key
    };
    assert_eq!(wrong(|config| config.database = "a.b".into()), "database");
    assert_eq!(wrong(|config| config.database = "x".repeat(64)), "database");
    assert_eq!(wrong(|config| config.collection = String::new()), "collection");
    assert_eq!(wrong(|config| config.collection = "system.users".into()), "collection");
    assert_eq!(wrong(|config| config.auth_source = Some(String::new())), "auth_source");
    assert_eq!(wrong(|config| config.username = Some(String::new())), "username");
    assert_eq!(wrong(|config| config.password = Some(Secret::new("p"))), "password");
    assert_eq!(wrong(|config| config.server_url = Secret::new("")), "server_url");
    assert_eq!(with_login("mongodb://u:p@h", "v", "q").check().unwrap_err().key, "server_url");
}

#[test]
fn nothing_shows_the_password() {
    let secret = with_login("mongodb://h", "u", "hidden");
    assert!(!format!("{secret:?} {:?}", config("mongodb://u:hidden@h")).contains("hidden"));
    let urls = [
        "mongodb://u:hid?den=hidden@h/",
        "mongodb://u:hidden/hidden@h/",
        "mongodb://u:hidden@hidden@h",
        "mongodb://u:%hidden@h",
        "mongodb://u:hidden@h:port",
        "mongodb://u:hidden@h/a b.c",
        "mongodb://u:hidden",
        "mongodb://u:hidden@h/?hidden",
        "mongodb://u:hidden@h/?tls=hidden",
        "mongodb://h/?hidden=1",
        "mongodb://h/?authMechanismProperties=hidden",
        "http://u:hidden@h",
        "u:hidden@h",
        "mongodb+srv://u:hidden@h:1",
        "mongodb+srv://u:hidden@a,b",
        "mongodb://u:hidden@a,b/?directConnection=true",
        "mongodb://h hidden/",
        "mongodb://h/?readPreference=hidden",
        "mongodb://:hidden@h",
        "mongodb://u:hidden@h/?tls=true&tls=false",
    ];
    for url in urls {
        let problem = config(url).check().expect_err(url);
        assert!(!problem.to_string().contains("hid") && !format!("{problem:?}").contains("den"), "{problem}");
    }
}

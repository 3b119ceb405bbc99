//! The whole way: from a file and an environment to a `Config` or to its problems.

mod sections;

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use std::time::Duration;

use tracing::Level;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn load(&self, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Config::load_with(&self.path().join("p.ini"), environment)
    }
}

fn load(text: &str) -> Config {
    Folder::new(&[("p.ini", text)]).load(&[]).unwrap()
}

/// The problems, without the folder in their places.
fn problems(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let folder = Folder::new(&[("p.ini", text)]);
    match folder.load(environment) {
        Ok(_) => panic!("the configuration was accepted"),
        Err(ConfigError::Invalid(problems)) => {
            let prefix = format!("{}/", folder.path().display());
            problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect()
        }
        Err(error) => panic!("{error}"),
    }
}

fn instance(files: &[(&str, &str)], environment: &[(&str, &str)]) -> Result<InstanceConfig, String> {
    let config = Folder::new(files).load(environment).map_err(|error| error.to_string())?;
    let line = config.instances.into_iter().next().unwrap();
    line.config.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn parameters(files: &[(&str, &str)], environment: &[(&str, &str)]) -> Value {
    serde_json::from_str(instance(files, environment).unwrap().parameters.json()).unwrap()
}

#[test]
fn the_documented_defaults_are_those_that_count() {
    let schema = include_str!("../../../docs/schema/pserve.schema.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    let base = "[cors]\nenabled=on\norigin_url=*\n";
    let mut text = String::new();
    let mut defaults = 0;
    for (name, section) in schema["properties"].as_object().unwrap() {
        // Without origins the rest of it is not looked at.
        text.push_str(&if name == "cors" { base.to_owned() } else { format!("[{name}]\n") });
        for (key, of) in section["properties"].as_object().into_iter().flatten() {
            // One turns something on, and the other has no effect without documents.
            let is_left_out = ["enabled", "indexfile"].contains(&key.as_str());
            if let Some(default) = of.get("default").filter(|_| !is_left_out) {
                text.push_str(&format!("{key}={}\n", default.as_str().unwrap_or(&default.to_string())));
                defaults += 1;
            }
        }
    }
    let parse = |text: &str| Config::parse("p.ini", text.to_owned(), Vec::new(), Path::new("/etc/pserve"));
    let written = format!("{:?}", parse(&text).unwrap());
    assert_eq!(written, format!("{:?}", parse(base).unwrap()));
    assert!(defaults > 15, "{defaults}");
}

#[test]
fn an_empty_file_is_all_defaults() {
    let folder = Folder::new(&[("p.ini", "")]);
    let config = folder.load(&[]).unwrap();
    assert_eq!(config.network.address.to_string(), "127.0.0.1:6123");
    assert_eq!(config.paths.plugins, folder.path().join("plugins"));
    assert_eq!(config.paths.state, folder.path().join("state"));
    assert!(config.auth.keys.is_empty() && !config.auth.allow_query_key);
    assert_eq!(config.limits.max_body, 1 << 20);
    assert_eq!(config.log.level, Level::INFO);
    assert!(config.instances.is_empty());
}

#[test]
fn every_key_of_every_section() {
    let config = load(
        "[network]\nbindto=::1\nport=int:0\nthreads=2\n[paths]\nplugins=/p\nstate=../s\npidfile=pid\n\
         [auth]\napikey=list:a b\nallow_query_key=enabled\n[limits]\nmax_body=1\nheader_timeout=2\n\
         request_timeout=3\nkeepalive_timeout=4\nmax_connections=5\nmax_in_flight=6\nshutdown_grace=7\n\
         [log]\nlevel=Debug\nformat=json\nfile=${paths:pidfile}.log\naccess=bool:on\n",
    );
    assert_eq!(config.network.address.to_string(), "[::1]:0");
    assert_eq!(config.network.threads, Some(2));
    assert_eq!(config.paths.plugins, Path::new("/p"));
    assert!(config.auth.keys.accept(b"a") && config.auth.keys.accept(b"b") && config.auth.allow_query_key);
    assert_eq!(config.limits.shutdown_grace, Duration::from_secs(7));
    assert_eq!((config.log.level, config.log.format), (Level::DEBUG, LogFormat::Json));
    assert!(config.log.access && config.log.file.unwrap().ends_with("pid.log"));
}

#[test]
fn all_problems_at_once_with_file_line_and_key() {
    let text = "stray\n[network]\nprot=1\nport=many\nbindto=nowhere\n[pahts]\n[limits]\nheader_timeout=0\n\
                max_body=${ENV:UNSET_HERE}\n[log]\nlevel=loud\n[plugin_parms]\nx=json=\n";
    assert_eq!(
        problems(text, &[("PSERVE_AUTH_APIKEYS", "hidden")]),
        [
            "p.ini:1: a line before the first `[section]` header",
            "p.ini:6: unknown section [pahts]; did you mean [paths]? A section of your own needs a name that is less like it",
            "p.ini:3: [network] prot: unknown key; did you mean `port`?",
            "p.ini:4: [network] port: expected a whole number from 0 to 65535",
            "p.ini:5: [network] bindto: expected an IP address or `localhost`",
            "PSERVE_AUTH_APIKEYS: [auth] apikeys: unknown key; did you mean `apikey`?",
            "p.ini:9: [limits] max_body: the environment variable UNSET_HERE is not set (or not UTF-8); \
             `${ENV:UNSET_HERE:-text}` gives a default",
            "p.ini:8: [limits] header_timeout: expected 1 to 86400 seconds",
            "p.ini:11: [log] level: expected error, warn, info, debug or trace",
            "p.ini:13: [plugin_parms] x: `json=` without a file name",
        ]
    );
}

#[test]
fn memory_with_a_unit_is_told_how_it_is_written() {
    for written in ["512M", "1 GiB", "33554432", "0"] {
        assert_eq!(
            problems(&format!("[limits]\nmax_memory={written}\n"), &[]),
            [
                "p.ini:2: [limits] max_memory: expected 67108864 to 1125899906842624 bytes, as a whole number without a \
              unit: 536870912 is 512 MiB"
            ]
        );
    }
}

#[test]
fn what_others_reach_is_off_until_it_is_written() {
    let config = load("[ssl]\ncertfile=c\n[cors]\norigin_url=https://a.test\n");
    assert!(config.tls.is_none() && config.cors.is_none() && config.network.unix_socket.is_none());
    assert!(!config.proxies.trusts(None) && !config.proxies.trusts("127.0.0.1".parse().ok()));
}

#[test]
fn origins_proxies_and_the_unix_socket() {
    let config = load(
        "[network]\nunix_socket=/run/p.sock\n[cors]\nenabled=on\norigin_url=list:https://a.test http://b.test:80\n\
         max_age=60\n[proxy]\ntrusted=list:10.0.0.0/8 unix\n",
    );
    assert_eq!(config.network.unix_socket.as_deref(), Some(Path::new("/run/p.sock")));
    let origins = Origins::Exact(vec!["https://a.test".to_owned(), "http://b.test".to_owned()]);
    assert_eq!(config.cors, Some(Cors { origins, max_age: Duration::from_secs(60) }));
    assert!(config.proxies.trusts(None) && config.proxies.trusts("10.1.2.3".parse().ok()));
}

#[test]
fn what_is_wrong_with_tls_cors_and_proxies_is_said_with_its_place() {
    let text = "[ssl]\nenabled=true\ncertfile=none.pem\nmin_version=1.1\n[cors]\nenabled=true\n\
                [proxy]\ntrusted=localhost\n";
    let found = problems(text, &[]);
    for (problem, said) in found.iter().zip([
        "p.ini:4: [ssl] min_version: expected 1.2 or 1.3",
        "p.ini:1: [ssl] keyfile: TLS is enabled, so a PEM file must be named",
        "p.ini:5: [cors] origin_url: expected an origin, several after `list:`, or `*`",
        "p.ini:8: [proxy] trusted: expected IP addresses,",
    ]) {
        assert!(problem.starts_with(said), "{problem}");
    }
    assert_eq!(found.len(), 4);
    let found = problems("[ssl]\nenabled=true\ncertfile=none.pem\nkeyfile=none.pem\n", &[]);
    assert!(found[0].starts_with("p.ini:3: [ssl] certfile: cannot read none.pem: "), "{found:?}");
}

#[test]
fn no_problem_quotes_a_value() {
    let text = "[auth]\napikey=hidden$hidden\nallow_query_key=hidden\n[network]\nport=int:hidden\n\
                [plugin_parms]\na=hidden\nb=apikey=&auth_type=hidden\nc=json=f&password=hidden\n";
    let folder = Folder::new(&[("p.ini", text)]);
    let error = folder.load(&[("PSERVE_LIMITS_MAX_BODY", "hidden")]).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hidden"), "{error}");
    let config =
        Folder::new(&[("p.ini", "[plugin_parms]\nb=apikey=k&auth_type=hidden\n")]).load(&[]).unwrap();
    assert!(!format!("{config:?}").contains("hidden"));
}

#[test]
fn the_environment_overrides_the_file_and_is_literal() {
    let folder = Folder::new(&[("p.ini", "[auth]\napikey=file\n[network]\nport=1\n")]);
    let variables = [("PSERVE_AUTH_APIKEY", "a$b${c}"), ("PSERVE_NETWORK_PORT", "2")];
    let config = folder.load(&variables).unwrap();
    assert!(config.auth.keys.accept(b"a$b${c}") && !config.auth.keys.accept(b"file"));
    assert_eq!(config.network.address.port(), 2);
}

#[test]
fn paths_from_the_environment_are_relative_to_the_current_directory() {
    let folder = Folder::new(&[("p.ini", "")]);
    let config = folder.load(&[("PSERVE_PATHS_PLUGINS", "here")]).unwrap();
    assert_eq!(config.paths.plugins, std::env::current_dir().unwrap().join("here"));
}

#[test]
fn the_file_must_be_utf8_and_there() {
    let folder = Folder::new(&[]);
    assert!(matches!(folder.load(&[]), Err(ConfigError::Read { .. })));
    std::fs::write(folder.path().join("p.ini"), b"[auth]\n\xff=1\n").unwrap();
    assert!(folder.load(&[]).unwrap_err().to_string().contains("p.ini:2: not UTF-8"));
}

#[test]
fn the_two_spellings_of_a_json_file() {
    let json = "{\n  // local\n  \"server_url\": \"host:27017\", \"session_ttl\": 86400,\n}\n";
    for line in ["s=json=s.json", "S = json:s.json", "s: json=s.json"] {
        let ini = format!("[plugin_parms]\n{line}\n");
        let found = parameters(&[("p.ini", &ini), ("s.json", json)], &[]);
        assert_eq!(found, json!({ "server_url": "host:27017", "session_ttl": 86400 }), "{line}");
    }
}

#[test]
fn a_json_file_beside_the_ini_file_comes_first_and_the_plugin_folder_next() {
    let ini = ("p.ini", "[plugin_parms]\ns=json=s.json\n");
    let both = [ini, ("s.json", "{a: 1}"), ("plugins/s.json", "{a: 2}")];
    assert_eq!(parameters(&both, &[]), json!({ "a": 1 }));
    assert_eq!(parameters(&[ini, ("plugins/s.json", "{a: 2}")], &[]), json!({ "a": 2 }));
    let message = instance(&[ini], &[]).unwrap_err();
    assert!(message.contains("s.json nor "), "{message}");
}

#[test]
fn pairs_are_url_encoded_and_may_be_typed() {
    let ini = "[plugin_parms]\ns=a=1&b=int:2&c=x%26y+z&d=list:p+q&e=\n";
    let expected = json!({ "a": "1", "b": 2, "c": "x&y z", "d": ["p", "q"], "e": "" });
    assert_eq!(parameters(&[("p.ini", ini)], &[]), expected);
}

#[test]
fn an_empty_line_is_an_empty_object() {
    assert_eq!(parameters(&[("p.ini", "[plugin_parms]\ns=\n")], &[]), json!({}));
}

#[test]
fn a_secret_from_the_environment_cannot_become_another_parameter() {
    let ini = "[plugin_parms]\ns=password=${ENV:PW}&user=${ENV:USER_NAME:-me}\n";
    for secret in ["a&b=c", "int:5", "100%25", "a+b c", "json=x"] {
        let found = parameters(&[("p.ini", ini)], &[("PW", secret)]);
        assert_eq!(found, json!({ "password": secret, "user": "me" }));
    }
}

#[test]
fn json_strings_are_interpolated_and_passwords_stay_as_they_are() {
    let ini = "[plugin_parms]\ns=json=s.json\n[network]\nport=7\n";
    let json =
        r#"{p: "${ENV:PW}", q: "pa$$w${rd", r: "$${ENV:PW}", l: ["${network:port}"], n: "${ENV:N:-8}"}"#;
    let found = parameters(&[("p.ini", ini), ("s.json", json)], &[("PW", "x\"y")]);
    let expected = json!({ "p": "x\"y", "q": "pa$$w${rd", "r": "${ENV:PW}", "l": ["7"], "n": "8" });
    assert_eq!(found, expected);
    let message = instance(&[("p.ini", ini), ("s.json", "{a: {b: '${ENV:NONE}'}}")], &[]).unwrap_err();
    assert!(message.contains("s.json: a.b: the environment variable NONE is not set"), "{message}");
}

#[test]
fn host_keys_stand_beside_json_or_in_the_file_and_do_not_reach_the_plugin() {
    let ini = ("p.ini", "[plugin_parms]\none=json=s.json&route_path=/api/v1/&apikey=k\n");
    let found = instance(&[ini, ("s.json", "{plugin: 'SessMan', auth_type: 'plugin', a: 1}")], &[]).unwrap();
    assert_eq!(
        (found.name.as_str(), found.plugin.as_str(), found.mount.as_str()),
        ("one", "sessman", "/api/v1")
    );
    assert!(matches!(&found.auth, AuthType::Plugin(keys) if keys.accept(b"k")));
    assert_eq!(found.parameters.json(), "{\"a\":1}");
}

#[test]
fn a_parameter_of_the_plugin_does_not_stand_beside_json() {
    let message = instance(&[("p.ini", "[plugin_parms]\ns=json=s.json&session_ttl=1\n")], &[]).unwrap_err();
    assert!(message.contains("`session_ttl` belongs into the JSON file"), "{message}");
}

#[test]
fn what_is_wrong_in_a_json_file_fails_that_instance_alone() {
    let ini = ("p.ini", "[plugin_parms]\ns=json=s.json\n");
    for (json, expected) in [
        ("{a: }", "s.json: "),
        ("{a: 1, a: 2}", "`a` is there twice"),
        ("{auth_type: 'session', apikey: 'k'}", "`apikey` counts only"),
        ("{session_plugin: 'a'}", "`session_plugin` counts only"),
        ("{sha256: 'ab'}", "64 hexadecimal digits"),
        ("{auth_type: 'global'}", "auth_type=global needs `apikey` in [auth]"),
        ("{auth_type: 'plugin'}", "auth_type=plugin needs an `apikey`"),
        ("{auth_type: 'none', apikey: 'k'}", "`apikey` counts only with"),
        ("{auth_type: 'nnoe'}", "expected global, plugin, session or none"),
        ("{apikey: []}", "lock everybody out"),
        ("{apikey: ''}", "an empty key"),
        ("{apikey: ['k', '${ENV:NONE:-}']}", "an empty key, number 2 of 2"),
        ("{apikey: 5}", "apikey: expected text"),
        ("{route_path: 'a/../b'}", "route_path: expected a path"),
    ] {
        let message = instance(&[ini, ("s.json", json)], &[]).unwrap_err();
        assert!(message.contains(expected), "{json}: {message}");
    }
}

#[test]
fn a_key_of_a_list_that_is_empty_is_told_of_with_its_place() {
    let folder = Folder::new(&[("p.ini", ""), ("empty", "\n"), ("full", "the-current-key\n")]);
    let file = |name: &str| format!("${{FILE:{}}}", folder.path().join(name).display());
    let refused = |ini: &str| {
        let config = Folder::new(&[("p.ini", ini)]).load(&[("EMPTY", "")]);
        let of_instance = |config: Config| {
            let problems = config.instances.into_iter().find_map(|line| line.config.err());
            problems.map(|problems| problems[0].to_string())
        };
        config.map_or_else(|error| Some(error.to_string()), of_instance)
    };
    let (empty, full) = (file("empty"), file("full"));
    for (keys, place) in [
        (format!("{empty} {full}"), "number 1 of 2"),
        (format!("{full} {empty}"), "number 2 of 2"),
        (format!("{full} ${{ENV:EMPTY}} {full}"), "number 2 of 3"),
    ] {
        let expected = format!("an empty key, {place}: its variable or file holds nothing");
        for ini in [
            format!("[auth]\napikey=list:{keys}\n"),
            format!("[plugin_parms]\ns=apikey=list:{keys}\n"),
            format!("[plugin_parms]\ns=auth_type=plugin&apikey=list:{}\n", keys.replace(' ', "+")),
        ] {
            let message = refused(&ini).unwrap_or_default();
            assert!(message.contains(&expected) && !message.contains("the-current-key"), "{ini}: {message}");
        }
    }
    for keys in [format!("{full}  {full}"), format!("a{empty} {full}")] {
        assert_eq!(refused(&format!("[auth]\napikey=list:{keys}\n")), None, "{keys}");
        assert_eq!(refused(&format!("[plugin_parms]\ns=apikey=list:{keys}\n")), None, "{keys}");
    }
}

#[test]
fn access_by_default_follows_what_is_written() {
    let auth = |line: &str| instance(&[("p.ini", &format!("[plugin_parms]\ns={line}\n"))], &[]).unwrap().auth;
    assert!(matches!(auth(""), AuthType::Default));
    assert!(matches!(auth("auth_type=none"), AuthType::None));
    assert!(matches!(auth("apikey=k"), AuthType::Plugin(_)));
    assert!(matches!(auth("apikey=list:k+l&auth_type=plugin"), AuthType::Plugin(keys) if keys.0.len() == 2));
}

#[test]
fn mounts() {
    let mount =
        |line: &str| instance(&[("p.ini", &format!("[plugin_parms]\ns={line}\n"))], &[]).unwrap().mount;
    assert_eq!(mount(""), "/s");
    assert_eq!(mount("route_path=/"), "");
    assert_eq!(mount("route_path=api"), "/api");
    assert_eq!(mount("route_path=/a/b/"), "/a/b");
}

#[test]
fn an_indented_section_does_not_leave_the_host_without_its_key() {
    let text = "[paths]\nstate=state\n  [auth]\n  apikey=hidden\n[plugin_parms]\na=\n";
    let found = problems(text, &[]);
    assert!(
        found[0].starts_with("p.ini:3: it looks like a `[section]` header, but it is indented"),
        "{found:?}"
    );
    assert!(
        found[0].contains("`state`, line 2") && found[1].starts_with("p.ini:4: it looks like a key"),
        "{found:?}"
    );
    assert!(found.iter().all(|problem| !problem.contains("hidden")));
}

#[test]
fn what_cannot_be_seen_is_in_no_value_of_the_hosts_own() {
    for (name, key) in [
        ("PSERVE_NETWORK_BINDTO", "bindto"),
        ("PSERVE_NETWORK_UNIX_SOCKET", "unix_socket"),
        ("PSERVE_SSL_CERTFILE", "certfile"),
        ("PSERVE_SSL_KEYFILE", "keyfile"),
        ("PSERVE_PATHS_PLUGINS", "plugins"),
        ("PSERVE_PATHS_STATE", "state"),
        ("PSERVE_PATHS_PIDFILE", "pidfile"),
        ("PSERVE_AUTH_APIKEY", "apikey"),
        ("PSERVE_CORS_ORIGIN_URL", "origin_url"),
        ("PSERVE_PROXY_TRUSTED", "trusted"),
        ("PSERVE_LOG_FILE", "file"),
        ("PSERVE_LOG_LEVEL", "level"),
    ] {
        for value in [
            "hidden\n",
            "hid\r\nden",
            "hidden\t",
            "\u{feff}hidden",
            "hid\u{2028}den",
            "hidden\0",
            " hidden",
            "hidden ",
        ] {
            let found = problems("", &[(name, value)]);
            let about: Vec<_> =
                found.iter().filter(|problem| problem.contains(&format!("] {key}: "))).collect();
            assert!(about.len() == 1 && about[0].contains("write it"), "{name}={value:?}: {found:?}");
            assert!(!about[0].contains("hid"), "{about:?}");
        }
    }
    let lines = [("list:a\u{7}", "control"), ("a\n  b", "line break"), ("${ENV:KEY}", "line break")];
    for (value, expected) in lines {
        let found = problems(&format!("[auth]\napikey={value}\n"), &[("KEY", "k\n")]);
        assert!(found[0].starts_with("p.ini:2: [auth] apikey: ") && found[0].contains(expected), "{found:?}");
    }
}

#[test]
fn what_cannot_be_seen_is_in_no_parameter_of_the_host() {
    let refused = |line: &str| {
        let ini = format!("[plugin_parms]\ns={line}\n");
        let json = "{plugin: 'sessman\\n', a: 1}";
        instance(&[("p.ini", &ini), ("s.json", json)], &[("KEY", "k\n")]).unwrap_err()
    };
    for line in [
        "apikey=k%0A",
        "apikey=${ENV:KEY}",
        "route_path=/a%0D%0A",
        "plugin=x%00",
        "sha256=ab%20",
        "auth_type=session&session_plugin=%EF%BB%BFs",
        "json=s.json%0A",
        "json=s.json",
        "json=s.json\n  other=json=s.json",
    ] {
        let message = refused(line);
        assert!(message.contains("write it"), "{line}: {message}");
    }
}

#[test]
fn a_value_that_is_wrong_for_the_comment_behind_it_says_so() {
    let found = problems("[network]\nport=6123 # main\n", &[]);
    assert!(
        found[0].contains("expected a whole number") && found[0].contains("A comment stands on a line"),
        "{found:?}"
    );
    let warned = |text: &str| load(text).warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(warned("[auth]\napikey=list:a ;b\n")[0].contains("` ;` and what is behind it"));
    assert!(warned("[auth]\napikey='k'\n")[0].contains("quotes"));
    assert_eq!(warned("# apikey=k # x\n[auth]\napikey=k#1;2\n"), [""; 0]);
    let from_environment = Folder::new(&[("p.ini", "[auth]\n")]).load(&[("PSERVE_AUTH_APIKEY", "a # b")]);
    assert!(from_environment.unwrap().warnings.is_empty());
}

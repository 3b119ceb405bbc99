//! Sections that are none of the host's, sections of instances, and `documents`.

use super::*;

/// What `pserve check` would say of the sections of one's own, without the plugins.
fn sections(config: &Config) -> Vec<(&str, bool, Option<String>)> {
    let told = |section: &OwnSection| section.must_be_plugin.as_ref().map(ToString::to_string);
    let sections = config.sections.iter();
    sections.map(|section| (section.name.as_str(), section.is_referred, told(section))).collect()
}

#[test]
fn a_section_of_ones_own_is_a_place_to_refer_to() {
    let ini = "[Main]\nDomain=example.org\nall=${host}.${domain}\nhost=www\n[base]\ndir=/b\n[spare]\nx=${y}\ny=1\n\
               [names]\nfolder=s\n[cors]\nenabled=on\norigin_url=https://${main:all}\n[paths]\nplugins=${base:dir}/p\n\
               [plugin_parms]\ns=json=s.json\n";
    let config = Folder::new(&[("p.ini", ini), ("s.json", "{a: '${names:folder}.db'}")]).load(&[]).unwrap();
    assert_eq!(
        config.cors.as_ref().unwrap().origins,
        Origins::Exact(vec!["https://www.example.org".to_owned()])
    );
    assert_eq!(config.paths.plugins, Path::new("/b/p"));
    let found = sections(&config);
    assert_eq!(
        found,
        [("main", true, None), ("base", true, None), ("spare", false, None), ("names", true, None)]
    );
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn a_section_that_may_be_a_slip_is_no_section_of_ones_own() {
    for (name, near) in
        [("auht", "auth"), ("sll", "ssl"), ("limit", "limits"), ("plugin_params", "plugin_parms")]
    {
        let found = problems(&format!("[{name}]\nx=1\n"), &[]);
        assert!(
            found[0].starts_with(&format!("p.ini:1: unknown section [{name}]; did you mean [{near}]?")),
            "{found:?}"
        );
    }
    for name in ["DEFAULT", "env", "file"] {
        let name = name.to_lowercase();
        assert!(problems(&format!("[{name}]\nx=1\n"), &[])[0].contains(&format!("unknown section [{name}]")));
    }
    // It is known only with the plugins whether one is called so.
    let config = load("[security]\nApiKey=hidden\n");
    let [("security", false, Some(problem))] = &sections(&config)[..] else {
        panic!("{:?}", sections(&config))
    };
    assert!(problem.contains("[security]; `apikey` in it is a key of [auth]") && !problem.contains("hidden"));
}

#[test]
fn the_section_of_an_instance_is_its_line_written_otherwise() {
    let ini = "[plugin_parms]\nsessman=route_path=/s\n[SessMan]\nBackend=memory\nsession_ttl=int:60\n\
               apikey=list:k ${keys:next}\nname=a+b%20&c\n[keys]\nnext=l\n";
    let found = instance(&[("p.ini", ini)], &[]).unwrap();
    assert_eq!((found.name.as_str(), found.mount.as_str()), ("sessman", "/s"));
    assert!(matches!(&found.auth, AuthType::Plugin(keys) if keys.accept(b"k") && keys.accept(b"l")));
    let expected = json!({ "backend": "memory", "session_ttl": 60, "name": "a+b%20&c" });
    assert_eq!(serde_json::from_str::<Value>(found.parameters.json()).unwrap(), expected);

    let ini = "[plugin_parms]\ns=\n[s]\njson=s.json\nb=2\n";
    assert_eq!(parameters(&[("p.ini", ini), ("s.json", "{a: 1}")], &[]), json!({ "a": 1, "b": "2" }));
    let refused = instance(&[("p.ini", ini), ("s.json", "{b: 1}")], &[]).unwrap_err();
    assert!(
        refused.contains("p.ini:5: [s] b: `b` is there twice: also in") && refused.contains("s.json"),
        "{refused}"
    );
}

#[test]
fn a_parameter_on_the_line_and_in_the_section_is_an_error_that_names_both() {
    let found = problems("[plugin_parms]\ns=apikey=hidden&a=1\n[s]\na=2\napikey=hidden\n", &[]);
    assert_eq!(
        found,
        [
            "p.ini:4: [s] a: `a` is there twice: also at p.ini:2, [plugin_parms] s; write it once",
            "p.ini:5: [s] apikey: `apikey` is there twice: also at p.ini:2, [plugin_parms] s; write it once",
        ]
    );
    let found = problems("[plugin_parms]\ns=json=s.json\n[s]\njson=t.json\nsession_plugin=int:1\n", &[]);
    assert!(found[0].contains("`json` is there twice: also at p.ini:2"), "{found:?}");
}

#[test]
fn an_instance_with_the_name_of_a_section_leaves_the_section_to_the_host() {
    let ini = "[plugin_parms]\nauth=a=1\nlog=b=1\n[auth]\napikey=k\n[log]\nlevel=warn\n";
    let config = load(ini);
    assert!(config.auth.keys.accept(b"k") && config.log.level == Level::WARN);
    for line in &config.instances {
        let instance = line.config.as_ref().unwrap();
        assert!(matches!(instance.auth, AuthType::Default), "{instance:?}");
        assert!(!instance.parameters.json().contains("level"));
    }
    assert!(config.sections.is_empty());
}

#[test]
fn a_plugin_without_a_line_has_the_parameters_of_its_section() {
    let config = load("[hello]\ngreeting=hi\nauth=none\n");
    let found = config.instance_without_line("Hello").unwrap().config.unwrap();
    assert_eq!((found.mount.as_str(), &found.auth), ("/hello", &AuthType::None));
    assert_eq!(found.parameters.json(), r#"{"greeting":"hi"}"#);
    let broken = load("[hello]\nauth_type=nnoe\n").instance_without_line("hello").unwrap();
    assert!(broken.config.unwrap_err()[0].to_string().contains("p.ini:1"));
    assert!(load("").instance_without_line("hello").unwrap().config.is_ok());
    assert!(load("").instance_without_line("files").is_none());
}

#[test]
fn auth_is_another_name_of_auth_type() {
    let auth = |line: &str| {
        let ini = format!("[auth]\napikey=g\n[plugin_parms]\ns={line}\n");
        instance(&[("p.ini", &ini)], &[]).map(|found| found.auth)
    };
    assert_eq!(auth("auth=global"), Ok(AuthType::Global));
    assert_eq!(auth("auth=None"), Ok(AuthType::None));
    assert!(matches!(auth("auth=plugin&apikey=k"), Ok(AuthType::Plugin(keys)) if keys.accept(b"k")));
    assert!(auth("auth=plugin").unwrap_err().contains("needs an `apikey`"));
    assert!(auth("auth=nnoe").unwrap_err().contains("expected global, plugin, session or none"));
    assert!(auth("auth=global&auth_type=none").unwrap_err().contains("write one of them"));
}

#[test]
fn documents_stand_for_the_parameters_of_an_instance() {
    let files = |ini: &str, environment: &[(&str, &str)]| {
        let config = Folder::new(&[("p.ini", ini)]).load(environment).map_err(|error| error.to_string())?;
        let line = config.instances.into_iter().find(|line| line.name == "files").unwrap();
        line.config.map_err(|problems| problems[0].to_string())
    };
    let ini = "[paths]\ndocuments=html:${ENV:HOME}/apidocs\nindexfile=app.html\n[auth]\napikey=k\n";
    let found = files(ini, &[("HOME", "/home/me")]).unwrap();
    assert_eq!(
        (found.plugin.as_str(), found.mount.as_str(), &found.auth),
        ("files", "/html", &AuthType::None)
    );
    let expected = json!({ "documents": "/home/me/apidocs", "indexfile": "app.html" });
    assert_eq!(serde_json::from_str::<Value>(found.parameters.json()).unwrap(), expected);

    // Without a path, the folder's own name is one; and the key may be in the other section.
    let found =
        files("[file_server]\ndocuments=/usr/share/apidocs\ncommon_log=/var/log/a.log\n", &[]).unwrap();
    assert_eq!(found.mount, "/apidocs");
    let expected = json!({ "documents": "/usr/share/apidocs", "common_log": "/var/log/a.log" });
    assert_eq!(serde_json::from_str::<Value>(found.parameters.json()).unwrap(), expected);
    let folder = Folder::new(&[("p.ini", "[paths]\ndocuments=/:www\n")]);
    let config = folder.load(&[]).unwrap();
    let found = config.instances[0].config.as_ref().unwrap();
    assert_eq!((found.mount.as_str(), found.parameters.json().contains("/www\"")), ("", true));

    // What the line or the section of the instance says of access counts.
    let guarded = "[paths]\ndocuments=html:/d\n[auth]\napikey=k\n";
    assert_eq!(
        files(&format!("{guarded}[plugin_parms]\nfiles=auth=global\n"), &[]).unwrap().auth,
        AuthType::Global
    );
    assert_eq!(files(&format!("{guarded}[files]\nauth=global\n"), &[]).unwrap().auth, AuthType::Global);
    assert!(matches!(
        files(&format!("{guarded}[files]\napikey=own\n"), &[]).unwrap().auth,
        AuthType::Plugin(_)
    ));
    let twice = files(&format!("{guarded}[plugin_parms]\nfiles=route_path=/x\n"), &[]).unwrap_err();
    assert!(twice.contains("p.ini:2: [paths] documents: `route_path` is there twice: also at "), "{twice}");
    let twice = files("[paths]\ndocuments=/d\n[file_server]\ndocuments=/d\n", &[]).unwrap_err();
    assert!(
        twice.contains("p.ini:4: [file_server] documents: it is in [paths], too, at")
            && twice.contains("p.ini:2")
    );
    assert!(files("[paths]\ndocuments=html:\n", &[]).unwrap_err().contains("expected a folder"));
}

#[test]
fn what_has_no_effect_is_warned_of() {
    let config = load("[file_server]\ncommon_log=access.log\nmarkdown_css=m.css\nlog_includes=bool:false\n");
    let warnings: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings[0].contains("[file_server] markdown_css: it has no effect"), "{warnings:?}");
    assert!(
        warnings[2].contains("[file_server] common_log: it has no effect without `documents`"),
        "{warnings:?}"
    );
    assert_eq!(warnings.len(), 3);
    assert!(config.instances.is_empty());
}

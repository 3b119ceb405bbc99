//! The crate `plugin-test`: what a test of a plugin sees is what a client of the real host gets.

use abi_stable::library::lib_header_from_path;
use e2e::http::Answer;
use e2e::pserve::Site;
use plugin_api::abi::module::PluginModule_Ref;
use plugin_test::{Failure, Request, Setup};

/// Of an answer, what both have: status, `Allow`, kind of body, and the body or the type of the problem.
type Seen = (u16, Option<String>, Option<String>, String);

fn seen(status: u16, header: impl Fn(&str) -> Option<String>, body: &str) -> Seen {
    let kind = header("content-type");
    let body = match kind.as_deref() {
        Some("application/problem+json") => {
            let problem: serde_json::Value = serde_json::from_str(body).unwrap();
            problem["type"].as_str().unwrap().to_owned()
        }
        _ => body.to_owned(),
    };
    (status, header("allow"), kind, body)
}

fn of_client(answer: &Answer) -> Seen {
    seen(answer.status, |name| answer.header(name).map(str::to_owned), &answer.text)
}

/// What the host makes of a failure.
fn of_test(answer: Result<plugin_test::Answer, Failure>) -> Seen {
    let problem = |kind: &str| {
        let kind = format!("urn:pserve:problem:{kind}");
        (500, None, Some("application/problem+json".to_owned()), kind)
    };
    match answer {
        Ok(answer) => seen(answer.status(), |name| answer.header(name).map(str::to_owned), answer.text()),
        Err(Failure::Panicked(_)) => problem("plugin-failed"),
        Err(Failure::NotHttp(_)) => problem("invalid-answer"),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_plugin_answers_in_its_tests_as_in_pserve() {
    let site = Site::new();
    site.ini("[plugin_parms]\nsessman=backend=memory");
    let files = ["libhello.so", "libmisbehaves.so"];
    files.into_iter().for_each(|file| site.plugin(file));
    let pserve = site.start();
    let client = pserve.client();
    let requests: [(&str, &[(&str, &str)]); 2] = [
        (
            files[0],
            &[
                ("GET", "/hello"),
                ("HEAD", "/hello"),
                ("OPTIONS", "/hello"),
                ("POST", "/hello"),
                ("GET", "/hello/"),
                ("GET", "/hello/more?x=1"),
            ],
        ),
        (
            files[1],
            &[
                ("GET", "/misbehaves/fine"),
                ("GET", "/misbehaves/now"),
                ("GET", "/misbehaves/now-payload"),
                ("GET", "/misbehaves/handle"),
                ("GET", "/misbehaves/poll"),
                ("GET", "/misbehaves/payload"),
                ("GET", "/misbehaves/status"),
                ("GET", "/misbehaves/header"),
                ("DELETE", "/misbehaves/fine"),
            ],
        ),
    ];
    for (file, requests) in requests {
        let library = lib_header_from_path(&e2e::artifacts().join(file)).unwrap();
        let instance = Setup::of_module(library.init_root_module::<PluginModule_Ref>().unwrap()).start();
        for (method, path) in requests {
            let here = of_test(instance.call(&Request::new(method, path)));
            assert_eq!(here, of_client(&client.send(method, path, "")), "{method} {path}");
        }
    }
}

//! The plugin that serves the files of a folder.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::time::Duration;

use e2e::http::{exchange, status};
use e2e::pserve::{Pserve, Site, eventually};

/// A site with a folder `www`, and a secret beside it.
fn site() -> Site {
    let site = Site::new();
    site.plugin("libfiles.so");
    fs::create_dir_all(site.path("www/sub")).unwrap();
    site.write("secret.txt", "the secret");
    site.write("www/index.html", "<p>index</p>\n");
    site.write("www/sub/index.html", "<p>sub</p>\n");
    site.write("www/sub/a b.txt", "0123456789");
    site.write("www/.env", "the secret");
    site
}

fn start(site: &Site, rest: &str) -> Pserve {
    site.ini(&format!("documents=html:www\n{rest}"));
    site.start()
}

/// A request whose path is sent as it is.
fn raw(pserve: &Pserve, path: &str, headers: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n");
    exchange(pserve.address(), request.as_bytes(), false)
}

#[test]
fn files_are_served_with_what_caches_need() {
    let site = site();
    let pserve = start(&site, "");
    let client = pserve.client();
    let whole = client.get("/html/sub/a%20b.txt").expect(200);
    assert_eq!((whole.text.as_str(), whole.header("content-length")), ("0123456789", Some("10")));
    for (name, value) in [
        ("content-type", "text/plain; charset=utf-8"),
        ("accept-ranges", "bytes"),
        ("cache-control", "no-cache"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(whole.header(name), Some(value));
    }
    let (etag, modified) = (whole.header("etag").unwrap(), whole.header("last-modified").unwrap());
    let path = "/html/sub/a%20b.txt";
    let head = client.send("HEAD", path, "").expect(200);
    for name in ["content-length", "etag", "last-modified", "content-type"] {
        assert_eq!(head.header(name), whole.header(name));
    }
    assert_eq!(head.text, "");
    for (name, value) in [("if-none-match", etag), ("if-modified-since", modified)] {
        let same = client.with(name, value).get(path).expect(304);
        assert_eq!((same.text.as_str(), same.header("etag")), ("", Some(etag)));
    }
    client.with("if-match", "\"other\"").get(path).expect(412);

    let range = |value: &str| client.with("range", value);
    let part = range("bytes=2-4").get(path).expect(206);
    assert_eq!((part.text.as_str(), part.header("content-range")), ("234", Some("bytes 2-4/10")));
    assert_eq!(range("bytes=-3").get(path).expect(206).text, "789");
    assert_eq!(range("bytes=10-").get(path).expect(416).header("content-range"), Some("bytes */10"));
    assert_eq!(range("bytes=0-1,4-5").get(path).expect(200).text, "0123456789");
    assert_eq!(range("bytes=0-1").with("if-range", etag).get(path).expect(206).text, "01");

    fs::write(site.path("www/sub/a b.txt"), "changed now").unwrap();
    assert_eq!(client.with("if-none-match", etag).get(path).expect(200).text, "changed now");
    assert_eq!(range("bytes=0-1").with("if-range", etag).get(path).expect(200).text, "changed now");
    client.send("POST", path, "x").expect(405);
}

#[test]
fn folders_have_an_index_file_and_a_slash() {
    let site = site();
    site.write("www/sub/start.htm", "start\n");
    fs::create_dir_all(site.path("www/empty")).unwrap();
    let pserve = start(&site, "indexfile=start.htm");
    let client = pserve.client();
    assert_eq!(client.get("/html/sub/").expect(200).text, "start\n");
    client.get("/html/").expect(404);
    client.get("/html/empty/").expect(404);
    client.get("/html/sub/start.htm/").expect(404);
    for (path, location) in [
        ("/html", "./html/"),
        ("/html/sub", "./sub/"),
        ("/html/sub?a=//b&c", "./sub/?a=//b&c"),
        ("/html//sub", "./sub/"),
    ] {
        let answer = raw(&pserve, path, "");
        assert_eq!(status(&answer), Some(301), "{path}: {answer}");
        assert!(answer.contains(&format!("location: {location}\r\n")), "{path}: {answer}");
    }
}

#[test]
fn documents_at_the_root_leave_the_other_routes_where_they_are() {
    let site = site();
    site.ini("documents=/:www\n[plugin_parms]\nsessman=backend=memory\n");
    let pserve = site.start();
    let client = pserve.client();
    assert_eq!(client.get("/").expect(200).text, "<p>index</p>\n");
    assert_eq!(client.get("/sub/").expect(200).text, "<p>sub</p>\n");
    assert!(raw(&pserve, "//sub", "").contains("location: ./sub/\r\n"));
    client.post("/sessman/new", serde_json::json!({})).expect(201);
    client.get("/healthz").expect(200);
    client.get("/.env").expect(404);
}

#[test]
fn nothing_outside_of_the_folder_is_served_and_nothing_hidden() {
    let site = site();
    symlink("../secret.txt", site.path("www/link")).unwrap();
    symlink(site.path("secret.txt"), site.path("www/absolute")).unwrap();
    symlink("..", site.path("www/up")).unwrap();
    symlink("sub/index.html", site.path("www/inside")).unwrap();
    let pserve = start(&site, "");
    for path in [
        "/html/../secret.txt",
        "/html/sub/../../secret.txt",
        "/html/%2e%2e/secret.txt",
        "/html/..%2fsecret.txt",
        "/html/sub/..%2F..%2Fsecret.txt",
        "/html/.%2e/secret.txt",
        "/html//../secret.txt",
        "/html/....//secret.txt",
        "/html/..\\secret.txt",
        "/html/link",
        "/html/absolute",
        "/html/up/secret.txt",
        "/html/.env",
        "/html/%2eenv",
        "/html/%00",
        "/html/index.html%00.txt",
        "/html/%",
        "/html/%zz",
        "/html/sub%2findex.html",
        "/html//etc/passwd",
        "/html//../../../../../../etc/passwd",
    ] {
        let answer = raw(&pserve, path, "");
        assert!(matches!(status(&answer), Some(400 | 404)), "{path}: {answer}");
        assert!(!answer.contains("the secret") && !answer.contains("root:"), "{path}: {answer}");
    }
    assert_eq!(pserve.client().get("/html/inside").expect(200).text, "<p>sub</p>\n");
}

#[test]
fn documents_are_for_everyone_unless_their_instance_says_who_may_read_them() {
    let site = site();
    let pserve = start(&site, "[auth]\napikey=a-key-of-the-host");
    pserve.client().get("/html/").expect(200);
    drop(pserve);
    for rest in ["[plugin_parms]\nfiles=auth=global\n", "[files]\nauth_type=global\n"] {
        let pserve = start(&site, &format!("[auth]\napikey=a-key-of-the-host\n{rest}"));
        pserve.client().get("/html/").expect(401);
        let keyed = pserve.client().with("x-custom-auth", "a-key-of-the-host");
        // No cache that others use may keep it.
        assert_eq!(keyed.get("/html/").expect(200).header("cache-control"), Some("private, no-cache"));
    }
    let pserve = start(
        &site,
        "[auth]\napikey=a-key-of-the-host\n[plugin_parms]\nfiles=auth_type=session\nsessman=backend=memory\n",
    );
    pserve.client().get("/html/").expect(401);
    let keyed = pserve.client().with("x-custom-auth", "a-key-of-the-host");
    let id =
        keyed.post("/sessman/new", serde_json::json!({ "user": "ada" })).expect(201).member("session_id");
    let page = pserve.client().with("x-session-id", &id).get("/html/").expect(200);
    assert_eq!(page.header("cache-control"), Some("private, no-cache"));
    drop(pserve);
    // A folder on a line has no word about who may read it.
    site.ini(&format!(
        "[auth]\napikey=a-key-of-the-host\n[plugin_parms]\nmanual=plugin=files&documents={}",
        site.path("www").display()
    ));
    let pserve = site.start();
    pserve.client().get("/manual/").expect(401);
    pserve.client().with("x-custom-auth", "a-key-of-the-host").get("/manual/").expect(200);
    pserve.client().get("/files/").expect(404);
}

#[test]
fn the_plugin_alone_serves_nothing_and_keeps_nobody_from_the_network() {
    let site = site();
    site.ini(
        "[network]\nport=0\nbindto=0.0.0.0\n[plugin_parms]\nsessman=backend=memory&apikey=a-key-of-sessman",
    );
    let pserve = site.start();
    assert!(!pserve.log().contains("no instance"), "{}", pserve.log());
    let client =
        e2e::http::Client::new(&format!("http://{}", pserve.address().replace("0.0.0.0", "127.0.0.1")));
    client.get("/files/").expect(404);
    client.get("/readyz").expect(200);
}

#[test]
fn a_folder_that_is_not_there_yet_is_served_once_it_is() {
    let site = site();
    fs::rename(site.path("www"), site.path("later")).unwrap();
    let pserve = start(&site, "");
    pserve.client().get("/readyz").expect(503);
    pserve.client().get("/html/").expect(503);
    pserve.wait_for_log("cannot open the folder");
    fs::rename(site.path("later"), site.path("www")).unwrap();
    eventually("the folder is served", || pserve.client().get("/html/").status == 200);
}

#[test]
fn a_large_file_comes_piece_by_piece_and_takes_little_memory() {
    const SIZE: usize = 96 << 20;
    let site = site();
    fs::write(site.path("www/large.bin"), vec![b'x'; SIZE]).unwrap();
    let pserve = start(&site, "");
    let client = pserve.client();
    client.get("/html/").expect(200);
    let head = client.send("HEAD", "/html/large.bin", "").expect(200);
    assert_eq!(head.header("content-length"), Some(SIZE.to_string().as_str()));
    let before = pserve.memory_kib();
    // Clients that read a little, and then nothing for a while.
    let mut clients: Vec<TcpStream> = Vec::new();
    for _ in 0..8 {
        let mut client = TcpStream::connect(pserve.address()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        client
            .write_all(b"GET /html/large.bin HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        client.read_exact(&mut [0; 4096]).unwrap();
        clients.push(client);
    }
    client.get("/html/").expect(200);
    let mut received = 4096;
    let mut piece = vec![0; 1 << 16];
    let mut first = clients.remove(0);
    loop {
        match first.read(&mut piece).unwrap() {
            0 => break,
            count => received += count,
        }
    }
    assert!(received > SIZE && received < SIZE + 4096, "{received}");
    let grown = pserve.memory_kib().saturating_sub(before);
    assert!(grown < 24 * 1024, "by {grown} KiB");
    let part = raw(&pserve, "/html/large.bin", "Range: bytes=100663290-\r\n");
    assert!(status(&part) == Some(206) && part.ends_with("\r\n\r\nxxxxxx"), "{part}");
}

#[test]
fn a_file_that_becomes_shorter_ends_the_connection() {
    const SIZE: usize = 32 << 20;
    let site = site();
    fs::write(site.path("www/large.bin"), vec![b'x'; SIZE]).unwrap();
    let pserve = start(&site, "");
    let mut client = TcpStream::connect(pserve.address()).unwrap();
    client.write_all(b"GET /html/large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    client.read_exact(&mut [0; 4096]).unwrap();
    fs::File::options().write(true).open(site.path("www/large.bin")).unwrap().set_len(1 << 20).unwrap();
    let mut rest = Vec::new();
    // It ends, by itself or by a reset, before all was sent.
    let _ = client.read_to_end(&mut rest);
    assert!(rest.len() < SIZE - 4096, "{}", rest.len());
    pserve.wait_for_log("a streamed answer ended early");
    pserve.client().get("/html/").expect(200);
}

#[test]
fn the_access_log_has_a_line_for_each_request_and_can_be_moved_away() {
    let site = site();
    let pserve = start(&site, "[file_server]\ncommon_log=access.log");
    let client = pserve.client();
    client.get("/html/sub/a%20b.txt?token=s3cret").expect(200);
    client.get("/html/none").expect(404);
    let lines = fs::read_to_string(site.path("access.log")).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("127.0.0.1 - - [") && lines[0].contains(" +0000] "), "{lines:?}");
    assert!(lines[0].ends_with("\"GET /html/sub/a%20b.txt HTTP\" 200 10"), "{lines:?}");
    assert!(lines[1].ends_with("\"GET /html/none HTTP\" 404 -"), "{lines:?}");
    fs::rename(site.path("access.log"), site.path("access.log.1")).unwrap();
    client.send("HEAD", "/html/", "").expect(200);
    let lines = fs::read_to_string(site.path("access.log")).unwrap();
    assert!(lines.ends_with("\"HEAD /html/ HTTP\" 200 -\n"), "{lines}");
}

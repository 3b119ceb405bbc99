//! An application behind a proxy: it answers every request with the headers that it got, as JSON.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::{Map, Value};

/// Starts the application on a free port; it ends with the process. The result is `host:port`.
///
/// # Panics
/// When there is no port.
pub fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address").to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    address
}

/// One request a connection; header names are in lower case, and a list of all values each.
fn answer(mut stream: TcpStream) {
    let mut headers = Map::new();
    let mut reader = BufReader::new(&stream);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0).map(|_| line.trim_end().to_owned())
    };
    let Some(_request_line) = line() else { return };
    while let Some(line) = line().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        let values = headers.entry(name.to_ascii_lowercase()).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = values {
            values.push(value.trim().into());
        }
    }
    // What is not read would make the connection end with a reset, and the answer be lost.
    if headers.contains_key("transfer-encoding") {
        while line().is_some_and(|chunk| chunk != "0") {}
    } else if let Some(length) =
        headers.get("content-length").and_then(|values| values[0].as_str()?.parse().ok())
    {
        let _ = std::io::copy(&mut reader.take(length), &mut std::io::sink());
    }
    let body = Value::Object(headers).to_string();
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
    // The client may have gone.
    let _ = write!(stream, "{head}\r\nContent-Length: {length}\r\n\r\n{body}");
}

//! Clients and proxies that send a body of which the host reads nothing, or not all: whether they see the answer.

use std::collections::BTreeMap;
use std::fmt;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::ports;
use crate::pserve::{Pserve, Site, eventually};
use crate::tls;

/// A request that is answered before its body was read.
#[derive(Clone, Copy, Debug)]
pub struct Early {
    method: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, Filling)],
    /// What is answered.
    pub status: u16,
    /// Sent to the host that is open by default.
    is_open: bool,
}

#[derive(Clone, Copy, Debug)]
enum Filling {
    Text(&'static str),
    /// So many bytes.
    Long(usize),
}

const fn early(method: &'static str, path: &'static str, status: u16) -> Early {
    Early { method, path, headers: &[], status, is_open: false }
}

/// Answers to a body of so many bytes, as far as it is the host that gives them.
pub fn answers(client: Client, size: usize) -> Vec<Early> {
    let new = early("POST", "/sessman/new", 413);
    let encoded = &[("Content-Encoding", Filling::Text("gzip")), ("X-Custom-Auth", Filling::Text("right"))];
    let proxied = &[("X-Forwarded-Proto", Filling::Text("http"))];
    let mut answers = vec![
        if size > 1 << 20 { new } else { Early { headers: encoded, status: 415, ..new } },
        early("POST", "/reload/all", 401),
        Early { headers: proxied, status: 403, is_open: true, ..new },
        early("POST", "/none", 404),
        early("PUT", "/sessman/get", 405),
    ];
    // nginx refuses it by itself.
    if !matches!(client, Client::Nginx | Client::NginxUnbuffered) {
        answers.push(Early { headers: &[("X-Long", Filling::Long(70_000))], status: 431, ..new });
    }
    answers
}

/// Another one, late, once the free attempts are used up.
pub const WRONG_KEY: Early =
    Early { headers: &[("X-Custom-Auth", Filling::Text("wrong"))], ..early("POST", "/reload/all", 429) };

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Its standard library's `http.client`.
    Python,
    /// `http.request`.
    NodeHttp,
    /// `fetch`.
    NodeFetch,
    /// As it is: it waits to be told to continue.
    Curl,
    /// HTTP/1.0, and without waiting.
    Curl10,
    /// Python's, through nginx.
    Nginx,
    /// Python's, through an nginx that passes the body on as it comes.
    NginxUnbuffered,
    /// curl, through Caddy. What Caddy got is what counts: it closes connections by itself on clients that still write, and then
    /// those may miss what it passed on.
    Caddy,
}

/// All of them.
pub const CLIENTS: [Client; 8] = [
    Client::Python,
    Client::NodeHttp,
    Client::NodeFetch,
    Client::Curl,
    Client::Curl10,
    Client::Nginx,
    Client::NginxUnbuffered,
    Client::Caddy,
];

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{self:?}"))
    }
}

/// Two hosts, one with a key and one that is open by default, and proxies in front of them.
pub struct Stand {
    site: Site,
    is_tls: bool,
    hosts: [Pserve; 2],
    proxies: Vec<(Client, bool, Server)>,
}

/// A server; killed when this is dropped.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Stand {
    /// Starts them, with or without TLS.
    ///
    /// # Panics
    /// When one does not start.
    pub fn start(is_tls: bool) -> Self {
        let site = Site::new();
        tls::make_pair(&site, "a");
        let ssl = if is_tls { "[ssl]\nenabled=true\ncertfile=a.pem\nkeyfile=a.key\n" } else { "" };
        let [keyed, open] = ["[auth]\napikey=right\n", ""].map(|auth| {
            site.ini(&format!("{auth}{ssl}[plugin_parms]\nsessman=backend=memory"));
            site.start()
        });
        let mut this = Self { site, is_tls, hosts: [keyed, open], proxies: Vec::new() };
        for (client, is_open) in [Client::Nginx, Client::NginxUnbuffered, Client::Caddy]
            .into_iter()
            .flat_map(|client| [(client, false), (client, true)])
        {
            let proxy = this.proxy(client, is_open);
            this.proxies.push((client, is_open, proxy));
        }
        this
    }

    /// Somebody else may have taken the free port before the proxy does.
    fn proxy(&self, client: Client, is_open: bool) -> Server {
        (0..5).find_map(|_| self.try_proxy(client, is_open)).expect("the proxy listens")
    }

    fn try_proxy(&self, client: Client, is_open: bool) -> Option<Server> {
        let address = format!("127.0.0.1:{}", ports::free());
        let folder = self.site.path(&format!("{client:?}-{is_open}"));
        std::fs::create_dir_all(&folder).expect("a folder for the proxy");
        let scheme = if self.is_tls { "https" } else { "http" };
        let upstream = format!("{scheme}://{}", self.hosts[usize::from(is_open)].address());
        let mut command = if client == Client::Caddy {
            let transport = if self.is_tls { "tls_insecure_skip_verify" } else { "" };
            let file = format!(
                "{{\nadmin off\nauto_https off\n}}\nhttp://{address} {{\nbind 127.0.0.1\nlog {{\noutput file access.log\n}}\n\
                 reverse_proxy {upstream} {{\ntransport http {{\nversions 1.1\n{transport}\n}}\n}}\n}}\n"
            );
            std::fs::write(folder.join("Caddyfile"), file).expect("Caddy's file");
            let mut command = Command::new("caddy");
            command.args(["run", "--config", "Caddyfile"]);
            command
        } else {
            let buffering = if client == Client::Nginx { "on" } else { "off" };
            let file = format!(
                "daemon off; master_process off; pid nginx.pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off;\n\
                 client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4;\n\
                 scgi_temp_path t5; server {{ listen {address}; client_max_body_size 0;\n\
                 location / {{ proxy_pass {upstream}; proxy_request_buffering {buffering}; }} }} }}\n"
            );
            std::fs::write(folder.join("nginx.conf"), file).expect("nginx' file");
            let mut command = Command::new("nginx");
            command.arg("-p").arg(&folder).args(["-c", "nginx.conf", "-e", "stderr"]);
            command
        };
        let log = std::fs::File::create(folder.join("log")).expect("a log");
        command.current_dir(&folder).env("HOME", &folder).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("the log")).stderr(log);
        let mut server = Server { child: command.spawn().expect("the proxy starts"), address };
        let mut has_ended = false;
        eventually("the proxy listens", || {
            has_ended = server.child.try_wait().expect("it can be waited for").is_some();
            has_ended || TcpStream::connect(&server.address).is_ok()
        });
        if has_ended {
            eprintln!("{}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
            return None;
        }
        Some(server)
    }

    /// Asks for each of these answers with a body of `size` bytes; what came instead of a status that was expected.
    pub fn ask(&self, client: Client, answers: &[Early], size: usize) -> Vec<String> {
        let requests: Vec<Value> = answers.iter().map(|early| self.request(client, early, size)).collect();
        let seen = match client {
            Client::Caddy => self.ask_caddy(answers, &requests, size),
            Client::Curl => requests.iter().map(|request| curl(request, size, &["--http1.1"])).collect(),
            Client::Curl10 => {
                let options = ["--http1.0", "-H", "Expect:"];
                requests.iter().map(|request| curl(request, size, &options)).collect()
            }
            Client::NodeHttp => lines("node", &["-e", NODE_HTTP], &requests),
            Client::NodeFetch => lines("node", &["-e", NODE_FETCH], &requests),
            _ => lines("python3", &["-c", PYTHON], &requests),
        };
        assert_eq!(seen.len(), answers.len(), "{client}: {seen:?}");
        let both = answers.iter().zip(seen).filter(|(early, seen)| early.status.to_string() != *seen);
        both.map(|(early, seen)| {
            format!("{client}, {size} bytes, {} {}: {seen} for {}", early.method, early.path, early.status)
        })
        .collect()
    }

    /// The statuses that Caddy has logged, one for each request.
    fn ask_caddy(&self, answers: &[Early], requests: &[Value], size: usize) -> Vec<String> {
        let ask = |(early, request): (&Early, &Value)| {
            let log = self.site.path(&format!("{:?}-{}/access.log", Client::Caddy, early.is_open));
            let lines = || std::fs::read_to_string(&log).unwrap_or_default();
            let before = lines().lines().count();
            curl(request, size, &["--http1.1"]);
            eventually("Caddy logs it", || lines().lines().count() > before);
            let line: Value =
                serde_json::from_str(lines().lines().last().unwrap_or_default()).unwrap_or_default();
            line["status"].to_string()
        };
        answers.iter().zip(requests).map(ask).collect()
    }

    /// Has the next wrong key answered with 429: ten of an address are free, and forgotten after a while.
    pub fn use_up_the_free_attempts(&self) {
        let request = self.request(Client::Python, &WRONG_KEY, 0);
        for attempts in [1, 11] {
            let seen = lines("python3", &["-c", PYTHON], &vec![request.clone(); attempts]);
            if seen.iter().all(|status| status == "429") {
                return;
            }
        }
    }

    fn request(&self, client: Client, early: &Early, size: usize) -> Value {
        let proxy = self.proxies.iter().find(|(of, is_open, _)| *of == client && *is_open == early.is_open);
        let (address, is_tls) = match proxy {
            Some((_, _, proxy)) => (proxy.address.as_str(), false),
            None => (self.hosts[usize::from(early.is_open)].address(), self.is_tls),
        };
        let (host, port) = address.split_once(':').expect("host and port");
        let headers = early.headers.iter().map(|(name, filling)| {
            let value = match filling {
                Filling::Text(text) => (*text).to_owned(),
                Filling::Long(length) => "x".repeat(*length),
            };
            (*name, value)
        });
        let headers: BTreeMap<_, _> = headers.collect();
        json!({
            "host": host, "port": port.parse::<u16>().expect("a port"), "tls": is_tls, "size": size,
            "method": early.method, "path": early.path, "headers": headers,
        })
    }
}

/// Prints a status, or what went wrong, for each request of a list.
const PYTHON: &str = r#"
import http.client, json, ssl, sys
for one in json.load(sys.stdin):
    try:
        if one["tls"]:
            context = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection(one["host"], one["port"], timeout=60, context=context)
        else:
            connection = http.client.HTTPConnection(one["host"], one["port"], timeout=60)
        connection.request(one["method"], one["path"], b"x" * one["size"], one["headers"])
        answer = connection.getresponse()
        answer.read()
        print(answer.status, flush=True)
    except Exception as error:
        print(repr(error), flush=True)
"#;

const NODE_HTTP: &str = r#"
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
process.removeAllListeners('warning')
const ask = (one) => new Promise((resolve) => {
  const { request } = require(one.tls ? 'https' : 'http')
  const { host, port, method, path, headers, size } = one
  const asking = request({ host, port, method, path, headers: { ...headers, 'Content-Length': size } }, (answer) => {
    answer.on('end', () => resolve(answer.statusCode)).on('error', (error) => resolve(error.code)).resume()
  })
  asking.on('error', (error) => resolve(error.code ?? String(error)))
  asking.end(Buffer.alloc(size, 'x'))
})
;(async () => {
  for (const one of JSON.parse(require('fs').readFileSync(0))) console.log(await ask(one))
  process.exit(0)
})()
"#;

const NODE_FETCH: &str = r#"
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
process.removeAllListeners('warning')
;(async () => {
  for (const { tls, host, port, method, path, headers, size } of JSON.parse(require('fs').readFileSync(0))) {
    try {
      const url = `${tls ? 'https' : 'http'}://${host}:${port}${path}`
      const answer = await fetch(url, { method, headers, body: Buffer.alloc(size, 'x') })
      await answer.text()
      console.log(answer.status)
    } catch (error) {
      console.log(error.cause?.code ?? String(error))
    }
  }
  process.exit(0)
})()
"#;

fn lines(program: &str, arguments: &[&str], requests: &[Value]) -> Vec<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
    let input = child.stdin.take().expect("its input");
    serde_json::to_writer(input, requests).expect("it takes the requests");
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn curl(request: &Value, size: usize, options: &[&str]) -> String {
    let text = |name: &str| request[name].as_str().expect("a text").to_owned();
    let scheme = if request["tls"] == true { "https" } else { "http" };
    let mut command = Command::new("curl");
    command.args(["-k", "-s", "-o", "/dev/null", "-w", "%{http_code} %{errormsg}", "--max-time", "60"]);
    command.args(options).args(["-X", &text("method"), "--data-binary", "@-"]);
    for (name, value) in request["headers"].as_object().into_iter().flatten() {
        command.arg("-H").arg(format!("{name}: {}", value.as_str().unwrap_or_default()));
    }
    command.arg(format!("{scheme}://{}:{}{}", text("host"), request["port"], text("path")));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("curl starts");
    let mut input = child.stdin.take().expect("its input");
    // It reads all of it before it sends.
    std::io::Write::write_all(&mut input, &vec![b'x'; size]).expect("it takes the body");
    drop(input);
    let output = child.wait_with_output().expect("curl ends");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

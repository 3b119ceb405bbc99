//! A door before the server of the run, which writes down what it is asked and answers some of it itself.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use mongodb::bson::{Array, Bson, Document, RawDocument, RawDocumentBuf};
use mongodb::options::{ClientOptions, ServerAddress};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex as AsyncMutex;

use super::*;

const HEADER: usize = 16;
const OP_MSG: u32 = 2_013;

type Answer = dyn Fn(&Document) -> Option<Document> + Send + Sync;

/// What the connections share.
struct Shared {
    answer: Box<Answer>,
    database: String,
    asked: Mutex<Vec<Document>>,
    received: AtomicU64,
}

/// Listens until the runtime ends.
pub(super) struct Proxy {
    config: MongoConfig,
    shared: Arc<Shared>,
}

impl Proxy {
    /// A door before the server of `database`. What `answer` gives for a command of that database is the answer, and the
    /// server never hears of it.
    pub(super) async fn before(
        database: &Database,
        answer: impl Fn(&Document) -> Option<Document> + Send + Sync + 'static,
    ) -> Self {
        let config = database.config.clone();
        let options = ClientOptions::parse(config.server_url.expose()).await.unwrap();
        let [ServerAddress::Tcp { host, port }, ..] = &options.hosts[..] else { panic!("no TCP") };
        let server = format!("{host}:{}", port.unwrap_or(27_017));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server_url = Secret::new(through(config.server_url.expose(), listener.local_addr().unwrap()));
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            database: config.database.clone(),
            asked: Mutex::default(),
            received: AtomicU64::new(0),
        });
        let doors = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server.clone(), Arc::clone(&doors)));
            }
        });
        Self { config: MongoConfig { server_url, ..config }, shared }
    }

    /// A store that goes through the door, and makes no indexes.
    pub(super) fn store(&self) -> MongoStore {
        MongoStore::open_as_it_is(self.config.clone()).unwrap()
    }

    /// The same below the store.
    pub(super) fn connection(&self) -> Connection {
        Connection::new(self.config.clone())
    }

    /// The commands since the last time that this was asked.
    pub(super) fn asked(&self) -> Vec<Document> {
        std::mem::take(&mut self.shared.asked.lock().unwrap())
    }

    /// Their names.
    pub(super) fn names(&self) -> Vec<String> {
        self.asked().iter().map(|command| name(command).to_owned()).collect()
    }

    /// How many bytes came from the server since the last time that this was asked.
    pub(super) fn received(&self) -> u64 {
        self.shared.received.swap(0, Ordering::Relaxed)
    }
}

/// The command's name.
pub(super) fn name(command: &Document) -> &str {
    command.keys().next().map_or("", String::as_str)
}

/// Gives `answer` to the first `times` commands of that name.
pub(super) fn first(
    times: usize,
    command: &'static str,
    answer: Document,
) -> impl Fn(&Document) -> Option<Document> + Send + Sync + 'static {
    let left = AtomicUsize::new(times);
    let one_less =
        move || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    move |asked| (name(asked) == command && one_less().is_ok()).then(|| answer.clone())
}

/// The URL with another server in it.
fn through(url: &str, address: SocketAddr) -> String {
    let scheme = url.find("://").map_or(0, |at| at + 3);
    let begin = url[scheme..].rfind('@').map_or(scheme, |at| scheme + at + 1);
    let end = url[begin..].find(['/', '?']).map_or(url.len(), |at| begin + at);
    let rest = match &url[end..] {
        "" => "/".to_owned(),
        rest => rest.to_owned(),
    };
    let more = if rest.contains('?') { "&" } else { "?" };
    format!("{}{address}{rest}{more}directConnection=true", &url[..begin])
}

async fn pass(client: TcpStream, server: String, shared: Arc<Shared>) -> io::Result<()> {
    let server = TcpStream::connect(server).await?;
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let to_client = Arc::new(AsyncMutex::new(to_client));
    tokio::spawn(pass_back(from_server, Arc::clone(&to_client), Arc::clone(&shared)));
    loop {
        let message = read(&mut from_client).await?;
        let is_ours = |command: &Document| command.get_str("$db").is_ok_and(|name| name == shared.database);
        let command = command(&message).filter(is_ours);
        let answer = command.as_ref().and_then(|command| (shared.answer)(command));
        shared.asked.lock().unwrap().extend(command);
        match answer {
            // A driver asks nothing more on a connection before it has its answer: none of the server's is under way.
            Some(answer) => to_client.lock().await.write_all(&reply(&message, &answer)).await?,
            None => to_server.write_all(&message).await?,
        }
    }
}

async fn pass_back(
    mut from: OwnedReadHalf,
    to: Arc<AsyncMutex<OwnedWriteHalf>>,
    shared: Arc<Shared>,
) -> io::Result<()> {
    loop {
        let message = read(&mut from).await?;
        shared.received.fetch_add(message.len() as u64, Ordering::Relaxed);
        to.lock().await.write_all(&message).await?;
    }
}

/// A message with its header.
async fn read(from: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let mut message = vec![0; HEADER];
    from.read_exact(&mut message).await?;
    message.resize(number(&message, 0) as usize, 0);
    from.read_exact(&mut message[HEADER..]).await?;
    Ok(message)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The command of a message, with its lists of documents as arrays in it.
fn command(message: &[u8]) -> Option<Document> {
    if number(message, 12) != OP_MSG {
        return None;
    }
    let document = |bytes: &[u8]| {
        let length = number(bytes, 0) as usize;
        (Document::try_from(RawDocument::from_bytes(&bytes[..length]).unwrap()).unwrap(), length)
    };
    let (mut command, mut lists) = (Document::new(), Document::new());
    let mut sections = &message[HEADER + 4..];
    while let Some((kind, rest)) = sections.split_first() {
        if *kind == 0 {
            let (body, length) = document(rest);
            command = body;
            sections = &rest[length..];
            continue;
        }
        let (mut list, after) = rest.split_at(number(rest, 0) as usize);
        list = &list[4..];
        let end = list.iter().position(|byte| *byte == 0).unwrap();
        let field = String::from_utf8(list[..end].to_vec()).unwrap();
        list = &list[end + 1..];
        let mut items = Array::new();
        while !list.is_empty() {
            let (item, length) = document(list);
            items.push(Bson::Document(item));
            list = &list[length..];
        }
        lists.insert(field, items);
        sections = after;
    }
    command.extend(lists);
    Some(command)
}

fn reply(to: &[u8], answer: &Document) -> Vec<u8> {
    let body = RawDocumentBuf::try_from(answer).unwrap().into_bytes();
    let length = HEADER + 4 + 1 + body.len();
    let mut message = Vec::with_capacity(length);
    for number in [length as u32, 0, number(to, 4), OP_MSG, 0] {
        message.extend(number.to_le_bytes());
    }
    message.push(0);
    message.extend(body);
    message
}

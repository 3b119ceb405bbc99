//! What a Redis or a MongoDB holds, read and written without a host: a few commands at a time, one after the other.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use bson::Document;

/// A connection to a Redis, or to each member of a cluster that it names.
pub struct Redis {
    address: String,
    connections: HashMap<String, BufReader<TcpStream>>,
}

/// What a Redis answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Nothing.
    Nil,
    /// A number.
    Integer(i64),
    /// A string, or a status.
    Bytes(Vec<u8>),
    /// Several.
    Array(Vec<Reply>),
    /// An error.
    Error(String),
}

impl Redis {
    /// To `host:port`, of a cluster any member.
    pub fn to(address: &str) -> Self {
        Self { address: address.to_owned(), connections: HashMap::new() }
    }

    /// Asks, in a cluster the member that has the key.
    ///
    /// # Panics
    /// When there is no answer, or an error.
    pub fn ask(&mut self, command: &[Vec<u8>]) -> Reply {
        let mut address = self.address.clone();
        loop {
            match self.ask_at(&address, command) {
                Reply::Error(error) => match error.strip_prefix("MOVED ") {
                    Some(moved) => {
                        moved.split(' ').nth(1).expect("an address").clone_into(&mut address);
                    }
                    None => panic!("Redis: {error}"),
                },
                reply => return reply,
            }
        }
    }

    fn ask_at(&mut self, address: &str, command: &[Vec<u8>]) -> Reply {
        let connection = self
            .connections
            .entry(address.to_owned())
            .or_insert_with(|| BufReader::new(TcpStream::connect(address).expect("a Redis listens")));
        let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
        for part in command {
            bytes.extend(format!("${}\r\n", part.len()).into_bytes());
            bytes.extend(part);
            bytes.extend(b"\r\n");
        }
        connection.get_mut().write_all(&bytes).expect("Redis takes a command");
        reply(connection)
    }
}

impl Reply {
    /// A string.
    ///
    /// # Panics
    /// When it is none.
    pub fn bytes(self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes,
            other => panic!("no string: {other:?}"),
        }
    }

    /// Several.
    ///
    /// # Panics
    /// When it is none.
    pub fn array(self) -> Vec<Self> {
        match self {
            Self::Array(array) => array,
            other => panic!("no array: {other:?}"),
        }
    }
}

fn reply(connection: &mut BufReader<TcpStream>) -> Reply {
    let mut line = String::new();
    connection.read_line(&mut line).expect("Redis answers");
    let (kind, rest) = line.trim_end().split_at(1);
    let number = || -> i64 { rest.parse().expect("a number") };
    match kind {
        ":" => Reply::Integer(number()),
        "+" => Reply::Bytes(rest.as_bytes().to_vec()),
        "-" => Reply::Error(rest.to_owned()),
        "$" => match usize::try_from(number()) {
            Ok(length) => {
                let mut bytes = vec![0; length + 2];
                connection.read_exact(&mut bytes).expect("all of a string");
                bytes.truncate(length);
                Reply::Bytes(bytes)
            }
            Err(_) => Reply::Nil,
        },
        "*" => match usize::try_from(number()) {
            Ok(count) => Reply::Array((0..count).map(|_| reply(connection)).collect()),
            Err(_) => Reply::Nil,
        },
        other => panic!("Redis answered with {other:?}"),
    }
}

/// A connection to a MongoDB.
pub struct MongoDb(TcpStream);

impl MongoDb {
    /// To `host:port`.
    ///
    /// # Panics
    /// When nothing listens there.
    pub fn to(address: &str) -> Self {
        Self(TcpStream::connect(address).expect("a MongoDB listens"))
    }

    /// Runs a command on a database: its answer.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&mut self, database: &str, mut command: Document) -> Document {
        const OP_MSG: u32 = 2_013;
        const HEAD: usize = 16;
        command.insert("$db", database);
        let document = command.to_vec().expect("a command is a document");
        let length = u32::try_from(HEAD + 5 + document.len()).expect("a command is small");
        let mut message = Vec::new();
        // No flags, and one section of the kind that is a document.
        for number in [length, 1, 0, OP_MSG, 0] {
            message.extend(number.to_le_bytes());
        }
        message.push(0);
        message.extend(document);
        self.0.write_all(&message).expect("MongoDB takes a command");
        let mut head = [0; HEAD];
        self.0.read_exact(&mut head).expect("MongoDB answers");
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let mut rest = vec![0; length - HEAD];
        self.0.read_exact(&mut rest).expect("all of an answer");
        let answer = Document::from_reader(&rest[5..]).expect("an answer is a document");
        let is_ok =
            answer.get_f64("ok").is_ok_and(|ok| ok == 1.0) || answer.get_i32("ok").is_ok_and(|ok| ok == 1);
        assert!(is_ok && !answer.contains_key("writeErrors"), "MongoDB: {answer}");
        answer
    }
}

//! HTTP/1.1 by hand, many requests on the way at once: filling a service with a million sessions must not take an hour.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, Result, ensure};

/// Requests on the way at once.
const WINDOW: usize = 64;

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// The first header of that name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Sends `count` requests, each made by its number, and hands the answers on in order.
pub(crate) fn exchange(
    address: &str,
    count: usize,
    request: impl Fn(usize) -> String,
    mut take: impl FnMut(usize, Answer) -> Result<()>,
) -> Result<()> {
    let mut writer = TcpStream::connect(address).with_context(|| address.to_owned())?;
    writer.set_nodelay(true)?;
    let mut reader = BufReader::new(writer.try_clone()?);
    for begin in (0..count).step_by(WINDOW) {
        let end = count.min(begin + WINDOW);
        let together: String = (begin..end).map(&request).collect();
        writer.write_all(together.as_bytes())?;
        for number in begin..end {
            let answer = read(&mut reader)?;
            ensure!((200..300).contains(&answer.status), "{}: {}", request(number), answer.body);
            take(number, answer)?;
        }
    }
    Ok(())
}

fn read(reader: &mut BufReader<TcpStream>) -> Result<Answer> {
    let mut line = || {
        let mut text = String::new();
        reader.read_line(&mut text)?;
        ensure!(text.ends_with('\n'), "the connection was closed");
        Ok(text.trim_end().to_owned())
    };
    let status = line()?.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    let mut headers = Vec::new();
    loop {
        let text = line()?;
        let Some((name, value)) = text.split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut answer = Answer { status, headers, body: String::new() };
    let length = answer.header("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.context("no content-length")?];
    reader.read_exact(&mut body)?;
    answer.body = String::from_utf8(body)?;
    Ok(answer)
}

//! The least that an HTTP service in Rust can do: hyper, and an answer that was made before.
//!
//! `bare FILE` answers every request with the JSON object in FILE: `status`, `headers` as a list of pairs, `body`. It prints
//! the address that it listens on.
#![allow(clippy::print_stdout, reason = "who starts it reads the address")]

use std::convert::Infallible;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::TcpListener;

/// What every request is answered with.
#[derive(Clone)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn read(file: &str) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| file.to_owned())?;
        let value: Value = serde_json::from_str(&text)?;
        let status = value["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        let mut headers = HeaderMap::new();
        for pair in value["headers"].as_array().context("`headers`")? {
            let text = |index: usize| pair[index].as_str().context("a header is a pair of texts");
            headers.append(
                HeaderName::try_from(text(0)?.to_owned())?,
                HeaderValue::try_from(text(1)?.to_owned())?,
            );
        }
        Ok(Self {
            status: StatusCode::from_u16(status.context("`status`")?)?,
            headers,
            body: value["body"].as_str().context("`body`")?.to_owned().into(),
        })
    }

    async fn to(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        // A write's body is taken in, as a service would.
        let _ = request.into_body().collect().await;
        let mut response = Response::new(Full::new(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        Ok(response)
    }
}

fn main() -> Result<()> {
    let file = std::env::args().nth(1).context("expected a file")?;
    let answer = Answer::read(&file)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(answer))
}

async fn serve(answer: Answer) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (answer, builder) = (answer.clone(), builder.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| answer.to(request));
            // A client that goes away is no event.
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

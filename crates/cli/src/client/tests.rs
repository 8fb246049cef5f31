//! The client against a server that counts connections.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::Client;
use crate::endpoint::Endpoint;
use crate::error::CliError;

/// Answers by path; a connection serves many requests.
fn serve(path: &Path) -> Arc<AtomicUsize> {
    let listener = UnixListener::bind(path).unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(answer(stream));
        }
    });
    connections
}

async fn answer(stream: UnixStream) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            head.push(line);
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let target = head[0].split(' ').nth(1).unwrap_or_default().to_owned();
        let (status, text) = match target.split('?').next().unwrap_or_default() {
            "/echo" => (
                "200 OK",
                json!({"target": target, "body": String::from_utf8_lossy(&body)}).to_string(),
            ),
            "/lines" => ("200 OK", "{\"n\":1}\r\n{\"n\":2}{\"n\":3}\n".to_owned()),
            "/cut" => ("200 OK", "{\"n\":1}\n{\"n\":".to_owned()),
            "/upgrade" => {
                let reply = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
                stream.write_all(reply.as_bytes()).await.unwrap();
                let mut input = Vec::new();
                stream.read_to_end(&mut input).await.unwrap();
                input.reverse();
                stream.write_all(&input).await.unwrap();
                return;
            }
            _ => (
                "404 Not Found",
                json!({"message": format!("no such thing: {target}")}).to_string(),
            ),
        };
        let reply = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        stream.write_all(reply.as_bytes()).await.unwrap();
    }
}

struct Fixture {
    client: Client,
    connections: Arc<AtomicUsize>,
    _directory: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("engine.sock");
    let connections = serve(&path);
    Fixture {
        client: Client::new(Endpoint::Unix(path), None, None),
        connections,
        _directory: directory,
    }
}

#[tokio::test]
async fn requests_share_a_connection_and_errors_carry_the_engines_words() {
    let fixture = fixture();
    let client = &fixture.client;
    let echoed: Value = client
        .post("/echo")
        .query("a", "b c")
        .json(&json!({"x": 1}))
        .answer()
        .await
        .unwrap();
    assert_eq!(echoed["target"], "/echo?a=b%20c");
    assert_eq!(echoed["body"], "{\"x\":1}");
    let error = client.get("/nothing").bytes().await.unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(
        error.to_string(),
        "Error response from daemon: no such thing: /nothing"
    );
    let _: Value = client.get("/echo").answer().await.unwrap();
    assert_eq!(fixture.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn documents_of_a_stream_come_one_by_one() {
    let fixture = fixture();
    let mut lines = fixture.client.get("/lines").lines::<Value>().await.unwrap();
    let mut numbers = Vec::new();
    while let Some(line) = lines.next().await.unwrap() {
        numbers.push(line["n"].clone());
    }
    assert_eq!(numbers, [1, 2, 3]);
    let mut cut = fixture.client.get("/cut").lines::<Value>().await.unwrap();
    assert_eq!(cut.next().await.unwrap().unwrap()["n"], 1);
    assert!(matches!(cut.next().await, Err(CliError::Protocol { .. })));
}

#[tokio::test]
async fn a_hijacked_connection_can_be_closed_in_one_direction() {
    let fixture = fixture();
    let mut stream = fixture.client.post("/upgrade").hijack().await.unwrap();
    stream.write_all(b"abc").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "cba");
    assert!(matches!(
        fixture.client.post("/echo").hijack().await,
        Err(CliError::Protocol { .. })
    ));
}

#[tokio::test]
async fn nobody_there() {
    let client = Client::new(Endpoint::Unix("/nonexistent/engine.sock".into()), None, None);
    let error = client.get("/echo").bytes().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Cannot connect to the Docker daemon at unix:///nonexistent/engine.sock. Is the docker daemon running?"
    );
}

//! A server that answers POST requests in a way of the test's, and notes them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A request.
#[derive(Clone, Debug)]
pub struct Post {
    /// `POST /path`.
    pub line: String,
    /// All header lines, in small letters.
    pub head: String,
    pub body: String,
}

pub struct Posts {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Post>>>,
}

impl Posts {
    /// Answers with a status line's words and a body.
    pub fn new(answer: impl Fn(&Post) -> (&'static str, String) + Send + 'static) -> Posts {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let posts = Posts { address, asked: Arc::default() };
        let asked = posts.asked.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A client that goes away early is the client's business.
                drop(serve(client, &asked, &answer));
            }
        });
        posts
    }

    pub fn asked(&self) -> Vec<Post> {
        self.asked.lock().expect("nobody panicked").clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|post| post.line).collect()
    }
}

fn serve(
    mut client: TcpStream,
    asked: &Mutex<Vec<Post>>,
    answer: &impl Fn(&Post) -> (&'static str, String),
) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head)? > 0 {}
    let line = head.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let post = Post { line, head, body: String::from_utf8_lossy(&body).into_owned() };
    let (status, text) = answer(&post);
    asked.lock().expect("nobody panicked").push(post);
    let length = text.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    client.write_all(format!("{head}{text}").as_bytes())
}

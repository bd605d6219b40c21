//! Git repositories behind HTTP: git's own `http-backend` behind a few lines that speak CGI to it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};

use crate::succeed;

/// What a server does beside serving.
#[derive(Debug, Clone, Default)]
pub struct GitServerOptions {
    /// The value of `Authorization` without which nothing is served.
    pub authorization: Option<String>,
    /// Whether clients get the first version of the protocol, whatever they ask for.
    pub oldest_protocol: bool,
    /// Paths that are answered with a redirect to another address.
    pub redirects: BTreeMap<String, String>,
}

/// Repositories of a directory behind `http://127.0.0.1:PORT/`. It serves until its process ends.
#[derive(Debug, Clone)]
pub struct GitServer {
    root: PathBuf,
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

impl GitServer {
    /// Serves the repositories below `root`.
    ///
    /// # Errors
    /// When no socket is to be had.
    pub fn start(root: &Path, options: GitServerOptions) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let server = Self {
            root: root.to_owned(),
            address: listener.local_addr()?,
            heard: Arc::default(),
        };
        let serving = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (serving, options) = (serving.clone(), options.clone());
                std::thread::spawn(move || serving.answer(stream, &options));
            }
        });
        Ok(server)
    }

    /// The address of a repository, or of anything else there.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Every request so far: method, path with its query, and `Authorization` where it was sent.
    #[must_use]
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answer(&self, mut stream: TcpStream, options: &GitServerOptions) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let mut words = line.split_whitespace();
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
                None => break,
            };
        }
        let header = |name: &str| headers.get(name).map_or("", String::as_str);
        let said = format!("{method} {target} {}", header("authorization"));
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(said.trim_end().to_owned());
        let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
        reader.read_exact(&mut body).ok()?;
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        if let Some(elsewhere) = options.redirects.get(path) {
            let to = format!("{elsewhere}?{query}");
            let head = format!(
                "HTTP/1.1 301 Moved\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            return stream.write_all(head.as_bytes()).ok();
        }
        if options
            .authorization
            .as_ref()
            .is_some_and(|wanted| wanted != header("authorization"))
        {
            let head = "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            return stream.write_all(head.as_bytes()).ok();
        }
        let mut backend = Command::new("git");
        backend
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", &self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*")
            .env("REQUEST_METHOD", &method)
            .env("PATH_INFO", path)
            .env("QUERY_STRING", query)
            .env("CONTENT_TYPE", header("content-type"))
            .env("CONTENT_LENGTH", body.len().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if !options.oldest_protocol {
            backend.env("GIT_PROTOCOL", header("git-protocol"));
        }
        let mut running = backend.spawn().ok()?;
        let mut input = running.stdin.take()?;
        let feeding = std::thread::spawn(move || input.write_all(&body));
        let output = running.wait_with_output().ok()?.stdout;
        let _ = feeding.join();
        let end = output.windows(4).position(|end| end == b"\r\n\r\n")?;
        let (head, content) = (String::from_utf8_lossy(&output[..end]), &output[end + 4..]);
        let status = head
            .lines()
            .find_map(|line| line.strip_prefix("Status: "))
            .unwrap_or("200 OK")
            .to_owned();
        let others: Vec<&str> = head
            .lines()
            .filter(|line| !line.starts_with("Status: "))
            .collect();
        let head = format!(
            "HTTP/1.1 {status}\r\n{}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            others.join("\r\n"),
            content.len()
        );
        stream.write_all(&[head.as_bytes(), content].concat()).ok()
    }
}

/// Runs git in a directory, as nobody in particular at a fixed time; gives what it prints, without the line's end.
///
/// # Errors
/// When git fails; its own words are in the error.
pub fn git(directory: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(directory)
        .args([
            "-c",
            "init.defaultBranch=main",
            "-c",
            "protocol.file.allow=always",
            "-c",
            "safe.directory=*",
        ])
        .args(arguments)
        .envs([
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_AUTHOR_NAME", "Test"),
            ("GIT_AUTHOR_EMAIL", "test@localhost"),
            ("GIT_AUTHOR_DATE", "1000000000 +0000"),
            ("GIT_COMMITTER_NAME", "Test"),
            ("GIT_COMMITTER_EMAIL", "test@localhost"),
            ("GIT_COMMITTER_DATE", "1000000000 +0000"),
        ]);
    let output = succeed(&mut command)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// Stores an object of any content, however wrong, and gives its id.
///
/// # Errors
/// When git fails.
pub fn git_object(directory: &Path, kind: &str, content: &[u8]) -> anyhow::Result<String> {
    let mut running = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(["hash-object", "-w", "--literally", "--stdin", "-t", kind])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = running.stdin.take().context("a pipe")?;
    input.write_all(content)?;
    drop(input);
    let output = running.wait_with_output()?;
    ensure!(
        output.status.success(),
        "git hash-object ended with {}",
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

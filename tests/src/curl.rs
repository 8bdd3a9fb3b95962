//! The real curl, and what it saw.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Of a body, in the words of a failed story.
const SHOWN_CHARACTERS: usize = 500;

/// A curl command line in the making.
#[derive(Debug)]
pub struct Curl {
    command: Command,
    output: Option<PathBuf>,
    outputs: TempDir,
}

/// One head of an answer: curl sees several when it was redirected or got "100 Continue".
#[derive(Debug, Clone)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// The words behind it.
    pub reason: String,
    headers: Vec<(String, String)>,
}

/// What curl ended with.
#[derive(Debug)]
pub struct Answer {
    /// The exit code; 0 when curl was content.
    pub exit: i32,
    /// The last answer's status; 0 when there was none.
    pub status: u16,
    /// The last answer's body.
    pub body: Vec<u8>,
    /// All heads in the order they came.
    pub heads: Vec<Head>,
    /// Redirects that were followed.
    pub redirects: u64,
    /// The URL that was asked last.
    pub effective_url: String,
    /// Where a redirect that was not followed points to.
    pub redirect_url: String,
    /// Body bytes that were sent, over all requests.
    pub uploaded: u64,
    /// What curl says that went wrong.
    pub complaint: String,
}

impl Curl {
    /// `curl URL`, with nothing of the user's own configuration, and an end after a minute.
    #[must_use]
    pub fn new(url: impl AsRef<str>) -> Curl {
        let outputs = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new("curl");
        command
            .args(["--disable", "--silent", "--show-error", "--noproxy", "*", "--max-time", "60"])
            // Long enough that curl sends a body unasked only where a story says so.
            .args(["--expect100-timeout", "30", "--write-out", "%{json}", "--globoff"])
            .arg("--dump-header")
            .arg(outputs.path().join("heads"))
            .arg(url.as_ref());
        Curl { command, output: None, outputs }
    }

    /// Any argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Curl {
        self.command.arg(argument);
        self
    }

    /// A variable in its environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: impl AsRef<OsStr>) -> Curl {
        self.command.env(name, value);
        self
    }

    /// `-L`: follows redirects.
    #[must_use]
    pub fn follow(self) -> Curl {
        self.arg("--location")
    }

    /// `-H 'name: value'`; an empty value takes the header away.
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Curl {
        self.arg("--header").arg(format!("{name}: {value}"))
    }

    /// `-X METHOD`.
    #[must_use]
    pub fn method(self, method: &str) -> Curl {
        self.arg("--request").arg(method)
    }

    /// `-I`.
    #[must_use]
    pub fn head(self) -> Curl {
        self.arg("--head")
    }

    /// `-T FILE`. Whether curl waits for "100 Continue" differs by version and size; where it matters, a story says
    /// `header("Expect", …)`, with an empty value for "no".
    #[must_use]
    pub fn upload(self, file: &Path) -> Curl {
        self.arg("--upload-file").arg(file)
    }

    /// `-T -`: sends what a pipe gives, chunked.
    #[must_use]
    pub fn upload_stdin(mut self, stdin: Stdio) -> Curl {
        self.command.stdin(stdin);
        self.arg("--upload-file").arg("-")
    }

    /// `-o FILE`, where the body is not to be kept in memory.
    #[must_use]
    pub fn output(mut self, file: &Path) -> Curl {
        self.output = Some(file.to_owned());
        self
    }

    /// A bearer token, when there is one.
    #[must_use]
    pub fn token(self, token: Option<&str>) -> Curl {
        match token {
            Some(token) => self.header("Authorization", &format!("Bearer {token}")),
            None => self,
        }
    }

    /// Runs it to its end.
    #[must_use]
    pub fn run(self) -> Answer {
        self.start().wait()
    }

    /// Starts it.
    #[must_use]
    pub fn start(mut self) -> Running {
        let output = self.output.take().unwrap_or_else(|| self.outputs.path().join("body"));
        let child = self
            .command
            .arg("--output")
            .arg(output)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("curl is installed (Debian: apt-get install curl)");
        Running { child: Some(child), outputs: self.outputs }
    }
}

/// A curl that runs. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Option<Child>,
    outputs: TempDir,
}

impl Running {
    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Ends it as a crash would.
    pub fn kill(mut self) {
        self.end();
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().expect("a child can be waited for").is_some())
    }

    /// Waits for its end.
    #[must_use]
    pub fn wait(mut self) -> Answer {
        let child = self.child.take().expect("nobody has waited before");
        let output = child.wait_with_output().expect("curl can be waited for");
        let facts: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        let number =
            |key: &str| facts[key].as_u64().or_else(|| facts[key].as_f64().map(|float| float as u64));
        let text = |key: &str| facts[key].as_str().unwrap_or_default().to_owned();
        Answer {
            exit: output.status.code().unwrap_or(-1),
            status: number("http_code").and_then(|code| u16::try_from(code).ok()).unwrap_or(0),
            // Without a body curl makes no file.
            body: std::fs::read(self.outputs.path().join("body")).unwrap_or_default(),
            heads: heads(&std::fs::read(self.outputs.path().join("heads")).unwrap_or_default()),
            redirects: number("num_redirects").unwrap_or(0),
            effective_url: text("url_effective"),
            redirect_url: text("redirect_url"),
            uploaded: number("size_upload").unwrap_or(0),
            complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn end(&mut self) {
        if let Some(child) = &mut self.child {
            // Both fail only when it has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

impl Answer {
    /// A header of the last answer.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.heads.last().and_then(|head| head.header(name))
    }

    /// The last answer's words behind the status.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.heads.last().map_or("", |head| &head.reason)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Panics unless curl was content and the status is this.
    #[must_use]
    pub fn expect(self, status: u16) -> Answer {
        assert!(self.exit == 0, "curl failed ({}): {}", self.exit, self.complaint);
        assert!(
            self.status == status,
            "{} was answered with {} {}, not {status}: {}",
            self.effective_url.split('?').next().unwrap_or_default(),
            self.status,
            self.reason(),
            self.text().chars().take(SHOWN_CHARACTERS).collect::<String>()
        );
        self
    }
}

impl Head {
    /// A header's value; names are compared without case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All values of a header that is there several times.
    #[must_use]
    pub fn headers(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }
}

fn heads(text: &[u8]) -> Vec<Head> {
    let text = String::from_utf8_lossy(text);
    let mut heads: Vec<Head> = Vec::new();
    for line in text.lines() {
        if let Some(status_line) = line.strip_prefix("HTTP/1.1 ") {
            let (status, reason) = status_line.split_once(' ').unwrap_or((status_line, ""));
            let status = status.parse().unwrap_or(0);
            heads.push(Head { status, reason: reason.to_owned(), headers: Vec::new() });
        } else if let (Some(head), Some((name, value))) = (heads.last_mut(), line.split_once(':')) {
            head.headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }
    heads
}

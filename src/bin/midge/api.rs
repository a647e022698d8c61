//! The HTTP API of a running broker's console, as a client.

use std::fmt::Display;
use std::path::Path;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::rt::{Read, Write};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::arguments::ConsoleAccess;
use crate::failure::{Failure, NO_ANSWER, NOT_RUNNING};

/// The environment variable with the password.
const PASSWORD: &str = "MIDGE_PASSWORD";
/// The longest answer that is read, in bytes.
const LONGEST: usize = 16 << 20;

/// A console, and who asks it.
pub(crate) struct Api<'a> {
    access: &'a ConsoleAccess,
    authorization: String,
}

impl Api<'_> {
    /// Reads the password.
    pub(crate) fn new(access: &ConsoleAccess) -> Result<Api<'_>, Failure> {
        let password = match &access.password_file {
            Some(file) => first_line(file)?,
            None => std::env::var(PASSWORD)
                .map_err(|_| Failure::usage(format!("set {PASSWORD}, or name a --password-file")))?,
        };
        let credentials = format!("{}:{password}", access.user);
        Ok(Api { access, authorization: format!("Basic {}", base64(credentials.as_bytes())) })
    }

    /// Sends a request, and gives the answer's body; `Null` if it has none.
    pub(crate) fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::runtime(error.to_string()))?;
        let asked = async {
            let answer = tokio::time::timeout(self.access.timeout, self.send(method, path, body)).await;
            answer.unwrap_or_else(|_| Err(self.no_answer("it says nothing in time (--timeout)")))
        };
        runtime.block_on(asked)
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let console = &self.access.console;
        let (host, is_secure) = (console.host().unwrap_or_default(), console.scheme_str() == Some("https"));
        let port = console.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let dialled = TcpStream::connect((host.trim_matches(['[', ']']), port)).await;
        let stream = dialled.map_err(|error| {
            Failure::new(NOT_RUNNING, format!("no console is running at {console}: {error}"))
        })?;
        let whole = body.map(Value::to_string).unwrap_or_default();
        let mut request = Request::builder().method(method).uri(format!("/api/v1/{path}"));
        if let Some(authority) = console.authority() {
            request = request.header(HOST, authority.as_str());
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.header(AUTHORIZATION, &self.authorization).header(ACCEPT, "application/json");
        let request = request.body(Full::new(Bytes::from(whole)));
        let request = request.map_err(|error| Failure::usage(error.to_string()))?;
        match is_secure {
            false => self.exchange(TokioIo::new(stream), request).await,
            true => self.exchange(TokioIo::new(self.secured(stream, host).await?), request).await,
        }
    }

    #[cfg(feature = "tls")]
    async fn secured(
        &self,
        stream: TcpStream,
        host: &str,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Failure> {
        let config = crate::trust::of_file(self.access.ca.as_deref())?;
        let name = rustls::pki_types::ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
        let name = name.map_err(|error| Failure::usage(format!("{host}: {error}")))?;
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
        connector.connect(name, stream).await.map_err(|error| self.no_answer(error))
    }

    #[cfg(not(feature = "tls"))]
    async fn secured(&self, _stream: TcpStream, _host: &str) -> Result<TcpStream, Failure> {
        Err(Failure::usage("this midge is built without TLS (feature tls)"))
    }

    async fn exchange(
        &self,
        stream: impl Read + Write + Unpin,
        request: Request<Full<Bytes>>,
    ) -> Result<Value, Failure> {
        let (mut sender, connection) =
            http1::handshake(stream).await.map_err(|error| self.no_answer(error))?;
        let answered = async {
            let answer = sender.send_request(request).await.map_err(|error| self.no_answer(error))?;
            self.understand(answer).await
        };
        let mut connection = std::pin::pin!(connection);
        let mut answered = std::pin::pin!(answered);
        std::future::poll_fn(|cx| {
            // It fails with the request, which says why.
            let _ended = connection.as_mut().poll(cx);
            answered.as_mut().poll(cx)
        })
        .await
    }

    async fn understand(&self, answer: Response<hyper::body::Incoming>) -> Result<Value, Failure> {
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST).collect().await;
        let body = body.map_err(|error| self.no_answer(error))?.to_bytes();
        if status == StatusCode::UNAUTHORIZED {
            return Err(Failure::runtime(format!(
                "{}: the password of user {:?} is wrong",
                self.access.console, self.access.user
            )));
        }
        let value = match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&body).map_err(|error| self.no_answer(error))?,
        };
        if status.is_success() {
            return Ok(value);
        }
        let sentence = value.pointer("/error/message").and_then(Value::as_str);
        Err(match sentence {
            Some(sentence) => Failure::runtime(sentence),
            None => self.no_answer(status),
        })
    }

    fn no_answer(&self, cause: impl Display) -> Failure {
        let sentence =
            format!("the program at {} does not behave like a console: {cause}", self.access.console);
        Failure::new(NO_ANSWER, sentence)
    }
}

/// The first line of a file, without its end.
fn first_line(file: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The address of a console: `http://HOST:PORT`.
pub(crate) fn console(text: &str) -> Result<Uri, String> {
    let uri = text.parse::<Uri>().ok();
    let fits = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && uri.path() == "/"
    };
    uri.filter(fits).ok_or_else(|| "write http://HOST:PORT or https://HOST:PORT".to_owned())
}

/// A part of a path, percent-encoded.
pub(crate) fn part(text: &str) -> impl Display + '_ {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
}

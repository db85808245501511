//! What hyper itself refuses, a head that it cannot read, told as all else is: in the envelope.
//!
//! hyper has no hook for this. It writes a bare head, all at once, closes, and never calls the service; no answer of the
//! gateway's looks like it, as those have a body.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use kancy::base::id::RequestId;
use tokio::io::{AsyncRead, AsyncWrite};

const MALFORMED: (&str, &str) = ("invalid_parameter", "This is no HTTP request: its head cannot be read.");
const TOO_LARGE: (&str, &str) = ("request_too_large", "The URL or the headers are too large. Send less of them.");

/// A connection on which a bare refusal gets the envelope.
pub struct Enveloped<S> {
    stream: S,
    /// What goes out instead of the bytes at hand, and how much of it has.
    instead: Option<(Vec<u8>, usize)>,
}

impl<S> Enveloped<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, instead: None }
    }
}

/// What to say instead of `bytes`, where they are a refusal of hyper's.
fn instead_of(bytes: &[u8]) -> Option<Vec<u8>> {
    let head = bytes.strip_prefix(b"HTTP/1.")?.get(2..)?.strip_suffix(b"\r\n\r\n")?;
    let (code, message) = match head.get(..3)? {
        b"400" => MALFORMED,
        b"414" | b"431" => TOO_LARGE,
        _ => return None,
    };
    let mut lines = std::str::from_utf8(head).ok()?.split("\r\n").skip(1);
    let is_bare = |line: &str| ["connection: close", "content-length: 0"].contains(&line) || line.starts_with("date: ");
    if !lines.all(is_bare) {
        return None;
    }
    let id = RequestId::accept(None);
    let id = id.as_str();
    let body = format!(
        r#"{{"error":{{"message":"{message}","type":"invalid_request_error","param":null,"code":"{code}","origin":"gateway","request_id":"{id}"}}}}"#
    );
    let length = body.len();
    let head = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json";
    Some(format!("{head}\r\nx-request-id: {id}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}").into())
}

impl<S: AsyncWrite + Unpin> Enveloped<S> {
    /// Writes what goes out instead of `bytes`; `None` where nothing does.
    fn poll_instead(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Option<io::Result<usize>>> {
        if self.instead.is_none() {
            self.instead = instead_of(bytes).map(|text| (text, 0));
        }
        let Some((text, written)) = &mut self.instead else { return Poll::Ready(None) };
        while *written < text.len() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &text[*written..])) {
                Ok(0) => return Poll::Ready(Some(Err(io::ErrorKind::WriteZero.into()))),
                Ok(more) => *written += more,
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        self.instead = None;
        Poll::Ready(Some(Ok(bytes.len())))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Enveloped<S> {
    forward!(stream: poll_read);
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Enveloped<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(self.poll_instead(cx, bytes)) {
            Some(written) => Poll::Ready(written),
            None => Pin::new(&mut self.stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [bytes] = slices
            && let Some(written) = ready!(self.poll_instead(cx, bytes))
        {
            return Poll::Ready(written);
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    forward!(stream: is_write_vectored, poll_flush, poll_shutdown);
}

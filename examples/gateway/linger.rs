//! A connection that is closed gently: whoever is refused in the middle of an upload can read why.
//!
//! To close a socket with unread bytes in it resets the connection, and what was answered may be lost on the way. So what
//! still comes is read and thrown away, for a while.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// The most that is thrown away.
const BYTES: usize = 64 << 20;
const TIME: Duration = Duration::from_secs(5);
/// How long the first of it is waited for: an idle connection has none.
const FIRST: Duration = Duration::from_millis(500);
/// So much is read at a time before other tasks have their turn.
const AT_ONCE: usize = 1 << 20;

/// A `TcpStream` that lingers when it is shut down with bytes still coming.
pub struct Linger {
    stream: TcpStream,
    state: State,
}

enum State {
    Open,
    /// Our side is closed.
    Shut {
        bytes: usize,
        end: Pin<Box<Sleep>>,
    },
}

impl Linger {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, state: State::Open }
    }
}

impl AsyncRead for Linger {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Linger {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let State::Open = this.state {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            this.state = State::Shut { bytes: 0, end: Box::pin(sleep(FIRST)) };
        }
        let State::Shut { bytes, end } = &mut this.state else { return Poll::Ready(Ok(())) };
        let mut scrap = [0; 16 * 1024];
        let turn = *bytes + AT_ONCE;
        while *bytes < BYTES {
            let mut buf = ReadBuf::new(&mut scrap);
            match Pin::new(&mut this.stream).poll_read(cx, &mut buf) {
                Poll::Pending => return end.as_mut().poll(cx).map(Ok),
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    if *bytes == 0 {
                        end.as_mut().reset(Instant::now() + TIME);
                    }
                    *bytes += buf.filled().len();
                }
                Poll::Ready(_) => break,
            }
            if end.as_mut().poll(cx).is_ready() {
                break;
            }
            if *bytes >= turn {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }
}

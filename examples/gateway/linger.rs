//! A connection that is closed so that its last answer arrives.
//!
//! A caller who is refused while it still uploads would not see why: closing a socket that holds unread bytes resets the
//! connection, and a client that is writing stops at that. So what is on its way is read and dropped first, for a while.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// A caller who sends nothing for so long has nothing more on its way.
const QUIET: Duration = Duration::from_millis(250);
/// How long the rest of an upload may take.
const AT_MOST: Duration = Duration::from_secs(5);

pub struct Linger {
    stream: TcpStream,
    closing: Option<Closing>,
}

/// Our side is closed; until then the caller may go on sending.
struct Closing {
    at_most: Instant,
    until: Pin<Box<Sleep>>,
}

impl Linger {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, closing: None }
    }
}

impl Closing {
    fn new() -> Self {
        let now = Instant::now();
        Self { at_most: now + AT_MOST, until: Box::pin(sleep_until(now + QUIET)) }
    }

    /// Drops what comes, until the caller is done or out of time.
    fn poll_discard(&mut self, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 16 * 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    let now = Instant::now();
                    if now >= self.at_most {
                        return Poll::Ready(());
                    }
                    self.until.as_mut().reset(self.at_most.min(now + QUIET));
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.until.as_mut().poll(cx),
            }
        }
    }
}

impl AsyncRead for Linger {
    forward!(stream: poll_read);
}

impl AsyncWrite for Linger {
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, closing } = &mut *self;
        if closing.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
        }
        closing.get_or_insert_with(Closing::new).poll_discard(stream, cx).map(Ok)
    }

    forward!(stream: poll_write, poll_write_vectored, is_write_vectored, poll_flush);
}

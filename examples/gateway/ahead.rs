//! How far a thread reads ahead of what it writes.
//!
//! What has come is handled in turn, and what is to be sent on is written when its own turn comes. Of small requests many
//! fit in between. Of large ones a few fill the core's cache, and each that is read on top of them has to be fetched from
//! memory to be written. So a thread that has read so much lets what waits go first.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A part of what a core's second cache holds.
const AT_ONCE: usize = 256 * 1024;
/// Below this nothing is done about it.
const LITTLE: usize = 32 * 1024;

thread_local! {
    /// Bytes that were read since what was waiting then has had its turn.
    static AHEAD: Cell<usize> = const { Cell::new(0) };
}

/// A connection that is not read from while its thread is far ahead.
pub struct InTurn<S>(S);

impl<S> InTurn<S> {
    pub fn new(stream: S) -> Self {
        Self(stream)
    }
}

/// Notes that so much was read. What stands in the thread's queue by now is through when the count begins anew.
fn note(read: usize) {
    let before = AHEAD.get();
    AHEAD.set(before + read);
    if before < LITTLE && before + read >= LITTLE {
        tokio::spawn(async { AHEAD.set(0) });
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for InTurn<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if AHEAD.get() >= AT_ONCE {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.0).poll_read(cx, buffer);
        note(buffer.filled().len() - before);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for InTurn<S> {
    forward!(0: poll_write, poll_write_vectored, is_write_vectored, poll_flush, poll_shutdown);
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn who_has_read_much_lets_others_go_first_and_then_reads_on() {
        let (mut here, there) = duplex(4 * AT_ONCE);
        here.write_all(&vec![7; 3 * AT_ONCE]).await.unwrap();
        drop(here);
        let mut there = InTurn::new(there);
        let mut read = vec![0; AT_ONCE];
        there.read_exact(&mut read).await.unwrap();
        assert_eq!(AHEAD.get(), AT_ONCE);
        // It waits for its turn, not for bytes: those are there.
        let mut rest = Vec::new();
        there.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest.len(), 2 * AT_ONCE);
    }

    #[tokio::test]
    async fn little_holds_nobody_up_however_often_it_comes() {
        let (mut here, there) = duplex(1024);
        let mut there = InTurn::new(there);
        for _ in 0..AT_ONCE / 512 {
            here.write_all(&[7; 1024]).await.unwrap();
            there.read_exact(&mut [0; 1024]).await.unwrap();
            tokio::task::yield_now().await;
            assert!(AHEAD.get() <= LITTLE);
        }
    }
}

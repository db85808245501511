//! Collects a body, bounded in bytes and in pieces.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use pin_project_lite::pin_project;

use crate::base::error::{Code, Error};
use crate::http::body::Segments;
use crate::wire::multipart::Layout;

use super::accept::Bound;

/// Up to here every piece is kept as it came.
const FREE_PIECES: usize = 64;
/// After that, pieces shorter than this are joined: a body in tiny frames must not cost more than its bytes.
const SMALL: usize = 4 * 1024;
/// So many frames are taken at a time before other tasks have their turn.
const FRAMES_A_POLL: usize = 128;

pin_project! {
    /// Resolves to the whole body, or to what the caller is told.
    pub(super) struct Collect<B> {
        #[pin]
        body: B,
        pieces: Vec<Bytes>,
        small: BytesMut,
        bytes: usize,
        bound: Bound,
        layout: Option<Result<Box<Layout>, Error>>,
    }
}

/// A whole body, and how it is laid out where it is a form: that is read piece by piece, while the processor has each at
/// hand, as going through 25 MB once more costs about as much as they cost to receive.
pub(super) struct Collected {
    pub(super) segments: Segments,
    pub(super) layout: Option<Result<Box<Layout>, Error>>,
}

impl<B> Collect<B> {
    pub(super) fn new(body: B, bound: Bound, layout: Option<Result<Box<Layout>, Error>>) -> Self {
        Self { body, pieces: Vec::new(), small: BytesMut::new(), bytes: 0, bound, layout }
    }
}

impl<B> Future for Collect<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Output = Result<Collected, Missing>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.body.size_hint().lower() > (this.bound.max_bytes - *this.bytes) as u64 {
            return Poll::Ready(Err(Missing::Refused(this.bound.exceeded())));
        }
        for _ in 0..FRAMES_A_POLL {
            let piece = match ready!(this.body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Err(broken(error.into().as_ref()))),
                None => {
                    if !this.small.is_empty() {
                        this.pieces.push(this.small.split().freeze());
                    }
                    let segments = Segments::new(std::mem::take(this.pieces));
                    return Poll::Ready(Ok(Collected { segments, layout: this.layout.take() }));
                }
            };
            if piece.len() > this.bound.max_bytes - *this.bytes {
                return Poll::Ready(Err(Missing::Refused(this.bound.exceeded())));
            }
            *this.bytes += piece.len();
            if let Some(Ok(layout)) = this.layout {
                layout.push(&piece);
            }
            match piece.len() {
                0 => {}
                1..SMALL if this.pieces.len() >= FREE_PIECES => this.small.extend_from_slice(&piece),
                _ => {
                    if !this.small.is_empty() {
                        this.pieces.push(this.small.split().freeze());
                    }
                    this.pieces.push(piece);
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Why there is no whole body.
#[derive(Debug)]
pub(super) enum Missing {
    /// The caller is told.
    Refused(Error),
    /// The caller is gone; should it still listen, it is told.
    Left(Error),
}

fn broken(cause: &(dyn StdError + Send + Sync + 'static)) -> Missing {
    if is_limit(cause) {
        let message = "The body is larger than this server takes: shorten it, or give media by URL.";
        return Missing::Refused(Error::new(Code::RequestTooLarge, message));
    }
    let error = Error::new(Code::InvalidJson, "The body ended early: send it again, whole.").cause(cause.to_string());
    if is_hang_up(cause) { Missing::Left(error) } else { Missing::Refused(error) }
}

/// Whether a limit of the host's own has cut the body, as `http_body_util::Limited` and all that is made of it say it.
fn is_limit(error: &(dyn StdError + 'static)) -> bool {
    error.to_string() == "length limit exceeded" || error.source().is_some_and(is_limit)
}

/// Whether an error says that the other side is not there any more.
fn is_hang_up(error: &(dyn StdError + 'static)) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let hung_up =
        |error: &io::Error| matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof);
    error.downcast_ref().is_some_and(hung_up) || error.source().is_some_and(is_hang_up)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use std::convert::Infallible;

    async fn collected(frames: impl Iterator<Item = Bytes>, max_bytes: usize) -> Result<Segments, Missing> {
        let frames = frames.map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
        let body = StreamBody::new(futures_util::stream::iter(frames));
        Collect::new(body, Bound::of_body(max_bytes), None).await.map(|collected| collected.segments)
    }

    #[tokio::test]
    async fn pieces_are_kept_as_they_came() {
        let whole = Bytes::from_static(b"0123456789");
        let segments = collected([whole.slice(..4), whole.slice(4..)].into_iter(), 10).await.unwrap();
        assert_eq!(segments.pieces().len(), 2);
        assert_eq!(segments.pieces()[1].as_ptr(), whole[4..].as_ptr());
    }

    #[tokio::test]
    async fn tiny_frames_cost_no_more_than_their_bytes() {
        let segments = collected((0..100_000).map(|_| Bytes::from_static(b"x")), 100_000).await.unwrap();
        assert_eq!(segments.len(), 100_000);
        assert!(segments.pieces().len() <= FREE_PIECES + 1);
    }

    #[tokio::test]
    async fn a_million_empty_frames_leave_nothing_behind() {
        let segments = collected((0..1_000_000).map(|_| Bytes::new()), 10).await.unwrap();
        assert!(segments.is_empty());
    }

    #[tokio::test]
    async fn a_limit_of_the_hosts_own_is_told_as_what_it_is() {
        let body = http_body_util::Limited::new(http_body_util::Full::new(Bytes::from_static(b"0123456789")), 5);
        let refused = Collect::new(body, Bound::of_body(100), None).await.map(drop).unwrap_err();
        assert!(matches!(refused, Missing::Refused(error) if error.code() == Code::RequestTooLarge));
    }

    #[tokio::test]
    async fn the_byte_beyond_the_bound_is_refused_and_no_more_is_read() {
        let frames = |count| std::iter::repeat_n(Bytes::from_static(b"12345"), count);
        assert_eq!(collected(frames(2), 10).await.unwrap().len(), 10);
        let mut taken = 0;
        let refused = collected(frames(100).inspect(|_| taken += 1), 10).await.unwrap_err();
        assert!(matches!(refused, Missing::Refused(error) if error.code() == Code::RequestTooLarge));
        assert_eq!(taken, 3);
    }
}

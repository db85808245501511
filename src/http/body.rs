//! Bodies: the segments of a collected request, and the response body of every layer.

use std::convert::Infallible;
use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// A body's bytes in the pieces that arrived: shared, never joined unless someone asks.
#[derive(Clone, Default)]
pub struct Segments {
    parts: Parts,
    len: usize,
}

#[derive(Clone)]
enum Parts {
    One(Bytes),
    Many(Arc<[Bytes]>),
}

impl Default for Parts {
    fn default() -> Self {
        Self::One(Bytes::new())
    }
}

impl Segments {
    /// From pieces in order; empty ones are left out.
    pub fn new(mut pieces: Vec<Bytes>) -> Self {
        pieces.retain(|p| !p.is_empty());
        let len = pieces.iter().map(Bytes::len).sum();
        let parts = match pieces.len() {
            0 | 1 => Parts::One(pieces.pop().unwrap_or_default()),
            _ => Parts::Many(pieces.into()),
        };
        Self { parts, len }
    }

    /// Length of all pieces in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces, in order.
    pub fn pieces(&self) -> &[Bytes] {
        match &self.parts {
            Parts::One(piece) => std::slice::from_ref(piece),
            Parts::Many(pieces) => pieces,
        }
    }

    /// All bytes in one piece; a copy only where there are several.
    pub fn joined(&self) -> Bytes {
        match &self.parts {
            Parts::One(piece) => piece.clone(),
            Parts::Many(pieces) => {
                let mut whole = BytesMut::with_capacity(self.len);
                pieces.iter().for_each(|p| whole.extend_from_slice(p));
                whole.freeze()
            }
        }
    }

    /// The bytes in `range`, as pieces that share these; clamped to what is there.
    pub fn slice(&self, range: Range<usize>) -> Vec<Bytes> {
        let mut found = Vec::with_capacity(1);
        let mut offset = 0;
        for piece in self.pieces() {
            let from = range.start.clamp(offset, offset + piece.len()) - offset;
            let to = range.end.clamp(offset, offset + piece.len()) - offset;
            if from < to {
                found.push(piece.slice(from..to));
            }
            offset += piece.len();
        }
        found
    }
}

impl From<Bytes> for Segments {
    fn from(bytes: Bytes) -> Self {
        Self::new(vec![bytes])
    }
}

impl fmt::Debug for Segments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Segments({} bytes in {})", self.len, self.pieces().len())
    }
}

/// A request body of collected segments: what the inspect layer hands on, and what vendors' clients are given.
#[derive(Clone, Debug, Default)]
pub struct CallBody {
    segments: Segments,
    next: usize,
    sent: usize,
}

impl CallBody {
    /// A body without a byte.
    pub fn empty() -> Self {
        Self::default()
    }

    /// What is left to send, in one piece; a copy only where it arrived in several.
    pub fn into_bytes(self) -> Bytes {
        if self.next == 0 {
            self.segments.joined()
        } else {
            Segments::new(self.segments.pieces()[self.next..].to_vec()).joined()
        }
    }

    /// All segments, sent or not.
    pub fn segments(&self) -> &Segments {
        &self.segments
    }
}

impl From<Segments> for CallBody {
    fn from(segments: Segments) -> Self {
        Self { segments, next: 0, sent: 0 }
    }
}

impl From<Bytes> for CallBody {
    fn from(bytes: Bytes) -> Self {
        Segments::from(bytes).into()
    }
}

impl Body for CallBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.segments.pieces().get(self.next).filter(|p| !p.is_empty()).cloned();
        let Some(piece) = piece else { return Poll::Ready(None) };
        self.next += 1;
        self.sent += piece.len();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.sent == self.segments.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.segments.len() - self.sent) as u64)
    }
}

pin_project! {
    /// The response body of every layer: the inner service's, or a reply of the layer's own.
    ///
    /// Data, errors, trailers, size hint and end of the inner body are passed on untouched.
    pub struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Reply { bytes: Option<Bytes> },
        Inner { #[pin] body: B },
    }
}

/// Empty, for layers that answer in the inner service's place.
impl<B> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::reply(Bytes::new())
    }
}

impl<B> ResponseBody<B> {
    /// The inner service's body.
    pub(crate) fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body } }
    }

    /// A reply of our own.
    pub(crate) fn reply(bytes: Bytes) -> Self {
        Self { kind: Kind::Reply { bytes: Some(bytes).filter(|b| !b.is_empty()) } }
    }
}

impl<B: Body<Data = Bytes>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Reply { bytes } => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            KindProj::Inner { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Reply { bytes } => bytes.is_none(),
            Kind::Inner { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Reply { bytes } => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Inner { body } => body.size_hint(),
        }
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Reply { .. } => "ResponseBody::Reply",
            Kind::Inner { .. } => "ResponseBody::Inner",
        })
    }
}

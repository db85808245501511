//! What a wrapped connection hands on as it is.

/// Methods of `AsyncRead` and `AsyncWrite` that do what those of the field do.
macro_rules! forward {
    ($inner:tt: $($method:ident),+) => { $(forward!(@$method $inner);)+ };
    (@poll_read $inner:tt) => {
        fn poll_read(
            mut self: ::std::pin::Pin<&mut Self>,
            cx: &mut ::std::task::Context<'_>,
            buffer: &mut ::tokio::io::ReadBuf<'_>,
        ) -> ::std::task::Poll<::std::io::Result<()>> {
            ::std::pin::Pin::new(&mut self.$inner).poll_read(cx, buffer)
        }
    };
    (@poll_write $inner:tt) => {
        fn poll_write(
            mut self: ::std::pin::Pin<&mut Self>,
            cx: &mut ::std::task::Context<'_>,
            bytes: &[u8],
        ) -> ::std::task::Poll<::std::io::Result<usize>> {
            ::std::pin::Pin::new(&mut self.$inner).poll_write(cx, bytes)
        }
    };
    (@poll_write_vectored $inner:tt) => {
        fn poll_write_vectored(
            mut self: ::std::pin::Pin<&mut Self>,
            cx: &mut ::std::task::Context<'_>,
            slices: &[::std::io::IoSlice<'_>],
        ) -> ::std::task::Poll<::std::io::Result<usize>> {
            ::std::pin::Pin::new(&mut self.$inner).poll_write_vectored(cx, slices)
        }
    };
    (@is_write_vectored $inner:tt) => {
        fn is_write_vectored(&self) -> bool {
            self.$inner.is_write_vectored()
        }
    };
    (@poll_flush $inner:tt) => {
        fn poll_flush(
            mut self: ::std::pin::Pin<&mut Self>,
            cx: &mut ::std::task::Context<'_>,
        ) -> ::std::task::Poll<::std::io::Result<()>> {
            ::std::pin::Pin::new(&mut self.$inner).poll_flush(cx)
        }
    };
    (@poll_shutdown $inner:tt) => {
        fn poll_shutdown(
            mut self: ::std::pin::Pin<&mut Self>,
            cx: &mut ::std::task::Context<'_>,
        ) -> ::std::task::Poll<::std::io::Result<()>> {
            ::std::pin::Pin::new(&mut self.$inner).poll_shutdown(cx)
        }
    };
}

//! Images: the request and the answer in OpenAI's shape, for the vendors that have another.
//!
//! What a caller may ask for is one shape whatever the vendor. Options that decide what is made and what it costs (`n`,
//! reference pictures, a mask) are refused where a vendor cannot honour them. A `size` becomes the nearest that the vendor
//! has. Everything else (`seed`, `quality`, …) is left out where the vendor lacks it; the answer's `warnings` say so.

mod answer;
mod fields;
mod picture;
mod request;
mod size;

pub(crate) use answer::{Answer, Made, begin_with, write_warnings};
pub(crate) use picture::Picture;
pub(crate) use request::{Form, ImageRequest, SOFT, left_out};
pub(crate) use size::{Size, nearest};

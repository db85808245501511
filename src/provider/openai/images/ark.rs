//! Seedream on Ark: `images/generations`, which edits as well.

use bytes::Bytes;
use http::HeaderValue;
use serde::Serialize;

use crate::base::error::Error;
use crate::domain::endpoint::Endpoint;
use crate::http::call::Call;
use crate::provider::gallery::Plan;
use crate::provider::openai::request::post;
use crate::provider::traits::{Exchange, Target};
use crate::wire::images::{Form, ImageRequest, Picture, Size, left_out, nearest};
use crate::wire::openai_request::{missing, unsupported};

use super::read::read;

/// Pictures at once: a call each.
const MAX_N: u64 = 10;
/// Pictures to work from.
const MAX_PICTURES: usize = 14;

/// Where Ark keeps results.
const HOSTS: &[&str] = &["*.volces.com", "*.bytepluses.com", "*.byteplus.com"];

/// A family of models, by a part of its upstream ids, which begin in as many ways as there are regions.
struct Family {
    part: &'static str,
    least: u64,
    most: u64,
    /// The sizes of the lowest level that the family has: what is too small becomes one of them.
    presets: &'static [Size],
    options: &'static [&'static str],
}

const PRESETS_1K: &[Size] = &[
    Size::new(1024, 1024),
    Size::new(1152, 864),
    Size::new(864, 1152),
    Size::new(1280, 720),
    Size::new(720, 1280),
    Size::new(1248, 832),
    Size::new(832, 1248),
    Size::new(1512, 648),
];
const PRESETS_2K: &[Size] = &[
    Size::new(2048, 2048),
    Size::new(2304, 1728),
    Size::new(1728, 2304),
    Size::new(2560, 1440),
    Size::new(1440, 2560),
    Size::new(2496, 1664),
    Size::new(1664, 2496),
    Size::new(3024, 1296),
];

const FAMILIES: &[Family] = &[
    Family { part: "seedream-4-0", least: 921_600, most: 16_777_216, presets: PRESETS_1K, options: &[] },
    Family { part: "seedream-4-5", least: 3_686_400, most: 16_777_216, presets: PRESETS_2K, options: &[] },
    Family {
        part: "seedream-5-0-pro",
        least: 921_600,
        most: 4_194_304,
        presets: PRESETS_1K,
        options: &["output_format"],
    },
    Family {
        part: "seedream-5-0",
        least: 3_686_400,
        most: 16_777_216,
        presets: PRESETS_2K,
        options: &["output_format"],
    },
    Family { part: "seedream-3-0", least: 262_144, most: 4_194_304, presets: PRESETS_1K, options: &["seed"] },
    Family { part: "seededit-3-0", least: 262_144, most: 4_194_304, presets: PRESETS_1K, options: &["seed"] },
];

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    prompt: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    image: &'a [Picture<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<&'static str>,
    /// Always said: Ark's default is to put one in.
    watermark: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_format: Option<&'a str>,
}

/// Translates the call.
pub(super) fn encode(call: &Call, target: &Target) -> Result<Exchange, Error> {
    if call.streams() {
        return Err(unsupported("stream", "this model's pictures come in one answer"));
    }
    let given = if call.facts().multipart.is_some() { Bytes::new() } else { call.body() };
    let request = ImageRequest::read(call.segments().pieces(), &given, call.facts())?;
    request.n_at_most(MAX_N)?;
    request.pictures_at_most(MAX_PICTURES)?;
    request.no_mask()?;
    if call.endpoint() == Endpoint::ImageEdits && request.pictures.is_empty() {
        return Err(missing("image"));
    }
    let family = FAMILIES.iter().find(|family| target.upstream.contains(family.part));
    let options = family.map_or(&[][..], |family| family.options);
    let output_format =
        request.output_format.as_deref().filter(|f| options.contains(&"output_format") && matches!(*f, "png" | "jpeg"));
    let honoured: Vec<_> =
        options.iter().copied().filter(|o| *o != "output_format" || output_format.is_some()).collect();
    let ignored = request.ignored(&[&honoured[..], &["watermark"]].concat());
    let mut warnings: Vec<_> = ignored.iter().filter_map(|field| left_out(field)).collect();
    let size = request.size.map(|wanted| {
        let size = family.map_or(wanted, |family| family.size(wanted));
        if size != wanted {
            warnings.push(format!("\"size\" {wanted} was made as {size}, the nearest that this model has."));
        }
        size.to_string()
    });
    let body = Body {
        model: &target.upstream,
        prompt: &request.prompt,
        image: &request.pictures,
        size: size.clone(),
        response_format: request.form.map(|form| if form == Form::Url { "url" } else { "b64_json" }),
        watermark: request.watermark,
        seed: request.seed.filter(|_| options.contains(&"seed")),
        output_format,
    };
    let body = request.written(&body)?;
    let json = HeaderValue::from_static("application/json");
    let plan = Plan {
        request: post(target, "/images/generations", json, "application/json", body.into())?,
        calls: request.n,
        form: request.form,
        size,
        quality: None,
        warnings,
        dropped: request.dropped(ignored),
        hosts: HOSTS,
        read,
        is_final: false,
    };
    Ok(plan.into_exchange(target))
}

impl Family {
    /// The size as it is where the model takes it; else the nearest preset, or as large as the model goes.
    fn size(&self, wanted: Size) -> Size {
        match wanted.pixels() {
            pixels if pixels < self.least => nearest(wanted, self.presets, |size| *size).copied().unwrap_or(wanted),
            pixels if pixels > self.most => wanted.within(self.least, self.most, 8),
            _ => wanted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_brought_into_the_models_range() {
        for (part, asked, made) in [
            ("seedream-4-5", (1536, 1024), "2496x1664"),
            ("seedream-4-5", (1024, 1024), "2048x2048"),
            ("seedream-4-5", (1792, 1024), "2560x1440"),
            ("seedream-4-5", (4096, 4096), "4096x4096"),
            ("seedream-4-5", (8192, 8192), "4096x4096"),
            ("seedream-4-0", (1536, 1024), "1536x1024"),
            ("seedream-4-0", (512, 512), "1024x1024"),
            ("seedream-5-0-pro", (4096, 4096), "2048x2048"),
            ("seedream-3-0", (1024, 1024), "1024x1024"),
        ] {
            let family = FAMILIES.iter().find(|family| family.part == part).unwrap();
            assert_eq!(family.size(Size::new(asked.0, asked.1)).to_string(), made, "{part} {asked:?}");
        }
    }
}

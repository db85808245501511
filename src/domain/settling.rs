//! What a request for a video becomes by its model's table.

use std::fmt::Write as _;

use crate::base::error::{Code, Error};

use super::abilities::{Abilities, Sound};
use super::model::OptionPolicy;
use super::video::{Order, Pixels, VideoRequest, lines};

/// Settles `request` against `row`: the order, and what the caller should know of it.
pub(super) fn settle(
    row: &Abilities,
    request: &VideoRequest,
    policy: OptionPolicy,
) -> Result<(Order, Vec<String>), Error> {
    check_inputs(row, request)?;
    let pixels = request.size.as_deref().map(Pixels::parse).transpose()?;
    let mut settling = Settling { row, request, policy, pixels, warnings: Vec::new() };
    let audio = settling.audio();
    let resolution = settling.resolution(audio)?;
    let duration = settling.duration(&resolution)?;
    let aspect_ratio = settling.ratio()?;
    let (seed, size) = (request.seed.filter(|_| row.seed), request.size.clone());
    let order = Order { aspect_ratio, seed, ..row.order(duration, resolution, audio) };
    settling.size(&order);
    settling.soft();
    Ok((Order { size, ..order }, settling.warnings))
}

fn check_inputs(row: &Abilities, request: &VideoRequest) -> Result<(), Error> {
    let refuse = |field: &'static str, message: String| Err(Error::new(Code::InvalidParameter, message).param(field));
    if request.prompt.trim().is_empty() {
        let message = "Say what the video shows: the field `prompt` is missing.";
        return Err(Error::new(Code::MissingParameter, message).param("prompt"));
    }
    if request.prompt.chars().count() > row.max_prompt {
        return refuse("prompt", format!("The prompt is too long: this model takes {} characters.", row.max_prompt));
    }
    if request.n.is_some_and(|n| n != 1) {
        return refuse("n", "A job makes one video: leave `n` out, or send 1.".into());
    }
    let pictures = [("image", &request.image), ("last_frame", &request.last_frame)];
    let pictures = pictures.into_iter().filter_map(|(field, url)| Some((field, url.as_ref()?)));
    let references = request.reference_images.iter().map(|url| ("reference_images", url));
    if let Some((field, _)) = pictures.chain(references).find(|(_, url)| !is_picture(url)) {
        return refuse(field, format!("The picture in `{field}` must be a URL (https:) or hold its bytes (data:)."));
    }
    let has_image = request.image.is_some();
    if row.needs_image && !has_image {
        return refuse("image", "This model animates a picture: send its first frame in `image`.".into());
    }
    if row.text_only && has_image {
        return refuse("image", "This model takes no picture: leave `image` out.".into());
    }
    if request.last_frame.is_some() && !(row.last_frame && has_image) {
        let message = match row.last_frame {
            true => "`last_frame` needs `image`, the first frame.",
            false => "This model takes no `last_frame`.",
        };
        return refuse("last_frame", message.into());
    }
    if request.reference_images.len() > row.references {
        let message = match row.references {
            0 => "This model takes no reference images.".into(),
            most => format!("This model takes at most {most} reference images."),
        };
        return refuse("reference_images", message);
    }
    if !request.reference_images.is_empty() && has_image {
        return refuse("reference_images", "Send either `image` or `reference_images`.".into());
    }
    Ok(())
}

/// Whether a vendor may know what to do with this: a link, bytes, or its own handle of a picture.
fn is_picture(url: &str) -> bool {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("https" | "http" | "data" | "asset"))
}

/// A request while it is settled.
struct Settling<'a> {
    row: &'a Abilities,
    request: &'a VideoRequest,
    policy: OptionPolicy,
    pixels: Option<Pixels>,
    warnings: Vec<String>,
}

impl Settling<'_> {
    /// Soft options are dropped, and that is told.
    fn soft(&mut self) {
        let (row, asked) = (self.row, self.request);
        for (is_dropped, name) in [
            (asked.seed.is_some() && !row.seed, "seed"),
            (asked.negative_prompt.is_some() && !row.negative_prompt, "negative_prompt"),
            (asked.watermark.is_some() && !row.watermark, "watermark"),
            (asked.fps.is_some(), "fps"),
        ] {
            if is_dropped {
                self.warnings.push(format!("`{name}` was ignored: the model does not have it."));
            }
        }
        for name in &asked.unknown {
            self.warnings.push(format!("`{name}` was ignored: videos have no such option."));
        }
    }

    /// A size stands for a ratio and a resolution; where what they come to is another one, that is told.
    fn size(&mut self, order: &Order) {
        let Some(asked) = self.request.size.as_deref().filter(|asked| *asked != order.pixels()) else { return };
        let found = match &order.aspect_ratio {
            Some(ratio) => format!("{ratio} at {}", order.resolution),
            None => format!("{}, in the picture's shape", order.resolution),
        };
        self.warnings.push(format!("`size` {} became {found}.", plain(asked)));
    }

    fn audio(&mut self) -> Option<bool> {
        let heard = self.row.sound.heard(self.request.audio);
        let told = match (self.row.sound, self.request.audio) {
            (Sound::Silent, Some(_)) => Some("`audio` was ignored: the model's videos are silent."),
            (Sound::BuiltIn, Some(false)) => Some("`audio` was ignored: the model's videos always have sound."),
            _ => None,
        };
        self.warnings.extend(told.map(str::to_owned));
        heard
    }

    fn resolution(&mut self, audio: Option<bool>) -> Result<String, Error> {
        let row = self.row;
        let found = match (&self.request.resolution, self.pixels) {
            (Some(asked), _) => self.named_resolution(&asked.to_ascii_lowercase())?,
            (None, Some(pixels)) => row.nearest_resolution(pixels).to_owned(),
            (None, None) => row.default_resolution.to_owned(),
        };
        if row.animated.contains(&found.as_str()) && self.request.image.is_none() {
            let others: Vec<_> = row.resolutions.iter().copied().filter(|r| !row.animated.contains(r)).collect();
            return Err(unavailable("resolution", &format!("{found} without `image`"), &others));
        }
        let needs = row.last_frame_at.filter(|_| self.request.last_frame.is_some());
        let needs = needs.or(row.sound_at.filter(|_| audio == Some(true)));
        match needs.filter(|needed| lines(&found) < lines(needed)) {
            None => Ok(found),
            Some(needed) if self.request.resolution.is_none() || self.policy == OptionPolicy::Nearest => {
                self.warnings
                    .push(format!("`resolution` {found} became {needed}: the last frame or the sound needs it."));
                Ok(needed.to_owned())
            }
            Some(needed) => Err(unavailable("resolution", &format!("{found} with a last frame or sound"), &[needed])),
        }
    }

    fn named_resolution(&mut self, asked: &str) -> Result<String, Error> {
        if self.row.resolutions.contains(&asked) {
            return Ok(asked.to_owned());
        }
        match (self.policy, self.row.next_resolution(asked)) {
            (OptionPolicy::Nearest, Some(next)) => {
                self.warnings.push(format!("`resolution` {asked} became {next}."));
                Ok(next.to_owned())
            }
            _ => Err(unavailable("resolution", asked, self.row.resolutions)),
        }
    }

    fn duration(&mut self, resolution: &str) -> Result<u64, Error> {
        let guided = self.request.last_frame.is_some() || !self.request.reference_images.is_empty();
        let allowed = self.row.limits(resolution, guided);
        let Some(asked) = self.request.duration else { return Ok(self.row.usual(&allowed)) };
        if allowed.contains(&asked) {
            return Ok(asked);
        }
        match (self.policy, allowed.iter().find(|has| **has >= asked)) {
            (OptionPolicy::Nearest, Some(next)) => {
                self.warnings.push(format!("`duration` {asked} became {next}."));
                Ok(*next)
            }
            _ => {
                let shown: Vec<_> = allowed.iter().map(ToString::to_string).collect();
                let shown: Vec<_> = shown.iter().map(String::as_str).collect();
                let asked = match allowed.len() < self.row.durations.len() {
                    true => format!("{asked} at {resolution}, or not with these pictures"),
                    false => asked.to_string(),
                };
                Err(unavailable("duration", &asked, &shown))
            }
        }
    }

    /// With a picture the frame follows that, and no ratio is sent where none is asked for.
    fn ratio(&mut self) -> Result<Option<String>, Error> {
        let has_image = self.request.image.is_some();
        let asked = self.request.aspect_ratio.as_deref();
        match asked {
            Some(_) if has_image && !self.row.ratio_with_image => {
                self.warnings.push("`aspect_ratio` was ignored: the video follows its first frame.".to_owned());
                Ok(None)
            }
            None | Some("adaptive") if has_image => Ok(None),
            None => Ok(match self.pixels {
                Some(pixels) => self.nearest_ratio(pixels.shape()),
                None => self.row.ratios.first().map(|ratio| (*ratio).to_owned()),
            }),
            Some(asked) if self.row.ratios.contains(&asked) => Ok(Some(asked.to_owned())),
            Some(asked) => match (self.policy, Pixels::ratio(asked)) {
                (OptionPolicy::Nearest, Some(wanted)) => {
                    let found = self.nearest_ratio(wanted.shape());
                    let shown = found.as_deref().unwrap_or("the model's own");
                    self.warnings.push(format!("`aspect_ratio` {asked} became {shown}."));
                    Ok(found)
                }
                _ => Err(unavailable("aspect_ratio", asked, self.row.ratios)),
            },
        }
    }

    fn nearest_ratio(&self, wanted: f64) -> Option<String> {
        let far = |ratio: &str| Pixels::ratio(ratio).map_or(f64::MAX, |r| (r.shape() / wanted).ln().abs());
        let near = self.row.ratios.iter().min_by(|a, b| far(a).total_cmp(&far(b)));
        near.map(|ratio| (*ratio).to_owned())
    }
}

fn unavailable(field: &'static str, asked: &str, has: &[&str]) -> Error {
    let mut message = format!("This model has no `{field}` {}: use ", plain(asked));
    for (index, value) in has.iter().enumerate() {
        let join = match index {
            0 => "",
            _ if index + 1 == has.len() => " or ",
            _ => ", ",
        };
        // Writing to a string cannot fail.
        let _ = write!(message, "{join}{value}");
    }
    message.push('.');
    Error::new(Code::InvalidParameter, message).param(field)
}

/// What a caller wrote, as a message may show it.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Abilities = Abilities {
        durations: &[4, 6, 10],
        default_duration: 6,
        ratios: &["16:9", "9:16", "1:1"],
        resolutions: &["720p", "1080p"],
        limited: &[("1080p", &[4, 6])],
        ..Abilities::NONE
    };

    fn ask(json: serde_json::Value) -> VideoRequest {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_the_model_has_not_is_refused_with_what_it_has() {
        let refused = |json| {
            let error = ROW.settle(&ask(json), OptionPolicy::Strict).unwrap_err();
            (error.param_name().map(str::to_owned), error.message().to_owned())
        };
        assert_eq!(
            refused(serde_json::json!({"prompt": "p", "duration": 7})),
            (Some("duration".into()), "This model has no `duration` 7: use 4, 6 or 10.".into())
        );
        let (_, message) = refused(serde_json::json!({"prompt": "p", "duration": 10, "resolution": "1080p"}));
        assert!(message.ends_with("use 4 or 6."), "{message}");
        assert_eq!(
            refused(serde_json::json!({"prompt": "p", "aspect_ratio": "2:1"})).0.as_deref(),
            Some("aspect_ratio")
        );
        assert_eq!(refused(serde_json::json!({"prompt": " "})).0.as_deref(), Some("prompt"));
        assert_eq!(
            refused(serde_json::json!({"prompt": "p", "last_frame": "https://x/y"})).0.as_deref(),
            Some("last_frame")
        );
    }

    #[test]
    fn by_the_nearest_policy_the_next_value_up_is_taken_and_told() {
        let asked =
            ask(serde_json::json!({"prompt": "p", "duration": 7, "aspect_ratio": "21:9", "resolution": "480p"}));
        let (order, warnings) = ROW.settle(&asked, OptionPolicy::Nearest).unwrap();
        assert_eq!(
            (order.duration, order.aspect_ratio.as_deref(), order.resolution.as_str()),
            (10, Some("16:9"), "720p")
        );
        assert_eq!(warnings.len(), 3);
    }

    #[test]
    fn a_size_stands_for_a_ratio_and_a_resolution_and_one_that_the_model_has_not_is_told() {
        let settle = |size: &str, image: Option<&str>| {
            let asked = ask(serde_json::json!({"prompt": "p", "seconds": "4", "size": size, "image": image}));
            let (order, warnings) = ROW.settle(&asked, OptionPolicy::Strict).unwrap();
            assert_eq!((order.duration, order.size.as_deref()), (4, Some(size)));
            (order.aspect_ratio, order.resolution, warnings)
        };
        let told = |text: &str| vec![text.to_owned()];
        assert_eq!(settle("1280x720", None), (Some("16:9".into()), "720p".into(), vec![]));
        assert_eq!(
            settle("1024x1792", None),
            (Some("9:16".into()), "1080p".into(), told("`size` 1024x1792 became 9:16 at 1080p."))
        );
        assert_eq!(
            settle("1280x720", Some("https://x/y")),
            (None, "720p".into(), told("`size` 1280x720 became 720p, in the picture's shape."))
        );
    }

    #[test]
    fn soft_options_are_dropped_and_told() {
        let (order, warnings) =
            ROW.settle(&ask(serde_json::json!({"prompt": "p", "seed": 1, "fps": 30})), OptionPolicy::Strict).unwrap();
        assert_eq!(order.seed, None);
        assert_eq!(warnings.len(), 2);
    }
}

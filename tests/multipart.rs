//! The multipart reader finds the same layout however a body is cut, and refuses what can be read in two ways.

use bytes::Bytes;
use kancy::wire::multipart::read;
use kancy::{Code, Error};
use proptest::prelude::*;

const TYPE: &str = "multipart/form-data; boundary=b0";

fn part(disposition: &str, content: &str) -> String {
    format!("--b0\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{content}\r\n")
}

fn refused(body: impl Into<Bytes>) -> Error {
    read(&[body.into()], TYPE).unwrap_err()
}

#[test]
fn fields_are_read_and_files_are_located() {
    let file = "\r\n--b\r\n--b\r\r\n-- ID3";
    let head =
        "--b0\r\nContent-Type: audio/mpeg\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\n";
    let fields = part("name=\"model\"", "whisper-1")
        + &part("name=stream", "true")
        + &part("name=\"include[]\"", "logprobs")
        + &part("name=\"response_format\"", "srt");
    let body = format!("preamble\r\n{fields}{head}{file}\r\n--b0--\r\nepilogue");
    let facts = read(&[body.clone().into()], TYPE).unwrap();
    let model = facts.model.unwrap();
    assert_eq!((model.value.as_str(), model.at), ("whisper-1", 0..0));
    assert!(facts.stream.unwrap().value);
    assert_eq!(facts.response_format.as_deref(), Some("srt"));
    assert_eq!((facts.media_parts, facts.media_bytes, facts.body_bytes), (1, file.len() as u64, body.len() as u64));
    let layout = facts.multipart.unwrap();
    assert_eq!((layout.boundary.as_str(), layout.parts.len()), ("b0", 5));
    assert_eq!((layout.parts[2].name.as_str(), layout.parts[2].bare_name()), ("include[]", "include"));
    let audio = &layout.parts[4];
    assert_eq!((audio.filename.as_deref(), audio.content_type.as_deref()), (Some("a.mp3"), Some("audio/mpeg")));
    assert_eq!(&body[audio.content.clone()], file);
    assert_eq!(&body[audio.whole.clone()], format!("{head}{file}\r\n"));
    assert_eq!(layout.parts[0].whole.end, layout.parts[1].whole.start);
}

#[test]
fn a_form_without_parts_is_sound() {
    assert!(read(&["--b0--".into()], TYPE).unwrap().multipart.unwrap().parts.is_empty());
}

#[test]
fn a_boundary_must_be_named() {
    for content_type in
        ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\"a\r\"", ""]
    {
        assert_eq!(
            read(&["--b0--".into()], content_type).unwrap_err().code(),
            Code::InvalidParameter,
            "{content_type}"
        );
    }
    let quoted = "multipart/form-data; charset=x; boundary=\"b0\"";
    assert!(read(&["--b0--".into()], quoted).is_ok());
}

#[test]
fn malformed_bodies_are_refused() {
    let name = "name=\"a\"";
    let long = format!("--b0\r\nX: {}\r\n\r\n\r\n--b0--", "x".repeat(9_000));
    let crowd = part(name, "").repeat(65) + "--b0--";
    for body in [
        String::new(),
        "--b0".to_owned(),
        "--b0\r\n".to_owned(),
        "--b0x\r\n".to_owned(),
        part(name, "content"),
        "--b0\r\n\r\nno name\r\n--b0--".to_owned(),
        "--b0\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\n\r\n--b0--".to_owned(),
        "--b0\r\nContent-Disposition: form-data; name=\"a\"; name=\"b\"\r\n\r\n\r\n--b0--".to_owned(),
        "--b0\r\nno colon\r\n\r\n\r\n--b0--".to_owned(),
        part("name=\"a\"; name*=UTF-8''b", "") + "--b0--",
        long,
        crowd,
    ] {
        let error = refused(body.clone());
        assert_eq!(error.code(), Code::InvalidParameter, "{}", &body[..body.len().min(60)]);
    }
}

#[test]
fn fields_that_do_not_say_what_they_must_are_named() {
    for (field, value) in [("n", "0"), ("n", "two"), ("stream", "maybe"), ("seconds", "4.5")] {
        let error = refused(part(&format!("name=\"{field}\""), value) + "--b0--");
        assert_eq!((error.code(), error.param_name()), (Code::InvalidParameter, Some(field)), "{value}");
    }
    let twice = part("name=\"model\"", "a") + &part("name=\"model[]\"", "b") + "--b0--";
    assert_eq!(refused(twice).param_name(), Some("model"));
    let long = part("name=\"model\"", &"m".repeat(10_000)) + "--b0--";
    assert_eq!(refused(long).param_name(), Some("model"));
}

proptest! {
    #[test]
    fn cuts_change_nothing(
        contents in prop::collection::vec("(\r|\n|\r\n|-|--|b0|b|\r\n--b|x){0,12}", 0..4),
        junk in "(\r\n|--b0|-|x){0,2}",
    ) {
        let parts: String = contents.iter().enumerate().map(|(i, text)| part(&format!("name=\"f{i}\""), text)).collect();
        let body = Bytes::from(format!("{parts}{junk}--b0--\r\n"));
        let whole = read(std::slice::from_ref(&body), TYPE);
        let singles: Vec<Bytes> = (0..body.len()).map(|at| body.slice(at..=at)).collect();
        prop_assert_eq!(&read(&singles, TYPE), &whole);
        for at in 0..=body.len() {
            prop_assert_eq!(&read(&[body.slice(..at), body.slice(at..)], TYPE), &whole);
        }
        if junk.is_empty() && !contents.iter().any(|text| format!("\r\n{text}").contains("\r\n--b0")) {
            let layout = whole.unwrap().multipart.unwrap();
            let found: Vec<_> = layout.parts.iter().map(|part| body.slice(part.content.clone())).collect();
            prop_assert_eq!(found, contents.into_iter().map(Bytes::from).collect::<Vec<_>>());
        }
    }
}

//! Header values with parameters: `form-data; name="file"; filename="a;b.mp3"`.

/// Splits a header value into its first word, in lower case, and its parameters, names in lower case.
/// `None` when it is malformed or names a parameter twice.
pub(crate) fn parse(value: &str) -> Option<(String, Vec<(String, String)>)> {
    let (word, mut rest) = value.split_once(';').unwrap_or((value, ""));
    let mut params: Vec<(String, String)> = Vec::new();
    while !rest.trim().is_empty() {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim().to_ascii_lowercase();
        let (text, after) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (text, after) = after.split_once(';').unwrap_or((after, ""));
                (text.trim().to_owned(), after)
            }
        };
        if name.is_empty() || params.iter().any(|(known, _)| *known == name) {
            return None;
        }
        params.push((name, text));
        rest = after;
    }
    Some((word.trim().to_ascii_lowercase(), params))
}

/// Reads up to the closing quote; what follows must be the next parameter.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let rest = text[at + 1..].trim_start();
                return Some((value, if rest.is_empty() { rest } else { rest.strip_prefix(';')? }));
            }
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_values_may_hold_separators_and_escapes() {
        let (word, params) = parse(r#"Form-Data; Name="a"; filename="x;y=\"1\".mp3""#).unwrap();
        assert_eq!(word, "form-data");
        assert_eq!(params, [("name".into(), "a".into()), ("filename".into(), r#"x;y="1".mp3"#.into())]);
        assert_eq!(parse("multipart/form-data;boundary=ab ;charset=x").unwrap().1[0].1, "ab");
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_malformed() {
        for value in
            [r#"form-data; name="a"; name="b""#, r#"form-data; name="a"#, r#"form-data; name="a" b; x=y"#, "a; b"]
        {
            assert_eq!(parse(value), None, "{value}");
        }
    }
}

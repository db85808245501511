//! Commands in a prompt: Ark reads `--dur 12 --rs 1080p` in the text, past every limit that was checked.

/// What Ark would take for a command.
const FLAGS: [&str; 15] = [
    "rs",
    "resolution",
    "rt",
    "ratio",
    "dur",
    "duration",
    "frames",
    "fps",
    "framepersecond",
    "seed",
    "cf",
    "camerafixed",
    "wm",
    "watermark",
    "draft",
];

/// `prompt` without those commands and their values, and whether there were any.
pub(super) fn without_commands(prompt: &str) -> (String, bool) {
    let (mut kept, mut found) = (Vec::new(), false);
    let mut words = prompt.split(' ').peekable();
    while let Some(word) = words.next() {
        let flag =
            word.trim().strip_prefix("--").map(|flag| flag.split_once('=').map_or((flag, false), |(f, _)| (f, true)));
        match flag {
            Some((name, has_value)) if FLAGS.iter().any(|f| f.eq_ignore_ascii_case(name)) => {
                found = true;
                let _value = words.next_if(|next| !has_value && !next.trim().starts_with("--"));
            }
            _ => kept.push(word),
        }
    }
    (kept.join(" "), found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_taken_out_with_their_values_and_other_words_stay() {
        for (prompt, kept) in [
            ("a cat --dur 12 --rs 1080p", "a cat"),
            ("a cat --resolution=4k jumps", "a cat jumps"),
            ("a -- b --ratio", "a -- b"),
            ("--DUR 12", ""),
            ("well--known --style oil", "well--known --style oil"),
            ("日本 --wm true 語", "日本 語"),
        ] {
            assert_eq!(without_commands(prompt), (kept.to_owned(), kept != prompt), "{prompt}");
        }
    }
}

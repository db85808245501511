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

/// `prompt` without those commands and their values, and whether there were any. Everything else stays as it is written.
pub(super) fn without_commands(prompt: &str) -> (String, bool) {
    let (mut kept, mut found) = (String::with_capacity(prompt.len()), false);
    let mut words = prompt.split_inclusive(char::is_whitespace).peekable();
    while let Some(written) = words.next() {
        let word = written.trim_end();
        match word.rfind("--").map(|at| (at, &word[at + 2..])).filter(|(_, flag)| is_command(flag)) {
            None => kept.push_str(written),
            Some((at, flag)) => {
                found = true;
                // What it hangs on stays: the vendor may read `cat--dur 12` as well.
                kept.push_str(&word[..at]);
                if !flag.contains('=') {
                    // The value may stand behind more than one space.
                    while words.next_if(|next| next.trim_end().is_empty()).is_some() {}
                    let _value = words.next_if(|next| !next.starts_with("--"));
                }
                if at > 0 {
                    kept.push(' ');
                }
            }
        }
    }
    if found {
        kept.truncate(kept.trim_end().len());
    }
    (kept, found)
}

fn is_command(flag: &str) -> bool {
    let name = flag.split_once('=').map_or(flag, |(name, _)| name);
    FLAGS.iter().any(|known| known.eq_ignore_ascii_case(name))
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
            ("two\nlines --rt\u{3000}1:1\tend", "two\nlines end"),
            ("a cat\n--dur   12\n--rs\n1080p", "a cat"),
            ("a cat--dur 12 sleeps", "a cat sleeps"),
            ("--dur --dur 12 12", "12"),
        ] {
            assert_eq!(without_commands(prompt), (kept.to_owned(), kept != prompt), "{prompt}");
        }
    }
}

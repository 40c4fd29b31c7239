//! Words for a POSIX shell: what is joined here is split there into the same words again.

/// A word no shell command can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a command cannot hold a NUL character")]
pub(crate) struct Unquotable;

/// One line that a POSIX shell reads as exactly these words. A single word is a line already, as it is for `ssh` and `sh -c`.
pub(crate) fn join(words: &[String]) -> Result<String, Unquotable> {
    if words.iter().any(|word| word.contains('\0')) {
        return Err(Unquotable);
    }
    if let [line] = words {
        return Ok(line.clone());
    }
    Ok(words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "))
}

fn quote(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&b);
    // A leading `=` is expanded by zsh, and an assignment is not a command's name.
    if !word.is_empty() && word.bytes().all(plain) && !word.contains('=') { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::join;

    #[test]
    fn a_shell_reads_the_same_words_again() {
        let words: Vec<String> =
            ["ls", "-l", "", "a b", "it's", "$HOME", "`id`", "a\nb", "\"x\"", "*", "~", "#c", "!", "FOO=1", "ü", "\\", ";", "|"].map(str::to_owned).to_vec();
        let output = Command::new("sh").arg("-c").arg(format!("for word in {}; do printf '%s\\0' \"$word\"; done", join(&words).unwrap())).output().unwrap();
        let read: Vec<_> = String::from_utf8(output.stdout).unwrap().split_terminator('\0').map(str::to_owned).collect();
        assert_eq!(read, words);
    }

    #[test]
    fn plain_words_stay_as_they_are() {
        assert_eq!(join(&["uname".to_owned(), "-a".to_owned()]).unwrap(), "uname -a");
        assert!(join(&["a\0b".to_owned()]).is_err());
    }

    #[test]
    fn a_single_word_is_a_line() {
        assert_eq!(join(&["ps aux | wc -l".to_owned()]).unwrap(), "ps aux | wc -l");
    }
}

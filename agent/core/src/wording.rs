//! Makes texts of other programs fit for the link: the protocol refuses control characters and more than its bound, and would close the link over them.

use loopback_protocol::limits::TEXT_MAX_BYTES;

/// The text without control characters (but line ends and tabs), cut to the protocol's bound at a character.
pub fn sayable(text: &str) -> String {
    let mut said: String = text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { ' ' } else { c }).collect();
    said.truncate(said.floor_char_boundary(TEXT_MAX_BYTES));
    said
}

#[cfg(test)]
mod tests {
    use loopback_protocol::limits::TEXT_MAX_BYTES;

    use super::sayable;

    #[test]
    fn escapes_are_blanked_and_long_texts_cut_between_characters() {
        assert_eq!(sayable("nft:\x1b[31m no\n"), "nft: [31m no\n");
        let cut = sayable(&"é".repeat(TEXT_MAX_BYTES));
        assert!(cut.len() <= TEXT_MAX_BYTES && cut.ends_with('é'));
    }
}

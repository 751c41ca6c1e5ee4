//! Quotes text for a shell, YAML and systemd.

/// A word of a shell's command line.
pub(crate) fn shell(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_@+=:,./-".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Words of a shell's command line.
pub(super) fn shell_line<'t>(words: impl IntoIterator<Item = &'t str>) -> String {
    words.into_iter().map(shell).collect::<Vec<_>>().join(" ")
}

/// A string of YAML: double-quoted, or plain if it can only be a string.
pub(super) fn yaml(text: &str) -> String {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte);
    let begins_well = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/');
    let means_more = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if begins_well && text.bytes().all(is_word) && !means_more.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            character if is_printable(character) => quoted.push(character),
            character if u32::from(character) <= 0xff => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(character)));
            }
            character if u32::from(character) <= 0xffff => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            character => quoted.push_str(&format!("\\U{:08x}", u32::from(character))),
        }
    }
    quoted.push('"');
    quoted
}

/// A text of several lines as a YAML value: as an indented literal, if YAML allows it.
pub(super) fn yaml_block(text: &str, indent: usize) -> String {
    let is_literal = text.ends_with('\n')
        && !text.starts_with([' ', '\t', '\n'])
        && !text.ends_with("\n\n")
        && text.chars().all(|character| matches!(character, '\n' | '\t') || is_printable(character));
    if !is_literal {
        return yaml(text);
    }
    let mut block = String::from("|");
    for line in text.lines() {
        block.push('\n');
        if !line.is_empty() {
            block.extend(std::iter::repeat_n(' ', indent));
            block.push_str(line);
        }
    }
    block
}

/// Whether YAML accepts the character unescaped. (It accepts line separators and the byte order mark, but
/// loses them.)
fn is_printable(character: char) -> bool {
    !character.is_control()
        && !matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// A word of `ExecStart=` and of lists of paths, where `%` starts a specifier. (`$` starts a variable in
/// `ExecStart=`, unless the command begins with a colon.)
pub(super) fn unit(text: &str) -> String {
    let text = text.replace('%', "%%");
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text;
    }
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &[&str] = &[
        "",
        " ",
        "a b",
        "it's",
        "\"q\"",
        "back\\slash",
        "50%",
        "$HOME",
        "`id`",
        "a#b",
        "# c",
        "a: b",
        "- a",
        "{a}",
        "[a]",
        "*x",
        "&x",
        "!x",
        "|",
        ">",
        "true",
        "No",
        "null",
        "~",
        "1",
        "1.5",
        "0x1",
        "1e3",
        "2024-01-01",
        "12:30",
        "é",
        "a\tb",
        "a\nb",
        "\n",
        "a\r\nb",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "\u{1f600}",
        "\u{7f}",
        "a\n\nb\n",
        " a\nb\n",
        "a\n\n",
        "%{x}",
        "@x",
        ",",
        "?",
        "a ",
        "/etc/tag ship/it's 100%/config.toml",
    ];

    #[test]
    fn yaml_reads_back_every_text() {
        for text in HOSTILE {
            let read: String = serde_saphyr::from_str(&yaml(text)).unwrap();
            assert_eq!(read, **text, "{}", yaml(text));
            let document = format!("a:\n  b: {}\n  c: 1\n", yaml_block(text, 4));
            let read: serde_json::Value = serde_saphyr::from_str(&document).unwrap();
            assert_eq!(read["a"]["b"], **text, "{document}");
            assert_eq!(read["a"]["c"], 1, "{document}");
        }
    }

    #[test]
    #[allow(clippy::disallowed_types, reason = "a shell is asked how it reads the word")]
    fn a_shell_reads_back_every_text() {
        for text in HOSTILE {
            let script = format!("printf %s {}", shell(text));
            let output = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), **text);
        }
    }

    #[test]
    fn specifiers_of_systemd_are_escaped() {
        assert_eq!(unit("/etc/tagship/config.toml"), "/etc/tagship/config.toml");
        assert_eq!(unit("/etc/a b/50%/it's"), "\"/etc/a b/50%%/it's\"");
        assert_eq!(unit("a\"b\\c"), r#""a\"b\\c""#);
    }
}

//! The checksums that tools keep of the files that they ran.

use sha2::{Digest, Sha384};

/// What a tool kept of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// Nothing.
    None,
    /// Flyway's: CRC32 over the lines without their ends, as a signed number.
    Lines(i64),
    /// sqlx's: SHA-384 over the bytes.
    Bytes(Vec<u8>),
}

impl Checksum {
    /// Whether it is that of a file with this content; nothing where none was kept.
    pub(crate) fn is_of(&self, content: &[u8]) -> Option<bool> {
        match self {
            Self::None => None,
            Self::Lines(kept) => Some(of_lines(content) == *kept),
            Self::Bytes(kept) => Some(Sha384::digest(content).as_slice() == kept.as_slice()),
        }
    }
}

/// The lines as Java reads them: they end with LF, CR or CRLF.
fn of_lines(content: &[u8]) -> i64 {
    let content = content.strip_prefix("\u{feff}".as_bytes()).unwrap_or(content);
    let mut hasher = crc32fast::Hasher::new();
    for line in content.split(|byte| matches!(byte, b'\n' | b'\r')) {
        hasher.update(line);
    }
    i64::from(hasher.finalize().cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flyway_does_not_look_at_line_ends() {
        // The CRC32 of "123456789" is known from its definition.
        let known = i64::from(0xcbf4_3926_u32.cast_signed());
        for content in ["123456789", "1234\n56789\n", "\u{feff}1234\r\n5678\r9"] {
            assert_eq!(Checksum::Lines(known).is_of(content.as_bytes()), Some(true), "{content:?}");
        }
        assert_eq!(Checksum::Lines(known).is_of(b"12345678"), Some(false));
        assert_eq!(Checksum::None.is_of(b""), None);
    }
}

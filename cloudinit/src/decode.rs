//! base64 and gzip, with a limit on what comes out. Pure.

use std::io::Read;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use flate2::read::MultiGzDecoder;

/// The most that a document or a file may become.
pub(crate) const MAX_DECODED_BYTES: usize = 8 << 20;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// How the content of a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As it is.
    Plain,
    /// base64.
    Base64,
    /// gzip.
    Gzip,
    /// gzip in base64.
    GzipBase64,
}

impl Encoding {
    /// The words for them.
    pub(crate) const WORDS: &[&str] =
        &["text/plain", "b64", "base64", "gz", "gzip", "gz+b64", "gz+base64", "gzip+b64", "gzip+base64"];

    /// What a word means.
    pub(crate) fn parse(word: &str) -> Self {
        match word {
            "b64" | "base64" => Self::Base64,
            "gz" | "gzip" => Self::Gzip,
            "gz+b64" | "gz+base64" | "gzip+b64" | "gzip+base64" => Self::GzipBase64,
            _ => Self::Plain,
        }
    }
}

/// Undoes an encoding.
pub(crate) fn decode(bytes: &[u8], encoding: Encoding) -> Result<Vec<u8>, String> {
    match encoding {
        Encoding::Plain => Ok(bytes.to_vec()),
        Encoding::Base64 => base64(bytes),
        Encoding::Gzip => gunzip(bytes),
        Encoding::GzipBase64 => gunzip(&base64(bytes)?),
    }
}

/// Decodes base64; blanks and line breaks are no part of it.
pub(crate) fn base64(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, lenient);
    let digits: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    engine.decode(&digits).map_err(|error| format!("not base64 ({error}); make it with 'base64 -w0 FILE'"))
}

/// Whether these bytes are gzip.
pub(crate) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&GZIP_MAGIC)
}

/// Decompresses at most [`MAX_DECODED_BYTES`].
pub(crate) fn gunzip(bytes: &[u8]) -> Result<Vec<u8>, String> {
    if !is_gzip(bytes) {
        return Err("not gzip; make it with 'gzip -c FILE', and '| base64 -w0' for 'gz+b64'".into());
    }
    let mut content = Vec::new();
    MultiGzDecoder::new(bytes)
        .take(MAX_DECODED_BYTES as u64 + 1)
        .read_to_end(&mut content)
        .map_err(|error| format!("not gzip or cut short: {error}"))?;
    if content.len() > MAX_DECODED_BYTES {
        return Err(format!("more than {MAX_DECODED_BYTES} bytes when it is decompressed"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn encodings_are_undone() {
        assert_eq!(decode(b"NDI=", Encoding::Base64).unwrap(), b"42");
        assert_eq!(decode(b" ND\nI ", Encoding::Base64).unwrap(), b"42");
        assert_eq!(decode(&gzip(b"42"), Encoding::Gzip).unwrap(), b"42");
        assert!(decode(b"%%%", Encoding::Base64).is_err());
        assert!(decode(b"42", Encoding::Gzip).is_err());
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let error = gunzip(&gzip(&vec![0; MAX_DECODED_BYTES + 1])).unwrap_err();
        assert!(error.contains("more than"), "{error}");
        let whole = gzip(b"a text that is cut");
        assert!(gunzip(&whole[..whole.len() - 9]).is_err());
    }
}

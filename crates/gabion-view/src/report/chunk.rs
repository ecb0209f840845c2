//! A chunk of a report: JSON, compressed as gzip, in base64. The page inflates it with what every browser has.

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

use super::ReportError;

/// A value as a chunk.
pub(super) fn encode(value: &impl Serialize) -> Result<String, ReportError> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    serde_json::to_writer(std::io::BufWriter::new(&mut encoder), value)?;
    Ok(base64(&encoder.finish()?))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let six = (bits >> (18 - 6 * at)) & 63;
            text.push(match at <= three.len() {
                true => char::from(ALPHABET[six as usize]),
                false => '=',
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// What a browser's `atob` does.
    fn bytes_of(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let (mut bits, mut n) = (0u32, 0);
        for char in text.bytes().filter(|char| *char != b'=') {
            let six = ALPHABET.iter().position(|it| *it == char);
            bits = bits << 6 | six.expect("a character of base64") as u32;
            n += 6;
            if n >= 8 {
                n -= 8;
                bytes.push((bits >> n) as u8);
            }
        }
        bytes
    }

    #[test]
    fn base64_is_as_the_standard_says() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn a_chunk_is_read_back_as_it_was_and_cannot_end_its_script() {
        let value = serde_json::json!({
            "text": "</script><script>alert(1)</script> \u{2028} \"quotes\" \\ \u{0} ×30 🪨",
            "numbers": [0, 1, 4_294_967_295u32, 9_007_199_254_740_991u64, -1],
        });
        let chunk = encode(&value).expect("a chunk");
        assert!(!chunk.contains('<'));
        let mut json = String::new();
        flate2::read::GzDecoder::new(&bytes_of(&chunk)[..])
            .read_to_string(&mut json)
            .expect("gzip");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&json).ok(),
            Some(value)
        );
    }
}

//! Compressed fields: zstd is written and read, lz4 is read, xz is named as what it is. Pure.

use std::io::Read;

use crate::format::{OBJECT_LZ4, OBJECT_XZ, OBJECT_ZSTD};

/// Fields at least this long are compressed where that makes them shorter, unless another length is wanted.
pub(crate) const THRESHOLD_BYTES: u64 = 512;
/// No field is longer than this when it is read.
pub(crate) const MAX_FIELD_BYTES: u64 = 128 << 20;
/// Fast: a burst of large messages must not hold up the daemon.
const LEVEL: i32 = 1;

/// The payload in zstd, where it has a length and that is shorter.
pub(crate) fn compress(payload: &[u8], threshold: u64) -> Option<Vec<u8>> {
    if (payload.len() as u64) < threshold {
        return None;
    }
    let packed = zstd::bulk::compress(payload, LEVEL).ok()?;
    (packed.len() < payload.len()).then_some(packed)
}

/// The payload of a data object whose flags these are; the reason where it cannot be had.
pub(crate) fn decompress(flags: u8, packed: Vec<u8>) -> Result<Vec<u8>, String> {
    match flags & (OBJECT_XZ | OBJECT_LZ4 | OBJECT_ZSTD) {
        0 => Ok(packed),
        OBJECT_ZSTD => unzstd(&packed),
        OBJECT_LZ4 => unlz4(&packed),
        OBJECT_XZ => Err("the field is compressed with xz, which is not supported".into()),
        other => Err(format!("compression flags {other:#x} contradict each other")),
    }
}

fn unzstd(packed: &[u8]) -> Result<Vec<u8>, String> {
    let decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(|error| format!("zstd: {error}"))?;
    let mut payload = Vec::new();
    decoder.take(MAX_FIELD_BYTES + 1).read_to_end(&mut payload).map_err(|error| format!("zstd: {error}"))?;
    if payload.len() as u64 > MAX_FIELD_BYTES {
        return Err(format!("a field is larger than {MAX_FIELD_BYTES} bytes"));
    }
    Ok(payload)
}

/// An lz4 block behind its length.
fn unlz4(packed: &[u8]) -> Result<Vec<u8>, String> {
    let (length, block) = packed.split_at_checked(8).ok_or("lz4: no length")?;
    let length = crate::format::le64(length, 0);
    // A block of lz4 cannot grow by more than 255.
    let most = (block.len() as u64).saturating_mul(255).min(MAX_FIELD_BYTES);
    if length > most {
        return Err(format!("lz4: {length} bytes from a block of {}", block.len()));
    }
    let length = usize::try_from(length).map_err(|error| error.to_string())?;
    lz4_flex::block::decompress(block, length).map_err(|error| format!("lz4: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shrinks_is_compressed_and_comes_back() {
        let long = b"MESSAGE=".iter().copied().chain(std::iter::repeat_n(b'x', 10_000)).collect::<Vec<u8>>();
        let packed = compress(&long, THRESHOLD_BYTES).expect("it shrinks");
        assert!(packed.len() < 200);
        assert_eq!(decompress(OBJECT_ZSTD, packed), Ok(long.clone()));
        assert_eq!(compress(&long[..511], THRESHOLD_BYTES), None);
    }

    #[test]
    fn lz4_is_read_and_xz_is_named() {
        let payload = b"MESSAGE=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".to_vec();
        let mut packed = (payload.len() as u64).to_le_bytes().to_vec();
        packed.extend(lz4_flex::block::compress(&payload));
        assert_eq!(decompress(OBJECT_LZ4, packed), Ok(payload));
        assert!(decompress(OBJECT_XZ, vec![1]).is_err_and(|why| why.contains("xz")));
    }

    #[test]
    fn damaged_compression_is_an_error() {
        assert!(decompress(OBJECT_ZSTD, vec![1, 2, 3]).is_err());
        assert!(decompress(OBJECT_LZ4, vec![0xff; 9]).is_err());
        assert!(decompress(OBJECT_LZ4 | OBJECT_ZSTD, vec![]).is_err());
    }
}

//! Memory that begins at a page boundary, as O_DIRECT wants it. Pure.

/// Where it begins, and what offsets and lengths of such access are multiples of on every disk.
pub const ALIGNMENT: usize = 4096;

/// Bytes at a page boundary. It keeps its memory when it gets shorter, and what is in it then is not cleared.
#[derive(Debug, Default)]
pub struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// A buffer of zeros.
    pub fn new(length: usize) -> Self {
        let memory = vec![0u8; length + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self { memory, start, length }
    }

    /// A buffer with these bytes.
    pub fn holding(bytes: &[u8]) -> Self {
        let mut buffer = Self::new(bytes.len());
        buffer.bytes_mut().copy_from_slice(bytes);
        buffer
    }

    /// Changes the length; the content is of no meaning afterwards.
    pub fn resize(&mut self, length: usize) {
        if self.start + length > self.memory.len() {
            *self = Self::new(length);
        }
        self.length = length;
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..self.start + self.length).unwrap_or_default()
    }

    /// The bytes, to be filled.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..self.start + self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_begins_at_a_page_whatever_becomes_of_its_length() {
        let mut buffer = AlignedBuffer::default();
        assert!(buffer.bytes().is_empty());
        for length in [1, 4096, 70_000, 512, 69_999, 0, 1 << 20] {
            buffer.resize(length);
            assert_eq!(buffer.bytes().len(), length);
            assert_eq!(buffer.bytes_mut().len(), length);
            assert!(length == 0 || buffer.bytes().as_ptr().addr().is_multiple_of(ALIGNMENT));
        }
        assert_eq!(AlignedBuffer::holding(b"abc").bytes(), b"abc");
    }
}

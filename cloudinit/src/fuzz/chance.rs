//! Documents by chance: mutations of documents that are right reach deeper than random bytes. Pure; the same number
//! gives the same document.

use std::io::Write;

use base64::Engine;

use super::seeds::Seeds;

/// What is put where a value or a key stands.
const WORDS: [&str; 48] = [
    "null",
    "~",
    "yes",
    "off",
    "true",
    "0",
    "-1",
    "0644",
    "1_000",
    "1.5e3",
    ".inf",
    "99999999999999999999",
    "''",
    "\"\"",
    "\"\\x00\"",
    "!!binary aGk=",
    "!!str 7",
    "!x y",
    "&a",
    "*a",
    "[]",
    "{}",
    "[[]]",
    "{a: }",
    "|",
    ">-",
    "?",
    "<<: *a",
    "- ",
    ": ",
    "# ",
    "%YAML 1.1",
    "---",
    "...",
    "\t",
    "\r",
    "\u{feff}",
    "\u{85}",
    "\u{2028}",
    "é",
    "$private_ipv4",
    "\\$public_ipv4",
    "{{ v1.instance_id }}",
    "{% for a in range(99) %}",
    "{% endfor %}",
    "list(append)+dict(recurse_array,allow_delete)+str()",
    "192.0.2.1/24",
    "../../etc/passwd",
];
/// How large a document grows when one of its blocks is repeated; the largest is the limit of the reader.
const SIZES: [usize; 4] = [4 << 10, 32 << 10, 256 << 10, (1 << 20) - 1];
/// One document of so many is large.
const LARGE_EVERY: usize = 150;

/// A small generator.
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end.max(1)
    }

    fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    /// A document.
    pub(super) fn document(&mut self, seeds: &Seeds) -> Vec<u8> {
        let mut bytes = seeds.all[self.below(seeds.all.len())].clone();
        for _ in 0..self.below(8) {
            bytes = match self.below(3) {
                0 => self.bytes(bytes),
                _ => self.lines(bytes, seeds),
            };
        }
        if self.below(LARGE_EVERY) == 0 {
            bytes = self.repeated(&bytes);
        }
        for _ in 0..self.below(12).saturating_sub(9) {
            bytes = self.wrapped(&bytes);
        }
        bytes
    }

    /// Changes bytes.
    fn bytes(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let at = self.below(bytes.len() + 1);
        match self.below(5) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] = self.below(256) as u8,
            2 => {
                let end = (at + self.below(20)).min(bytes.len());
                bytes.drain(at..end);
            }
            3 => {
                let from = self.below(bytes.len() + 1);
                let part = bytes[from..(from + self.below(60)).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let piece = self.pick(&WORDS).repeat(1 + self.below(3));
                bytes.splice(at..at, piece.into_bytes());
            }
        }
        bytes
    }

    /// Changes lines: their order, depth, keys and values.
    fn lines(&mut self, bytes: Vec<u8>, seeds: &Seeds) -> Vec<u8> {
        let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        if lines.is_empty() {
            return bytes;
        }
        let at = self.below(lines.len());
        match self.below(7) {
            0 => {
                lines.remove(at);
            }
            1 => {
                let block = block(&lines, at);
                let to = self.below(lines.len() + 1);
                lines.splice(to..to, block);
            }
            2 => {
                let other = self.below(lines.len());
                lines.swap(at, other);
            }
            3 => {
                let indent = self.below(5);
                lines[at].splice(0..0, vec![b' '; indent]);
            }
            4 => {
                let key = seeds.keys[self.below(seeds.keys.len())].clone();
                let value = self.pick(&WORDS);
                let indent = lines[at].iter().take_while(|byte| **byte == b' ').count();
                lines.insert(at, format!("{}{key}: {value}\n", " ".repeat(indent)).into_bytes());
            }
            5 => {
                let value = self.pick(&WORDS);
                if let Some(colon) = lines[at].windows(2).position(|pair| pair == b": ") {
                    lines[at].truncate(colon + 2);
                    lines[at].extend_from_slice(value.as_bytes());
                    lines[at].push(b'\n');
                }
            }
            _ => {
                let other = &seeds.all[self.below(seeds.all.len())];
                let from: Vec<&[u8]> = other.split_inclusive(|byte| *byte == b'\n').collect();
                let start = self.below(from.len());
                let count = 1 + self.below(8);
                lines.splice(at..at, from.iter().skip(start).take(count).map(|line| line.to_vec()));
            }
        }
        lines.concat()
    }

    /// One block many times: whatever costs more than it weighs shows.
    fn repeated(&mut self, bytes: &[u8]) -> Vec<u8> {
        let lines: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let size = SIZES[self.below(SIZES.len())];
        if lines.is_empty() {
            return vec![b'\n'; size];
        }
        let at = self.below(lines.len());
        let block = match self.below(3) {
            0 => lines[at].clone(),
            _ => block(&lines, at).concat(),
        };
        let is_numbered = self.below(2) == 0;
        let mut out = lines[..at].concat();
        let mut number = 0u32;
        while out.len() + block.len() + 8 < size {
            match is_numbered.then(|| block.iter().position(u8::is_ascii_alphanumeric)).flatten() {
                // Names that differ.
                Some(place) => {
                    out.extend_from_slice(&block[..place]);
                    out.extend_from_slice(format!("n{number}").as_bytes());
                    out.extend_from_slice(&block[place..]);
                }
                None => out.extend_from_slice(&block),
            }
            number += 1;
        }
        out.extend_from_slice(&lines[at..].concat());
        out
    }

    /// The document inside of another one.
    fn wrapped(&mut self, bytes: &[u8]) -> Vec<u8> {
        let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
        match self.below(6) {
            0 => gzip(bytes),
            1 => base64(bytes).into_bytes(),
            2 => gzip(&[bytes, &vec![b'\n'; SIZES[self.below(SIZES.len())] * 7]].concat()),
            3 => {
                let kinds = [
                    "text/plain",
                    "text/cloud-config",
                    "text/jinja2",
                    "multipart/mixed; boundary=C",
                    "text/x-shellscript",
                ];
                let (kind, part) = (self.pick(&kinds), base64(bytes));
                let mut message = String::from("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=B\n\n");
                for _ in 0..=self.below(4) {
                    message
                        .push_str(&format!("--B\nContent-Type: {kind}\nContent-Transfer-Encoding: base64\n\n{part}\n"));
                }
                message.into_bytes()
            }
            4 => {
                let text = serde_json::Value::from(String::from_utf8_lossy(bytes).into_owned());
                let items = "- content: *a\n".repeat(self.below(40));
                format!("#cloud-config-archive\n- content: &a {text}\n{items}").into_bytes()
            }
            _ => [b"## template: jinja\n", bytes].concat(),
        }
    }
}

/// A line and those below it that stand deeper.
fn block(lines: &[Vec<u8>], at: usize) -> Vec<Vec<u8>> {
    let indent = |line: &[u8]| line.iter().take_while(|byte| **byte == b' ').count();
    let first = indent(&lines[at]);
    let rest = lines[at + 1..].iter().take_while(|line| indent(line) > first);
    std::iter::once(&lines[at]).chain(rest).cloned().collect()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

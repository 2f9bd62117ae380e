//! Payloads from packing to the last byte made of them, and every way of changing one on its way.

#[path = "support/noise.rs"]
mod noise;
#[path = "support/release.rs"]
mod release;

use std::io::{self, Cursor, Read};

use ferrite_payload::decode::{BaseReader, DecodeError, Decoder};
use ferrite_payload::open::{OpenError, PREFIX_BYTES};
use ferrite_payload::pack;
use ferrite_payload::signature::SIGNATURE_BYTES;
use ferrite_payload::{Manifest, OpKind, Verified};
use noise::noise;
use proptest::prelude::*;
use release::{Release, key, role, seal};

/// The partitions of the running slot.
struct Running<'a>(Option<&'a Release>);

impl BaseReader for Running<'_> {
    fn read_base(&mut self, part: u8, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let release = self.0.ok_or(io::ErrorKind::NotFound)?;
        let image = if part == 0 { &release.root } else { &release.boot };
        let begin = offset as usize;
        let bytes = image.get(begin..begin + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// Everything a machine does with a payload, short of writing. Fails at the first byte that is wrong.
fn unpack(payload: &[u8], running: Option<&Release>) -> Result<Vec<Vec<u8>>, String> {
    let mut reader = Cursor::new(payload);
    let verified = Verified::read(&mut reader, &role()).map_err(|error| error.to_string())?;
    let manifest = verified.manifest();
    let mut parts = vec![Vec::new(); manifest.parts.len()];
    let mut decoder = Decoder::default();
    for (index, op) in manifest.ops.iter().enumerate() {
        let mut blob = vec![0; op.blob_length as usize];
        assert_eq!(reader.position(), verified.blob_offset(index));
        reader.read_exact(&mut blob).map_err(|error| error.to_string())?;
        let mut output = vec![0xee; op.length as usize];
        let decoded = decoder.decode(index, op, &blob, &mut Running(running), &mut output);
        decoded.map_err(|error| error.to_string())?;
        parts[usize::from(op.part)].extend_from_slice(&output);
    }
    if payload.len() as u64 != verified.total_bytes() {
        return Err("another length".to_string());
    }
    Ok(parts)
}

fn kinds(manifest: &Manifest) -> Vec<OpKind> {
    manifest.ops.iter().map(|op| op.kind).collect()
}

#[test]
fn full_payload_and_delta_make_the_images() {
    let first = Release::first();
    let second = first.next();
    let images = vec![second.root.clone(), second.boot.clone()];
    let full = second.payload(None);
    assert_eq!(unpack(&full, None), Ok(images.clone()));
    let delta = second.payload(Some(&first));
    assert_eq!(unpack(&delta, Some(&first)), Ok(images));
    assert!(delta.len() * 8 < full.len(), "delta {} bytes, full {}", delta.len(), full.len());
    let kinds = kinds(&second.pack(Some(&first), 1).0);
    for kind in [OpKind::Zero, OpKind::Copy, OpKind::Patch] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
}

#[test]
fn packing_again_with_other_threads_gives_the_same_bytes() {
    let first = Release::first();
    let second = first.next();
    for base in [None, Some(&first)] {
        let once = second.pack(base, 1);
        assert_eq!(second.pack(base, 5), once);
        assert_eq!(seal(&once.0, &once.1, &[1, 2]), seal(&once.0, &once.1, &[2, 1]));
    }
}

#[test]
fn a_delta_on_another_release_is_refused_as_a_fault_of_the_base() {
    let first = Release::first();
    let second = first.next();
    let (manifest, blobs) = second.pack(Some(&first), 1);
    let third = second.next();
    for (index, op) in manifest.ops.iter().enumerate() {
        let begin: usize = manifest.ops.iter().take(index).map(|op| op.blob_length as usize).sum();
        let blob = &blobs[begin..begin + op.blob_length as usize];
        for wrong in [None, Some(&third)] {
            let mut output = vec![0; op.length as usize];
            match Decoder::default().decode(index, op, blob, &mut Running(wrong), &mut output) {
                Ok(()) => assert_eq!(ferrite_payload::Hash::of(&output), op.sha256),
                Err(error) => assert!(error.is_of_base(), "{error}"),
            }
        }
    }
    assert!(unpack(&seal(&manifest, &blobs, &[1, 2]), Some(&third)).is_err());
}

/// Every byte of head and signatures, and a sample of the blobs.
#[test]
fn a_flipped_bit_in_any_byte_is_refused() {
    let first = Release::first();
    let payload = first.next().payload(Some(&first));
    let head = Verified::read(&mut payload.as_slice(), &role()).expect("it is good").head_bytes() as usize;
    let unsigned_place = head - SIGNATURE_BYTES..head;
    let step = ferrite_step(payload.len() - head);
    for at in (0..head).chain((head..payload.len()).step_by(step)) {
        let mut changed = payload.clone();
        changed[at] ^= 1 << (at % 8);
        let outcome = unpack(&changed, Some(&first));
        // The third signature is a place that nobody needs.
        assert_eq!(outcome.is_ok(), unsigned_place.contains(&at), "byte {at}");
    }
}

/// So that a sample of about a hundred places is looked at, or all of them when everything is asked for.
fn ferrite_step(length: usize) -> usize {
    let everything = std::env::var("FERRITE_LONG").is_ok_and(|value| value == "1");
    if everything { 1 } else { length.div_ceil(100).max(1) }
}

#[test]
fn a_truncated_or_extended_payload_is_refused() {
    let payload = Release::first().payload(None);
    let head = Verified::read(&mut payload.as_slice(), &role()).expect("it is good").head_bytes() as usize;
    for length in (0..head).chain((head..payload.len()).step_by(ferrite_step(payload.len() - head))) {
        assert!(unpack(&payload[..length], None).is_err(), "{length} bytes");
    }
    for more in [1, 4096] {
        let longer = [payload.as_slice(), &vec![0; more]].concat();
        assert_eq!(unpack(&longer, None), Err("another length".to_string()));
    }
}

#[test]
fn parts_of_two_releases_do_not_mix() {
    let first = Release::first();
    let second = first.next();
    let (one, two) = (first.pack(None, 1), second.pack(None, 1));
    assert!(unpack(&seal(&one.0, &two.1[..one.1.len().min(two.1.len())], &[1, 2]), None).is_err());
    let (old, new) = (seal(&one.0, &one.1, &[1, 2]), seal(&two.0, &two.1, &[1, 2]));
    let manifest_end = |payload: &[u8]| {
        let length = u32::from_le_bytes(payload[8..12].try_into().expect("four bytes"));
        PREFIX_BYTES + length as usize
    };
    // The new manifest with the old signatures, and the other way round.
    for (manifest, signatures) in [(&new, &old), (&old, &new)] {
        let end = manifest_end(signatures);
        let mixed = [&manifest[..manifest_end(manifest)], &signatures[end..end + 3 * SIGNATURE_BYTES]].concat();
        let error = Verified::read(&mut mixed.as_slice(), &role()).expect_err("signatures of something else");
        assert!(matches!(error, OpenError::Signature(_)), "{error}");
    }
}

#[test]
fn too_few_wrong_or_foreign_signatures_are_refused_and_a_late_one_is_added() {
    let (manifest, blobs) = Release::first().pack(None, 2);
    for seeds in [&[][..], &[1], &[1, 1], &[7, 8], &[1, 9]] {
        let error = unpack(&seal(&manifest, &blobs, seeds), None).expect_err("too few");
        assert!(error.contains("2 are needed"), "{error}");
    }
    let mut payload = Cursor::new(seal(&manifest, &blobs, &[3]));
    pack::add_signature(&mut payload, &key(1)).expect("a place is free");
    pack::add_signature(&mut payload, &key(1)).expect("its own place is used again");
    assert!(unpack(payload.get_ref(), None).is_ok());
    pack::add_signature(&mut payload, &key(9)).expect("a place is free");
    let error = pack::add_signature(&mut payload, &key(2)).expect_err("none is left");
    assert!(error.to_string().contains("places for 3 signatures"), "{error}");
}

#[test]
fn lengths_beyond_the_limits_are_refused_before_they_are_read() {
    let payload = Release::first().payload(None);
    for at in [8, 12] {
        let mut huge = payload[..16].to_vec();
        huge[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = Verified::read(&mut huge.as_slice(), &role()).expect_err("too long");
        assert!(matches!(error, OpenError::TooLong { .. }), "{error}");
    }
}

#[test]
fn a_blob_that_would_make_more_than_it_says_is_refused() {
    let (mut manifest, blobs) = Release::first().pack(None, 1);
    let at = manifest.ops.iter().position(|op| op.kind == OpKind::Zstd).expect("there is one");
    let blob = &blobs[..manifest.ops[at].blob_length as usize];
    manifest.ops[at].length -= 1;
    let mut output = vec![0; manifest.ops[at].length as usize];
    let decoded = Decoder::default().decode(at, &manifest.ops[at], blob, &mut Running(None), &mut output);
    let error = decoded.expect_err("it is longer");
    assert!(matches!(error, DecodeError::Zstd { .. }), "{error}");
}

/// Signed manifests are still read as if the signer were an enemy.
#[test]
fn a_manifest_with_a_gap_an_overlap_or_a_reach_past_a_limit_is_refused() {
    let first = Release::first();
    let (good, _) = first.next().pack(Some(&first), 1);
    let copy = good.ops.iter().position(|op| op.kind == OpKind::Copy).expect("there is one");
    let last = good.ops.len() - 1;
    type Change = Box<dyn Fn(&mut Manifest)>;
    let changes: Vec<(&str, Change)> = vec![
        ("a gap", Box::new(|m| m.ops[1].offset += 512)),
        ("twice", Box::new(|m| m.ops[1] = m.ops[0])),
        ("too short", Box::new(|m| m.ops.truncate(m.ops.len() - 1))),
        ("past its end", Box::new(|m| m.parts[1].size_bytes -= 512)),
        ("a base past its end", Box::new(move |m| m.ops[copy].base_offset = m.parts[0].base_bytes)),
        ("a base that wraps", Box::new(move |m| m.ops[copy].base_offset = u64::MAX)),
        ("too much", Box::new(|m| m.ops[0].length = u32::MAX)),
        ("nothing", Box::new(|m| m.ops[0].length = 0)),
        ("blob too long", Box::new(|m| m.ops[0].blob_length = u32::MAX)),
        ("a copy with a blob", Box::new(move |m| m.ops[copy].blob_length = 1)),
        ("a copy of another length", Box::new(move |m| m.ops[copy].base_length -= 1)),
        ("a part of none", Box::new(move |m| m.ops[last].part = 9)),
        ("a part twice", Box::new(|m| m.parts[1].role = m.parts[0].role)),
        ("half a sector", Box::new(|m| m.parts[0].size_bytes += 1)),
        ("a huge part", Box::new(|m| m.parts[0].size_bytes = u64::MAX)),
        ("no parts", Box::new(|m| m.parts.clear())),
        ("a floor above itself", Box::new(|m| m.floor = m.serial + 1)),
        ("a base that is not older", Box::new(|m| m.base.iter_mut().for_each(|base| base.serial = m.serial))),
        ("a base in a full one", Box::new(|m| m.base = None)),
        ("a name with a slash", Box::new(|m| m.board = "../x".into())),
        ("a long name", Box::new(|m| m.version = "1".repeat(300))),
        ("half a verity tree", Box::new(|m| m.parts[0].verity_blocks = 0)),
    ];
    assert!(good.to_bytes().is_ok());
    for (what, change) in changes {
        let mut manifest = good.clone();
        change(&mut manifest);
        assert!(manifest.to_bytes().is_err(), "{what}");
    }
}

fn fuzz_cases() -> u32 {
    let everything = std::env::var("FERRITE_LONG").is_ok_and(|value| value == "1");
    if everything { 3_000_000 } else { 20_000 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: fuzz_cases(), ..ProptestConfig::default() })]

    /// Any bytes in any place: nothing panics, and what is read is written back the same.
    #[test]
    fn hostile_manifests_never_panic(
        at in any::<prop::sample::Index>(),
        bytes in proptest::collection::vec(any::<u8>(), 0..24),
        cut in any::<prop::sample::Index>(),
        change_length in any::<bool>(),
    ) {
        thread_local!(static GOOD: Vec<u8> = {
            let first = Release::first();
            first.next().pack(Some(&first), 1).0.to_bytes().expect("it is good")
        });
        let mut manifest = GOOD.with(Clone::clone);
        let at = at.index(manifest.len());
        if change_length {
            manifest.splice(at..at, bytes);
            manifest.truncate(cut.index(manifest.len()) + 1);
        } else {
            manifest.iter_mut().skip(at).zip(bytes).for_each(|(place, byte)| *place = byte);
        }
        if let Ok(read) = Manifest::parse(&manifest) {
            prop_assert_eq!(read.to_bytes(), Ok(manifest));
        }
    }

    #[test]
    fn hostile_starts_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), magic in any::<bool>()) {
        let mut payload = if magic { b"FERUPD1\n".to_vec() } else { Vec::new() };
        payload.extend(bytes);
        prop_assert!(Verified::read(&mut payload.as_slice(), &role()).is_err());
    }
}

#[test]
fn noise_is_no_document() {
    for seed in 0..200 {
        let bytes = noise(seed, 300);
        assert!(ferrite_payload::KeySet::parse_trusted(&bytes).is_err());
        assert!(ferrite_payload::Channel::parse_any_time(&bytes, &role()).is_err());
    }
}

//! Signatures and the rule that enough different trusted keys must have signed. Pure.

use std::collections::BTreeSet;

use crate::hash::Hash;
use crate::key::{Domain, SecretKey};
use crate::key_set::Role;

/// Bytes of a signature in a payload: the key's name and the signature itself.
pub const SIGNATURE_BYTES: usize = Hash::BYTES + 64;

/// One signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// Name of the key.
    pub key: Hash,
    /// ed25519.
    pub bytes: [u8; 64],
}

/// Too few of the trusted keys have signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} has {found} valid signatures of {role} keys, {needed} are needed ({unknown} by unknown keys, {wrong} wrong)"
)]
pub struct SignatureError {
    /// What was to be checked.
    pub what: &'static str,
    /// Whose keys had to sign.
    pub role: &'static str,
    /// Different trusted keys that have signed.
    pub found: usize,
    /// The threshold.
    pub needed: usize,
    /// Signatures by keys that the role does not have.
    pub unknown: usize,
    /// Signatures by its keys that do not hold.
    pub wrong: usize,
}

impl Signature {
    /// Signs.
    pub fn new(key: &SecretKey, domain: Domain, bytes: &[u8]) -> Signature {
        Signature { key: key.public().id(), bytes: key.sign(domain, bytes) }
    }

    /// The form in a payload.
    pub fn to_bytes(&self) -> [u8; SIGNATURE_BYTES] {
        let mut bytes = [0; SIGNATURE_BYTES];
        bytes[..Hash::BYTES].copy_from_slice(self.key.as_bytes());
        bytes[Hash::BYTES..].copy_from_slice(&self.bytes);
        bytes
    }

    /// Reads the signatures of a payload; places that are all zeros wait for their signature.
    pub fn parse_all(bytes: &[u8]) -> Vec<Signature> {
        let one = |place: &[u8]| {
            let (key, signature) = place.split_first_chunk::<{ Hash::BYTES }>()?;
            let empty = place.iter().all(|byte| *byte == 0);
            let bytes = *signature.first_chunk::<64>()?;
            (!empty).then_some(Signature { key: Hash::from_bytes(*key), bytes })
        };
        bytes.chunks_exact(SIGNATURE_BYTES).filter_map(one).collect()
    }
}

/// Checks that at least as many different keys of the role have signed as its threshold says.
pub fn check(
    what: &'static str,
    domain: Domain,
    bytes: &[u8],
    signatures: &[Signature],
    role: &Role,
) -> Result<(), SignatureError> {
    let mut signers = BTreeSet::new();
    let (mut unknown, mut wrong) = (0, 0);
    for signature in signatures {
        match role.keys().iter().find(|key| key.id() == signature.key) {
            None => unknown += 1,
            Some(key) if key.has_signed(domain, bytes, &signature.bytes) => {
                signers.insert(signature.key);
            }
            Some(_) => wrong += 1,
        }
    }
    let (found, needed) = (signers.len(), role.threshold());
    if found >= needed {
        return Ok(());
    }
    Err(SignatureError { what, role: role.name(), found, needed, unknown, wrong })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_counts_once_and_unknown_keys_never() {
        let keys: Vec<SecretKey> = (1..=4).map(|seed| SecretKey::from_seed(&[seed; 32])).collect();
        let public = keys.iter().take(3).map(SecretKey::public).collect();
        let role = Role::new("release", 2, public).expect("a role");
        let sign = |which: usize| Signature::new(&keys[which], Domain::Payload, b"x");
        let check = |signatures: &[Signature]| check("payload", Domain::Payload, b"x", signatures, &role);
        assert!(check(&[sign(0), sign(2)]).is_ok());
        assert!(check(&[sign(0), sign(0), sign(0)]).is_err());
        assert!(check(&[sign(0), sign(3)]).is_err());
        let broken = Signature { bytes: sign(0).bytes, ..sign(1) };
        let error = check(&[sign(0), broken, sign(3)]).expect_err("one is too few");
        assert_eq!(
            error.to_string(),
            "payload has 1 valid signatures of release keys, 2 are needed (1 by unknown keys, 1 wrong)"
        );
        assert!(check(&[broken, sign(1), sign(0)]).is_ok(), "a wrong signature does not spoil right ones");
    }

    #[test]
    fn empty_places_are_passed_over() {
        let signature = Signature::new(&SecretKey::from_seed(&[1; 32]), Domain::Payload, b"x");
        let bytes = [[0; SIGNATURE_BYTES], signature.to_bytes(), [0; SIGNATURE_BYTES]].concat();
        assert_eq!(Signature::parse_all(&bytes), [signature]);
    }
}

//! Seeding the kernel's random number generator from a file of an earlier boot.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsRawFd;

mod raw {
    nix::ioctl_write_ptr!(add_entropy, b'R', 3, [i32; 2]);
}

const SEED_BYTES: usize = 512;

/// `struct rand_pool_info` of linux/random.h with its bytes.
#[repr(C)]
struct Pool {
    head: [i32; 2],
    bytes: [u8; SEED_BYTES],
}

/// Mixes in a secret seed (at most 512 bytes of it) and credits eight bits a byte.
/// Only for bytes that were random when they were saved and are used once.
pub fn credit_seed(seed: &[u8]) -> io::Result<()> {
    let seed = seed.get(..SEED_BYTES).unwrap_or(seed);
    let count = seed.len() as i32;
    let mut pool = Pool { head: [count * 8, count], bytes: [0; SEED_BYTES] };
    pool.bytes.iter_mut().zip(seed).for_each(|(to, from)| *to = *from);
    let device = OpenOptions::new().write(true).open("/dev/urandom")?;
    // SAFETY: `pool` is a rand_pool_info followed by at least the `buf_size` bytes it announces; the
    // pointer is made from the whole of it, so that the kernel may read behind the head.
    unsafe { raw::add_entropy(device.as_raw_fd(), (&raw const pool).cast()) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_stand_directly_behind_the_head() {
        assert_eq!(std::mem::offset_of!(Pool, bytes), 8);
    }
}

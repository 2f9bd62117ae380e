//! The limits of everything that comes from outside. Pure.

/// Bytes of a payload's manifest.
pub const MANIFEST_BYTES_MAX: u32 = 4 * MIB as u32;
/// Bytes of a payload's signatures.
pub const SIGNATURES_BYTES_MAX: u32 = 16 * 1024;
/// Parts of a release.
pub const PARTS_MAX: usize = 8;
/// Bytes of one part.
pub const PART_BYTES_MAX: u64 = 64 * 1024 * MIB;
/// Bytes that one operation makes: what zstd sees at once.
pub const OP_OUTPUT_BYTES_MAX: u32 = 8 * MIB as u32;
/// The same in a delta, where bytes of the running slot are in memory too.
pub const OP_DELTA_BYTES_MAX: u32 = 4 * MIB as u32;
/// Bytes of the running slot that one operation may look at.
pub const OP_SOURCE_BYTES_MAX: u32 = 16 * MIB as u32;
/// Bytes that one operation takes in the payload: what zstd makes of bytes that cannot be made smaller fits.
pub const OP_BLOB_BYTES_MAX: u32 = OP_OUTPUT_BYTES_MAX + 64 * 1024;
/// Bytes of the name of a product, board or channel, and of a version.
pub const NAME_BYTES_MAX: usize = 64;
/// Bytes of a key set.
pub const KEY_SET_BYTES_MAX: u64 = 64 * 1024;
/// Keys of a role.
pub const KEYS_MAX: usize = 16;
/// Key sets that a machine walks through at once.
pub const KEY_SETS_MAX: u64 = 1024;
/// Bytes of a channel document.
pub const CHANNEL_BYTES_MAX: u64 = 256 * 1024;
/// Releases that a channel lists.
pub const RELEASES_MAX: usize = 256;
/// Deltas that a release lists.
pub const DELTAS_MAX: usize = 16;
/// Bytes of the path of a payload in a channel document.
pub const PATH_BYTES_MAX: usize = 200;
/// Hours over which a release is handed out.
pub const ROLLOUT_HOURS_MAX: u32 = 24 * 90;
/// How far from a clock that is right a document may seem to come from.
pub const AHEAD_SECONDS_MAX: u64 = 24 * 60 * 60;

const MIB: u64 = 1024 * 1024;

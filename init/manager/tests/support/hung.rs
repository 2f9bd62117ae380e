//! A file system whose server never answers.

/// Mounts it at /var/lib; to be the file run/hang.py of a machine.
pub const HANG: &str = "import ctypes,os,time\n\
    f=os.open('/dev/fuse',os.O_RDWR)\n\
    libc=ctypes.CDLL(None,use_errno=True)\n\
    o=('fd=%d,rootmode=40000,user_id=0,group_id=0'%f).encode()\n\
    assert libc.mount(b'hung',b'/var/lib',b'fuse',0,o)==0, ctypes.get_errno()\n\
    open('/run/mounted','w').close()\n\
    time.sleep(100000)\n";

/// Does so before process 1 begins.
pub const COMMAND: &str = "(python3 @/run/hang.py &) && while [ ! -e /run/mounted ]; do sleep 0.05; done";

/// Has this host file systems of programs?
pub fn is_possible() -> bool {
    std::path::Path::new("/dev/fuse").exists()
}

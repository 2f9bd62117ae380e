//! Error numbers by name. Pure.

use crate::value::{Parsed, wrong};

/// Names in the order of their numbers, from 1; `-` stands where there is none.
const NAMES: &str = "EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT \
     ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG \
     ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY \
     ELOOP - ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT EBADE EBADR \
     EXFULL ENOANO EBADRQC EBADSLT - EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE \
     ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG \
     ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK \
     EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP \
     EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET \
     ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT \
     ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL \
     EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED \
     EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON";

/// Other names of some.
const OTHERS: [(&str, i32); 3] = [("EWOULDBLOCK", 11), ("EDEADLOCK", 35), ("ENOTSUP", 95)];

/// An error by name or number; none (0) is one, too.
pub fn parse(text: &str) -> Parsed<i32> {
    let position = NAMES.split(' ').position(|name| name.eq_ignore_ascii_case(text) && text != "-");
    let named = position.and_then(|at| i32::try_from(at + 1).ok());
    let other = || OTHERS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, number)| *number);
    let number = || text.parse().ok().filter(|number| (0..4096).contains(number));
    named.or_else(other).or_else(number).ok_or_else(|| wrong(text, "an error such as EPERM"))
}

/// The name of an error.
pub fn name(number: i32) -> Option<&'static str> {
    let at = usize::try_from(number).ok()?.checked_sub(1)?;
    NAMES.split(' ').nth(at).filter(|name| *name != "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_read_by_name_and_number() {
        for (text, number) in [("EPERM", 1), ("EHWPOISON", 133), ("ENOTSUP", 95), ("255", 255), ("eilseq", 84)] {
            assert_eq!(parse(text), Ok(number), "{text}");
        }
        assert_eq!((name(95), name(255), name(41)), (Some("EOPNOTSUPP"), None, None));
        assert!(parse("EXYZ").is_err() && parse("-").is_err() && parse("4096").is_err());
    }
}

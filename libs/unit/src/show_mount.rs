//! The properties of a mount. Pure.

use crate::mount::Mount;
use crate::show::{Lines, kill};
use crate::unit::Unit;

pub(crate) fn properties(lines: &mut Lines, unit: &Unit, mount: &Mount) {
    let text = |value: Option<&str>| value.filter(|v| !v.is_empty()).unwrap_or("n/a").to_owned();
    lines.put("Mount State", if unit.perpetual { "mounted" } else { "dead" });
    lines.put("Where", &mount.where_);
    lines.put("What", text(Some(&mount.what)));
    lines.put("File System Type", text(mount.kind.as_deref()));
    lines.put("Options", text(mount.options.as_deref()));
    lines.flag("From /proc/self/mountinfo", false);
    lines.flag("From fragment", unit.fragment.is_some());
    lines.flag("Extrinsic", mount.is_extrinsic());
    lines.put("DirectoryMode", format!("{:04o}", mount.directory_mode));
    lines.flag("SloppyOptions", mount.sloppy_options);
    lines.flag("LazyUnmount", mount.lazy_unmount);
    lines.flag("ForceUnmount", mount.force_unmount);
    lines.flag("ReadWriteOnly", mount.read_write_only);
    lines.span("TimeoutSec", mount.timeout);
    lines.extend(crate::show_exec::properties(unit, &mount.exec));
    kill(lines, &mount.kill);
    lines.extend(crate::show_resources::properties(unit));
}

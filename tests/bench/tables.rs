//! The printed comparison. Pure.

use std::time::Duration;

use ferrite_cli::Table;

use crate::figures::Figures;
use crate::size::Sizes;

/// A row: what, unit, both values, and the aim with how it is reached.
struct Row {
    what: &'static str,
    ferrite: f64,
    debian: Option<f64>,
    unit: &'static str,
    aim: Option<Aim>,
}

enum Aim {
    AtMost(f64),
    ShareOfDebian(f64),
}

/// Both candidates side by side.
pub(crate) fn render(ferrite: &Figures, debian: &Figures, floor: f64, sizes: &Sizes) -> String {
    let mut table = Table::with_heading(["", "ferrite", "debian", "unit", "ratio", "aim", ""]);
    for row in rows(ferrite, debian, floor, sizes) {
        let ratio = row.debian.filter(|debian| *debian > 0.0).map(|debian| format!("{:.2}", row.ferrite / debian));
        let (aim, verdict) = judge(&row);
        table.row([
            row.what.to_string(),
            number(row.ferrite),
            row.debian.map(number).unwrap_or_else(|| "-".into()),
            row.unit.to_string(),
            ratio.unwrap_or_else(|| "-".into()),
            aim,
            verdict.to_string(),
        ]);
    }
    table.render()
}

fn rows(ferrite: &Figures, debian: &Figures, floor: f64, sizes: &Sizes) -> Vec<Row> {
    let row = |what, ferrite, debian, unit, aim| Row { what, ferrite, debian: Some(debian), unit, aim };
    let cpu = |what, pick: fn(&Figures) -> Duration, aim| {
        row(what, pick(ferrite).as_secs_f64(), pick(debian).as_secs_f64(), "CPU-s", aim)
    };
    let (f, d) = (&ferrite.inside, &debian.inside);
    let count = |what, ferrite: u64, debian: u64, aim| row(what, ferrite as f64, debian as f64, "", aim);
    let idle = |what, pick: fn(&Figures) -> f64, below: f64, aim| {
        row(what, (pick(ferrite) - below) * 100.0, (pick(debian) - below) * 100.0, "% CPU", aim)
    };
    let mib = |kib: u64| kib as f64 / 1024.0;
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let mut rows = vec![
        cpu("power on -> kernel", |f| f.kernel, None),
        cpu("power on -> PID 1", |f| f.pid_1, None),
        cpu("power on -> ssh banner", |f| f.banner, None),
        cpu("PID 1 -> ssh banner", |f| f.banner.saturating_sub(f.pid_1), Some(Aim::AtMost(5.0))),
        cpu("power on -> running, with a login", |f| f.running, None),
        row("ssh banner", ferrite.banner_wall.as_secs_f64(), debian.banner_wall.as_secs_f64(), "s (wall)", None),
        idle("idle, QEMU", |f| f.idle_share, 0.0, Some(Aim::ShareOfDebian(0.3))),
        row("idle, QEMU, a guest that does nothing", floor * 100.0, floor * 100.0, "% CPU", None),
        idle("idle, QEMU, above that", |f| f.idle_share, floor, Some(Aim::ShareOfDebian(0.3))),
        idle("idle, ticks of the guest", |f| f.guest_idle.ticks, 0.0, Some(Aim::ShareOfDebian(0.3))),
        idle("idle, tasks of the guest", |f| f.guest_idle.tasks, 0.0, Some(Aim::ShareOfDebian(0.3))),
        row("memory used", mib(f.memory_used_kib), mib(d.memory_used_kib), "MiB", Some(Aim::ShareOfDebian(0.5))),
        row("PID 1 RSS", mib(f.pid_1_rss_kib), mib(d.pid_1_rss_kib), "MiB", Some(Aim::AtMost(4.0))),
        row("PID 1 PSS", mib(f.pid_1_pss_kib), mib(d.pid_1_pss_kib), "MiB", None),
        count("processes", f.processes, d.processes, None),
        count("executables", f.executables, d.executables, None),
        count("SUID and SGID files", f.suid_files, d.suid_files, Some(Aim::AtMost(0.0))),
        count("listening sockets", f.listening_sockets, d.listening_sockets, None),
        row("image allocated", mb(sizes.ferrite_allocated), mb(sizes.debian_allocated), "MB", None),
        row(
            "image compressed",
            mb(sizes.ferrite_compressed),
            mb(sizes.debian_compressed),
            "MB",
            Some(Aim::AtMost(90.0)),
        ),
    ];
    if let Some(bytes) = sizes.ferrite_without_etcd_compressed {
        let what = "image compressed, without etcd";
        rows.push(Row { what, ferrite: mb(bytes), debian: None, unit: "MB", aim: Some(Aim::AtMost(60.0)) });
    }
    rows
}

fn judge(row: &Row) -> (String, &'static str) {
    let (text, limit) = match row.aim {
        None => return (String::new(), ""),
        Some(Aim::AtMost(limit)) => (format!("<= {limit}"), limit),
        Some(Aim::ShareOfDebian(share)) => (format!("<= {share}x"), row.debian.unwrap_or_default() * share),
    };
    (text, if row.ferrite <= limit { "met" } else { "missed" })
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aim_that_is_missed_says_so() {
        let row = Row { what: "x", ferrite: 6.0, debian: Some(10.0), unit: "", aim: Some(Aim::ShareOfDebian(0.5)) };
        assert_eq!(judge(&row), ("<= 0.5x".to_string(), "missed"));
    }
}

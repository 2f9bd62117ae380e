//! The picture of a boot in SVG: an axis in seconds, a row for each part of the boot and each unit, a legend. Pure.

use std::fmt::Write as _;

use ferrite_unit::timespan::SECOND_US;

use super::boot::{Boot, UnitTime};
use super::time::milliseconds;

/// Height of a row.
const ROW: f64 = 20.0;
/// A second is so wide, unless the whole picture would be too narrow.
const SECOND: f64 = 100.0;
/// Width of the axis at least.
const WIDTH_MIN: f64 = 800.0;
/// Width of a letter, roughly.
const LETTER: f64 = 8.0;
const MARGIN: f64 = 20.0;
/// Between two marks of the axis at least.
const MARK: f64 = 50.0;
/// Distances of marks in microseconds.
const STEPS: [u64; 18] = [
    100,
    200,
    500,
    1000,
    2000,
    5000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    600_000_000,
];

const STYLE: &str = "      text { font: 14px Verdana, Helvetica, sans-serif; }
      text.end { text-anchor: end; }
      text.mark { font-size: 10px; text-anchor: middle; }
      line { stroke: #bbb; }
      line.fine { stroke: #e4e4e4; }
      rect.page { fill: #fff; }
      rect.box { fill: #f4f4f4; stroke: #bbb; }
      rect.activating { fill: #e0312f; fill-opacity: 0.8; }
      rect.active { fill: #c99; fill-opacity: 0.7; }
      rect.deactivating { fill: #855; fill-opacity: 0.8; }
      rect.early { fill: #999; fill-opacity: 0.7; }
      rect.generators { fill: #4aa3df; fill-opacity: 0.8; }
      rect.unitsload { fill: #2f78b7; fill-opacity: 0.8; }
";

/// What the colours mean.
const LEGEND: [(&str, &str); 6] = [
    ("activating", "Activating"),
    ("active", "Active"),
    ("deactivating", "Deactivating"),
    ("early", "Before user space"),
    ("generators", "Generators"),
    ("unitsload", "Loading unit files"),
];

/// A unit and what is told when one points at it.
#[derive(Debug)]
pub struct Row {
    pub time: UnitTime,
    /// Names of relations and the other units.
    pub relations: Vec<(&'static str, Vec<String>)>,
}

/// Everything that is drawn. Rows come in the order of their starts.
#[derive(Debug)]
pub struct Picture<'a> {
    pub boot: &'a Boot,
    /// Lines above.
    pub heading: Vec<String>,
    pub rows: Vec<Row>,
    /// How much wider than usual.
    pub factor: f64,
    /// Are the moments of the starts written too?
    pub detailed: bool,
}

/// The drawing so far.
struct Canvas {
    out: String,
    /// Width of a microsecond.
    scale: f64,
    width: f64,
    /// The next row.
    row: f64,
}

impl Canvas {
    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.out.write_fmt(text);
        self.out.push('\n');
    }

    fn x(&self, us: u64) -> f64 {
        us as f64 * self.scale
    }

    /// A bar of the row; one without any length is left out.
    fn bar(&mut self, class: &str, from_us: u64, to_us: u64) {
        let (x, y, width) = (self.x(from_us), self.row * ROW, self.x(to_us.saturating_sub(from_us)));
        if to_us > from_us {
            let height = ROW - 1.0;
            self.line(format_args!(
                r#"  <rect class="{class}" x="{x:.3}" y="{y:.3}" width="{width:.3}" height="{height:.3}"/>"#
            ));
        }
    }

    /// The name of the row, on the side of its start where there is room.
    fn label(&mut self, at_us: u64, text: &str) {
        let (x, y) = (self.x(at_us), self.row * ROW + 14.0);
        let text_x = if self.is_left(at_us, text) { x + 5.0 } else { x - 5.0 };
        let class = if self.is_left(at_us, text) { "start" } else { "end" };
        self.line(format_args!(r#"  <text class="{class}" x="{text_x:.3}" y="{y:.3}">{}</text>"#, escaped(text)));
    }

    /// Does the text stand behind the start?
    fn is_left(&self, at_us: u64, text: &str) -> bool {
        let x = self.x(at_us);
        x < self.width / 2.0 || x < text_width(text)
    }
}

impl Picture<'_> {
    /// The whole file.
    pub fn draw(&self) -> String {
        let finish = self.boot.finish_us;
        let seconds = finish as f64 / SECOND_US as f64;
        // A short boot is stretched until it can be read.
        let second = if seconds * SECOND < WIDTH_MIN { WIDTH_MIN / seconds.max(0.001) } else { SECOND };
        let scale = second * self.factor / SECOND_US as f64;
        let mut canvas = Canvas { out: String::new(), scale, width: finish as f64 * scale, row: 0.0 };
        let early = self.early_rows();
        let count = (early.len() + self.rows.len() + 1) as f64;
        let top = MARGIN * 2.0 + self.heading.len() as f64 * ROW + ROW;
        let room = self.rows.iter().map(|row| room(&canvas, row.time.activating_us, &self.text_of(row)));
        let widest = self.heading.iter().map(|line| text_width(line)).chain(room).fold(canvas.width, f64::max);
        let (width, height) = (widest + 2.0 * MARGIN, top + (count + LEGEND.len() as f64 + 2.0) * ROW);
        begin(&mut canvas, width, height);
        for (number, line) in self.heading.iter().enumerate() {
            let y = MARGIN + ROW * (number as f64 + 1.0);
            canvas.line(format_args!(r#"<text x="{MARGIN}" y="{y}">{}</text>"#, escaped(line)));
        }
        canvas.line(format_args!(r#"<g transform="translate({MARGIN},{top})">"#));
        axis(&mut canvas, finish, count * ROW);
        for (name, from, to) in early {
            canvas.bar("early", from, to);
            canvas.label(from, name);
            canvas.row += 1.0;
        }
        let (before, after): (Vec<&Row>, Vec<&Row>) =
            self.rows.iter().partition(|row| row.time.activating_us < self.boot.userspace_us);
        before.into_iter().for_each(|row| self.unit(&mut canvas, row));
        self.manager(&mut canvas);
        after.into_iter().for_each(|row| self.unit(&mut canvas, row));
        legend(&mut canvas);
        canvas.out.push_str("</g>\n</svg>\n");
        canvas.out
    }

    /// What was before user space.
    fn early_rows(&self) -> Vec<(&'static str, u64, u64)> {
        let boot = self.boot;
        let rows = [
            ("kernel", boot.kernel_done_us > 0, 0, boot.kernel_done_us),
            ("initrd", boot.initrd_us > 0, boot.initrd_us, boot.userspace_us),
            ("soft-reboot", boot.is_soft_reboot, 0, boot.userspace_us),
        ];
        rows.into_iter().filter(|(_, is_known, ..)| *is_known).map(|(name, _, from, to)| (name, from, to)).collect()
    }

    fn manager(&self, canvas: &mut Canvas) {
        let boot = self.boot;
        canvas.bar("active", boot.userspace_us, boot.finish_us);
        canvas.bar("generators", boot.generators_us.0, boot.generators_us.1);
        canvas.bar("unitsload", boot.units_load_us.0, boot.units_load_us.1);
        canvas.label(boot.userspace_us, "PID 1");
        canvas.row += 1.0;
    }

    fn unit(&self, canvas: &mut Canvas, row: &Row) {
        let time = &row.time;
        canvas.line(format_args!("<g>\n  <title>{}</title>", escaped(&tip(row))));
        canvas.bar("activating", time.activating_us, time.activated_us);
        canvas.bar("active", time.activated_us, time.deactivating_us);
        canvas.bar("deactivating", time.deactivating_us, time.deactivated_us);
        canvas.label(time.activating_us, &self.text_of(row));
        canvas.line(format_args!("</g>"));
        canvas.row += 1.0;
    }

    fn text_of(&self, row: &Row) -> String {
        let at = if self.detailed { format!(" @{}", seconds(row.time.activating_us)) } else { String::new() };
        match row.time.time_us {
            0 => format!("{}{at}", row.time.name),
            took => format!("{}{at} ({})", row.time.name, milliseconds(took)),
        }
    }
}

fn begin(canvas: &mut Canvas, width: f64, height: f64) {
    canvas.line(format_args!(r#"<?xml version="1.0" encoding="UTF-8" standalone="no"?>"#));
    canvas.line(format_args!(
        concat!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" version="1.1" width="{width:.0}px" height="{height:.0}px" "#,
            r#"viewBox="0 0 {width:.0} {height:.0}">"#
        ),
        width = width,
        height = height
    ));
    canvas.line(format_args!("<title>Boot of this machine</title>"));
    canvas.line(format_args!("<defs>\n  <style type=\"text/css\">\n{STYLE}  </style>\n</defs>"));
    canvas.line(format_args!(r#"<rect class="page" width="100%" height="100%"/>"#));
}

/// The box, its lines, and the seconds above them.
fn axis(canvas: &mut Canvas, finish_us: u64, height: f64) {
    let width = canvas.width;
    canvas.line(format_args!(r#"<rect class="box" x="0" y="0" width="{width:.3}" height="{height:.3}"/>"#));
    let last = STEPS.len() - 1;
    let place = STEPS.iter().position(|step| canvas.x(*step) >= MARK).unwrap_or(last);
    let step = STEPS.get(place).copied().unwrap_or(SECOND_US);
    let fine = step / 10;
    let mut at = 0;
    while at <= finish_us {
        let x = canvas.x(at);
        let is_mark = at.is_multiple_of(step);
        let class = if is_mark { "mark" } else { "fine" };
        canvas.line(format_args!(r#"  <line class="{class}" x1="{x:.3}" y1="0" x2="{x:.3}" y2="{height:.3}"/>"#));
        if is_mark {
            canvas.line(format_args!(r#"  <text class="mark" x="{x:.3}" y="-5">{}</text>"#, mark(at, step)));
        }
        at += fine.max(1);
    }
}

/// A moment of the axis with as many digits as the steps have.
fn mark(at_us: u64, step_us: u64) -> String {
    let digits = (0..6).find(|digits| step_us.is_multiple_of(SECOND_US / 10_u64.pow(*digits))).unwrap_or(6);
    format!("{:.*}s", usize::try_from(digits).unwrap_or(6), at_us as f64 / SECOND_US as f64)
}

fn legend(canvas: &mut Canvas) {
    let example = (3.0 * MARGIN / canvas.scale) as u64;
    canvas.row += 1.0;
    for (class, words) in LEGEND {
        canvas.bar(class, 0, example);
        canvas.label(example, words);
        canvas.row += 1.0;
    }
}

fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * LETTER
}

/// How far a row reaches to the right.
fn room(canvas: &Canvas, at_us: u64, text: &str) -> f64 {
    if canvas.is_left(at_us, text) { canvas.x(at_us) + 5.0 + text_width(text) } else { canvas.x(at_us) }
}

fn seconds(us: u64) -> String {
    format!("{}.{:03}s", us / SECOND_US, us % SECOND_US / 1000)
}

/// What is told when one points at a unit.
fn tip(row: &Row) -> String {
    let time = &row.time;
    let (began, up) = (seconds(time.activating_us), seconds(time.activated_us));
    let mut text = format!("{}:\nActivating: {began}\nActivated: {up}\n", time.name);
    for (relation, others) in &row.relations {
        text.push_str(&format!("\n{relation}:\n"));
        others.iter().for_each(|other| text.push_str(&format!("  {other}\n")));
    }
    text
}

/// Text for XML; control characters have no place in it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(letter),
            control if control.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, activating_us: u64, activated_us: u64, until_us: u64) -> Row {
        let time = UnitTime {
            name: name.to_owned(),
            activating_us,
            activated_us,
            deactivating_us: until_us,
            deactivated_us: until_us,
            time_us: activated_us - activating_us,
        };
        Row { time, relations: vec![("After", vec!["a&b.service".to_owned()])] }
    }

    fn picture(boot: &Boot) -> Picture<'_> {
        let rows =
            vec![row("early.slice", 1000, 1000, 9_000_000), row("x<y>.service", 4_000_000, 6_000_000, 9_000_000)];
        Picture { boot, heading: vec!["A & B".to_owned()], rows, factor: 1.0, detailed: false }
    }

    #[test]
    fn bars_stand_where_the_axis_says() {
        let boot = Boot {
            kernel_done_us: 1_000_000,
            initrd_us: 1_000_000,
            userspace_us: 2_000_000,
            finish_us: 9_000_000,
            units_load_us: (2_100_000, 2_200_000),
            ..Boot::default()
        };
        let text = picture(&boot).draw();
        for part in [
            r#"<rect class="early" x="0.000" y="0.000" width="100.000" height="19.000"/>"#,
            r#"<rect class="early" x="100.000" y="20.000" width="100.000" height="19.000"/>"#,
            r#"<rect class="active" x="200.000" y="60.000" width="700.000" height="19.000"/>"#,
            r#"<rect class="unitsload" x="210.000" y="60.000" width="10.000" height="19.000"/>"#,
            r#"<rect class="activating" x="400.000" y="80.000" width="200.000" height="19.000"/>"#,
            r#"<rect class="active" x="600.000" y="80.000" width="300.000" height="19.000"/>"#,
            r#">x&lt;y&gt;.service (2s)</text>"#,
            r#"<text class="mark" x="900.000" y="-5">9.0s</text>"#,
            "A &amp; B",
            "After:\n  a&amp;b.service",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert_eq!(text.matches("class=\"generators\"").count(), 1, "no generators ran: only the legend has them");
        let wide = Picture { factor: 2.0, detailed: true, ..picture(&boot) }.draw();
        assert!(wide.contains(r#"x="800.000" y="80.000" width="400.000""#) && wide.contains(" @4.000s (2s)"), "{wide}");
    }

    #[test]
    fn a_short_boot_is_stretched_and_its_axis_has_digits() {
        let boot = Boot { finish_us: 40_000, ..Boot::default() };
        let text = Picture { rows: vec![row("a.service", 10_000, 20_000, 40_000)], ..picture(&boot) }.draw();
        assert!(text.contains(r#"<rect class="activating" x="200.000" y="20.000" width="200.000""#), "{text}");
        assert!(text.contains(">0.005s</text>") && text.contains(">0.040s</text>"), "{text}");
        assert!(text.lines().count() < 300, "{}", text.lines().count());
    }

    #[test]
    fn marks_have_as_many_digits_as_their_distance() {
        assert_eq!(mark(30_000_000, 5_000_000), "30s");
        assert_eq!(mark(1_500_000, 500_000), "1.5s");
        assert_eq!(mark(2000, 2000), "0.002s");
        assert_eq!(mark(100, 100), "0.0001s");
    }
}

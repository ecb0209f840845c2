//! `gabion bench model --by-step`: where the time of one decoded token and of one prompt goes, by kind of
//! step and module, as a table and as a bar chart.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

use gabion::cpu::limits::Limits;
use gabion::plan::Plan;
use gabion::plan::profile::{Profile, step_cost};
use serde_json::{Value, json};

use super::super::output::table;
use super::micros;

/// Steps of one kind in modules that differ in the layer's number only.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// The kernel and the module: `matmul model.layers.*.mlp.down_proj`.
    pub(super) what: String,
    pub(super) calls: usize,
    pub(super) time: Duration,
    pub(super) flops: u64,
    pub(super) bytes: u64,
}

/// The rows of some runs of equal sizes, longest first: of each step the median.
pub(super) fn rows(plan: &Plan, profile: &Profile, runs: Range<usize>) -> Vec<Row> {
    let sizes = profile.runs.get(runs.start).map(|run| run.sizes.clone());
    let sizes = sizes.unwrap_or_default();
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for timing in profile.median_steps(runs) {
        let (what, cost) = match plan.steps.get(timing.step) {
            Some(step) => {
                let what = format!("{} {}", step.kernel.name(), folded(&step.scope));
                (what.trim_end().to_owned(), step_cost(plan, step, &sizes))
            }
            None => ("copy of an output".to_owned(), Default::default()),
        };
        let row = rows.entry(what.clone()).or_insert(Row {
            what,
            calls: 0,
            time: Duration::ZERO,
            flops: 0,
            bytes: 0,
        });
        row.calls += 1;
        row.time += timing.wall;
        row.flops += cost.flops;
        row.bytes += cost.bytes();
    }
    let mut rows: Vec<Row> = rows.into_values().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.time));
    rows
}

/// A module's path with `*` for numbers.
fn folded(scope: &str) -> String {
    let number = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    let words = scope.split('.');
    let words = words.map(|word| if number(word) { "*" } else { word });
    words.collect::<Vec<_>>().join(".")
}

/// What was measured of one kind of run.
pub(super) struct ByStep {
    /// `decode of one token at position 100`.
    pub(super) title: String,
    pub(super) rows: Vec<Row>,
    /// The whole run.
    pub(super) wall: Duration,
}

impl Row {
    fn gigabytes(&self) -> f64 {
        per_second(self.bytes, self.time)
    }

    fn gigaflops(&self) -> f64 {
        per_second(self.flops, self.time)
    }
}

/// Thousand millions a second.
fn per_second(n: u64, time: Duration) -> f64 {
    if time.is_zero() {
        return 0.0;
    }
    n as f64 / time.as_secs_f64() / 1e9
}

impl ByStep {
    fn share(&self, time: Duration) -> f64 {
        if self.wall.is_zero() {
            return 0.0;
        }
        time.as_secs_f64() / self.wall.as_secs_f64()
    }

    /// The time that no step took: waiting between steps, and the call itself.
    fn between(&self) -> Duration {
        let steps: Duration = self.rows.iter().map(|row| row.time).sum();
        self.wall.saturating_sub(steps)
    }

    pub(super) fn text(&self, limits: &Limits) -> String {
        let cells = |row: &Row| {
            vec![
                row.what.clone(),
                row.calls.to_string(),
                format!("{:.1}", micros(row.time)),
                format!("{:.1}", 100.0 * self.share(row.time)),
                format!("{:.1}", row.gigabytes()),
                format!("{:.1}", row.gigaflops()),
            ]
        };
        let mut rows: Vec<Vec<String>> = self.rows.iter().map(cells).collect();
        let line = |what: &str, time: Duration| {
            let (us, share) = (micros(time), 100.0 * self.share(time));
            let none = String::new();
            vec![
                what.to_owned(),
                none.clone(),
                format!("{us:.1}"),
                format!("{share:.1}"),
                none.clone(),
                none,
            ]
        };
        rows.push(line("between steps", self.between()));
        rows.push(line("all", self.wall));
        format!(
            "\n{} (limits: DRAM {:.1} GB/s, L3 {:.1} GB/s, f32 {:.0} GFLOP/s)\n{}",
            self.title,
            limits.dram_gbs,
            limits.l3_gbs,
            limits.f32_gflops,
            table(&["step", "calls", "us", "%", "GB/s", "GFLOP/s"], &rows)
        )
    }

    pub(super) fn json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "step": row.what, "calls": row.calls, "us": micros(row.time),
                "share": self.share(row.time), "gbs": row.gigabytes(), "gflops": row.gigaflops(),
            })
        };
        json!({
            "title": self.title,
            "us": micros(self.wall),
            "between_us": micros(self.between()),
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
        })
    }
}

const WIDTH: f64 = 960.0;
const LABELS: f64 = 400.0;
const BAR: f64 = 18.0;
const STEP: f64 = 24.0;

/// The colours of bars: of steps, and of the time between them.
const STEPS: &str = "#3b6ea5";
const BETWEEN: &str = "#9aa5b1";

/// A bar chart of all, one below the other: a bar for each row of the table.
pub(super) fn svg(all: &[ByStep]) -> String {
    let lines: usize = all.iter().map(|it| it.rows.len() + 3).sum();
    let height = lines as f64 * STEP + 16.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\" role=\"img\">\n<title>Time by step</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    let mut y = 8.0;
    for it in all {
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "<text x=\"8\" y=\"{}\" font-weight=\"bold\">{}: {:.0} us</text>",
            y + 16.0,
            escaped(&it.title),
            micros(it.wall)
        );
        y += STEP;
        let steps = it.rows.iter().map(|row| (&*row.what, row.time, STEPS));
        let between = ("between steps", it.between(), BETWEEN);
        let bars = steps.chain([between]);
        let longest = bars.clone().map(|(_, time, _)| time).max();
        let longest = micros(longest.unwrap_or_default()).max(1e-9);
        for (what, time, fill) in bars {
            let width = (WIDTH - LABELS - 130.0) * micros(time) / longest;
            let _ = writeln!(
                out,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><rect x=\"{LABELS}\" y=\"{}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{fill}\"/><text x=\"{:.1}\" y=\"{}\">{:.0} us, {:.1} %</text>",
                LABELS - 8.0,
                y + 14.0,
                escaped(what),
                y,
                LABELS + width + 6.0,
                y + 14.0,
                micros(time),
                100.0 * it.share(time)
            );
            y += STEP;
        }
        y += STEP;
    }
    out + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> ByStep {
        let row = |what: &str, us, calls| Row {
            what: what.to_owned(),
            calls,
            time: Duration::from_micros(us),
            flops: us * 2_000,
            bytes: us * 10_000,
        };
        ByStep {
            title: "decode <1>".to_owned(),
            rows: vec![row("matmul a.*", 60, 2), row("attention b", 20, 1)],
            wall: Duration::from_micros(100),
        }
    }

    #[test]
    fn layers_are_one_row() {
        assert_eq!(
            folded("model.layers.12.mlp.gate_up"),
            "model.layers.*.mlp.gate_up"
        );
        assert_eq!(folded("norm1.x"), "norm1.x");
    }

    #[test]
    fn rates_and_shares_are_of_the_time() {
        let json = sample().json();
        assert_eq!(json["rows"][0]["gbs"], json!(10.0));
        assert_eq!(json["rows"][0]["gflops"], json!(2.0));
        assert_eq!(json["rows"][1]["share"], json!(0.2));
        assert_eq!(json["between_us"], json!(20.0));
    }

    #[test]
    fn the_chart_is_xml_with_a_bar_for_each_row() {
        let svg = svg(&[sample()]);
        assert_eq!(svg.matches(&format!("fill=\"{STEPS}\"")).count(), 2);
        assert_eq!(svg.matches(&format!("fill=\"{BETWEEN}\"")).count(), 1);
        assert!(svg.contains("between steps") && svg.contains("20 us, 20.0 %"));
        assert!(svg.contains("decode &lt;1&gt;: 100 us") && svg.ends_with("</svg>\n"));
    }
}

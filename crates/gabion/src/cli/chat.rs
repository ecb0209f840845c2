//! Chat templates: a user's message as the text that a chat model was trained on. Templates are
//! Jinja as transformers runs it.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use gabion::checkpoint::ChatTemplate;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Value, context};

use super::error::CliError;

/// How many instructions a template may run: those of real models need some thousands.
const FUEL: u64 = 10_000_000;

/// The template with one message by the user, ready for the assistant's answer.
///
/// # Errors
/// A template that is no Jinja, or that refuses the message (`raise_exception`).
pub(crate) fn render(
    model: &Path,
    template: &ChatTemplate,
    message: &str,
) -> Result<String, CliError> {
    let failed = |error: Error| CliError::Template {
        path: model.to_owned(),
        message: describe(&error),
    };
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
        .map_err(&failed)?;
    environment.set_syntax(syntax);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |text: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, text))
    });
    environment.add_function("strftime_now", |format: String| strftime(&format, now()));
    environment.add_filter("tojson", to_json);
    environment
        .add_template_owned("chat", without_training_marks(&template.template))
        .map_err(&failed)?;
    let chat = environment.get_template("chat").map_err(&failed)?;
    let token = |text: &Option<String>| text.clone().unwrap_or_default();
    chat.render(context! {
        messages => vec![context! { role => "user", content => message }],
        add_generation_prompt => true,
        // None, as in other programs where nothing is given: templates ask whether it is.
        tools => (),
        documents => (),
        bos_token => token(&template.bos_token),
        eos_token => token(&template.eos_token),
        pad_token => token(&template.pad_token),
        unk_token => token(&template.unk_token),
    })
    .map_err(&failed)
}

/// `{% generation %} .. {% endgeneration %}` marks what a model is trained on and prints what is inside.
fn without_training_marks(template: &str) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else {
            break;
        };
        let (open, tag) = (&rest[..start], &rest[start..start + length + 2]);
        text += open;
        text += &match tag.trim_matches(['{', '}', '%', '-', '+']).trim() {
            "generation" => tag.replacen("generation", "if true", 1),
            "endgeneration" => tag.replacen("endgeneration", "endif", 1),
            _ => tag.to_owned(),
        };
        rest = &rest[start + length + 2..];
    }
    text + rest
}

/// The error with its line; the template's own words if it raised it.
fn describe(error: &Error) -> String {
    let what = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) => format!("line {line}: {what}"),
        None => what,
    }
}

/// JSON as Python prints it: without the escapes that are meant for web pages.
fn to_json(value: &Value, indent: Option<Value>, options: Kwargs) -> Result<String, Error> {
    let escaped = minijinja::filters::tojson(value, indent, options)?.to_string();
    let mut text = String::with_capacity(escaped.len());
    let mut rest = escaped.as_str();
    while let Some(at) = rest.find('\\') {
        text += &rest[..at];
        // An escape is a backslash and one character, and four digits if that is a `u`.
        let page = [
            ("\\u003c", "<"),
            ("\\u003e", ">"),
            ("\\u0026", "&"),
            ("\\u0027", "'"),
        ];
        let found = page
            .into_iter()
            .find(|(escape, _)| rest[at..].starts_with(escape));
        let (escape, plain) = found.unwrap_or_else(|| {
            let end = rest[at + 1..]
                .chars()
                .next()
                .map_or(1, |c| 1 + c.len_utf8());
            let escape = &rest[at..at + end];
            (escape, escape)
        });
        text += plain;
        rest = &rest[at + escape.len()..];
    }
    Ok(text + rest)
}

/// Seconds since 1970, UTC.
fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |t| t.as_secs() as i64)
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
];

/// `strftime` for the directives that templates use, in UTC; others stay as they are.
fn strftime(format: &str, seconds: i64) -> String {
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let weekday = DAYS[days.rem_euclid(7) as usize];
    let month_name = MONTHS[month - 1];
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        // `%-d` is `%d` without its zero.
        let bare = chars.as_str().starts_with('-') && chars.as_str().len() > 1;
        if bare {
            chars.next();
        }
        let directive = chars.next();
        let piece = match directive {
            Some('Y') => format!("{year}"),
            Some('y') => format!("{:02}", year.rem_euclid(100)),
            Some('m') => format!("{month:02}"),
            Some('d') => format!("{day:02}"),
            Some('e') => format!("{day:2}"),
            Some('B') => month_name.to_owned(),
            Some('b') => month_name[..3].to_owned(),
            Some('A') => weekday.to_owned(),
            Some('a') => weekday[..3].to_owned(),
            Some('H') => format!("{hour:02}"),
            Some('I') => format!("{:02}", (hour + 11) % 12 + 1),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            Some('M') => format!("{minute:02}"),
            Some('S') => format!("{second:02}"),
            Some('F') => format!("{year}-{month:02}-{day:02}"),
            Some('T') => format!("{hour:02}:{minute:02}:{second:02}"),
            Some('%') => "%".to_owned(),
            Some(other) if bare => format!("%-{other}"),
            Some(other) => format!("%{other}"),
            None => "%".to_owned(),
        };
        let number = matches!(
            directive,
            Some('y' | 'm' | 'd' | 'e' | 'H' | 'I' | 'M' | 'S')
        );
        text += match piece.trim_start_matches(['0', ' ']) {
            "" if bare && number => "0",
            digits if bare && number => digits,
            _ => &piece,
        };
    }
    text
}

/// Year, month and day of a day counted from 1970-01-01, by the proleptic Gregorian calendar: years
/// begin in March here, so that the leap day is the last of its year.
fn civil(days: i64) -> (i64, usize, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12 + 1;
    (
        year_of_era + era * 400 + i64::from(month <= 2),
        month as usize,
        day,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_gives_is_none_and_training_marks_print_what_they_hold() {
        let rendered = |text: &str| {
            render(Path::new("m"), &template(text), "hi").unwrap_or_else(|e| panic!("{e}"))
        };
        let text = "{% if tools is none %}N{% endif %}{% if documents is not none %}D{% endif %}";
        assert_eq!(rendered(text), "N");
        let text = "{% for m in messages %}a{% generation %}{{ m.content }}{%- endgeneration -%} b{% endfor %}";
        assert_eq!(rendered(text), "ahib");
    }

    fn template(text: &str) -> ChatTemplate {
        let token = |t: &str| Some(t.to_owned());
        ChatTemplate {
            template: text.to_owned(),
            bos_token: token("<s>"),
            eos_token: token("</s>"),
            ..Default::default()
        }
    }

    #[test]
    fn a_template_sees_the_message_the_tokens_and_python_methods() {
        let text = "{{ bos_token }}{% for m in messages %}\n    {% if m.role.startswith('us') %}\n[{{ m['content'].strip() | upper }}]{% endif %}{% endfor %}{% if add_generation_prompt %}>{% endif %}";
        assert_eq!(
            render(Path::new("m"), &template(text), " hi ").unwrap(),
            "<s>[HI]>"
        );
    }

    #[test]
    fn json_in_a_template_is_plain() {
        let text = "{{ {'a': '<&>', 'b': [1, 2]} | tojson }}";
        assert_eq!(
            render(Path::new("m"), &template(text), "x").unwrap(),
            r#"{"a": "<&>", "b": [1, 2]}"#
        );
    }

    #[test]
    fn what_a_template_raises_is_the_error() {
        let error = render(
            Path::new("m"),
            &template("\n{{ raise_exception('roles must alternate') }}"),
            "x",
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "m: chat template: line 2: roles must alternate"
        );
    }

    #[test]
    fn a_template_that_is_no_jinja_is_an_error() {
        let error = render(Path::new("m"), &template("{% if %}"), "x")
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("m: chat template: line 1: "), "{error}");
    }

    #[test]
    fn a_template_that_would_never_end_is_an_error() {
        let text = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}";
        let error = render(Path::new("m"), &template(text), "x").unwrap_err();
        assert!(error.to_string().contains("fuel"), "{error}");
    }

    #[test]
    fn dates_are_right_around_leap_days() {
        assert_eq!(
            strftime("%d %b %Y, %A %H:%M:%S", 0),
            "01 Jan 1970, Thursday 00:00:00"
        );
        assert_eq!(
            strftime("%F %T %p %I", 951_782_399),
            "2000-02-28 23:59:59 PM 11"
        );
        assert_eq!(strftime("%F %a", 951_782_400), "2000-02-29 Tue");
        assert_eq!(strftime("%-d.%-m. %-H %-q %-", 0), "1.1. 0 %-q %-");
        assert_eq!(strftime("%B %e %y %q %", 1_709_251_200), "March  1 24 %q %");
    }
}

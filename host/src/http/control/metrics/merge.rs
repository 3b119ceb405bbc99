//! Parses, checks and merges the metrics of plugins, so that one invalid text cannot break the whole page.

use std::collections::{BTreeMap, HashSet};

use super::RESERVED;
use super::text::INSTANCE;
use super::text::{Kind, Text, escape};

/// Limit of one plugin's text, in bytes.
const MAX_LENGTH: usize = 1 << 20;

/// The families of all plugins, each once.
#[derive(Debug, Default)]
pub(crate) struct Merged(BTreeMap<String, Family>);

#[derive(Debug)]
struct Family {
    kind: Kind,
    help: String,
    /// Whole lines.
    samples: Vec<String>,
}

impl Merged {
    /// Adds the text of an instance's plugin, with the instance as a label of each sample.
    ///
    /// # Errors
    /// What is wrong with it, in one line; then nothing of it is added.
    pub(crate) fn add(&mut self, instance: &str, text: &str) -> Result<(), String> {
        if text.len() > MAX_LENGTH {
            return Err(format!("its metrics are longer than {MAX_LENGTH} bytes"));
        }
        let mut reader = Reader::default();
        for (index, line) in text.lines().enumerate() {
            reader
                .line(instance, line)
                .map_err(|reason| format!("its metrics, line {}: {reason}", index + 1))?;
        }
        self.check(&reader.families)?;
        for (name, family) in reader.families {
            let known = self.0.entry(name).or_insert_with(|| Family { samples: Vec::new(), ..family.head() });
            known.samples.extend(family.samples);
        }
        Ok(())
    }

    /// Checks that the families of one instance are compatible with those of the others.
    fn check(&self, families: &BTreeMap<String, Family>) -> Result<(), String> {
        for (name, family) in families {
            if let Some(known) = self.0.get(name).filter(|known| known.kind != family.kind) {
                let (other, own) = (known.kind.name(), family.kind.name());
                return Err(format!("its metric `{name}` is a {own}, another instance's is a {other}"));
            }
            // `x_count` beside a histogram `x` would be parsed as a part of it.
            let find = |name: &str| families.get(name).or_else(|| self.0.get(name));
            let has = |whole: &str, part| find(whole).is_some_and(|whole| parts(whole.kind).contains(&part));
            for part in parts(Kind::Histogram) {
                let own = format!("{name}{part}");
                let whole = name.strip_suffix(part).filter(|whole| has(whole, part));
                if whole.is_some() || (parts(family.kind).contains(part) && find(&own).is_some()) {
                    let whole = whole.unwrap_or(name);
                    return Err(format!("its metrics have a `{whole}{part}` that is no part of `{whole}`"));
                }
            }
        }
        Ok(())
    }

    /// Writes them, in the order of their names.
    pub(crate) fn write(&self, text: &mut Text) {
        for (name, family) in &self.0 {
            text.family(name, family.kind, &family.help);
            family.samples.iter().for_each(|sample| text.line(sample));
        }
    }
}

impl Family {
    fn new(kind: Kind) -> Self {
        Self { kind, help: String::new(), samples: Vec::new() }
    }

    /// A copy without the samples.
    fn head(&self) -> Self {
        Self { kind: self.kind, help: self.help.clone(), samples: Vec::new() }
    }
}

/// Suffixes that may follow the family's name in a sample, apart from none.
fn parts(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Histogram => &["_bucket", "_sum", "_count"],
        Kind::Summary => &["_sum", "_count"],
        Kind::Counter | Kind::Gauge | Kind::Untyped => &[],
    }
}

/// Parses one instance's text line by line.
#[derive(Default)]
struct Reader {
    families: BTreeMap<String, Family>,
    helps: BTreeMap<String, String>,
    /// Families whose type is declared.
    typed: HashSet<String>,
    /// Names and labels seen so far.
    seen: HashSet<String>,
}

impl Reader {
    fn line(&mut self, instance: &str, line: &str) -> Result<(), String> {
        let line = line.trim_matches([' ', '\t']);
        if line.chars().any(|character| character.is_control() && character != '\t') {
            return Err("a control character".into());
        }
        match line.strip_prefix('#') {
            Some(comment) => self.comment(comment.trim_start_matches([' ', '\t'])),
            None if line.is_empty() => Ok(()),
            None => self.sample(instance, line),
        }
    }

    /// Parses `HELP name text` and `TYPE name type`; all other comments are dropped.
    fn comment(&mut self, comment: &str) -> Result<(), String> {
        let mut words = comment.splitn(3, [' ', '\t']);
        let keyword = words.next().unwrap_or_default();
        if !matches!(keyword, "HELP" | "TYPE") {
            return Ok(());
        }
        let name = metric_name(words.next().unwrap_or_default())?;
        let rest = words.next().unwrap_or_default().trim();
        if keyword == "HELP" {
            let twice = self.helps.insert(name.to_owned(), help(rest)).is_some();
            if let Some(family) = self.families.get_mut(name) {
                family.help = help(rest);
            }
            return if twice { Err(format!("a second HELP of `{name}`")) } else { Ok(()) };
        }
        let kind = Kind::of_name(rest).ok_or_else(|| format!("`{name}` has a type that is none"))?;
        if self.families.contains_key(name) {
            return Err(format!("a second TYPE of `{name}`, or one behind its samples"));
        }
        self.typed.insert(name.to_owned());
        self.family(name, kind);
        Ok(())
    }

    fn family(&mut self, name: &str, kind: Kind) -> &mut Family {
        let help = self.helps.get(name);
        self.families
            .entry(name.to_owned())
            .or_insert_with(|| Family { help: help.cloned().unwrap_or_default(), ..Family::new(kind) })
    }

    /// Parses `name{label="value",..} value [timestamp]`.
    fn sample(&mut self, instance: &str, line: &str) -> Result<(), String> {
        let end = line.find(['{', ' ', '\t']).ok_or("a sample without a value")?;
        let name = metric_name(&line[..end])?;
        let rest = line[end..].trim_start_matches([' ', '\t']);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (Vec::new(), rest),
        };
        let mut words = rest.split_ascii_whitespace();
        let value = words.next().filter(|value| value.parse::<f64>().is_ok());
        let value = value.ok_or_else(|| format!("a sample of `{name}` has no number"))?;
        let timestamp = words.next();
        if timestamp.is_some_and(|time| time.parse::<i64>().is_err()) || words.next().is_some() {
            return Err(format!("there is more behind a sample of `{name}` than a time"));
        }
        let family = self.family_of(name, &labels)?.to_owned();

        let mut sample = format!("{name}{{{INSTANCE}=\"");
        escape(&mut sample, instance);
        sample.push('"');
        for (label, value) in &labels {
            sample.push_str(&format!(",{label}=\"{value}\""));
        }
        sample.push('}');
        let mut sorted = labels;
        sorted.sort_unstable();
        if !self.seen.insert(format!("{name} {sorted:?}")) {
            return Err(format!("the same sample of `{name}` twice"));
        }
        sample.push_str(&format!(" {value}"));
        if let Some(timestamp) = timestamp {
            sample.push_str(&format!(" {timestamp}"));
        }
        self.family(&family, Kind::Untyped).samples.push(sample);
        Ok(())
    }

    /// The name of the family that a sample belongs to.
    fn family_of<'a>(&self, name: &'a str, labels: &[(&str, &str)]) -> Result<&'a str, String> {
        let has = |label: &str| labels.iter().any(|(name, _)| *name == label);
        if self.typed.contains(name) {
            let complete = match self.families.get(name).map(|family| family.kind) {
                Some(Kind::Histogram) => false,
                Some(Kind::Summary) => has("quantile"),
                _ => true,
            };
            return if complete { Ok(name) } else { Err(format!("`{name}` alone is no sample of its type")) };
        }
        for part in ["_bucket", "_sum", "_count"] {
            let Some(whole) = name.strip_suffix(part) else { continue };
            let Some(family) = self.families.get(whole).filter(|family| parts(family.kind).contains(&part))
            else {
                continue;
            };
            if family.kind == Kind::Histogram && part == "_bucket" && !has("le") {
                return Err(format!("a sample of `{name}` has no `le`"));
            }
            return Ok(whole);
        }
        Ok(name)
    }
}

/// Names and values of labels, the values still escaped, and the rest of the line behind the brace.
type Labels<'a> = (Vec<(&'a str, &'a str)>, &'a str);

fn labels(mut rest: &str) -> Result<Labels<'_>, String> {
    let blank = [' ', '\t'];
    let mut labels: Vec<(&str, &str)> = Vec::new();
    loop {
        rest = rest.trim_start_matches(blank);
        if let Some(behind) = rest.strip_prefix('}') {
            return Ok((labels, behind));
        }
        let (name, behind) = rest.split_once('=').ok_or("a label without a value")?;
        let name = label_name(name.trim_matches(blank))?;
        if labels.iter().any(|(other, _)| *other == name) {
            return Err(format!("the label `{name}` twice"));
        }
        let quoted = behind.trim_start_matches(blank).strip_prefix('"');
        let (value, behind) =
            quoted.and_then(quoted_value).ok_or_else(|| format!("the value of `{name}`"))?;
        labels.push((name, value));
        rest = behind.trim_start_matches(blank);
        match rest.strip_prefix(',') {
            Some(behind) => rest = behind,
            None if rest.starts_with('}') => {}
            None => return Err(format!("neither a comma nor a brace behind the label `{name}`")),
        }
    }
}

/// The text before the next quote, if it has only known escapes, and the text behind the quote.
fn quoted_value(text: &str) -> Option<(&str, &str)> {
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((&text[..at], &text[at + 1..])),
            '\\' if !matches!(characters.next(), Some((_, '\\' | '"' | 'n'))) => return None,
            _ => {}
        }
    }
    None
}

fn metric_name(name: &str) -> Result<&str, String> {
    if !is_name(name, true) {
        return Err("a metric's name that is none".into());
    }
    match RESERVED.iter().find(|prefix| name.starts_with(**prefix)) {
        Some(prefix) => Err(format!("`{name}`: names that begin with `{prefix}` are the host's")),
        None => Ok(name),
    }
}

fn label_name(name: &str) -> Result<&str, String> {
    if !is_name(name, false) || name.starts_with("__") {
        return Err("a label's name that is none".into());
    }
    if name == INSTANCE { Err(format!("the label `{name}` is the host's")) } else { Ok(name) }
}

fn is_name(name: &str, colons: bool) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    name.chars().all(is_part) && name.starts_with(|c: char| !c.is_ascii_digit())
}

/// A help text with only the two escapes that the format defines.
fn help(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        escaped.push(character);
        if character == '\\' {
            // An incomplete escape stands for itself.
            escaped.push(characters.next_if(|next| matches!(next, '\\' | 'n')).unwrap_or('\\'));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn merged(texts: &[(&str, &str)]) -> String {
        let mut merged = Merged::default();
        for (instance, text) in texts {
            merged.add(instance, text).unwrap();
        }
        let mut text = Text::default();
        merged.write(&mut text);
        text.into_string()
    }

    fn refused(text: &str) -> String {
        let mut merged = Merged::default();
        let reason = merged.add("one", text).unwrap_err();
        assert!(merged.0.is_empty(), "{text:?} was taken in part");
        reason
    }

    #[test]
    fn families_come_once_and_samples_carry_their_instance() {
        let text = "# HELP b_total Help \\ text\n# TYPE b_total counter\nb_total{x=\"a\\\"}, b\",} 1 1700000000\n\
                    # a comment\n\nb_total 2\n# TYPE a histogram\na_bucket{le=\"+Inf\"} 3\na_sum 1e-3\na_count 3\n";
        let expected = "# TYPE a histogram\n\
            a_bucket{plugin_instance=\"o\\\"ne\",le=\"+Inf\"} 3\n\
            a_sum{plugin_instance=\"o\\\"ne\"} 1e-3\na_count{plugin_instance=\"o\\\"ne\"} 3\n\
            a_bucket{plugin_instance=\"two\",le=\"+Inf\"} 3\n\
            a_sum{plugin_instance=\"two\"} 1e-3\na_count{plugin_instance=\"two\"} 3\n\
            # HELP b_total Help \\\\ text\n# TYPE b_total counter\n\
            b_total{plugin_instance=\"o\\\"ne\",x=\"a\\\"}, b\"} 1 1700000000\nb_total{plugin_instance=\"o\\\"ne\"} 2\n\
            b_total{plugin_instance=\"two\",x=\"a\\\"}, b\"} 1 1700000000\nb_total{plugin_instance=\"two\"} 2\n";
        assert_eq!(merged(&[("o\"ne", text), ("two", text)]), expected);
    }

    #[test]
    fn values_may_be_no_finite_numbers_and_types_may_be_missing() {
        let found = merged(&[("i", "a NaN\na_count +Inf\ns{quantile=\"0.5\"} -Inf\n")]);
        assert_eq!(found.lines().filter(|line| line.starts_with("# TYPE")).count(), 3, "{found}");
        let summary = "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 1\ns_count 1\n";
        assert_eq!(merged(&[("i", summary)]).lines().count(), 4);
    }

    #[test]
    fn a_bad_text_is_refused_as_a_whole() {
        for (text, reason) in [
            ("good 1\nbad", "without a value"),
            ("good 1\nbad x", "no number"),
            ("bad", "without a value"),
            ("a 1 x", "more behind"),
            ("a 1 2 3", "more behind"),
            ("1a 1", "name that is none"),
            ("a-b 1", "name that is none"),
            ("{a=\"b\"} 1", "name that is none"),
            ("a{b} 1", "a label without a value"),
            ("a{b=c} 1", "the value of `b`"),
            ("a{b=\"c} 1", "the value of `b`"),
            ("a{b=\"\\x\"} 1", "the value of `b`"),
            ("a{b=\"c\" d=\"e\"} 1", "neither a comma"),
            ("a{b=\"c\",b=\"d\"} 1", "`b` twice"),
            ("a{__name__=\"c\"} 1", "label's name"),
            ("a{plugin_instance=\"c\"} 1", "is the host's"),
            ("pserve_requests_total 1", "are the host's"),
            ("# TYPE process_x gauge", "are the host's"),
            ("a 1\na 2", "twice"),
            ("a{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 1", "twice"),
            ("# TYPE a info", "a type that is none"),
            ("# TYPE a gauge\n# TYPE a gauge", "second TYPE"),
            ("a 1\n# TYPE a gauge", "behind its samples"),
            ("# HELP a x\n# HELP a x", "second HELP"),
            ("# TYPE a histogram\na 1", "alone"),
            ("# TYPE a histogram\na_bucket 1", "no `le`"),
            ("# TYPE a summary\na 1", "alone"),
            ("a 1\r\u{b}", "control character"),
            ("a_count 1\n# TYPE a histogram", "no part of"),
        ] {
            let found = refused(text);
            assert!(found.contains(reason), "{text:?}: {found}");
        }
        assert!(refused(&"#\n".repeat(MAX_LENGTH)).contains("longer"));
    }

    #[test]
    fn instances_must_agree() {
        let mut merged = Merged::default();
        merged.add("one", "# TYPE a gauge\na 1\n# TYPE h histogram\nh_count 1").unwrap();
        assert!(merged.add("two", "# TYPE a counter\na 1").unwrap_err().contains("another instance"));
        assert!(merged.add("two", "h_count 1").unwrap_err().contains("no part of"));
        assert!(merged.add("two", "# TYPE a summary\na_sum 1").is_err());
        merged.add("two", "# TYPE a gauge\na 1").unwrap();
    }

    /// Lines of the format, and now and then one that is none.
    fn line() -> impl Strategy<Value = String> {
        prop_oneof![
            8 => r#"[a-c](_count|_bucket)?(\{(le="[0-9]"|x="(\\\\|\\n|[^\\"\n\p{Cc}])*"),?\})? (-?[0-9]{1,2}|NaN)"#,
            1 => "# TYPE [a-c] (counter|histogram|summary)",
            1 => "# HELP [a-c] \\PC*",
            1 => r#"[ab#{}"=,0-9 \\]*"#,
        ]
    }

    proptest! {
        #[test]
        fn whatever_a_plugin_says_each_line_is_a_sample_of_its_own(lines in prop::collection::vec(line(), 0..5)) {
            let mut merged = Merged::default();
            if merged.add("one", &lines.join("\n")).is_ok() {
                let mut written = Text::default();
                merged.write(&mut written);
                for line in written.into_string().lines().filter(|line| !line.starts_with('#')) {
                    let (name, rest) = line.split_once("{plugin_instance=\"one\"").unwrap();
                    prop_assert!(is_name(name, true), "{line}");
                    let (_, rest) = labels(rest.strip_prefix(',').unwrap_or(rest)).unwrap();
                    prop_assert!(rest.trim().parse::<f64>().is_ok(), "{line}");
                }
            }
        }
    }
}

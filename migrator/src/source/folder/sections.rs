//! Files that hold a migration and its undo: those of dbmate and of goose.

use super::style::Style;
use crate::source::Problem;
use crate::source::rules::text::has_statement;

/// What such a file says. Each line stands in its section where it stands in the file, so that the places in
/// errors are those of the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sections {
    /// The lines above the first section, which are about the file as a whole.
    pub(super) head: String,
    pub(super) up: String,
    /// Nothing when the file does not say how it is undone.
    pub(super) down: Option<String>,
    pub(super) no_transaction: bool,
    /// Whether its tool is told not to undo it in a transaction.
    pub(super) down_no_transaction: bool,
}

/// Which of the two the text is, or neither.
pub(super) fn style(text: &str) -> Style {
    let mut lines = text.lines();
    let found = lines.find_map(|line| match (dbmate_marker(line), goose_annotation(line)) {
        (Some((Direction::Up, _)), _) => Some(Style::Dbmate),
        (_, Some(annotation)) if annotation == "UP" => Some(Style::Goose),
        _ => None,
    });
    found.unwrap_or(Style::Plain)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// Takes lines apart by their section.
#[derive(Default)]
struct Divided {
    sections: Sections,
    now: Option<Direction>,
    /// How many lines the section has that goes on.
    lines: usize,
}

impl Divided {
    fn begin(&mut self, direction: Direction) {
        self.now = Some(direction);
        self.lines = self.section().matches('\n').count();
    }

    fn section(&mut self) -> &mut String {
        match self.now {
            None => &mut self.sections.head,
            Some(Direction::Up) => &mut self.sections.up,
            Some(Direction::Down) => self.sections.down.get_or_insert_default(),
        }
    }

    fn line(&mut self, index: usize, line: &str) {
        let missing = index.saturating_sub(self.lines);
        self.lines = index + 1;
        let section = self.section();
        section.extend(std::iter::repeat_n('\n', missing));
        section.push_str(line);
        section.push('\n');
    }

    fn finish(self, file: &str, marker: &str, problems: &mut Vec<Problem>) -> Sections {
        // Comments alone are no SQL in either dialect.
        if has_statement(&self.sections.head) {
            let reason = format!("has SQL before `{marker}`, which belongs to neither direction");
            problems.push(Problem::new(file, reason));
        }
        self.sections
    }
}

/// `-- migrate:up` or `-- migrate:down`, and what follows.
fn dbmate_marker(line: &str) -> Option<(Direction, &str)> {
    let words = line.strip_prefix("--")?.trim_start().strip_prefix("migrate:")?;
    let (word, options) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
    match word {
        "up" => Some((Direction::Up, options.trim())),
        "down" => Some((Direction::Down, options.trim())),
        _ => None,
    }
}

pub(super) fn dbmate(file: &str, text: &str, problems: &mut Vec<Problem>) -> Sections {
    let (mut divided, mut seen) = (Divided::default(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        if let Some((direction, options)) = dbmate_marker(line) {
            if seen.contains(&direction) {
                let reason = "begins a section that the file has already";
                problems.push(Problem::at(file, index + 1, reason));
            }
            seen.push(direction);
            divided.begin(direction);
            for option in options.split_whitespace() {
                match option {
                    "transaction:false" if direction == Direction::Up => {
                        divided.sections.no_transaction = true;
                    }
                    "transaction:false" => divided.sections.down_no_transaction = true,
                    "transaction:true" => {}
                    unknown => {
                        let reason = format!("has the unknown option {unknown}: transaction:false is one");
                        problems.push(Problem::at(file, index + 1, reason));
                    }
                }
            }
        }
        divided.line(index, line);
    }
    divided.finish(file, "-- migrate:up", problems)
}

/// What stands after `-- +goose`, in upper case.
fn goose_annotation(line: &str) -> Option<String> {
    let words = line.trim_start().strip_prefix("--")?.trim_start().strip_prefix("+goose")?;
    Some(words.split_whitespace().collect::<Vec<_>>().join(" ").to_uppercase())
}

pub(super) fn goose(file: &str, text: &str, problems: &mut Vec<Problem>) -> Sections {
    let mut divided = Divided::default();
    // The statement between StatementBegin and StatementEnd, which needs no semicolon.
    let mut statement: Option<String> = None;
    for (index, line) in text.lines().enumerate() {
        let mut line = line.to_owned();
        match goose_annotation(&line).as_deref() {
            Some("UP") => divided.begin(Direction::Up),
            Some("DOWN") => divided.begin(Direction::Down),
            Some("NO TRANSACTION") => {
                divided.sections.no_transaction = true;
                divided.sections.down_no_transaction = true;
            }
            Some("STATEMENTBEGIN") => statement = Some(String::new()),
            Some("STATEMENTEND") => {
                let sql = statement.take().unwrap_or_default();
                if has_statement(&sql) && !sql.trim_end().ends_with(';') {
                    line.insert(0, ';');
                }
            }
            Some("ENVSUB OFF") => {}
            Some("ENVSUB ON") => {
                let reason = "asks for variables of the environment in SQL, which are not put in here: write their values";
                problems.push(Problem::at(file, index + 1, reason));
            }
            Some(unknown) => {
                let reason = format!("has the unknown annotation {unknown}");
                problems.push(Problem::at(file, index + 1, reason));
            }
            None => {
                if let Some(statement) = &mut statement {
                    statement.push_str(&line);
                    statement.push('\n');
                }
            }
        }
        divided.line(index, &line);
    }
    if statement.is_some() {
        problems.push(Problem::new(file, "has a StatementBegin without its StatementEnd"));
    }
    divided.finish(file, "-- +goose Up", problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_where_they_are() {
        let text = "-- why\n-- migrate:up transaction:false\nCREATE TABLE a (id int);\n\n-- migrate:down\nDROP TABLE a;\n";
        let mut problems = Vec::new();
        let sections = dbmate("a.sql", text, &mut problems);
        assert_eq!(sections.up, "\n-- migrate:up transaction:false\nCREATE TABLE a (id int);\n\n");
        assert_eq!(sections.down.as_deref(), Some("\n\n\n\n-- migrate:down\nDROP TABLE a;\n"));
        assert_eq!(sections.head, "-- why\n");
        assert!(sections.no_transaction && problems.is_empty(), "{problems:?}");
        assert_eq!(style(text), Style::Dbmate);
    }

    #[test]
    fn a_statement_between_marks_is_ended() {
        let text = "-- +goose Up\n-- +goose StatementBegin\nSELECT 1\n-- +goose StatementEnd\n--+goose statementbegin\nSELECT 2;\n-- +goose StatementEnd\n-- +goose NO TRANSACTION\n";
        let mut problems = Vec::new();
        let sections = goose("a.sql", text, &mut problems);
        assert!(sections.up.contains("SELECT 1\n;-- +goose StatementEnd\n"), "{}", sections.up);
        assert!(sections.up.contains("SELECT 2;\n-- +goose StatementEnd\n"), "{}", sections.up);
        assert!(sections.down.is_none() && sections.no_transaction && problems.is_empty(), "{problems:?}");
        assert_eq!(style(text), Style::Goose);
    }

    #[test]
    fn what_belongs_to_nothing_is_told() {
        for (text, said) in [
            ("SELECT 1;\n-- migrate:up\n", "before `-- migrate:up`"),
            ("-- migrate:up\n-- migrate:up\n", "that the file has already"),
            ("-- migrate:up transaction:no\n", "unknown option transaction:no"),
        ] {
            let mut problems = Vec::new();
            dbmate("a.sql", text, &mut problems);
            assert!(problems.iter().any(|it| it.to_string().contains(said)), "{text}: {problems:?}");
        }
        for (text, said) in [
            ("SELECT 1;\n-- +goose Up\n", "before `-- +goose Up`"),
            ("-- +goose Up\n-- +goose ENVSUB ON\n", "a.sql:2"),
            ("-- +goose Up\n-- +goose Sideways\n", "unknown annotation SIDEWAYS"),
            ("-- +goose Up\n-- +goose StatementBegin\n", "without its StatementEnd"),
        ] {
            let mut problems = Vec::new();
            goose("a.sql", text, &mut problems);
            assert!(problems.iter().any(|it| it.to_string().contains(said)), "{text}: {problems:?}");
        }
    }
}

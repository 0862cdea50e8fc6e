//! The SQL of pages of accounts. Every order that there is, is that of an index, so that a page costs the
//! same wherever it lies.

use foundation::database::{Database, DatabaseError, Row, Statement, Value};

use super::users::{COLUMNS, from_row};
use crate::domain::users::User;
use crate::domain::users_list::{Position, UserFilter, UserPage, end_of_prefix, fold};

/// The most rows that a page is made of: those that the API allows, and one that tells whether there are more.
const MAX_ROWS: usize = 201;

/// What is asked for a page, and how many rows at most answer it.
#[derive(Clone, Debug)]
pub struct Query {
    /// The statement.
    pub statement: Statement,
    /// Its values.
    pub values: Vec<Value>,
    rows: usize,
}

/// A text that is being put together, and what is bound to it.
#[derive(Default)]
struct Sql {
    values: Vec<Value>,
}

impl Sql {
    fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    /// The conditions beside those of the order, each with an AND before it. Flags are written out, because
    /// the indexes of the few that are blocked, inactive or administrators are found by it.
    fn conditions(&mut self, filter: &UserFilter) -> String {
        let mut text = String::new();
        let flags = [
            ("is_blocked", filter.is_blocked),
            ("is_active", filter.is_active),
            ("is_admin", filter.is_admin),
        ];
        for (column, flag) in flags {
            match flag {
                Some(true) => text += &format!(" AND users.{column}"),
                Some(false) => text += &format!(" AND NOT users.{column}"),
                None => {}
            }
        }
        if let Some(user_type) = filter.user_type {
            text += &format!(" AND users.user_type = {}", self.bind(user_type.name()));
        }
        text
    }
}

impl Query {
    /// What is asked for a page of `limit` accounts.
    #[must_use]
    pub fn new(filter: &UserFilter, after: Option<&Position>, limit: usize) -> Self {
        let mut sql = Sql::default();
        let (text, rows) = match &filter.prefix {
            // An account that is found by its name and by its mail address comes twice.
            Some(prefix) => {
                let rows = limit * 2 + 1;
                (search(&mut sql, filter, prefix, after, rows), rows)
            }
            None => (in_order(&mut sql, filter, after, limit + 1), limit + 1),
        };
        Self { statement: Statement::read("users", "").with_sql(text), values: sql.values, rows }
    }
}

/// A number of rows as a value.
fn count(rows: usize) -> Value {
    Value::Integer(i64::try_from(rows).unwrap_or(i64::MAX))
}

/// In the order of ids; the blocked ones, few, in that of their names, which their index has.
///
/// PostgreSQL takes a limit that it does not know for a tenth of the table, and would plan the statement anew
/// each time, which takes longer than to run it. So the most that a page can have stands in the text, and what
/// is outside of it only cuts off an end of what is in order already; SQLite would sort it again if told to.
fn in_order(sql: &mut Sql, filter: &UserFilter, after: Option<&Position>, rows: usize) -> String {
    let order = if filter.is_blocked == Some(true) { "username_key" } else { "id" };
    let after = after.map(|after| match after {
        Position::Id(id) => Value::from(*id),
        Position::Name(key) | Position::Email(key) => Value::from(key.as_str()),
    });
    let begin = after.map_or_else(|| "1 = 1".to_owned(), |it| format!("users.{order} > {}", sql.bind(it)));
    let conditions = sql.conditions(filter);
    let limit = sql.bind(count(rows));
    format!(
        "SELECT * FROM (SELECT {COLUMNS} FROM users WHERE {begin}{conditions} \
         ORDER BY users.{order} LIMIT {MAX_ROWS}) AS page LIMIT {limit}"
    )
}

/// Those whose name begins so and those whose mail address does: a range of one index each, merged in the
/// order of what begins so, names before mail addresses where both are the same.
fn search(sql: &mut Sql, filter: &UserFilter, prefix: &str, after: Option<&Position>, rows: usize) -> String {
    let (by_name, by_email) = match after {
        None | Some(Position::Id(_)) => ((">=", prefix), (">=", prefix)),
        Some(Position::Name(key)) => ((">", key.as_str()), (">=", key.as_str())),
        Some(Position::Email(key)) => ((">", key.as_str()), (">", key.as_str())),
    };
    let end = end_of_prefix(prefix);
    let mut range = |column: &str, source: u8, (operator, begin): (&str, &str)| {
        let begin = sql.bind(begin);
        let end = end.as_deref().map(|end| format!(" AND users.{column} < {}", sql.bind(end)));
        let (end, conditions, limit) =
            (end.unwrap_or_default(), sql.conditions(filter), sql.bind(count(rows)));
        format!(
            "SELECT * FROM (SELECT {COLUMNS}, users.{column} AS found_by, {source} AS source FROM users \
             WHERE users.{column} {operator} {begin}{end}{conditions} \
             ORDER BY users.{column} LIMIT {limit}) AS by_{column}"
        )
    };
    let (names, emails) = (range("username_key", 0, by_name), range("email_key", 1, by_email));
    let limit = sql.bind(count(rows));
    format!("{names} UNION ALL {emails} ORDER BY found_by, source LIMIT {limit}")
}

/// What led to an account, and whether it is shown there: one that is found twice is, the first time.
fn place(row: &Row, user: &User, filter: &UserFilter) -> Result<(Position, bool), DatabaseError> {
    let Some(prefix) = filter.prefix.as_deref() else {
        let blocked = filter.is_blocked == Some(true);
        let place = if blocked { Position::Name(fold(&user.username)) } else { Position::Id(user.id) };
        return Ok((place, true));
    };
    let (name, email) = (fold(&user.username), user.email.as_deref().map(fold));
    let found_by: String = row.get("found_by")?;
    if row.get::<i64>("source")? == 0 {
        let earlier = email.is_some_and(|email| email.starts_with(prefix) && email < name);
        Ok((Position::Name(found_by), !earlier))
    } else {
        let earlier = name.starts_with(prefix) && email.is_none_or(|email| name <= email);
        Ok((Position::Email(found_by), !earlier))
    }
}

/// A page of `limit` accounts. A page of a search may have fewer although another follows.
///
/// # Errors
/// What the database says.
pub async fn page(
    database: &Database,
    filter: &UserFilter,
    after: Option<&Position>,
    limit: usize,
) -> Result<UserPage, DatabaseError> {
    let query = Query::new(filter, after, limit);
    let rows = database.query(&query.statement, &query.values).await?;
    let (mut users, mut last, mut goes_on) = (Vec::new(), None, rows.len() == query.rows);
    for row in &rows {
        let user = from_row(row)?;
        let (position, shown) = place(row, &user, filter)?;
        if users.len() == limit {
            if shown {
                goes_on = true;
                break;
            }
            continue;
        }
        last = Some(position);
        if shown {
            users.push(user);
        }
    }
    Ok(UserPage { users, next: last.filter(|_| goes_on) })
}

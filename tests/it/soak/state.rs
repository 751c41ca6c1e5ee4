//! What the state says, read beside tagship.

use rusqlite::Connection;

use crate::harness::Shop;

/// A deployment as it is recorded.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// Grows with every deployment that is recorded.
    pub(super) number: i64,
    pub(super) id: String,
    pub(super) target: String,
    pub(super) tag: String,
    pub(super) state: String,
    pub(super) by: String,
    pub(super) by_whom: Option<String>,
    pub(super) reason: String,
}

impl Row {
    /// Neither pending nor dead.
    pub(super) fn is_over(&self) -> bool {
        ["succeeded", "superseded", "dropped"].contains(&self.state.as_str())
    }

    /// Nothing was sent: the stage said that it runs it.
    pub(super) fn is_adopted(&self) -> bool {
        self.reason.starts_with("the stage runs ")
    }
}

/// None: what a killed run left half written is for the next run to put right, not for us.
pub(super) fn open(shop: &Shop) -> Option<Connection> {
    (!shop.exists("state.db-journal")).then(|| Connection::open(shop.path("state.db")).unwrap())
}

/// The deployments that were recorded after this one, in that order.
pub(super) fn rows(state: &Connection, after: i64) -> Vec<Row> {
    let query = "SELECT rowid, id, project || '/' || stage, tag, state, decided_by, decided_by_whom, reason
         FROM deployment WHERE rowid > ?1 ORDER BY rowid";
    let mut statement = state.prepare(query).unwrap();
    let row = |row: &rusqlite::Row<'_>| {
        Ok(Row {
            number: row.get(0)?,
            id: row.get(1)?,
            target: row.get(2)?,
            tag: row.get(3)?,
            state: row.get(4)?,
            by: row.get(5)?,
            by_whom: row.get(6)?,
            reason: row.get::<_, Option<String>>(7)?.unwrap_or_default(),
        })
    };
    statement.query_map([after], row).unwrap().collect::<Result<_, _>>().unwrap()
}

/// The first column of every row.
pub(super) fn texts(state: &Connection, query: &str) -> Vec<String> {
    let mut statement = state.prepare(query).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// The rows of a table.
pub(super) fn count(state: &Connection, table: &str) -> usize {
    let query = format!("SELECT count(*) FROM {table}");
    state.query_row(&query, [], |row| row.get::<_, u32>(0)).unwrap() as usize
}

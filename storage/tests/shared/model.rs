//! Writes, keys, guards, transactions and take-overs in any order, against a model of them.

use std::collections::HashMap;

use proptest::prelude::*;
use turnkey_storage::sqlite::SharedDatabase;
use turnkey_storage::{Error, Write};

use crate::common::{block_on, until};
use crate::place::{opening, place};

/// An amount that is moved from one account to the other: from the first, if it is positive.
type Amount = i64;

#[derive(Clone, Debug)]
enum Step {
    Write(Option<u8>, Amount),
    Transaction(Amount, bool),
    /// The writer leaves, and comes again.
    TakeOver,
}

#[derive(Default)]
struct Model {
    balances: [i64; 2],
    entries: i64,
    keys: HashMap<u8, (Amount, i64)>,
}

impl Model {
    /// Moves an amount, if there is enough; how many entries there are then.
    fn apply(&mut self, amount: Amount) -> Option<i64> {
        let from = usize::from(amount < 0);
        if self.balances[from] < amount.abs() {
            return None;
        }
        self.balances[from] -= amount.abs();
        self.balances[1 - from] += amount.abs();
        self.entries += 1;
        Some(self.entries)
    }
}

const TAKE: &str = "UPDATE account SET balance = balance - ?2 WHERE id = ?1 AND balance >= ?2";
const GIVE: &str = "UPDATE account SET balance = balance + ?2 WHERE id = ?1";
const NOTE: &str = "INSERT INTO entry VALUES (?1) RETURNING rowid";

fn sides(amount: Amount) -> (i64, i64) {
    if amount < 0 { (2, 1) } else { (1, 2) }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let amount = -80..80_i64;
    let step = prop_oneof![
        4 => (proptest::option::of(0..4_u8), amount.clone()).prop_map(|(k, a)| Step::Write(k, a)),
        2 => (amount, any::<bool>()).prop_map(|(a, ends_well)| Step::Transaction(a, ends_well)),
        1 => Just(Step::TakeOver),
    ];
    proptest::collection::vec(step, 1..25)
}

async fn write(database: &SharedDatabase, key: Option<u8>, amount: Amount) -> Result<i64, Error> {
    let (from, to) = sides(amount);
    let mut write = Write::new()
        .run(TAKE, (from, amount.abs()))
        .expect(1)
        .run(GIVE, (to, amount.abs()))
        .expect(1)
        .run(NOTE, amount.to_string());
    if let Some(key) = key {
        write = write.key(key.to_string());
    }
    database.write(write).await?[2].rows[0].get("rowid")
}

async fn transaction(
    database: &SharedDatabase,
    amount: Amount,
    ends_well: bool,
) -> Result<i64, Error> {
    let (from, to) = sides(amount);
    database
        .transaction(async |tx| {
            tx.expect(1, TAKE, (from, amount.abs())).await?;
            tx.expect(1, GIVE, (to, amount.abs())).await?;
            let noted = tx.run(NOTE, amount.to_string()).await?;
            match ends_well {
                true => noted.rows[0].get("rowid"),
                false => Err(Error::Statement("no".to_owned())),
            }
        })
        .await
}

async fn run(steps: Vec<Step>) {
    let (_dir, path) = place();
    let mut handles = [opening(&path).await.unwrap(), opening(&path).await.unwrap()];
    let mut model = Model {
        balances: [100, 0],
        ..Model::default()
    };
    for (number, step) in steps.into_iter().enumerate() {
        let database = &handles[number % 2];
        match step {
            Step::Write(key, amount) => {
                let outcome = write(database, key, amount).await;
                let known = key.and_then(|key| model.keys.get(&key).copied());
                match known {
                    Some((before, entry)) if before == amount => assert_eq!(outcome, Ok(entry)),
                    Some(_) => assert!(matches!(outcome, Err(Error::Statement(_))), "{outcome:?}"),
                    None => match model.apply(amount) {
                        Some(entry) => {
                            assert_eq!(outcome, Ok(entry));
                            if let Some(key) = key {
                                model.keys.insert(key, (amount, entry));
                            }
                        }
                        None => assert!(matches!(outcome, Err(Error::Rows { .. }))),
                    },
                }
            }
            Step::Transaction(amount, ends_well) => {
                let outcome = transaction(database, amount, ends_well).await;
                let from = usize::from(amount < 0);
                let expected = match ends_well || model.balances[from] < amount.abs() {
                    true => model.apply(amount),
                    false => None,
                };
                assert_eq!(outcome.ok(), expected);
            }
            Step::TakeOver => {
                let [first, second] = handles;
                first.close().await;
                until("the other goes on", async || second.writes_itself()).await;
                handles = [second, opening(&path).await.unwrap()];
            }
        }
        let sql = "SELECT (SELECT balance FROM account WHERE id = 1),
                 (SELECT balance FROM account WHERE id = 2), (SELECT count(*) FROM entry)";
        let found = handles[0].read(move |conn| {
            conn.query_row(sql, [], |row| Ok(([row.get(0)?, row.get(1)?], row.get(2)?)))
        });
        assert_eq!(found.await.unwrap(), (model.balances, model.entries));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_calls_do_what_the_model_says(steps in steps()) {
        block_on(run(steps));
    }
}

//! The partitions that are the schema's own: by list and by hash. Those by range stay as they are.

use std::collections::BTreeSet;

use super::postgres::Way;
use super::{Mend, gone, postgres_columns};
use crate::structure::names::quote_name;
use crate::structure::{Partition, Table};

/// Brings those of one table to what they are afterwards.
pub(super) fn partitions(name: &str, before: Option<&Table>, after: &Table, out: &mut Mend) {
    if after.partition_key.is_none() {
        return;
    }
    let nothing = Table::default();
    let before = before.unwrap_or(&nothing);
    let going = going(before, after);
    // One that is partitioned itself takes its own with it.
    for partition in going.iter().filter(|it| !going.contains(&before.partitions[**it].of)) {
        out.breaking = true;
        out.warnings.push(format!("the partition {partition} of {name} is dropped with what is in it"));
        out.run(format!("DROP TABLE {}", quote_name(partition)));
    }
    let stays = |partition: &String| before.partitions.get(partition).filter(|_| !going.contains(partition));
    let mut own: Vec<(&String, &Partition)> =
        after.partitions.iter().filter(|(_, it)| !after.comes_and_goes(it)).collect();
    // And comes before them.
    own.sort_by_key(|(_, it)| after.ancestors(it).count());
    // All of them let go of their values before one takes those of another.
    let moved = |(partition, it): &(&String, &Partition)| {
        stays(partition).is_some_and(|old| old.definition != it.definition)
    };
    for (partition, it) in own.iter().filter(|it| moved(it)) {
        out.breaking |= !stays(partition).is_some_and(|old| it.takes_all_of(old));
        out.warnings.push(format!(
            "the partition {partition} of {name} takes other values: it is read as a whole under ACCESS EXCLUSIVE, and this fails where a row in it, or in the default partition, is in the wrong one"
        ));
        out.run(format!("ALTER TABLE {} DETACH PARTITION {}", quote_name(&it.of), quote_name(partition)));
    }
    for (partition, it) in own.iter().filter(|it| moved(it)) {
        let (of, quoted, (bound, _)) = (quote_name(&it.of), quote_name(partition), it.bound_and_key());
        out.run(format!("ALTER TABLE {of} ATTACH PARTITION {quoted} {bound}"));
    }
    for (partition, it) in own {
        let (quoted, old) = (quote_name(partition), stays(partition));
        if old.is_none() {
            out.run(format!("CREATE TABLE {quoted} PARTITION OF {} {}", quote_name(&it.of), it.definition));
        }
        let options = old.map_or(&nothing.options, |it| &it.own.options);
        postgres_columns::row_security(&quoted, options, &it.own.options, out);
    }
}

/// The partitions that go or are made anew, and those of their own. One with another bound alone keeps its rows.
pub(super) fn going<'a>(before: &'a Table, after: &Table) -> BTreeSet<&'a String> {
    if after.partition_key.is_none() {
        return BTreeSet::new();
    }
    let same = |left: &Partition, right: &Partition| {
        (&left.of, left.bound_and_key().1) == (&right.of, right.bound_and_key().1)
    };
    let going: BTreeSet<&String> = gone(&before.partitions, &after.partitions, same)
        .into_iter()
        .filter(|(_, it)| !before.comes_and_goes(it))
        .map(|(name, _)| name)
        .collect();
    let goes = |name: &String, it| going.contains(name) || before.ancestors(it).any(|it| going.contains(it));
    before.partitions.iter().filter(|(name, it)| goes(name, it)).map(|(name, _)| name).collect()
}

/// Whether none goes or takes other values: a foreign key does not let go of the rows in one.
pub(super) fn stay_in_place(before: &Table, after: &Table) -> bool {
    let same = |left: &Partition, right: &Partition| left.definition == right.definition;
    let left = gone(&before.partitions, &after.partitions, same);
    going(before, after).is_empty() && left.iter().all(|(_, it)| before.comes_and_goes(it))
}

/// The partitions that are there afterwards too and lose everything on the way.
pub(super) fn made_anew<'a>(way: &Way<'a>) -> impl Iterator<Item = &'a String> {
    let (from, to) = (way.from, way.to);
    from.tables.iter().filter_map(|(name, before)| Some((before, to.tables.get(name)?))).flat_map(
        |(before, after)| going(before, after).into_iter().filter(|it| after.partitions.contains_key(*it)),
    )
}

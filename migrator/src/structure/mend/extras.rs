//! What is set by a statement of its own: comments, the identity of rows that are replicated, and their like.

use super::Mend;
use crate::structure::{Extra, Structure};

/// Sets it when the rest is done: again too where what it is of was made anew on the way.
pub(super) fn mend(from: &Structure, to: &Structure, out: &mut Mend) {
    let ran = |begins: &[String]| {
        begins.iter().any(|begin| {
            let rest = out.statements.iter().filter_map(|it| it.strip_prefix(begin.as_str()));
            rest.into_iter().any(|it| it.is_empty() || it.starts_with(' '))
        })
    };
    let mut statements = Vec::new();
    for (name, extra) in &from.extras {
        let is_replaced = |it: &Extra| it != extra && it.set.starts_with("CREATE ");
        if to.extras.get(name).is_none_or(is_replaced) && !ran(&extra.goes_with) {
            statements.push(extra.unset.clone());
        }
    }
    for (name, extra) in &to.extras {
        let stays = |it: &&Extra| it.set == extra.set && !ran(&it.goes_with) && !ran(&it.lost_with);
        if from.extras.get(name).filter(stays).is_none() {
            statements.push(extra.set.clone());
        }
    }
    out.statements.extend(statements);
    for name in to.unknown.difference(&from.unknown) {
        out.unsaid.push(format!("the {name} is to be made by hand"));
    }
    for name in from.unknown.difference(&to.unknown) {
        out.unsaid.push(format!("the {name} is to be dropped by hand"));
    }
}

//! The results for people: the table, the page with its plots, the contract.

pub mod page;
pub mod plot;
pub mod specification;
pub mod table;
